package conversation

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// LockRequest asks for the lock of one conversation.
type LockRequest struct {
	Tenant       string
	Conversation ID
	// Fence is the conversation's epoch as the caller read it from the store. A request with a higher fence takes the lock
	// from a holder with a lower one, whose conversation has changed hands; one with a lower fence is refused.
	Fence int64
	// Token is the caller's own random word, at least 16 bytes of it; only who knows it renews or releases.
	Token string
	TTL   time.Duration // at least a millisecond
}

// Locker keeps the conversation lock: a hint that saves two clients from doing the same work, and nothing more. It may be
// lost at any time (a flushed or failed-over Redis), so whatever must not happen twice is refused by the store's epoch,
// generation and one_turn, and the fence a lock carries comes from there.
type Locker interface {
	// Acquire takes the lock, or keeps it when the token is the holder's own. Errors: *HeldError; ErrStaleEpoch when a
	// later owner of the conversation holds it; ErrUnavailable when the locker cannot be asked.
	Acquire(ctx context.Context, r LockRequest) error
	// Renew extends a lock that is held with this token; ErrLockLost if it is not, ErrUnavailable as above.
	Renew(ctx context.Context, r LockRequest) error
	// Release frees a lock that is held with this token; ErrLockLost if it is not, ErrUnavailable as above.
	Release(ctx context.Context, r LockRequest) error
}

// HeldError is a lock somebody else holds. It is an ErrLockHeld.
type HeldError struct {
	Fence int64
	Free  time.Duration // until it runs out, unless it is renewed
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("%v with epoch %d, free in %s at the latest unless renewed", ErrLockHeld, e.Fence, e.Free.Round(time.Millisecond))
}

// Is makes errors.Is(err, ErrLockHeld) true.
func (*HeldError) Is(target error) bool { return target == ErrLockHeld }

// FallbackLocker asks First, and Second while First cannot be asked. A lock may be held in both for as long as its TTL when
// First comes back: it is a hint, see Locker.
type FallbackLocker struct{ First, Second Locker }

// Acquire implements Locker.
func (f FallbackLocker) Acquire(ctx context.Context, r LockRequest) error {
	err := f.First.Acquire(ctx, r)
	if errors.Is(err, ErrUnavailable) {
		return f.Second.Acquire(ctx, r)
	}
	return err
}

// Renew implements Locker. What First does not know may have been acquired while it was away.
func (f FallbackLocker) Renew(ctx context.Context, r LockRequest) error {
	return f.either(f.First.Renew(ctx, r), func() error { return f.Second.Renew(ctx, r) })
}

// Release implements Locker, as Renew.
func (f FallbackLocker) Release(ctx context.Context, r LockRequest) error {
	return f.either(f.First.Release(ctx, r), func() error { return f.Second.Release(ctx, r) })
}

func (FallbackLocker) either(first error, second func() error) error {
	if errors.Is(first, ErrUnavailable) || errors.Is(first, ErrLockLost) {
		return second()
	}
	return first
}
