package channel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

var errAway = errors.New("away")

// world is a store of one channel and Evolution behind it.
type world struct {
	conversation.Lines
	mu      sync.Mutex
	line    conversation.Line
	soon    []string
	answers conversation.ConnectionState // empty: Evolution does not answer
	asked   int
	at      time.Time // of the newest look that was written down

	due     bool
	open    time.Duration // for how long it has been connected
	moved   time.Duration // how long ago the lease was lost; zero: it was not
	swept   []string
	seen    map[string]bool
	history []conversation.Record
	froms   []time.Time
	got     []string
	fail    error
}

type store struct{ *world }

func (s store) Lines(context.Context, string) ([]conversation.Line, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return []conversation.Line{s.line}, nil
}

func (s store) SetConnection(_ context.Context, _ string, c conversation.Connection, ago time.Duration) (conversation.Connection, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.line.Connection
	if c == before || !time.Now().Add(-ago).After(s.at) {
		return conversation.Connection{}, false, nil
	}
	s.line.Connection, s.at = c, time.Now().Add(-ago)
	return before, true, nil
}

func (s store) SweepSoon(_ context.Context, channel string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.soon = append(s.soon, channel)
	s.due = true
	return nil
}

func (s store) DueSweep(context.Context, time.Duration) (conversation.Sweep, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.due {
		return conversation.Sweep{}, conversation.ErrNothingDue
	}
	s.due = false
	return conversation.Sweep{Channel: s.line.Channel, From: s.line.SweptTo, Now: time.Now(), Due: time.Now(), Open: s.open}, nil
}

func (s store) Swept(_ context.Context, _ *conversation.Sweep, to time.Time, _, next time.Duration) (bool, error) {
	s.line.SweptTo = to
	s.swept = append(s.swept, fmt.Sprint(to.Sub(began), " ", next))
	return s.moved == 0, nil
}

func (s store) Unseen(_ context.Context, _, _ string, kinds []conversation.EventKind, ids []string) ([]string, error) {
	var list []string
	for _, id := range ids {
		if !s.seen[string(kinds[0])+" "+id] {
			list = append(list, id)
		}
	}
	return list, nil
}

func (w *world) Connection(context.Context, string) (conversation.Connection, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	if w.answers == "" {
		return conversation.Connection{}, errAway
	}
	return conversation.Connection{State: w.answers}, nil
}

func (w *world) Connect(context.Context, string, string) (conversation.Pairing, error) {
	return conversation.Pairing{}, errAway
}

func (w *world) History(_ context.Context, _ string, from time.Time, limit int) ([]conversation.Record, bool, error) {
	w.froms = append(w.froms, from)
	var list []conversation.Record
	for _, r := range w.history {
		if !r.SentAt.Before(from) {
			list = append(list, r)
		}
	}
	slices.SortStableFunc(list, func(a, b conversation.Record) int { return a.SentAt.Compare(b.SentAt) })
	if len(list) > limit {
		return list[:limit], true, w.fail
	}
	return list, false, w.fail
}

func (w *world) receive(_ context.Context, ch conversation.Channel, body []byte) (conversation.Receipt, error) {
	id := string(body)
	if id == "malformed" {
		return conversation.Receipt{}, conversation.ErrMalformed
	}
	kind := "message "
	if strings.Contains(id, "/") {
		kind = "status "
	}
	w.seen[kind+id] = true
	w.got = append(w.got, id)
	return conversation.Receipt{State: conversation.Pending}, nil
}

// began is when time begins in a synctest bubble.
var began = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func newWorld() *world {
	w := &world{seen: map[string]bool{}, open: time.Hour}
	w.line.Name, w.line.State, w.line.SweptTo = "p", conversation.ConnectionUnknown, time.Now()
	return w
}

func (w *world) monitor(t *testing.T, log *bytes.Buffer) *Monitor {
	m := NewMonitor(MonitorConfig{Store: store{w}, Phone: w, Poll: 30 * time.Second, Refresh: 2 * time.Second, Logger: slog.New(slog.NewTextHandler(log, nil))})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { m.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	synctest.Wait()
	return m
}

func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func TestMonitor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, log := newWorld(), &bytes.Buffer{}
		w.answers = conversation.ConnectionOpen
		m := w.monitor(t, log)
		require.Equal(t, map[string]bool{"p": true}, m.Connected())
		require.Equal(t, conversation.ConnectionOpen, w.line.State, "the state is known at once")

		// A short drop, without an event.
		w.set(func() { w.answers = conversation.ConnectionClosed })
		time.Sleep(30 * time.Second)
		synctest.Wait()
		require.Equal(t, map[string]bool{"p": false}, m.Connected())
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		require.Equal(t, 1, strings.Count(log.String(), "nothing goes out; pair it with `plantao channel qr`"), "told once: %s", log)

		// Whoever waits goes on as soon as it opens, which an event tells.
		awaited := make(chan bool, 1)
		go func() { awaited <- m.Await(t.Context(), "p") }()
		synctest.Wait()
		require.Empty(t, awaited)
		w.set(func() { w.answers = conversation.ConnectionOpen })
		m.Happened("p", conversation.Connection{State: conversation.ConnectionOpen, Reason: "200"})
		synctest.Wait()
		require.True(t, <-awaited)
		require.Equal(t, conversation.Connection{State: conversation.ConnectionOpen, Reason: "200"}, w.line.Connection)
		require.Equal(t, []string{"p"}, w.soon)

		// An event that comes late counts for nothing: Evolution is asked.
		m.Happened("p", conversation.Connection{State: conversation.ConnectionClosed, Reason: "401"})
		synctest.Wait()
		require.Equal(t, conversation.ConnectionOpen, w.line.State)

		// Evolution is away: its last word holds, but nobody is told that the channel is connected.
		w.set(func() { w.answers = "" })
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, map[string]bool{"p": false}, m.Connected())
		require.True(t, m.Await(t.Context(), "p"))
		m.Happened("p", conversation.Connection{State: conversation.ConnectionRefused, Reason: "500"})
		synctest.Wait()
		require.Equal(t, conversation.Connection{State: conversation.ConnectionRefused, Reason: "500"}, w.line.Connection)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.False(t, m.Await(ctx, "p"))
		require.True(t, m.Await(t.Context(), "unknown"))

		asked := w.asked
		m.Happened("nobody's", conversation.Connection{State: conversation.ConnectionOpen})
		synctest.Wait()
		require.Equal(t, asked, w.asked, "a stranger's event makes nobody ask")
	})
}

