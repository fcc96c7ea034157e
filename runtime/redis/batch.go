package redis

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"

	"plantao/runtime/conversation"
)

// maxBatch bounds how long one batch keeps Redis from its other clients: some 0.2 ms. Larger ones were no faster
// (256 callers, 2 cores, 2026-11: 16 took 11 µs a pair of operations, 32 8 µs, 64 and more 7 µs).
const maxBatch = 64

//go:embed lua/lock.lua
var lockScript string

var lockScriptSHA = redis.NewScript(lockScript).Hash()

// step is what an operation does, in the word of the script.
type step string

const (
	acquire step = "acquire"
	renew   step = "renew"
	release step = "release"
)

// The answers of the script that are one word.
const (
	answerTaken = "taken"
	answerDone  = "done"
	answerLost  = "lost"
	answerStale = "stale"
)

// operation is one step of one lock on its way through a batch.
type operation struct {
	step       string
	key, value string
	ttl        int64 // milliseconds

	settled  atomic.Bool // by the answer, or by the caller who left: the first of them
	answered chan error  // room for one
}

var operations = sync.Pool{New: func() any { return &operation{answered: make(chan error, 1)} }}

// batcher sends what is asked for while a batch is under way as the next batch, in the order it was asked. Nobody waits
// for company: an operation that finds no batch under way is sent at once, alone.
type batcher struct {
	client  *Client
	breaker *gobreaker.CircuitBreaker[string]

	mu       sync.Mutex
	queue    []*operation
	flushing bool

	// The goroutine that flushes owns the rest.
	batch []*operation
	args  []any
}

// do runs one operation. The error is bare: ErrUnavailable, ErrLockLost, ErrStaleEpoch, *HeldError or the end of ctx.
func (b *batcher) do(ctx context.Context, s step, key, value string, ttl time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	o := operations.Get().(*operation)
	o.step, o.key, o.value, o.ttl = string(s), key, value, ttl.Milliseconds()
	o.settled.Store(false)
	if b.enqueue(o) {
		b.lead()
		return o.answer()
	}
	select {
	case err := <-o.answered:
		operations.Put(o)
		return err
	case <-ctx.Done():
		if o.settled.CompareAndSwap(false, true) {
			return ctx.Err() // o stays with its batch
		}
		return o.answer()
	}
}

// answer is for a caller who knows that there is one.
func (o *operation) answer() error {
	err := <-o.answered
	operations.Put(o)
	return err
}

// enqueue reports whether no batch is under way: then the caller leads the next.
func (b *batcher) enqueue(o *operation) (leads bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queue = append(b.queue, o)
	leads = !b.flushing
	b.flushing = true
	return leads
}

// lead sends one batch, with the caller's own operation. It does so in the caller's goroutine, because to hand it to
// another and back takes as long as Redis does (2 cores, 2026-11: 15 µs an operation against 35 µs). What was queued
// meanwhile must not keep this caller, and goes out from a goroutine of its own, which lasts while there is work.
func (b *batcher) lead() {
	b.flush()
	if b.more() {
		go func() {
			for b.flush(); b.more(); b.flush() {
			}
		}()
	}
}

func (b *batcher) flush() {
	b.take()
	if len(b.batch) == 0 {
		return // all callers had left
	}
	answers, err := b.breaker.Execute(b.send)
	if err != nil {
		b.fail(fmt.Errorf("%w: %w", conversation.ErrUnavailable, err))
		return
	}
	b.settle(answers)
}

// more reports whether something is queued. If not, whoever queues next leads.
func (b *batcher) more() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.flushing = len(b.queue) > 0
	return b.flushing
}

// take moves the head of the queue to the batch, without those whose caller has left.
func (b *batcher) take() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.batch)
	b.batch = b.batch[:0]
	n := min(len(b.queue), maxBatch)
	for _, o := range b.queue[:n] {
		if !o.settled.Load() {
			b.batch = append(b.batch, o)
		}
	}
	b.queue = slices.Delete(b.queue, 0, n)
}

// send is one round trip; two when Redis has lost the script.
func (b *batcher) send() (string, error) {
	ctx := deadline{context.Background(), time.Now().Add(b.client.timeout)}
	answers, err := b.eval(ctx, "EVALSHA", lockScriptSHA)
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		return b.eval(ctx, "EVAL", lockScript)
	}
	return answers, err
}

// deadline is a context that a connection's deadlines are set from. It never ends: a timer would cost a lone operation 2 %.
type deadline struct {
	context.Context
	at time.Time
}

func (d deadline) Deadline() (time.Time, bool) { return d.at, true }

func (b *batcher) eval(ctx context.Context, command, script string) (string, error) {
	args := append(b.args[:0], command, script, len(b.batch))
	for _, o := range b.batch {
		args = append(args, &o.key) // a pointer is not copied to the heap, a string is
	}
	for _, o := range b.batch {
		args = append(args, &o.step, &o.value)
		if o.step != string(release) {
			args = append(args, &o.ttl)
		}
	}
	b.args = args
	defer clear(args)
	return b.client.redis.Do(ctx, args...).Text()
}

// fail answers the batch, and what was queued behind it: a second wait for a Redis that is gone would be as vain.
func (b *batcher) fail(err error) {
	b.mu.Lock()
	failed := slices.Concat(b.batch, b.queue)
	b.queue = slices.Delete(b.queue, 0, len(b.queue))
	b.mu.Unlock()
	for _, o := range failed {
		if o.settled.CompareAndSwap(false, true) {
			o.answered <- err
		}
	}
}

// settle gives each operation its line of the answers.
func (b *batcher) settle(answers string) {
	for _, o := range b.batch {
		var line string
		line, answers, _ = strings.Cut(answers, "\n")
		if o.settled.CompareAndSwap(false, true) {
			o.answered <- read(line)
		} else if o.step == string(acquire) && line == answerTaken {
			b.undo(o)
		}
	}
}

// undo releases what was taken for a caller who had left: before all that is queued, where the same caller's next try may
// be.
func (b *batcher) undo(o *operation) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queue = slices.Insert(b.queue, 0, &operation{step: string(release), key: o.key, value: o.value, answered: make(chan error, 1)})
}

// read is what an answer of the script means.
func read(line string) error {
	switch line {
	case answerTaken, answerDone:
		return nil
	case answerLost:
		return conversation.ErrLockLost
	case answerStale:
		return conversation.ErrStaleEpoch
	}
	if held, ok := readHeld(line); ok {
		return held
	}
	return fmt.Errorf("%w: redis says %q", conversation.ErrUnavailable, line)
}

func readHeld(line string) (*conversation.HeldError, bool) {
	words := strings.Fields(line)
	if len(words) != 3 || words[0] != "held" {
		return nil, false
	}
	fence, err := strconv.ParseInt(words[1], 10, 64)
	left, err2 := strconv.ParseInt(words[2], 10, 64)
	return &conversation.HeldError{Fence: fence, Free: time.Duration(max(left, 0)) * time.Millisecond}, err == nil && err2 == nil
}

// replied says that Redis answered, if only to refuse: it is there.
func replied(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}
