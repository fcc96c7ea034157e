package conversation

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBackoffDoublesUpToItsLimit(t *testing.T) {
	t.Parallel()
	const base, limit = 100 * time.Millisecond, time.Second
	for attempt, full := range map[int]time.Duration{
		1: base, 2: 2 * base, 3: 4 * base, 4: 8 * base, 5: limit, 20: limit, 21: limit, 63: limit, 1 << 30: limit,
	} {
		for range 50 {
			wait := Backoff(attempt, base, limit)
			require.LessOrEqual(t, wait, full, "attempt %d", attempt)
			require.GreaterOrEqual(t, wait, full*3/4, "attempt %d", attempt)
		}
	}
}

func TestInsist(t *testing.T) {
	t.Parallel()
	down := errors.New("down")
	for _, c := range []struct {
		name  string
		fails []error
		want  error
		calls int
	}{
		{"succeeds at last", []error{down, down, down}, nil, 4},
		{"refused at once", []error{fmt.Errorf("x: %w", ErrTurnClosed)}, ErrTurnClosed, 1},
		{"refused after an outage", []error{down, ErrStaleEpoch}, ErrStaleEpoch, 2},
		{"nothing due", []error{ErrNothingDue}, ErrNothingDue, 1},
		{"superseded", []error{ErrSuperseded}, ErrSuperseded, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				err := Insist(t.Context(), func() error {
					calls++
					if calls <= len(c.fails) {
						return c.fails[calls-1]
					}
					return nil
				})
				require.ErrorIs(t, err, c.want)
				require.Equal(t, c.calls, calls)
			})
		})
	}
}

func TestInsistEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		down, start := errors.New("down"), time.Now()
		require.ErrorIs(t, Insist(ctx, func() error { return down }), down, "the cause, not the end of the context")
		require.Equal(t, time.Minute, time.Since(start))
	})
}
