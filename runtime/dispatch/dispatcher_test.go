package dispatch

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
	"plantao/runtime/routing"
)

var errDown = errors.New("database is down")

// store hands out the turns it was given and remembers what it was told.
type store struct {
	Store
	mu        sync.Mutex
	unrouted  []conversation.Unrouted
	due       []conversation.Turn
	nextDue   time.Duration
	anyDue    bool
	lost      bool // leases are not renewed
	reply     error
	seen      error
	told      []string
	claims    []conversation.Command
	overdue   []conversation.Command
	state     conversation.TurnState // of the turns that are renewed; empty: running
	remains   time.Duration          // until their deadline; zero: an hour
	failures  []conversation.Failure
	looks     int
	reclaimed int
	parts     []conversation.Part // of the newest reply
	then      []conversation.Then
	restarts  []conversation.Turn // turns to begin anew
	follows   []conversation.Following
	did       []conversation.Command
	doing     error
	kept      int64 // attachments
	promises  []conversation.PromiseRecord
}

func (s *store) JudgePromises(_ context.Context, limit int) ([]conversation.PromiseRecord, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	judged := s.promises[:min(limit, len(s.promises))]
	s.promises = s.promises[len(judged):]
	return judged, nil
}

// DuePlans implements Store; plannedStore has some.
func (*store) DuePlans(context.Context, int) ([]conversation.DuePlan, error) { return nil, nil }

func (s *store) RestartTurn(context.Context, conversation.TurnTerms) (conversation.Turn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.restarts) == 0 {
		return conversation.Turn{}, conversation.ErrNothingDue
	}
	t := s.restarts[0]
	s.restarts = s.restarts[1:]
	return t, nil
}

func (s *store) Background(context.Context, conversation.TurnRef, int) (conversation.Background, error) {
	return conversation.Background{}, nil
}

func (s *store) Followings(context.Context, int) ([]conversation.Following, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]conversation.Following(nil), s.follows...), nil
}

func (s *store) Followed(context.Context, conversation.TurnRef) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.follows = s.follows[1:]
	return nil
}

func (s *store) PutMedia(context.Context, string, conversation.ID, conversation.Content) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept++
	return s.kept, nil
}

func (s *store) tell(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, what)
}

// heard is what it was told so far.
func (s *store) heard() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.told)
}

// waiting are the turns nobody has taken.
func (s *store) waiting() []conversation.Turn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.due)
}

// inHand are the turns a dispatcher holds.
func inHand(d *Dispatcher) []conversation.TurnRef {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.held))
}

func (s *store) Unrouted(_ context.Context, limit int) ([]conversation.Unrouted, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks++
	return slices.Clone(s.unrouted[:min(limit, len(s.unrouted))]), nil
}

func (s *store) Do(_ context.Context, c conversation.Command) (conversation.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.Actor.Kind == conversation.ActorAI {
		s.did = append(s.did, c)
		return conversation.Result{}, s.doing
	}
	if c.Verb != conversation.VerbClaim {
		s.overdue = s.overdue[1:]
		s.told = append(s.told, string(c.Verb))
		return conversation.Result{}, nil
	}
	s.unrouted = s.unrouted[1:]
	s.claims = append(s.claims, c)
	if c.IfEpoch != 0 {
		return conversation.Result{}, conversation.ErrStaleEpoch
	}
	return conversation.Result{}, nil
}

func (s *store) Overdue(context.Context, int) ([]conversation.Command, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]conversation.Command(nil), s.overdue...), nil
}

func (s *store) FindTurn(context.Context, conversation.ID, int, string) (conversation.Holding, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return conversation.Holding{State: s.state}, nil
}

func (s *store) ClaimTurn(_ context.Context, terms conversation.TurnTerms) (conversation.Turn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, t := range s.due {
		if !slices.Contains(terms.Busy, t.Flow) {
			s.due = slices.Delete(slices.Clone(s.due), i, i+1)
			return t, nil
		}
	}
	return conversation.Turn{}, conversation.ErrNothingDue
}

