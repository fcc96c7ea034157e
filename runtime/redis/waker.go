package redis

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"plantao/runtime/conversation"
)

// Channel is the pub/sub channel of wake-ups. An ACL user needs +subscribe +publish +ping on it.
const Channel = "router:wake"

const (
	silence       = 5 * time.Second // without a wake-up for so long, the subscription is tried out
	retryBase     = 100 * time.Millisecond
	retryInterval = 5 * time.Second
)

// Kind says what a wake-up is about. It carries no state: who is woken looks into the store.
type Kind uint8

// The kinds.
const (
	Work     Kind = iota // something may be due: messages came in, a turn ended
	Owner                // a conversation changed hands or a turn was answered: whoever holds turns looks at them at once
	Presence             // an agent came, went or changed what it can take
)

var kindNames = [...]string{Work: "work", Owner: "owner", Presence: "presence"}

func (k Kind) String() string { return kindNames[k] }

// Waker implements conversation.Waker. Run must be running for wake-ups to leave and arrive.
type Waker struct {
	client *Client
	self   string
	log    *slog.Logger
	asked  [len(kindNames)]atomic.Bool // kinds to publish: a second wish before the first is served is the same wish
	ring   chan struct{}               // room for one: some kind was asked for

	mu   sync.Mutex
	up   bool
	said bool // something was reported already
}

var _ conversation.Waker = (*Waker)(nil)

// NewWaker prepares a waker. Self marks this process's wake-ups, which it does not listen to itself.
func NewWaker(c *Client, self string, log *slog.Logger) *Waker {
	return &Waker{client: c, self: self, log: log, ring: make(chan struct{}, 1)}
}

// Up says whether the last contact with Redis succeeded.
func (w *Waker) Up() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.up
}

// Wake implements conversation.Waker: it is WakeKind(Work).
func (w *Waker) Wake() { w.WakeKind(Work) }

// WakeKind asks for a wake-up of other processes. It never blocks.
func (w *Waker) WakeKind(k Kind) {
	w.asked[k].Store(true)
	select {
	case w.ring <- struct{}{}:
	default:
	}
}

// Run publishes wake-ups and calls woken for each that arrives from another process, until ctx ends. Whenever the
// subscription comes to stand, woken is called once for every kind.
func (w *Waker) Run(ctx context.Context, woken func(Kind)) {
	var publisher sync.WaitGroup
	publisher.Go(func() { w.publish(ctx) })
	for attempt := 1; ctx.Err() == nil; attempt++ {
		if w.listen(ctx, woken) {
			attempt = 0 // it worked for a while
		}
		if !conversation.Pause(ctx, conversation.Backoff(attempt+1, retryBase, retryInterval)) {
			break
		}
	}
	publisher.Wait()
}

func (w *Waker) publish(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.ring:
		}
		for i := range w.asked {
			// Nobody listens through a Redis that is down: the wish is dropped.
			if w.asked[i].Swap(false) && w.Up() {
				w.publishKind(ctx, Kind(i))
			}
		}
	}
}

func (w *Waker) publishKind(ctx context.Context, k Kind) {
	call, cancel := context.WithTimeout(ctx, w.client.timeout)
	defer cancel()
	if err := w.client.redis.Publish(call, Channel, w.payload(k)).Err(); err != nil && ctx.Err() == nil {
		w.log.DebugContext(ctx, "wake-up not published", "kind", k.String(), "err", err)
	}
}

// payload is "kind self".
func (w *Waker) payload(k Kind) string { return k.String() + " " + w.self }

// heard is what a payload wakes. False for this process's own, and for a kind that a newer release may send.
func (w *Waker) heard(payload string) (Kind, bool) {
	name, from, _ := strings.Cut(payload, " ")
	if from == w.self {
		return 0, false
	}
	for i, known := range kindNames {
		if name == known {
			return Kind(i), true
		}
	}
	return 0, false
}

// listen subscribes and hands wake-ups on until the subscription breaks. True if it ever stood.
func (w *Waker) listen(ctx context.Context, woken func(Kind)) bool {
	sub := w.client.redis.Subscribe(ctx, Channel)
	defer sub.Close()
	defer context.AfterFunc(ctx, func() { _ = sub.Close() })() // a read under way does not look at ctx
	if _, err := sub.ReceiveTimeout(ctx, w.client.timeout); err != nil {
		w.report(ctx, err)
		return false
	}
	w.report(ctx, nil)
	for i := range kindNames {
		woken(Kind(i)) // whatever was published before we listened
	}
	tried := false
	for {
		msg, err := sub.ReceiveTimeout(ctx, silence)
		var ne net.Error
		switch {
		case err == nil:
			tried = false
			w.deliver(msg, woken)
		case ctx.Err() != nil:
			return true
		case errors.As(err, &ne) && ne.Timeout() && !tried:
			tried = true // a subscription that is only quiet answers the ping, as a message
			if err := sub.Ping(ctx); err != nil {
				w.report(ctx, err)
				return true
			}
		default:
			w.report(ctx, err)
			return true
		}
	}
}

func (w *Waker) deliver(msg any, woken func(Kind)) {
	m, ok := msg.(*redis.Message)
	if !ok {
		return // a pong
	}
	if k, ok := w.heard(m.Payload); ok {
		woken(k)
	}
}

// report logs changes of state only.
func (w *Waker) report(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	w.mu.Lock()
	changed := !w.said || w.up != (err == nil)
	w.said, w.up = true, err == nil
	w.mu.Unlock()
	switch {
	case !changed:
	case err == nil:
		w.log.InfoContext(ctx, "redis is up: wake-ups reach other replicas at once")
	default:
		w.log.WarnContext(ctx, "redis is down: other replicas find work by polling", "err", err)
	}
}
