package dispatch

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

// flowsOf is one flow for each name.
type flowsOf map[string]*flow

func (f flowsOf) Ask(ctx context.Context, t conversation.Turn) (conversation.Answer, error) {
	return f[t.Flow].Ask(ctx, t)
}

// states remembers what became of the flows.
type states struct {
	noObserver
	mu   sync.Mutex
	told []string
}

func (s *states) FlowState(flow, state string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, flow+" "+state)
}

func of(no int, flow string) conversation.Turn {
	t := running(no)
	t.Flow = flow
	return t
}

// running starts a dispatcher and returns how to stop it.
func start(t *testing.T, d *Dispatcher) func() {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		d.Run(ctx)
		close(done)
	}()
	synctest.Wait()
	return func() {
		cancel()
		<-done
	}
}

func TestAFlowThatHangsTakesNoOthersPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		for i := range 9 {
			s.due = append(s.due, of(i, "hangs"))
		}
		s.due = append(s.due, of(9, "well"))
		d := newDispatcher(s, nil)
		d.c.MaxRunning, d.slots = 8, make(chan struct{}, 8)
		d.c.Flow = flowsOf{"hangs": {block: true}, "well": {}}
		d.flows = newFlows(FlowLimits{MaxRunning: 3}, d.c.Observer.FlowState)
		stop := start(t, d)
		require.Equal(t, []string{"reply"}, s.heard(), "the other flow's turn is through")
		require.Len(t, inHand(d), 3)
		require.Equal(t, []string{"hangs"}, d.flows.busy())
		require.Len(t, s.waiting(), 6, "they wait in the store, for another replica too")
		s.mu.Lock()
		s.remains = -1
		s.mu.Unlock()
		<-time.After(d.c.Lease) // the deadline of the first three has passed
		synctest.Wait()
		require.Less(t, len(s.waiting()), 6, "their places are the next ones'")
		require.LessOrEqual(t, len(inHand(d)), 3)
		stop()
		require.Empty(t, d.flows.busy())
	})
}

// TestAFlowThatFailsIsLeftAlone: its turns wait without asking, and are answered as soon as it is well.
func TestAFlowThatFailsIsLeftAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		down := &conversation.FlowError{Retry: true, Status: 503}
		f := &flow{parts: []conversation.Part{{Text: "um"}}}
		for range 4 {
			f.errs = append(f.errs, down)
		}
		observer := &states{}
		s := &store{}
		d := newDispatcher(s, f)
		d.c.Observer = observer
		d.flows = newFlows(FlowLimits{Trips: 3, Rest: 10 * time.Second}, observer.FlowState)
		start := time.Now()
		var turns sync.WaitGroup
		for no := range 3 {
			turns.Go(func() {
				turn := of(no, "f")
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				require.Equal(t, conversation.OutcomeDone, d.run(ctx, turn, newHolding(cancel, turn.Expires)))
			})
		}
		turns.Wait()
		require.EqualValues(t, 7, f.asked, "three failures, a try that fails, a try that succeeds, and the two that waited")
		require.Less(t, time.Since(start), time.Minute)
		require.Equal(t, []string{"f open", "f half-open", "f open", "f half-open", "f closed"}, observer.told)
	})
}

func TestAFlowThatStaysDownCostsTheTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &flow{}
		for range 1000 {
			f.errs = append(f.errs, &conversation.FlowError{Retry: true, Status: 502})
		}
		s := &store{}
		d := newDispatcher(s, f)
		turn, start := of(1, "f"), time.Now()
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		require.Equal(t, conversation.OutcomeFailed, d.run(ctx, turn, newHolding(cancel, turn.Expires)))
		require.Equal(t, 2*time.Minute, time.Since(start), "its deadline")
		require.Less(t, f.asked, int32(20), "it is not asked all the time")
		require.Equal(t, conversation.ReasonDeadline, s.failures[0].Reason)
		require.Contains(t, s.failures[0].Detail, "502", "what it said last, and not that it was left alone")
	})
}

// TestWhatIsNotAFlowsFault: a turn that ends for another reason says nothing about the flow.
func TestWhatIsNotAFlowsFault(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher(&store{}, &flow{block: true})
		d.flows = newFlows(FlowLimits{Trips: 1}, d.c.Observer.FlowState)
		ctx, cancel := context.WithCancelCause(t.Context())
		go cancel(errLeaseLost)
		_, err := d.flows.ask(ctx, d.c.Flow, of(1, "f"))
		require.ErrorIs(t, err, errNotItsFault)
		refusing := &flow{errs: []error{&conversation.FlowError{Status: 403}, conversation.ErrAnswersLater}}
		for range 2 {
			_, err = d.flows.ask(t.Context(), refusing, of(1, "f"))
			require.NotErrorIs(t, err, errResting)
		}
		hangs, end := context.WithCancelCause(t.Context())
		go end(context.DeadlineExceeded)
		_, err = d.flows.ask(hangs, &flow{block: true}, of(1, "f"))
		require.Error(t, err)
		_, err = d.flows.ask(t.Context(), &flow{}, of(1, "f"))
		require.ErrorIs(t, err, errResting, "one that hangs to the deadline is")
		_, err = d.flows.ask(t.Context(), &flow{}, of(1, "other"))
		require.NoError(t, err, "others are not concerned")
	})
}

