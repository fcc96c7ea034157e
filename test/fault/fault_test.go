//go:build e2e

package fault

import (
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
	"plantao/test/figure"
)

// number is a number of the environment.
func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	require.NoError(t, err, name)
	return n
}

// tally adds up what the rounds were.
type tally struct {
	rounds, acked, takes, settled, open int
	after                               aftermath
	seen                                map[string]int
	verbs                               map[conversation.Verb]int
}

func (a *tally) add(r *round) {
	a.rounds++
	a.acked += r.acked()
	a.takes += len(r.desk.takes)
	a.settled += r.settler.settled
	a.open += r.desk.open
	a.after = aftermath{max(a.after.most, r.after.most), a.after.takes + r.after.takes}
	for _, seen := range []map[string]int{r.seen, r.flow.seen, r.phone.seen} {
		for name, n := range seen {
			a.seen[name] += n
		}
	}
	for verb, n := range r.desk.done {
		a.verbs[verb] += n
	}
}

// complete says whether there were enough rounds for every fault to come up.
func (a *tally) complete() bool {
	return os.Getenv("AGAIN") == "" && a.rounds*handOf >= len(deck())+handOf
}

// unseen is how many kinds of fault have not happened yet.
func (a *tally) unseen() int {
	n := 0
	for _, name := range names() {
		if a.seen[name] == 0 {
			n++
		}
	}
	return n
}

// names of everything that must go wrong at least once.
func names() []string {
	all := misbehaviour()
	for _, f := range deck() {
		all = append(all, f.name)
	}
	return all
}

// spare rounds follow when some kind of fault was not seen: nobody came by at its failpoint.
const spare = 10

func TestFault(t *testing.T) {
	rounds := uint64(200)
	if os.Getenv("SMOKE") != "" {
		rounds = 12
	}
	rounds = number(t, "ROUNDS", rounds)
	first := number(t, "FIRST", 0)
	seed := number(t, "SEED", rand.Uint64N(1_000_000))
	t.Logf("SEED=%d ROUNDS=%d FIRST=%d", seed, rounds, first)
	c := newCluster(t, settings{
		binary: withClock, lease: 800 * time.Millisecond, deadline: 4 * time.Second, patience: 800 * time.Millisecond, evolutionTimeout: 700 * time.Millisecond,
	})
	total := &tally{seen: map[string]int{}, verbs: map[conversation.Verb]int{}}
	var missed []fault
	for i := range rounds + spare {
		if i >= rounds && (total.unseen() == 0 || !total.complete()) {
			break
		}
		n := first + i
		if os.Getenv("AGAIN") != "" {
			n = first
		}
		r := newRound(c, seed, int(n), int(i), missed)
		start := time.Now()
		problems, err := r.play(t.Context())
		r.tell(t, time.Since(start))
		if err != nil || len(problems) > 0 {
			r.fail(t, problems, err)
		}
		total.add(r)
		missed = r.missed()
	}
	total.report(t)
}

// tell logs what a round was.
func (r *round) tell(t *testing.T, took time.Duration) {
	var plan []string
	for _, f := range r.plan {
		mark := ""
		if r.seen[f.name] == 0 {
			mark = " (not seen)"
		}
		plan = append(plan, f.name+mark)
	}
	t.Logf("round %d: %s; %d messages acked %v, %d parts read, %d takes, %d settled, %.1fs", r.n, strings.Join(plan, ", "),
		r.acked(), r.ends, r.c.phone.count()-r.fromReceipt, len(r.desk.takes), r.settler.settled, took.Seconds())
}

// fail ends the test with everything one needs to look into it.
func (r *round) fail(t *testing.T, problems []problem, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("round %d, SEED=%d: %v", r.n, r.seed, err)
	}
	dumped := map[string]bool{"": true}
	for _, p := range problems {
		t.Errorf("round %d, SEED=%d: %s: conversation %s: %s", r.n, r.seed, p.Kind, p.Conversation, p.What)
		if !dumped[p.Conversation] && len(dumped) < 5 {
			dumped[p.Conversation] = true
			t.Log(r.dump(t.Context(), p.Conversation))
		}
	}
	t.Fatalf("replay: SEED=%d FIRST=%d AGAIN=1 ROUNDS=20 make fault\n%s", r.seed, r.n, r.c.logs(32<<10))
}

// report puts the figures on the sheet. What would be wrong has failed the test before.
func (a *tally) report(t *testing.T) {
	for _, name := range names() {
		if a.seen[name] == 0 {
			t.Logf("never seen: %s", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.seen)) {
		t.Logf("seen %4d times: %s", a.seen[name], name)
	}
	t.Logf("verbs done: %v; %d whose outcome was never learnt; %d parts settled by an operator; %d takes were followed by a part", a.verbs, a.open, a.settled, a.after.takes)
	for _, kind := range []string{lost, twice, lateGate, doubled, stranded} {
		sheet.Add(figure.Count(kind, 0, 0))
	}
	atLeast := func(name string, value, target int) {
		sheet.Add(figure.Figure{Name: name, Value: float64(value), Unit: "count", Op: ">=", Target: float64(target)})
	}
	sheet.Add(figure.Figure{Name: leaked + "-max", Value: float64(a.after.most), Unit: "count", Op: "<=", Target: 1})
	atLeast("fault-rounds", a.rounds, a.rounds)
	atLeast("acked-messages", a.acked, 40*a.rounds)
	atLeast("takes", a.takes, 2*a.rounds)
	sheet.Add(figure.Count("fault-kinds-seen", len(names())-a.unseen(), len(names())))
	if a.complete() {
		require.Zero(t, a.unseen(), "every kind of fault must have happened")
	}
}
