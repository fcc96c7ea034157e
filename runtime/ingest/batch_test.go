package ingest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

// slowStore commits when it is told to. A commit's receipts carry the events' ids as reasons.
type slowStore struct {
	conversation.Inbox
	let     chan error // one for each commit; nil commits
	mu      sync.Mutex
	commits [][]string
	panics  bool
}

func (s *slowStore) Receive(ctx context.Context, events []conversation.Event, _ conversation.Window) ([]conversation.Receipt, error) {
	var (
		ids      []string
		receipts []conversation.Receipt
	)
	for _, e := range events {
		ids = append(ids, e.WAID)
		receipts = append(receipts, conversation.Receipt{Reason: e.WAID})
	}
	s.mu.Lock()
	s.commits = append(s.commits, ids)
	s.mu.Unlock()
	select {
	case err := <-s.let:
		if s.panics {
			panic("store")
		}
		return receipts, err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", conversation.ErrUnavailable, ctx.Err())
	}
}

func (s *slowStore) made() [][]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([][]string(nil), s.commits...)
}

// queue is a batcher and what became of its callers.
type queue struct {
	batcher
	*slowStore
	calls sync.WaitGroup
	mu    sync.Mutex
	told  map[string]error // what each caller was told; a receipt of another's is an error
}

func newQueue() *queue {
	s := &slowStore{let: make(chan error)}
	return &queue{slowStore: s, batcher: batcher{store: s}, told: map[string]error{}}
}

func (q *queue) add(ctx context.Context, ids ...string) {
	for _, id := range ids {
		q.calls.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					q.tell(id, fmt.Errorf("panic: %v", p))
				}
			}()
			r, err := q.batcher.add(ctx, conversation.Event{WAID: id})
			if err == nil && r.Reason != id {
				err = fmt.Errorf("receipt of %q", r.Reason)
			}
			q.tell(id, err)
		})
		synctest.Wait()
	}
}

func (q *queue) tell(id string, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.told[id] = err
}

func (q *queue) answers() map[string]error {
	synctest.Wait()
	q.mu.Lock()
	defer q.mu.Unlock()
	all := map[string]error{}
	for id, err := range q.told {
		all[id] = err
	}
	return all
}

// idle checks that a batcher that has nothing to do knows it: the next event leaves alone and at once.
func (q *queue) idle(t *testing.T) {
	t.Helper()
	require.Zero(t, q.flights)
	require.Empty(t, q.batcher.queue)
	q.panics = false
	q.add(t.Context(), "idle")
	q.let <- nil
	require.NoError(t, q.answers()["idle"])
	require.Equal(t, []string{"idle"}, q.made()[len(q.made())-1])
}

func TestALoneEventWaitsForNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q, start := newQueue(), time.Now()
		q.add(t.Context(), "a")
		require.Equal(t, [][]string{{"a"}}, q.made())
		q.let <- nil
		require.Equal(t, map[string]error{"a": nil}, q.answers())
		require.Zero(t, time.Since(start), "there is no timer to wait for")
		q.idle(t)
	})
}

func TestConcurrentEventsShareCommits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		q.add(t.Context(), "a", "b", "c", "d")
		require.Equal(t, [][]string{{"a"}}, q.made())
		q.let <- nil
		q.answers()
		require.Equal(t, []string{"b", "c", "d"}, q.made()[1], "all that waited, in their order")
		q.add(t.Context(), "e")
		q.let <- nil
		q.let <- nil
		require.Equal(t, map[string]error{"a": nil, "b": nil, "c": nil, "d": nil, "e": nil}, q.answers())
		require.Len(t, q.made(), 3)
		q.idle(t)
	})
}

// Two flights can land before the first leader got going: each calls another.
func TestFlightsThatLandTogether(t *testing.T) {
	t.Parallel()
	b := batcher{flights: maxFlights}
	for range fullLoad + 1 {
		b.queue = append(b.queue, &waiting{lead: make(chan struct{})})
	}
	c, d := b.queue[0], b.queue[1]
	b.land()
	b.land()
	<-c.lead
	<-d.lead
	require.Len(t, b.board(c), fullLoad)
	require.Equal(t, []*waiting{d}, b.board(d))
	b.land()
	b.land()
	require.Zero(t, b.flights)
}

func TestASecondFlightLeavesWithAFullLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		q.add(t.Context(), "a")
		for i := range fullLoad - 1 {
			q.add(t.Context(), fmt.Sprint(i))
		}
		require.Len(t, q.made(), 1)
		q.add(t.Context(), "last")
		require.Len(t, q.made(), 2)
		require.Len(t, q.made()[1], fullLoad)
		q.add(t.Context(), "b")
		q.let <- nil // whichever it was, the other one comes back for b
		q.answers()
		require.Len(t, q.made(), 2)
		q.let <- nil
		q.answers()
		require.Equal(t, []string{"b"}, q.made()[2])
		close(q.let)
		q.calls.Wait()
		require.Zero(t, q.flights)
	})
}

func TestACommitIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		q.add(t.Context(), "a")
		for i := range 4*maxBatch + 1 {
			q.add(t.Context(), fmt.Sprint(i))
		}
		close(q.let)
		q.calls.Wait()
		for _, commit := range q.made() {
			require.LessOrEqual(t, len(commit), maxBatch)
		}
		for id, err := range q.answers() {
			require.NoError(t, err, id)
		}
	})
}

func TestAnErrorReachesThoseItConcerns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q, down := newQueue(), fmt.Errorf("down: %w", conversation.ErrUnavailable)
		q.add(t.Context(), "a", "c", "d")
		q.let <- nil // and now c and d are on their way
		q.answers()
		q.let <- down
		answers := q.answers()
		require.NoError(t, answers["a"])
		require.ErrorIs(t, answers["c"], down)
		require.ErrorIs(t, answers["d"], down)
		q.idle(t)
	})
}

func TestAFullQueueIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		q.add(t.Context(), "a")
		q.batcher.mu.Lock()
		q.flights = maxFlights
		for range maxQueue {
			q.batcher.queue = append(q.batcher.queue, &waiting{done: make(chan struct{}), lead: make(chan struct{})})
		}
		q.batcher.mu.Unlock()
		q.add(t.Context(), "c")
		require.ErrorIs(t, q.answers()["c"], conversation.ErrUnavailable)
		q.batcher.mu.Lock()
		q.batcher.queue, q.flights = nil, 1
		q.batcher.mu.Unlock()
		close(q.let)
		q.calls.Wait()
	})
}

func TestTheEndOfALeadersRequestHarmsNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		leaving, leave := context.WithCancel(t.Context())
		q.add(t.Context(), "a")
		q.add(leaving, "c")
		q.add(t.Context(), "d")
		q.let <- nil
		q.answers() // c carries d now
		leave()
		require.NotContains(t, q.answers(), "c", "a commit under way is waited for")
		q.let <- nil
		require.Equal(t, map[string]error{"a": nil, "c": nil, "d": nil}, q.answers())
		q.idle(t)
	})
}

func TestWhoWaitsLongerThanItsRequestLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		leaving, leave := context.WithCancel(t.Context())
		q.add(t.Context(), "a")
		q.add(leaving, "c")
		q.add(t.Context(), "d")
		leave()
		require.ErrorIs(t, q.answers()["c"], conversation.ErrUnavailable)
		close(q.let)
		q.calls.Wait()
		require.Equal(t, []string{"d"}, q.made()[1], "it is not stored either")
		require.NoError(t, q.answers()["d"])
	})
}

func TestAStoreThatHangsIsLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q, start := newQueue(), time.Now()
		q.add(t.Context(), "a", "b", "c")
		q.calls.Wait()
		require.Equal(t, 2*commitTimeout, time.Since(start))
		for id, err := range q.answers() {
			require.ErrorIs(t, err, conversation.ErrUnavailable, id)
		}
		q.idle(t)
	})
}

func TestAPanicOfOneStrandsNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		q.panics = true
		q.add(t.Context(), "a", "b", "c", "d")
		for range 2 {
			q.let <- nil
			q.answers()
		}
		answers := q.answers()
		require.Len(t, answers, 4)
		require.ErrorIs(t, answers["d"], conversation.ErrUnavailable, "the panic is its leader's")
		for id, err := range answers {
			require.Error(t, err, id)
		}
		q.idle(t)
	})
}

// A store that commits as it likes, and callers that come and go.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	q := newQueue()
	stop := make(chan struct{})
	var store sync.WaitGroup
	store.Go(func() {
		for i := 0; ; i++ {
			var err error
			if i%7 == 0 {
				err = conversation.ErrUnavailable
			}
			select {
			case q.let <- err:
			case <-stop:
				return
			}
		}
	})
	var all sync.WaitGroup
	for caller := range 50 {
		all.Go(func() {
			for i := range 40 {
				ctx, cancel := context.WithCancel(t.Context())
				if i%5 == 0 {
					cancel()
				}
				id := fmt.Sprint(caller, "/", i)
				r, err := q.batcher.add(ctx, conversation.Event{WAID: id})
				cancel()
				if err == nil && r.Reason != id || err != nil && !errors.Is(err, conversation.ErrUnavailable) {
					t.Errorf("%s was told %v, %v", id, r, err)
				}
			}
		})
	}
	all.Wait()
	close(stop)
	store.Wait()
	require.Zero(t, q.flights)
	seen := map[string]bool{}
	for _, commit := range q.made() {
		for _, id := range commit {
			require.False(t, seen[id], "%s was carried twice", id)
			seen[id] = true
		}
	}
}