func (s *store) ReclaimTurn(context.Context, conversation.TurnTerms) (conversation.Turn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reclaimed++
	return conversation.Turn{}, conversation.ErrNothingDue
}

func (s *store) NextDue(context.Context, ...string) (time.Duration, bool, error) {
	return s.nextDue, s.anyDue, nil
}

func (s *store) Renew(_ context.Context, _ time.Duration, held []conversation.TurnRef) ([]conversation.Holding, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost {
		return nil, nil
	}
	var kept []conversation.Holding
	for _, t := range held {
		h := conversation.Holding{TurnRef: t, State: conversation.TurnRunning, Remains: time.Hour}
		if s.state != "" {
			h.State = s.state
		}
		if s.remains != 0 {
			h.Remains = s.remains
		}
		kept = append(kept, h)
	}
	return kept, nil
}

func (s *store) Seen(context.Context, conversation.Process) error { return s.seen }

func (s *store) HandBack(context.Context, conversation.TurnRef) error {
	s.tell("hand back")
	return nil
}

func (s *store) Reply(_ context.Context, _ conversation.TurnRef, _ string, parts []conversation.Part, then ...conversation.Then) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parts, s.then = parts, then
	if s.reply == nil {
		s.told = append(s.told, "reply")
	}
	return s.reply
}

func (s *store) Cancel(context.Context, conversation.TurnRef, string) error {
	s.tell("cancel")
	return nil
}

func (s *store) Fail(_ context.Context, _ conversation.TurnRef, f conversation.Failure) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, "fail")
	s.failures = append(s.failures, f)
	return nil
}

// flow answers with the errors of its list, then with one part; with block it waits for its context.
type flow struct {
	mu    sync.Mutex // guards errs: several turns ask one flow
	errs  []error
	parts []conversation.Part
	then  *conversation.Then
	block bool
	asked int32 // atomic
}

func (f *flow) Ask(ctx context.Context, _ conversation.Turn) (conversation.Answer, error) {
	atomic.AddInt32(&f.asked, 1)
	if f.block {
		<-ctx.Done()
		return conversation.Answer{}, &conversation.FlowError{Retry: true, Err: ctx.Err()}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.errs) > 0 {
		err := f.errs[0]
		f.errs = f.errs[1:]
		return conversation.Answer{}, err
	}
	return conversation.Answer{Parts: f.parts, Then: f.then}, nil
}

type gate struct{ outcome conversation.Outcome }

func (g gate) Send(context.Context, conversation.Turn) conversation.Outcome { return g.outcome }

type noObserver struct{}

func (noObserver) Woken(string)                    {}
func (noObserver) FlowAsked(string, time.Duration) {}
func (noObserver) TurnEnded(string)                {}
func (noObserver) FlowState(string, string)        {}
func (noObserver) PromiseEnded(_, _, _ string)     {}

func newDispatcher(s Store, f *flow) *Dispatcher {
	return New(Config{
		Store: s, Flow: f, Rules: routing.NewBook(nil, slog.New(slog.DiscardHandler)), Gate: gate{conversation.OutcomeDone}, Lease: 9 * time.Second,
		MaxRunning: 2, Grace: 20 * time.Second, Observer: noObserver{}, Logger: slog.New(slog.DiscardHandler),
	})
}

func running(no int) conversation.Turn {
	return conversation.Turn{
		TurnRef: conversation.TurnRef{Conversation: conversation.ID(no), No: no}, State: conversation.TurnRunning,
		Expires: time.Now().Add(2 * time.Minute),
	}
}

