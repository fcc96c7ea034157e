// Package redis carries wake-ups between replicas. It is an accelerator and nothing else: every failure here costs at
// most one poll interval, and is reported once when Redis goes and once when it comes back.
package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"plantao/runtime/conversation"
)

// Channel is the pub/sub channel of wake-ups. An ACL user needs +subscribe +publish +ping on it.
const Channel = "router:wake"

const (
	callTimeout   = 50 * time.Millisecond
	silence       = 5 * time.Second // without a wake-up for so long, the subscription is tried out
	retryBase     = 100 * time.Millisecond
	retryInterval = 5 * time.Second
)

// Config says how to reach Redis.
type Config struct {
	URL      string // redis://user@host:port/db; without a password
	Password string // empty: none is sent
	Self     string // marks this process's wake-ups, which it does not listen to itself
	Logger   *slog.Logger
}

// Waker implements conversation.Waker. Run must be running for wake-ups to leave and arrive.
type Waker struct {
	client *redis.Client
	self   string
	log    *slog.Logger
	out    chan struct{} // room for one

	mu   sync.Mutex
	up   bool
	said bool // something was reported already
}

var _ conversation.Waker = (*Waker)(nil)

// quiet drops what the library would print by itself: the state changes are reported here.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// CheckURL says what Open would refuse, without opening anything.
func CheckURL(url string) error {
	_, err := redis.ParseURL(url)
	return err
}

// Open prepares a client; it dials nothing.
func Open(c Config) (*Waker, error) {
	opt, err := redis.ParseURL(c.URL)
	if err != nil {
		return nil, fmt.Errorf("read redis url: %w", err)
	}
	if c.Password != "" {
		opt.Password = c.Password
	}
	opt.DialTimeout, opt.ReadTimeout, opt.WriteTimeout, opt.PoolTimeout = callTimeout, callTimeout, callTimeout, callTimeout
	opt.MaxRetries = -1
	opt.PoolSize = 4
	opt.DisableIdentity = true // CLIENT SETINFO is one more right to grant
	opt.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	redis.SetLogger(quiet{})
	return &Waker{client: redis.NewClient(opt), self: c.Self, log: c.Logger, out: make(chan struct{}, 1)}, nil
}

// Close drops the connections.
func (w *Waker) Close() error { return w.client.Close() }

// Up says whether the last contact with Redis succeeded.
func (w *Waker) Up() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.up
}

// Wake implements conversation.Waker.
func (w *Waker) Wake() {
	select {
	case w.out <- struct{}{}:
	default:
	}
}

// Run publishes wake-ups and calls woken for each that arrives from another process, until ctx ends.
func (w *Waker) Run(ctx context.Context, woken func()) {
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
		case <-w.out:
		}
		if !w.Up() {
			continue // nobody listens through a Redis that is down
		}
		call, cancel := context.WithTimeout(ctx, callTimeout)
		err := w.client.Publish(call, Channel, w.self).Err()
		cancel()
		if err != nil && ctx.Err() == nil {
			w.log.DebugContext(ctx, "wake-up not published", "err", err)
		}
	}
}

// listen subscribes and hands wake-ups on until the subscription breaks. True if it ever stood.
func (w *Waker) listen(ctx context.Context, woken func()) bool {
	sub := w.client.Subscribe(ctx, Channel)
	defer sub.Close()
	if _, err := sub.ReceiveTimeout(ctx, callTimeout); err != nil {
		w.report(ctx, err)
		return false
	}
	w.report(ctx, nil)
	woken() // whatever was published before we listened
	tried := false
	for {
		msg, err := sub.ReceiveTimeout(ctx, silence)
		var ne net.Error
		switch {
		case err == nil:
			tried = false
			if m, ok := msg.(*redis.Message); ok && m.Payload != w.self {
				woken()
			}
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
