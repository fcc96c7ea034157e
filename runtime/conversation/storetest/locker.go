package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

// LockerFixture is one fresh, empty locker behind two handles.
type LockerFixture struct {
	A, B conversation.Locker
	// One and Other are conversations that may be locked.
	One, Other conversation.ID
}

// RunLocker runs what every conversation.Locker must do, each case against a fixture of its own.
func RunLocker(t *testing.T, open func(t *testing.T) LockerFixture) {
	for name, test := range map[string]func(*testing.T, LockerFixture){
		"OneHolder":            oneHolder,
		"LaterOwnerTakesOver":  laterOwnerTakesOver,
		"OnlyTheHolderLetsGo":  onlyTheHolderLetsGo,
		"LockRunsOut":          lockRunsOut,
		"RenewedLockStays":     renewedLockStays,
		"ConversationsApart":   conversationsApart,
		"OneOfManyAtOnce":      oneOfManyAtOnce,
		"HighestFenceOfMany":   highestFenceOfMany,
		"ReleaseAndTakeAtOnce": releaseAndTakeAtOnce,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func (f LockerFixture) request(fence int64) conversation.LockRequest {
	return conversation.LockRequest{Tenant: tenant, Conversation: f.One, Fence: fence, Token: uuid.NewString(), TTL: time.Minute}
}

func oneHolder(t *testing.T, f LockerFixture) {
	mine, other := f.request(5), f.request(5)
	require.NoError(t, f.A.Acquire(t.Context(), mine))
	err := f.B.Acquire(t.Context(), other)
	require.ErrorIs(t, err, conversation.ErrLockHeld)
	var held *conversation.HeldError
	require.ErrorAs(t, err, &held)
	require.EqualValues(t, 5, held.Fence)
	require.Greater(t, held.Free, 50*time.Second)
	require.LessOrEqual(t, held.Free, time.Minute)
	require.NoError(t, f.B.Acquire(t.Context(), mine), "who has it keeps it")
	mine.TTL = 2 * time.Minute
	require.NoError(t, f.A.Acquire(t.Context(), mine))
	require.ErrorAs(t, f.A.Acquire(t.Context(), other), &held)
	require.Greater(t, held.Free, time.Minute, "and for as long as it asked for now")
}

func laterOwnerTakesOver(t *testing.T, f LockerFixture) {
	old, next := f.request(5), f.request(6)
	require.NoError(t, f.A.Acquire(t.Context(), old))
	require.NoError(t, f.B.Acquire(t.Context(), next), "the conversation has changed hands")
	require.ErrorIs(t, f.A.Acquire(t.Context(), old), conversation.ErrStaleEpoch)
	require.ErrorIs(t, f.A.Renew(t.Context(), old), conversation.ErrLockLost)
	require.ErrorIs(t, f.A.Release(t.Context(), old), conversation.ErrLockLost)
	require.NoError(t, f.B.Renew(t.Context(), next))

	again := next
	again.Fence = 7
	require.NoError(t, f.A.Acquire(t.Context(), again), "its own, at a later epoch")
	require.ErrorIs(t, f.A.Acquire(t.Context(), next), conversation.ErrStaleEpoch, "also with the holder's own token")
	var held *conversation.HeldError
	require.ErrorAs(t, f.A.Acquire(t.Context(), f.request(7)), &held)
	require.EqualValues(t, 7, held.Fence)
}

func onlyTheHolderLetsGo(t *testing.T, f LockerFixture) {
	mine, other := f.request(5), f.request(5)
	require.ErrorIs(t, f.A.Renew(t.Context(), mine), conversation.ErrLockLost, "nobody has it")
	require.ErrorIs(t, f.A.Release(t.Context(), mine), conversation.ErrLockLost)
	require.NoError(t, f.A.Acquire(t.Context(), mine))
	require.ErrorIs(t, f.B.Renew(t.Context(), other), conversation.ErrLockLost)
	require.ErrorIs(t, f.B.Release(t.Context(), other), conversation.ErrLockLost)
	require.ErrorIs(t, f.B.Acquire(t.Context(), other), conversation.ErrLockHeld, "it was not touched")
	require.NoError(t, f.B.Release(t.Context(), mine))
	require.ErrorIs(t, f.A.Release(t.Context(), mine), conversation.ErrLockLost, "once")
	require.NoError(t, f.B.Acquire(t.Context(), other))
	require.ErrorIs(t, f.A.Release(t.Context(), mine), conversation.ErrLockLost, "it is another's now")
	require.NoError(t, f.B.Renew(t.Context(), other))
}

// acquired waits until the lock is had and says how long after the given moment.
func (f LockerFixture) acquired(t *testing.T, r conversation.LockRequest, since time.Time) time.Duration {
	t.Helper()
	require.Eventually(t, func() bool {
		err := f.B.Acquire(t.Context(), r)
		assert.True(t, err == nil || errors.Is(err, conversation.ErrLockHeld), "%v", err)
		return err == nil
	}, 20*time.Second, 5*time.Millisecond)
	return time.Since(since)
}

func lockRunsOut(t *testing.T, f LockerFixture) {
	mine := f.request(5)
	mine.TTL = 100 * time.Millisecond
	since := time.Now()
	require.NoError(t, f.A.Acquire(t.Context(), mine))
	next := f.request(5)
	require.GreaterOrEqual(t, f.acquired(t, next, since), mine.TTL, "not a moment sooner")
	require.ErrorIs(t, f.A.Renew(t.Context(), mine), conversation.ErrLockLost)
	require.ErrorIs(t, f.A.Release(t.Context(), mine), conversation.ErrLockLost)
	require.NoError(t, f.B.Renew(t.Context(), next))
}

func renewedLockStays(t *testing.T, f LockerFixture) {
	mine, other := f.request(5), f.request(5)
	require.NoError(t, f.A.Acquire(t.Context(), mine))
	mine.TTL = 5 * time.Minute
	require.NoError(t, f.B.Renew(t.Context(), mine))
	var held *conversation.HeldError
	require.ErrorAs(t, f.B.Acquire(t.Context(), other), &held)
	require.Greater(t, held.Free, 4*time.Minute)
	since := time.Now()
	mine.TTL = 300 * time.Millisecond
	require.NoError(t, f.A.Renew(t.Context(), mine))
	require.GreaterOrEqual(t, f.acquired(t, other, since), mine.TTL, "from the renewal on")

	// One that ran out is lost, also when nobody took it.
	lapsed := f.request(6)
	lapsed.TTL = time.Millisecond
	require.NoError(t, f.A.Acquire(t.Context(), lapsed))
	require.Eventually(t, func() bool { return errors.Is(f.A.Renew(t.Context(), lapsed), conversation.ErrLockLost) },
		20*time.Second, 5*time.Millisecond)
	require.ErrorIs(t, f.A.Release(t.Context(), lapsed), conversation.ErrLockLost)
}

func conversationsApart(t *testing.T, f LockerFixture) {
	mine, other := f.request(5), f.request(5)
	other.Conversation = f.Other
	require.NoError(t, f.A.Acquire(t.Context(), mine))
	require.NoError(t, f.A.Acquire(t.Context(), other))
	swapped := other
	swapped.Token = mine.Token
	require.ErrorIs(t, f.A.Release(t.Context(), swapped), conversation.ErrLockLost)
	elsewhere := f.request(5)
	elsewhere.Tenant = "other"
	require.NoError(t, f.A.Acquire(t.Context(), elsewhere), "no lock crosses tenants")
	require.NoError(t, f.B.Renew(t.Context(), mine))
	require.NoError(t, f.B.Renew(t.Context(), other))
}

// each asks for the lock with many requests at once, at both handles.
func (f LockerFixture) each(t *testing.T, requests []conversation.LockRequest) []error {
	var all sync.WaitGroup
	failures := make([]error, len(requests))
	for i, r := range requests {
		all.Go(func() { failures[i] = []conversation.Locker{f.A, f.B}[i%2].Acquire(t.Context(), r) })
	}
	all.Wait()
	return failures
}

func oneOfManyAtOnce(t *testing.T, f LockerFixture) {
	for round := range int64(5) {
		var requests []conversation.LockRequest
		for range 16 {
			requests = append(requests, f.request(round))
		}
		won := 0
		for i, err := range f.each(t, requests) {
			if err == nil {
				won++
				require.NoError(t, f.A.Renew(t.Context(), requests[i]))
				continue
			}
			require.ErrorIs(t, err, conversation.ErrLockHeld)
		}
		require.Equal(t, 1, won)
	}
}

func highestFenceOfMany(t *testing.T, f LockerFixture) {
	var requests []conversation.LockRequest
	for i := range int64(16) {
		requests = append(requests, f.request(i))
	}
	for i, err := range f.each(t, requests) {
		require.True(t, err == nil || errors.Is(err, conversation.ErrStaleEpoch) || errors.Is(err, conversation.ErrLockHeld), "fence %d: %v", i, err)
	}
	for _, r := range requests[:15] {
		require.ErrorIs(t, f.A.Renew(t.Context(), r), conversation.ErrLockLost, fmt.Sprint("fence ", r.Fence))
	}
	require.NoError(t, f.A.Renew(t.Context(), requests[15]), "the latest owner has it, in whatever order they came")
}

func releaseAndTakeAtOnce(t *testing.T, f LockerFixture) {
	mine := f.request(5)
	require.NoError(t, f.A.Acquire(t.Context(), mine))
	next := f.request(5)
	var all sync.WaitGroup
	all.Go(func() { assert.NoError(t, f.A.Release(t.Context(), mine)) })
	f.acquired(t, next, time.Now())
	all.Wait()
	require.NoError(t, f.B.Renew(t.Context(), next))
	require.ErrorIs(t, f.A.Renew(t.Context(), mine), conversation.ErrLockLost)
}