func TestHowATurnEnds(t *testing.T) {
	t.Parallel()
	one := []conversation.Part{{Text: "um"}}
	again := &conversation.FlowError{Retry: true, Status: 404}
	for _, c := range []struct {
		name    string
		flow    *flow // nil: one that is not asked
		reply   error
		turn    func(*conversation.Turn)
		outcome conversation.Outcome
		told    []string
		asked   int
	}{
		{name: "answered", flow: &flow{parts: one}, outcome: conversation.OutcomeDone, told: []string{"reply"}, asked: 1},
		{name: "silence", flow: &flow{}, outcome: conversation.OutcomeDone, told: []string{"reply"}, asked: 1},
		{name: "asked until it answers", flow: &flow{errs: []error{again, again, errDown}, parts: one},
			outcome: conversation.OutcomeDone, told: []string{"reply"}, asked: 4},
		{name: "refused", flow: &flow{errs: []error{&conversation.FlowError{Status: 403}}},
			outcome: conversation.OutcomeFailed, told: []string{"fail"}, asked: 1},
		{name: "never answered", flow: &flow{block: true}, outcome: conversation.OutcomeFailed, told: []string{"fail"}, asked: 1},
		{name: "taken over too late", turn: func(t *conversation.Turn) { t.Expires = time.Now() },
			outcome: conversation.OutcomeFailed, told: []string{"fail"}},
		{name: "owner changed while away", turn: func(t *conversation.Turn) { t.Stale = true },
			outcome: conversation.OutcomeCancelled, told: []string{"cancel"}},
		{name: "owner changed while asking", flow: &flow{parts: one}, reply: conversation.ErrStaleEpoch,
			outcome: conversation.OutcomeCancelled, told: []string{"cancel"}, asked: 1},
		{name: "somebody else has it", flow: &flow{parts: one}, reply: conversation.ErrTurnClosed,
			outcome: conversation.OutcomeLost, asked: 1},
		{name: "store down to the deadline", flow: &flow{parts: one}, reply: errDown,
			outcome: conversation.OutcomeFailed, told: []string{"fail"}, asked: 1},
		{name: "answered before the takeover", turn: func(t *conversation.Turn) { t.State = conversation.TurnReplied },
			outcome: conversation.OutcomeDone},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				turn, f := running(1), c.flow
				if c.turn != nil {
					c.turn(&turn)
				}
				if f == nil {
					f = &flow{}
				}
				s, start := &store{reply: c.reply}, time.Now()
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				require.Equal(t, c.outcome, newDispatcher(s, f).run(ctx, turn, newHolding(cancel, turn.Expires)))
				require.Equal(t, c.told, s.heard())
				require.EqualValues(t, c.asked, atomic.LoadInt32(&f.asked))
				require.LessOrEqual(t, time.Since(start), 2*time.Minute, "nothing goes on after the deadline")
			})
		})
	}
}

func TestNextLook(t *testing.T) {
	t.Parallel()
	s := &store{}
	d := newDispatcher(s, &flow{})
	next := func(due time.Duration, anyDue bool) (time.Duration, string) {
		s.nextDue, s.anyDue = due, anyDue
		wait, source, err := d.nextLook(t.Context())
		require.NoError(t, err)
		return wait, source
	}
	expect := func(wantWait time.Duration, wantSource string, due time.Duration, anyDue bool) {
		t.Helper()
		wait, source := next(due, anyDue)
		require.Equal(t, wantWait, wait)
		require.Equal(t, wantSource, source)
	}
	expect(time.Second, "poll", 0, false)
	expect(301*time.Millisecond, "due", 300*time.Millisecond, true)
	expect(time.Second, "poll", time.Hour, true)
	expect(time.Millisecond, "due", 0, true)
	expect(time.Second, "poll", 0, true) // still there: looking on would be a busy loop
	expect(time.Second, "poll", 0, true)
	expect(51*time.Millisecond, "due", 50*time.Millisecond, true)
	expect(time.Millisecond, "due", 0, true)
}

func TestRouteGoesOnPastAFasterReplica(t *testing.T) {
	t.Parallel()
	s := &store{}
	for i := range routeBatch + 1 {
		u := conversation.Unrouted{Conversation: conversation.ID(i), Flow: "f"}
		if i == 1 {
			u.Epoch = 9
		}
		s.unrouted = append(s.unrouted, u)
	}
	routed, err := newDispatcher(s, &flow{}).route(t.Context())
	require.NoError(t, err)
	require.True(t, routed)
	require.Len(t, s.claims, routeBatch+1)
	require.Equal(t, 2, s.looks, "a full batch is followed by another look")
	require.Equal(t, "channel_flow", s.claims[0].Reason)
	require.Equal(t, conversation.OwnedByAI, s.claims[0].To.Kind)
}

