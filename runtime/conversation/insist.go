package conversation

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// Backoff is the wait before the next attempt: doubling from base, at most limit, less up to a quarter so that replicas
// do not march in step. Attempts count from 1.
func Backoff(attempt int, base, limit time.Duration) time.Duration {
	wait := limit
	if shift := attempt - 1; shift < 20 && base<<shift < limit {
		wait = base << shift
	}
	return wait - time.Duration(rand.Int64N(int64(wait)/4+1))
}

// Pause waits; false if ctx ended first.
func Pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Insist repeats a store's operation through an outage, until it succeeds, is refused with one of the domain's errors, or
// ctx ends. The operation must be safe to repeat.
func Insist(ctx context.Context, operation func() error) error {
	for attempt := 1; ; attempt++ {
		err := operation()
		if err == nil || refused(err) {
			return err
		}
		if !Pause(ctx, Backoff(attempt, 50*time.Millisecond, 2*time.Second)) {
			return err
		}
	}
}

// refused says that a second try would be answered the same.
func refused(err error) bool {
	for _, final := range []error{
		ErrStaleEpoch, ErrTurnClosed, ErrNothingDue, ErrSuperseded, ErrInvalid, ErrNotFound, ErrWrongState, ErrNotOwner,
		ErrOfferGone, ErrNotYet, ErrNoAgent, ErrAtCapacity, ErrKeyReused, ErrSenderAlive, ErrBadToken, ErrMerged, ErrOnTheWire,
		ErrHumanOnDuty, ErrDecided, ErrNoLetter, ErrNotAppending,
	} {
		if errors.Is(err, final) {
			return true
		}
	}
	return false
}
