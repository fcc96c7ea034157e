package gate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

func TestAChannelSpeaksAtItsPace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, start := NewPace(2, 3), time.Now()
		wait := func(channel string) time.Duration {
			require.NoError(t, p.Wait(t.Context(), channel))
			return time.Since(start)
		}
		for range 3 {
			require.Zero(t, wait("a"))
		}
		require.Equal(t, 500*time.Millisecond, wait("a"))
		require.Equal(t, 500*time.Millisecond, wait("b"), "each channel has its own")
		require.Equal(t, time.Second, wait("a"))
		p.Share(2) // a share of one a second
		require.Equal(t, 2*time.Second, wait("a"))
		require.Equal(t, 3*time.Second, wait("a"))
		p.Share(0)
		require.Equal(t, 3500*time.Millisecond, wait("a"))

		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		require.Error(t, p.Wait(ctx, "a"), "the deadline comes first")
	})
	require.NoError(t, NewPace(0, 1).Wait(t.Context(), "a"))
	require.NoError(t, (*Pace)(nil).Wait(t.Context(), "a"))
}

// paced is a gate that sends in no time, with a pace.
func paced(st *store, se conversation.Sender, c Config) *Gate {
	c.Store, c.Sender, c.Lease, c.Observer, c.Logger = st, se, time.Minute, noObserver{}, slog.New(slog.DiscardHandler)
	return New(c)
}

func TestALongAnswerKeepsNobodyElseWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		long, short := &store{owner: true}, &store{owner: true, parts: []conversation.QueuedPart{{No: 1, Text: "curta"}}}
		for i := range 50 {
			long.parts = append(long.parts, conversation.QueuedPart{No: i + 1, Text: fmt.Sprint(i)})
		}
		pace := NewPace(1, 1)
		turn := conversation.Turn{Expires: time.Now().Add(time.Hour)}
		var both sync.WaitGroup
		both.Go(func() {
			require.Equal(t, conversation.OutcomeDone, paced(long, &sender{}, Config{Pace: pace}).Send(t.Context(), turn))
		})
		synctest.Wait()
		start := time.Now()
		both.Go(func() {
			require.Equal(t, conversation.OutcomeDone, paced(short, &sender{}, Config{Pace: pace}).Send(t.Context(), turn))
			require.LessOrEqual(t, time.Since(start), 2*time.Second)
		})
		both.Wait()
		require.GreaterOrEqual(t, time.Since(start), 49*time.Second)
	})
}

func TestWaitingForItsTurnEndsBeforeTheDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		st, se, start := twoParts(), &sender{}, time.Now()
		g := paced(st, se, Config{Pace: NewPace(.1, 1)})
		require.Equal(t, conversation.OutcomeFailed, g.Send(t.Context(), conversation.Turn{Expires: start.Add(5 * time.Second)}))
		require.Equal(t, []string{"um"}, se.sends)
		require.Equal(t, []string{"sent", "fail deadline_passed"}, st.told)
		require.LessOrEqual(t, time.Since(start), 5*time.Second)
	})
}

// cut is a line that is closed until it is opened.
type cut struct{ open chan struct{} }

func (c cut) Await(ctx context.Context, _ string) bool {
	select {
	case <-c.open:
		return true
	case <-ctx.Done():
		return false
	}
}

func TestAClosedChannelBurnsNoAttempts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		line, st, se, start := cut{make(chan struct{})}, twoParts(), &sender{}, time.Now()
		st.down = func(call string) (bool, bool) {
			require.GreaterOrEqual(t, time.Since(start), time.Minute, "nothing passes the gate while there is no use in sending")
			return false, false
		}
		time.AfterFunc(time.Minute, func() { close(line.open) })
		require.Equal(t, conversation.OutcomeDone, paced(st, se, Config{Line: line}).Send(t.Context(), conversation.Turn{Expires: start.Add(time.Hour)}))
		require.Equal(t, []string{"um", "dois"}, se.sends)
	})
	synctest.Test(t, func(t *testing.T) {
		line, st, se, start := cut{make(chan struct{})}, twoParts(), &sender{}, time.Now()
		g := paced(st, se, Config{Line: line})
		require.Equal(t, conversation.OutcomeFailed, g.Send(t.Context(), conversation.Turn{Expires: start.Add(time.Minute)}))
		require.Equal(t, time.Minute, time.Since(start))
		require.Equal(t, []string{"fail deadline_passed"}, st.told)

		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		require.Equal(t, conversation.OutcomeHandedBack, g.Send(ctx, conversation.Turn{Expires: time.Now().Add(time.Minute)}), "a shutdown is no failure")
	})
}

