package redis_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation/storetest"
	"plantao/runtime/redis"
	"plantao/runtime/redis/redistest"
)

func TestTheLockDoesWhatEveryLockerMust(t *testing.T) {
	t.Parallel()
	storetest.RunLocker(t, func(t *testing.T) storetest.LockerFixture {
		server := redistest.New(t)
		open := func() *redis.Locker {
			client, err := redis.Open(redis.Config{URL: server.URL, Timeout: 10 * time.Second}) // the suite is not about speed
			require.NoError(t, err)
			t.Cleanup(func() { _ = client.Close() })
			return redis.NewLocker(client, slog.New(slog.DiscardHandler))
		}
		return storetest.LockerFixture{A: open(), B: open(), One: 1, Other: 2}
	})
}
