package redis

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func mustOpen(t *testing.T, c Config) *Client {
	t.Helper()
	client, err := Open(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

func TestReportsOnlyChanges(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	w := NewWaker(mustOpen(t, Config{URL: "redis://127.0.0.1:1/0", Password: "s3cr3t"}), "me", slog.New(slog.NewJSONHandler(&log, nil)))
	down := errors.New("no route")
	for _, step := range []struct {
		err   error
		lines int
	}{{down, 1}, {down, 1}, {nil, 2}, {nil, 2}, {down, 3}} {
		w.report(t.Context(), step.err)
		require.Equal(t, step.lines, strings.Count(log.String(), "\n"))
		require.Equal(t, step.err == nil, w.Up())
	}
	require.NotContains(t, log.String(), "s3cr3t")
}

func TestWakeNeverBlocks(t *testing.T) {
	t.Parallel()
	w := NewWaker(mustOpen(t, Config{URL: "redis://127.0.0.1:1/0"}), "me", slog.New(slog.DiscardHandler))
	for range 100 {
		w.Wake() // nobody runs
	}
	require.Len(t, w.ring, 1)
}

func TestCheckURL(t *testing.T) {
	t.Parallel()
	require.NoError(t, CheckURL("rediss://router@redis:6379/3"))
	for _, url := range []string{"http://redis", "redis://redis/first", "redis://redis/0?colour=red"} {
		require.Error(t, CheckURL(url), url)
	}
}