func TestTypingTime(t *testing.T) {
	t.Parallel()
	typing := Typing{PerCharacter: 10 * time.Millisecond, Min: 50 * time.Millisecond, Max: time.Second}
	for text, want := range map[string]time.Duration{
		"": 0, "oi": 50 * time.Millisecond, "ção ção": 70 * time.Millisecond, strings.Repeat("x", 500): time.Second,
	} {
		require.Equal(t, want, typing.of(conversation.QueuedPart{Text: text}), text)
	}
	require.Zero(t, Typing{Min: time.Second}.of(conversation.QueuedPart{Text: "oi"}))
}

// shown remembers what a contact was shown. A typing call lasts as long as it shows.
type shown struct {
	mu   sync.Mutex
	list []string
}

func (s *shown) add(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, what)
}

func (s *shown) ShowTyping(ctx context.Context, _, jid string, recording bool, d time.Duration) error {
	s.add(fmt.Sprint("typing ", jid, " ", recording, " ", d))
	if !conversation.Pause(ctx, d) {
		s.add("cut")
	}
	return errors.New("the channel has none")
}

func (s *shown) MarkRead(_ context.Context, _, jid string, ids []string) error {
	s.add(fmt.Sprint("read ", jid, " ", ids))
	return nil
}

func TestManners(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		st, se, to := twoParts(), &sender{}, &shown{}
		st.parts[1] = conversation.QueuedPart{No: 2, Delay: 3 * time.Second, Media: &conversation.PartMedia{ID: 1, Kind: conversation.MediaAudio}}
		g := paced(st, se, Config{Manners: to, Read: true, Typing: Typing{PerCharacter: time.Second, Max: 20 * time.Second}})
		start := time.Now()
		turn := conversation.Turn{Expires: start.Add(time.Hour), Contact: conversation.Contact{JID: "c"},
			Messages: []conversation.Message{{ID: "A"}, {ID: "A/1700", Type: "edit"}, {ID: "B"}}}
		turn.Kind = conversation.TurnOfAI
		require.Equal(t, conversation.OutcomeDone, g.Send(t.Context(), turn))
		require.Equal(t, 5*time.Second, time.Since(start))
		g.Close()
		require.ElementsMatch(t, []string{"read c [A B]", "typing c false 2s", "typing c true 3s"}, to.list)
	})
}

func TestMannersOfAHumanAndOfAClosedGate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		to := &shown{}
		g := paced(twoParts(), &sender{}, Config{Manners: to, Read: true, Typing: Typing{PerCharacter: time.Second, Max: time.Hour}})
		turn := conversation.Turn{Expires: time.Now().Add(time.Hour), Messages: []conversation.Message{{ID: "A"}}}
		turn.Kind = conversation.SaidByHuman
		start := time.Now()
		require.Equal(t, conversation.OutcomeDone, g.Send(t.Context(), turn))
		require.Zero(t, time.Since(start), "they have typed it already")
		require.Empty(t, to.list)

		for range mannersAtOnce + 1 { // and one too many
			g.manners.typing(turn, conversation.QueuedPart{}, time.Minute)
		}
		synctest.Wait()
		require.Len(t, to.list, mannersAtOnce)
		g.Close()
		require.Zero(t, time.Since(start), "closing waits for nothing that can be cut")
		require.Len(t, to.list, 2*mannersAtOnce)
		g.manners.typing(turn, conversation.QueuedPart{}, time.Minute)
		require.Len(t, to.list, 2*mannersAtOnce)
	})
}
