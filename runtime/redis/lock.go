package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/sony/gobreaker/v2"

	"plantao/runtime/conversation"
)

const (
	lockPrefix = "router:lock:"
	minToken   = 16
	// maxFence is the largest whole number that a script of Redis, which knows only doubles, compares exactly.
	maxFence = 1<<53 - 1

	tripAfter = 3           // failures in a row
	probeWait = time.Second // between probes of a Redis that is away
)

// Locker implements conversation.Locker. It is safe for concurrent use and has nothing to close: its goroutine ends when
// the last operation is answered.
type Locker struct {
	batcher batcher
	log     *slog.Logger
}

var _ conversation.Locker = (*Locker)(nil)

// NewLocker prepares a locker; it dials nothing.
func NewLocker(c *Client, log *slog.Logger) *Locker {
	l := &Locker{log: log}
	l.batcher = batcher{client: c, breaker: gobreaker.NewCircuitBreaker[string](gobreaker.Settings{
		Timeout:       probeWait,
		ReadyToTrip:   func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= tripAfter },
		IsSuccessful:  func(err error) bool { return err == nil || replied(err) },
		OnStateChange: l.report,
	})}
	return l
}

// report says once that Redis went and once that it came back, and nothing of the probes between.
func (l *Locker) report(_ string, from, to gobreaker.State) {
	switch {
	case from == gobreaker.StateClosed:
		l.log.Warn("redis does not answer: conversation locks are not kept there")
	case to == gobreaker.StateClosed:
		l.log.Info("redis answers again: conversation locks are kept there")
	}
}

// Acquire implements conversation.Locker. When ctx ends first, a lock that was taken nevertheless is released again.
func (l *Locker) Acquire(ctx context.Context, r conversation.LockRequest) error {
	return l.do(ctx, acquire, r)
}

// Renew implements conversation.Locker. The fence stays as it was acquired.
func (l *Locker) Renew(ctx context.Context, r conversation.LockRequest) error {
	return l.do(ctx, renew, r)
}

// Release implements conversation.Locker.
func (l *Locker) Release(ctx context.Context, r conversation.LockRequest) error {
	return l.do(ctx, release, r)
}

func (l *Locker) do(ctx context.Context, s step, r conversation.LockRequest) error {
	err := check(s, r)
	if err == nil {
		key, value := encode(r)
		err = l.batcher.do(ctx, s, key, value, r.TTL)
	}
	var held *conversation.HeldError
	if err == nil || errors.As(err, &held) {
		return err
	}
	return fmt.Errorf("%s lock of conversation %s: %w", s, r.Conversation, err)
}

// check refuses what the script would misread.
func check(s step, r conversation.LockRequest) error {
	switch {
	case len(r.Token) < minToken:
		return fmt.Errorf("token of %d bytes, not %d: %w", len(r.Token), minToken, conversation.ErrInvalid)
	case r.Fence < 0 || r.Fence > maxFence:
		return fmt.Errorf("epoch %d: %w", r.Fence, conversation.ErrInvalid)
	case s != release && r.TTL < time.Millisecond:
		return fmt.Errorf("ttl %s: %w", r.TTL, conversation.ErrInvalid)
	}
	return nil
}

// encode is the key and the value of a lock, of one allocation.
func encode(r conversation.LockRequest) (key, value string) {
	var b strings.Builder
	var digits [20]byte
	b.Grow(len(lockPrefix) + len(r.Tenant) + 1 + len(digits) + len(digits) + 1 + len(r.Token))
	b.WriteString(lockPrefix)
	b.WriteString(r.Tenant)
	b.WriteByte(':')
	b.Write(strconv.AppendInt(digits[:0], int64(r.Conversation), 10))
	n := b.Len()
	b.Write(strconv.AppendInt(digits[:0], r.Fence, 10))
	b.WriteByte(':')
	b.WriteString(r.Token)
	return b.String()[:n], b.String()[n:]
}