func TestTurnsAreBoundedBySlots(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &store{due: []conversation.Turn{running(1), running(2), running(3)}}
		f := &flow{block: true}
		d := newDispatcher(s, f)
		require.NoError(t, d.look(t.Context(), true))
		synctest.Wait()
		require.Len(t, s.waiting(), 1)
		require.Len(t, inHand(d), 2)
		require.Equal(t, 1, s.reclaimed)

		start := time.Now()
		d.drain()
		require.Equal(t, d.c.Grace, time.Since(start), "turns may go on for the grace period")
		require.Equal(t, []string{"hand back", "hand back"}, s.heard())
		require.Empty(t, inHand(d))
		require.Empty(t, d.slots)
		require.Len(t, d.wakes, 1, "the end of a turn brings the next look")
	})
}

func TestLostLeaseEndsATurnWithoutAWord(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &store{due: []conversation.Turn{running(1)}}
		d := newDispatcher(s, &flow{block: true})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			d.Run(ctx)
			close(done)
		}()
		synctest.Wait()
		require.Len(t, inHand(d), 1)
		<-time.After(d.c.Lease + time.Millisecond) // the bubble's clock: three heartbeats
		synctest.Wait()
		require.Len(t, inHand(d), 1, "the lease is renewed")
		s.mu.Lock()
		s.lost = true
		s.mu.Unlock()
		<-time.After(d.c.Lease / 3)
		synctest.Wait()
		require.Empty(t, inHand(d))
		require.Empty(t, s.heard(), "it is somebody else's turn")
		cancel()
		<-done
	})
}

func TestSupersededIsToldOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher(&store{seen: conversation.ErrSuperseded}, &flow{})
		ctx, cancel := context.WithTimeout(t.Context(), 3*d.c.Lease)
		defer cancel()
		d.heartbeat(ctx) // beats on: closing the channel twice would panic
		select {
		case <-d.Superseded():
		default:
			t.Fatal("not told")
		}
	})
}

// poisoned is a store in which some conversations cannot be claimed.
type poisoned struct {
	store
	bad map[conversation.ID]bool
}

func (s *poisoned) Unrouted(context.Context, int) ([]conversation.Unrouted, error) {
	return s.unrouted, nil
}

func (s *poisoned) Do(_ context.Context, c conversation.Command) (conversation.Result, error) {
	if s.bad[c.Conversation] {
		return conversation.Result{}, errDown
	}
	s.claims = append(s.claims, c)
	return conversation.Result{}, nil
}

func TestRouteGoesOnPastAConversationThatCannotBeClaimed(t *testing.T) {
	t.Parallel()
	s := &poisoned{bad: map[conversation.ID]bool{0: true, 2: true}}
	for i := range 4 {
		s.unrouted = append(s.unrouted, conversation.Unrouted{Conversation: conversation.ID(i), Flow: "f"})
	}
	_, err := newDispatcher(s, &flow{}).route(t.Context())
	require.ErrorIs(t, err, errDown)
	require.Len(t, s.claims, 2)
}

func TestRouteStopsWhenTheStoreIsTheTrouble(t *testing.T) {
	t.Parallel()
	s := &poisoned{bad: map[conversation.ID]bool{}}
	for i := range routeBatch {
		s.bad[conversation.ID(i)] = true
		s.unrouted = append(s.unrouted, conversation.Unrouted{Conversation: conversation.ID(i), Flow: "f"})
	}
	s.unrouted = append(s.unrouted, conversation.Unrouted{Conversation: conversation.ID(routeBatch), Flow: "f"})
	routed, err := newDispatcher(s, &flow{}).route(t.Context())
	require.ErrorIs(t, err, errDown)
	require.False(t, routed)
	require.Empty(t, s.claims)
}

