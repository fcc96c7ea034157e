package model

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"plantao/test/figure"
)

// full says that the bounds are the wide ones, which take a minute, and that figures are printed. "make fault" sets it.
var full = os.Getenv("MODEL") == "full"

var figures figure.Sheet

func TestMain(m *testing.M) {
	code := m.Run()
	if full {
		figures.Print()
	}
	os.Exit(code)
}

// once is everything once: two messages, answers of two parts.
func once() Bounds {
	return Bounds{Messages: 2, Parts: 2, Budget: Budget{
		Kills: 1, Pauses: 1, Losses: 1, Duplicates: 1, Unknowns: 1, Refusals: 1, Takes: 1, Handbacks: 1,
	}}
}

// calm is no fault and nobody who interferes.
func calm() Bounds { return Bounds{Messages: 2, Parts: 2} }

func with(b Bounds, change func(*Bounds)) Bounds {
	change(&b)
	return b
}

// run is what happens at most, and its name.
type run struct {
	name   string
	bounds Bounds
}

// designRuns are searched with all guards.
func designRuns() []run {
	if full {
		return []run{
			{"everything once", with(once(), func(b *Bounds) { b.Severed = 1 })},
			{"three messages", with(once(), func(b *Bounds) { b.Messages = 3 })},
			{"everything twice", with(once(), func(b *Bounds) { b.Kills, b.Pauses, b.Takes, b.Handbacks = 2, 2, 2, 2 })},
			{"a database unheard twice", with(once(), func(b *Bounds) { b.Parts, b.Severed, b.Losses, b.Refusals = 1, 2, 0, 0 })},
		}
	}
	return []run{
		{"calm", calm()},
		{"everything once", once()},
		{"a database unheard", with(once(), func(b *Bounds) { b.Parts, b.Severed, b.Unknowns, b.Refusals = 1, 1, 0, 0 })},
		{"two takes", with(once(), func(b *Bounds) { b.Kills, b.Refusals, b.Takes, b.Handbacks = 0, 0, 2, 2 })},
		{"three messages", with(once(), func(b *Bounds) { b.Messages, b.Kills, b.Unknowns = 3, 0, 0 })},
	}
}

func TestDesign(t *testing.T) {
	violations, stranded := 0, 0
	for _, run := range designRuns() {
		t.Run(run.name, func(t *testing.T) {
			r := Design{Guards: AllGuards(), Bounds: run.bounds}.Exhaust()
			report(t, r)
			violations += r.Violations()
			stranded += r.Stranded
			requireSafe(t, r)
		})
	}
	figures.Add(figure.Count("model-violations", violations, 0))
	figures.Add(figure.Count("model-stranded", stranded, 0))
}

func report(t *testing.T, r Result) {
	t.Helper()
	t.Logf("%d states, %d transitions, %d terminal, farthest %d steps away, at most %d part leaks, %.1f s",
		r.States, r.Transitions, r.Terminal, r.Depth, r.MaxLeak, r.Elapsed.Seconds())
}

func requireSafe(t *testing.T, r Result) {
	t.Helper()
	require.Empty(t, r.Broken)
	require.Zero(t, r.Stranded)
	require.Zero(t, r.CutOff, "the search was not exhaustive")
}

// TestGuards takes the guards away, one at a time or as many as it needs, and wants to see what each is for. It is the
// control of TestDesign too: a check that finds nothing here would prove nothing there.
func TestGuards(t *testing.T) {
	var shown atomic.Int32
	rows := removals()
	t.Run("without", func(t *testing.T) {
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				t.Parallel()
				d := Design{Guards: AllGuards(), Bounds: row.bounds}
				row.without(&d.Guards)
				if row.breaks == 0 {
					r := d.Exhaust()
					report(t, r)
					requireSafe(t, r)
				} else {
					requireBroken(t, d, row.breaks)
				}
				shown.Add(1)
			})
		}
	})
	figures.Add(figure.Count("model-guards-shown", int(shown.Load()), len(rows)))
}

func requireBroken(t *testing.T, d Design, breaks Invariants) {
	t.Helper()
	r := d.Find(breaks)
	t.Logf("%s in %d steps, after %d states", r.Found, len(r.Trace), r.States)
	for i, line := range r.Trace {
		t.Logf("%4d  %s", i+1, line)
	}
	require.Equal(t, breaks, r.Found)
}

// removal is a design without something, and what that breaks; zero means that it is safe all the same.
type removal struct {
	name    string
	without func(*Guards)
	bounds  Bounds
	breaks  Invariants
}

