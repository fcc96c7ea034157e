package conversation_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

// locker answers everything with one error and counts.
type locker struct {
	err   error
	asked int
}

func (l *locker) Acquire(context.Context, conversation.LockRequest) error { l.asked++; return l.err }
func (l *locker) Renew(context.Context, conversation.LockRequest) error   { l.asked++; return l.err }
func (l *locker) Release(context.Context, conversation.LockRequest) error { l.asked++; return l.err }

func TestFallbackAsksTheSecondOnlyWhenTheFirstCannotTell(t *testing.T) {
	t.Parallel()
	away := fmt.Errorf("redis: %w: %w", conversation.ErrUnavailable, errors.New("connection refused"))
	held := &conversation.HeldError{Fence: 3, Free: time.Second}
	for _, c := range []struct {
		name           string
		first          error
		acquire, renew int // how often the second is asked
	}{
		{"first has it", nil, 0, 0},
		{"first is away", away, 1, 1},
		{"somebody else holds it", held, 0, 0},
		{"a later owner holds it", conversation.ErrStaleEpoch, 0, 0},
		{"first does not know it", conversation.ErrLockLost, 0, 1}, // it may have been acquired while the first was away
	} {
		second := &locker{}
		f := conversation.FallbackLocker{First: &locker{err: c.first}, Second: second}
		err := f.Acquire(t.Context(), conversation.LockRequest{})
		require.Equal(t, c.acquire, second.asked, c.name)
		if c.acquire == 0 {
			require.ErrorIs(t, err, c.first, c.name)
		}
		for _, call := range []func(context.Context, conversation.LockRequest) error{f.Renew, f.Release} {
			second.asked = 0
			_ = call(t.Context(), conversation.LockRequest{})
			require.Equal(t, c.renew, second.asked, c.name)
		}
	}
	require.ErrorIs(t, held, conversation.ErrLockHeld)
}