// held starts a dispatcher with one turn in its hands.
func held(t *testing.T, s *store, f *flow) (*Dispatcher, func()) {
	t.Helper()
	s.due = []conversation.Turn{running(1)}
	d := newDispatcher(s, f)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		d.Run(ctx)
		close(done)
	}()
	synctest.Wait()
	require.Len(t, inHand(d), 1)
	return d, func() {
		cancel()
		<-done
	}
}

func TestAnAnswerByTheAPIEndsTheAsking(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]*flow{
		"the response hangs": {block: true}, "the response said so": {errs: []error{conversation.ErrAnswersLater}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &store{}
				d, stop := held(t, s, f)
				s.mu.Lock()
				s.state = conversation.TurnReplied
				s.mu.Unlock()
				start := time.Now()
				d.Check()
				synctest.Wait()
				require.Empty(t, inHand(d), "it went to the gate")
				require.Zero(t, time.Since(start), "at once")
				require.Empty(t, s.heard(), "the answer is stored already")
				stop()
			})
		})
	}
}

func TestADeadlineThatWasMovedIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &store{remains: time.Hour}
		d, stop := held(t, s, &flow{block: true})
		<-time.After(30 * time.Minute) // running(1) had two minutes
		synctest.Wait()
		require.Len(t, inHand(d), 1)
		s.mu.Lock()
		s.remains = -1
		s.mu.Unlock()
		<-time.After(d.c.Lease)
		synctest.Wait()
		require.Empty(t, inHand(d))
		require.Equal(t, []string{"fail"}, s.heard())
		require.Equal(t, conversation.ReasonDeadline, s.failures[0].Reason)
		stop()
	})
}

// promiseObserver keeps what became of promises.
type promiseObserver struct {
	noObserver
	ended map[string]int
}

func (o promiseObserver) PromiseEnded(sla, kind, state string) { o.ended[sla+" "+kind+" "+state]++ }

func TestPromisesAreJudgedWithTheSweep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		for i := range judgeBatch + 2 {
			p := conversation.PromiseRecord{Conversation: conversation.ID(i), State: conversation.PromiseMet,
				Promise: conversation.Promise{Kind: conversation.FirstResponse, Name: "vip"}}
			if i > judgeBatch {
				p.State, p.Kind, p.Due = conversation.PromiseBroken, conversation.Resolution, time.Unix(1, 0).UTC()
			}
			s.promises = append(s.promises, p)
		}
		var log bytes.Buffer
		o := promiseObserver{ended: map[string]int{}}
		d := newDispatcher(s, &flow{})
		d.c.Observer, d.c.Logger = o, slog.New(slog.NewTextHandler(&log, nil))
		require.NoError(t, d.look(t.Context(), false))
		require.Empty(t, o.ended, "not at every look")
		require.NoError(t, d.look(t.Context(), true))
		require.Equal(t, map[string]int{"vip first_response met": judgeBatch + 1, "vip resolution broken": 1}, o.ended, "all that are due")
		require.Equal(t, 1, strings.Count(log.String(), "level=WARN"))
		require.Contains(t, log.String(), `msg="sla broken" conversation=101 sla=vip kind=resolution due=1970-01-01T00:00:01.000Z`)
	})
}

func TestTimersRunWithTheSweep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &store{overdue: []conversation.Command{{Verb: conversation.VerbExpire}, {Verb: conversation.VerbHandback}}}
		d := newDispatcher(s, &flow{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			d.Run(ctx)
			close(done)
		}()
		synctest.Wait()
		require.Equal(t, []string{"expire", "handback"}, s.heard())
		s.mu.Lock()
		s.overdue = append(s.overdue, conversation.Command{Verb: conversation.VerbExpire})
		s.mu.Unlock()
		<-time.After(d.c.Poll)
		synctest.Wait()
		require.Len(t, s.heard(), 3, "within a poll interval")
		cancel()
		<-done
	})
}
