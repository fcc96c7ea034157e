package ingest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"plantao/runtime/conversation"
)

const (
	// maxBatch bounds one commit: beyond it, more events for a commit gain nothing and make each wait longer.
	maxBatch = 256
	// maxFlights is how many commits may be on their way at once. A second one leaves only with a full load: two that share what
	// comes cost the database twice the start of a statement, and the one is back sooner than they would be.
	maxFlights = 2
	fullLoad   = 128
	// maxQueue is how many events may wait for a commit before more are refused.
	maxQueue = 8192
	// commitTimeout bounds one commit. It ends with nobody's request: others' events are in it.
	commitTimeout = 10 * time.Second
)

// batcher lets concurrent requests share commits. Nobody waits for company: an event that finds no flight out leaves at once and
// alone, and what arrives meanwhile leaves together when it is back. The request whose turn it is carries the others' events
// itself, so that a lone one is handed to no other goroutine.
type batcher struct {
	store  conversation.Inbox
	window conversation.Window

	mu      sync.Mutex
	queue   []*waiting
	flights int
}

// waiting is an event on its way into the store.
type waiting struct {
	event conversation.Event
	done  chan struct{} // closed when receipt or err is there
	lead  chan struct{} // closed when its request should carry the queue
	conversation.Receipt
	err error
}

// add commits the event and returns what became of it. The end of ctx ends the wait for a commit, never a commit that is under
// way. Errors: conversation.ErrUnavailable.
func (b *batcher) add(ctx context.Context, e conversation.Event) (conversation.Receipt, error) {
	w := &waiting{event: e}
	b.mu.Lock()
	switch {
	case b.flights == 0, b.flights < maxFlights && len(b.queue) >= fullLoad-1:
		b.flights++
		batch := append(b.queue[:len(b.queue):len(b.queue)], w)
		b.queue = nil
		b.mu.Unlock()
		b.fly(ctx, batch)
		return w.Receipt, w.err
	case len(b.queue) >= maxQueue:
		b.mu.Unlock()
		return conversation.Receipt{}, fmt.Errorf("%d webhooks wait to be stored: %w", maxQueue, conversation.ErrUnavailable)
	}
	w.done, w.lead = make(chan struct{}), make(chan struct{})
	b.queue = append(b.queue, w)
	b.mu.Unlock()
	select {
	case <-w.done:
	case <-w.lead:
		b.fly(ctx, b.board(w))
	case <-ctx.Done():
		if b.leave(w) {
			return conversation.Receipt{}, fmt.Errorf("wait for a commit: %w: %w", conversation.ErrUnavailable, ctx.Err())
		}
		select { // it was called meanwhile
		case <-w.done:
		case <-w.lead:
			b.fly(ctx, b.board(w))
		}
	}
	return w.Receipt, w.err
}

// board is the batch of a flight under w, who is in the queue no more.
func (b *batcher) board(w *waiting) []*waiting {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := min(len(b.queue), maxBatch-1)
	batch := append(append(make([]*waiting, 0, n+1), w), b.queue[:n]...)
	b.queue = append(b.queue[:0:0], b.queue[n:]...)
	return batch
}

// leave takes w out of the queue; false if it is not there any more.
func (b *batcher) leave(w *waiting) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.Index(b.queue, w)
	if i < 0 {
		return false
	}
	b.queue = slices.Delete(b.queue, i, i+1)
	return true
}

// fly commits a batch, lets the next one leave and tells those of this one.
func (b *batcher) fly(ctx context.Context, batch []*waiting) {
	var receipts []conversation.Receipt
	err := fmt.Errorf("the commit was broken off: %w", conversation.ErrUnavailable) // by a panic: the others are not to wait for ever
	defer func() {
		b.land()
		for i, w := range batch {
			w.err = err
			if err == nil {
				w.Receipt = receipts[i]
			}
			if w.done != nil {
				close(w.done)
			}
		}
	}()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	events := make([]conversation.Event, len(batch))
	for i, w := range batch {
		events[i] = w.event
	}
	receipts, err = b.store.Receive(ctx, events, b.window)
}

func (b *batcher) land() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue) == 0 || b.flights > 1 && len(b.queue) < fullLoad {
		b.flights-- // the other one comes back for those who wait
		return
	}
	// The flight goes on under the first who waits, and nobody else may call it. It takes the queue when it gets going, with
	// whoever has come by then.
	w := b.queue[0]
	b.queue = b.queue[1:]
	close(w.lead)
}