func TestRetryAfterIsHeeded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		f := &flow{errs: []error{&conversation.FlowError{Retry: true, Status: 429, After: 40 * time.Second}}}
		d, turn, start := newDispatcher(s, f), of(1, "f"), time.Now()
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		require.Equal(t, conversation.OutcomeDone, d.run(ctx, turn, newHolding(cancel, turn.Expires)))
		require.Equal(t, 40*time.Second, time.Since(start))
	})
}

// TestARestartBreaksTheOldRequestOff: it ends at once, without a word about the turn, and the new one is asked.
func TestARestartBreaksTheOldRequestOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &store{due: []conversation.Turn{running(1)}}
		changed := 0
		d := newDispatcher(s, &flow{block: true})
		d.c.Changed = func() { changed++ }
		stop := start(t, d)
		require.Len(t, inHand(d), 1)
		s.mu.Lock()
		s.restarts, s.lost = []conversation.Turn{running(2)}, true // the store takes the turn away from whoever has it
		s.mu.Unlock()
		begin := time.Now()
		d.Wake("local")
		synctest.Wait()
		require.Zero(t, time.Since(begin))
		require.Equal(t, 1, changed, "other replicas are told")
		require.NotContains(t, inHand(d), running(1).TurnRef)
		require.Empty(t, s.heard())
		stop()
	})
}

func TestWhatFollowsIsDoneByTheAgentInItsEpoch(t *testing.T) {
	t.Parallel()
	following := conversation.Following{
		TurnRef: conversation.TurnRef{Tenant: "t", Conversation: 42, No: 3, Epoch: 7}, Agent: "f",
		Then: conversation.Then{Verb: conversation.VerbPass, To: conversation.Owner{Kind: conversation.OwnedByHuman, ID: "ana"}, Reason: "r"},
	}
	for name, c := range map[string]struct {
		err   error
		did   int
		left  int
		fails bool
	}{
		"done":               {did: 1},
		"somebody took it":   {err: conversation.ErrStaleEpoch, did: 1},
		"makes no sense":     {err: conversation.ErrInvalid, did: 2},
		"ana has no room":    {err: fmt.Errorf("x: %w", conversation.ErrAtCapacity), did: 2, left: 1, fails: true},
		"the store is away":  {err: errDown, did: 1, left: 1, fails: true},
		"refused for ever":   {err: conversation.ErrWrongState, did: 1},
		"key of another one": {err: conversation.ErrKeyReused, did: 1},
	} {
		s := &store{follows: []conversation.Following{following}, doing: c.err}
		d := newDispatcher(s, &flow{})
		require.Equal(t, c.fails, d.follow(t.Context()) != nil, name)
		require.Len(t, s.did, c.did, name)
		require.Len(t, s.follows, c.left, name)
		require.Equal(t, []any{conversation.VerbPass, int64(7), "ai:f", "human:ana", "router/turn/42/3"},
			[]any{s.did[0].Verb, s.did[0].IfEpoch, s.did[0].Actor.String(), s.did[0].To.String(), s.did[0].Key}, name)
		if c.did == 2 {
			require.Equal(t, conversation.OwnedByQueue, s.did[1].To.Kind, "any human may go on")
		}
	}
}

func TestAnAnswersAttachmentsAreKeptFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		then := &conversation.Then{Verb: conversation.VerbClose}
		f := &flow{then: then, parts: []conversation.Part{
			{Text: "um"}, {Content: &conversation.Content{Kind: conversation.MediaImage, Mimetype: "image/png", Bytes: []byte("x")}},
		}}
		d, turn := newDispatcher(s, f), running(1)
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		require.Equal(t, conversation.OutcomeDone, d.run(ctx, turn, newHolding(cancel, turn.Expires)))
		require.Equal(t, &conversation.PartMedia{ID: 1, Kind: conversation.MediaImage}, s.parts[1].Media)
		require.Nil(t, s.parts[1].Content)
		require.Equal(t, []conversation.Then{*then}, s.then)

		s = &store{reply: fmt.Errorf("part 1: %w", conversation.ErrInvalid)}
		d = newDispatcher(s, &flow{parts: []conversation.Part{{Media: &conversation.PartMedia{ID: 9}}}})
		require.Equal(t, conversation.OutcomeFailed, d.run(ctx, turn, newHolding(cancel, turn.Expires)))
		require.Equal(t, conversation.ReasonFlowRefused, s.failures[0].Reason, "asking again would bring the same")
	})
}