func removals() []removal {
	most := once()
	if !full {
		most.Refusals = 0
	}
	unheard := with(calm(), func(b *Bounds) { b.Severed = 1 })
	unheardPaused := with(unheard, func(b *Bounds) { b.Pauses = 1 })
	interfered := with(calm(), func(b *Bounds) { b.Takes, b.Handbacks = 1, 1 })
	paused := with(calm(), func(b *Bounds) { b.Pauses = 1 })
	// Both at once take more hands than a State has: unconditional releases heap up.
	noPause := with(most, func(b *Bounds) { b.Pauses = 0 })
	noHandback := with(most, func(b *Bounds) { b.Handbacks = 0 })
	return []removal{
		{"the Redis lock", func(g *Guards) { g.RedisLock = false }, most, 0},
		{"the token at the lock's release, no pause", func(g *Guards) { g.LockToken = false }, noPause, 0},
		{"the token at the lock's release, no handback", func(g *Guards) { g.LockToken = false }, noHandback, 0},
		{"commit before ack", func(g *Guards) { g.CommitBeforeAck = false }, most, Ack},
		{"dedupe mark in the row's commit", func(g *Guards) { g.DedupeInCommit = false }, most, Ack},
		{"unique inbox key", func(g *Guards) { g.UniqueKey = false }, most, Twice},

		{"one_turn: two turns", func(g *Guards) { g.OneTurn = false }, most, One},
		{"one_turn: leak", func(g *Guards) { g.OneTurn = false }, most, Leak},
		{"one_turn, nothing happens", func(g *Guards) { g.OneTurn = false }, calm(), 0},
		{"one_turn, take and handback", func(g *Guards) { g.OneTurn = false }, interfered, One},
		{"one_turn, a pause", func(g *Guards) { g.OneTurn = false }, paused, 0},
		{"one_turn and lock token, a pause", func(g *Guards) { g.OneTurn, g.LockToken = false, false }, paused, One},

		{"generation: part twice", func(g *Guards) { g.Generation = false }, most, Dup},
		{"generation: leak", func(g *Guards) { g.Generation = false }, most, Leak},
		{"epoch at the answer", func(g *Guards) { g.ReplyEpoch = false }, most, 0},
		{"state at the answer", func(g *Guards) { g.ReplyState = false }, most, 0},
		{"epoch and state at the answer", func(g *Guards) { g.ReplyEpoch, g.ReplyState = false, false }, interfered, 0},
		{"epoch and state at the answer, one_turn", func(g *Guards) {
			g.ReplyEpoch, g.ReplyState, g.OneTurn = false, false, false
		}, interfered, One},
		{"cancelling at the take", func(g *Guards) { g.RevokeOnTake = false }, most, 0},

		{"the gate: intent", func(g *Guards) { g.Gate = false }, most, Fence},
		{"the gate: leak", func(g *Guards) { g.Gate = false }, most, Leak},
		{"epoch at the gate", func(g *Guards) { g.GateEpoch = false }, most, Fence},
		{"epoch at the gate, cancelling at the take", func(g *Guards) { g.GateEpoch, g.RevokeOnTake = false, false }, most, Fence},
		{"the gate for later parts", func(g *Guards) { g.GatePerPart = false }, most, Leak},
		{"no blind write-back", func(g *Guards) { g.NoWriteBack = false }, most, Own},

		{"ambiguous is not sent again", func(g *Guards) { g.AmbiguousNotResent = false }, most, Dup},
		{"ambiguous blocks the AI", func(g *Guards) { g.AmbiguousBlocks = false }, most, Leak},
		{"the sender is gone: leak", func(g *Guards) { g.SenderGone = false }, most, Leak},
		{"the sender is gone: answered twice", func(g *Guards) { g.SenderGone = false }, most, Twice},
		{"an empty slot at boot", func(g *Guards) { g.SlotEmpty = false }, most, Leak},
		{"a boot after each death", func(g *Guards) { g.SlotReboots = false }, most, Live},
		{"putting back a certain attempt", func(g *Guards) { g.AttemptNamed = false }, unheard, Dup},
		{"putting back before leaving", func(g *Guards) { g.UndoAtEnd = false }, unheardPaused, Live},
		{"both, every answer heard", func(g *Guards) { g.AttemptNamed, g.UndoAtEnd = false, false }, most, 0},
		{"looking for pending messages", func(g *Guards) { g.PendingCheck = false }, calm(), Live},
	}
}

// TestEveryGuardIsRemoved keeps the table complete.
func TestEveryGuardIsRemoved(t *testing.T) {
	t.Parallel()
	removed := map[string]bool{}
	all := reflect.TypeFor[Guards]()
	for _, row := range removals() {
		g := AllGuards()
		row.without(&g)
		for i := range all.NumField() {
			if !reflect.ValueOf(g).Field(i).Bool() {
				removed[all.Field(i).Name] = true
			}
		}
	}
	for i := range all.NumField() {
		require.Contains(t, removed, all.Field(i).Name)
	}
}