func TestWhatAnotherReplicaFound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.answers = conversation.ConnectionOpen
		m := w.monitor(t, &bytes.Buffer{})
		w.set(func() { w.line.State, w.at = conversation.ConnectionClosed, time.Now() })
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Equal(t, map[string]bool{"p": false}, m.Connected())
	})
}

func (w *world) sweeper() *Sweeper {
	return NewSweeper(SweepConfig{Store: store{w}, Phone: w, Receive: w.receive, Every: 5 * time.Minute, Poll: time.Second, Logger: slog.New(slog.DiscardHandler)})
}

func record(id string, at time.Time) conversation.Record {
	return conversation.Record{ID: id, SentAt: at, Body: []byte(id)}
}

func TestSweepTakesInWhatWasNotSeen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		now := time.Now()
		own := record("own", now.Add(-5*time.Minute))
		own.FromMe, own.Status, own.StatusBody = true, "READ", []byte("own/READ")
		fresh := record("fresh", now.Add(-time.Second))
		fresh.FromMe = true
		w.history = []conversation.Record{
			record("b", now.Add(-time.Minute)), record("old", now.Add(-overlap-time.Second)), record("a", now.Add(-2*time.Minute)), own, fresh,
			record("malformed", now), record("seen", now),
		}
		w.seen["message seen"] = true
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { w.sweeper().Run(ctx) })
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, []string{""}, w.soon, "a router that starts looks for what it missed")
		require.Equal(t, []string{"own", "a", "b", "own/READ"}, w.got, "oldest first, with what became of ours")
		require.Equal(t, []string{"1s 2m0s"}, w.swept, "what was too young is looked for soon")

		time.Sleep(young)
		synctest.Wait()
		w.mu.Lock()
		w.due = true
		w.mu.Unlock()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Equal(t, []string{"own", "a", "b", "own/READ", "fresh"}, w.got, "and nothing comes in twice")
		require.Contains(t, w.swept[1], " 5m0s")
		cancel()
		running.Wait()
	})
}

func TestSweepGoesInSteps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		for i := range 2*sweepStep + 10 {
			w.history = append(w.history, record(fmt.Sprintf("%04d", i), began.Add(time.Duration(i-1000)*time.Second/2)))
		}
		sweep := conversation.Sweep{From: began, Now: began, Open: time.Hour}
		w.sweeper().sweep(t.Context(), sweep)
		require.Len(t, w.got, 2*sweepStep+10)
		require.True(t, slices.IsSorted(w.got))
		require.GreaterOrEqual(t, len(w.swept), 3)
		require.Equal(t, "0s 5m0s", w.swept[len(w.swept)-1])

		// Killed, or the lease lost, after the first step: the next one goes on from there, and repeats nothing.
		w2 := newWorld()
		w2.history, w2.moved = w.history, time.Second
		w2.sweeper().sweep(t.Context(), sweep)
		require.Len(t, w2.got, sweepStep)
		w2.moved = 0
		w2.sweeper().sweep(t.Context(), conversation.Sweep{From: w2.line.SweptTo, Now: began, Open: time.Hour})
		require.Len(t, w2.got, 2*sweepStep+10)
		require.True(t, slices.IsSorted(w2.got))
	})
}

func TestSweepWithoutEvolutionSaysNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.fail = errAway
		w.sweeper().sweep(t.Context(), conversation.Sweep{From: began, Now: began, Open: time.Hour})
		require.Empty(t, w.swept, "nothing is said to be complete that was not looked at")
	})
}

func TestSweepAfterAnOpeningConcludesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.history = []conversation.Record{record("a", began.Add(-time.Minute))}
		w.sweeper().sweep(t.Context(), conversation.Sweep{From: began.Add(-time.Hour), Now: began, Open: time.Minute})
		require.Equal(t, []string{"a"}, w.got)
		require.Equal(t, []string{"-1h0m0s 3m0s"}, w.swept, "what WhatsApp kept may still be on its way: the next one looks as far back")
	})
}