// TestReduction searches the same design with and without reduction: the states reached are the same but for what the
// reduction drops, and so is what is found to be wrong.
func TestReduction(t *testing.T) {
	one := with(calm(), func(b *Bounds) { b.Messages = 1 })
	runs := []run{
		{"take", with(calm(), func(b *Bounds) { b.Takes, b.Handbacks = 1, 1 })},
		{"pause", with(one, func(b *Bounds) { b.Pauses, b.Takes, b.Losses = 1, 1, 1 })},
		{"kill", with(one, func(b *Bounds) { b.Kills, b.Unknowns, b.Refusals = 1, 1, 1 })},
		{"severed", with(one, func(b *Bounds) { b.Parts, b.Pauses, b.Severed = 1, 1, 1 })},
	}
	if full {
		runs = append(runs,
			run{"once", with(one, func(b *Bounds) { b.Parts, b.Pauses, b.Kills, b.Losses, b.Takes = 1, 1, 1, 1, 1 })})
	}
	for _, run := range runs {
		t.Run(run.name, func(t *testing.T) {
			t.Parallel()
			requireSame(t, Design{Guards: AllGuards(), Bounds: run.bounds})
		})
	}
	small := with(one, func(b *Bounds) { b.Parts, b.Pauses, b.Takes = 1, 1, 1 })
	if full {
		small.Handbacks = 1
	}
	done := map[Guards]bool{}
	for _, row := range removals() {
		d := Design{Guards: AllGuards(), Bounds: small}
		row.without(&d.Guards)
		if done[d.Guards] || !d.Guards.Generation { // without it, turns are reclaimed for ever: only reduced is there an end
			continue
		}
		done[d.Guards] = true
		t.Run("without "+row.name, func(t *testing.T) {
			t.Parallel()
			requireSame(t, d)
		})
	}
}

func requireSame(t *testing.T, d Design) {
	t.Helper()
	reduced := d.explore(0)
	d.plain = true
	plain := d.explore(0)
	t.Logf("%d states, %d reduced", plain.index.len(), reduced.index.len())
	require.Zero(t, plain.result.CutOff)
	require.Zero(t, reduced.result.CutOff)
	seen := map[key]bool{}
	for i := range plain.index.len() {
		k, ok := reduced.d.reduce(unpack(plain.index.key(uint32(i))))
		require.True(t, ok)
		seen[k] = true
	}
	require.Equal(t, reduced.index.len(), len(seen))
	for i := range reduced.index.len() {
		require.True(t, seen[reduced.index.key(uint32(i))])
	}
	require.Equal(t, keys(plain.result.Broken), keys(reduced.result.Broken))
	require.Equal(t, plain.stranded() > 0, reduced.stranded() > 0)
	require.Equal(t, plain.result.MaxLeak, reduced.result.MaxLeak)
}

func keys(m map[Invariants]int) (all Invariants) {
	for i := range m {
		all |= i
	}
	return all
}

// TestPack keeps every field of a State in its key, with room for the largest value of each.
func TestPack(t *testing.T) {
	t.Parallel()
	r := Design{Guards: AllGuards(), Bounds: with(calm(), func(b *Bounds) { b.Pauses, b.Takes, b.Handbacks = 1, 1, 1 })}.explore(0)
	for i := range r.index.len() {
		k := r.index.key(uint32(i))
		require.Equal(t, k, pack(unpack(k)))
	}
	var most State
	for i := range most.Turns {
		most.Turns[i] = Turn{State: Cancelled, Gen: maxGen, Epoch: maxEpoch}
	}
	for i := range most.Holdings {
		most.Holdings[i] = Holding{Phase: Releasing, Turn: maxTurns, Gen: maxGen}
	}
	most.Left = Budget{Kills: 3, Handbacks: 3}
	require.Equal(t, most, unpack(pack(most)))
}

func TestWording(t *testing.T) {
	t.Parallel()
	for k := range releases + 1 {
		require.NotEmpty(t, wording[k], "kind %d", k)
		require.NotContains(t, Step{Kind: k, Turn: 1, Gen: 1}.String(), "%!")
	}
}

// TestNamedStatementsExist fails when a statement the model mirrors has been renamed or dropped.
func TestNamedStatementsExist(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	found := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, name := range regexp.MustCompile(`\b[a-z_]+\.sql\b`).FindAllString(string(text), -1) {
			found++
			require.FileExists(t, filepath.Join("..", "..", "runtime", "postgres", "sql", name), fmt.Sprintf("named in %s", file))
		}
	}
	require.NotZero(t, found)
}
