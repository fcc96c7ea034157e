package redis

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReportsOnlyChanges(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	w, err := Open(Config{URL: "redis://127.0.0.1:1/0", Password: "s3cr3t", Logger: slog.New(slog.NewJSONHandler(&log, nil))})
	require.NoError(t, err)
	defer func() { require.NoError(t, w.Close()) }()
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
	w, err := Open(Config{URL: "redis://127.0.0.1:1/0", Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	defer func() { require.NoError(t, w.Close()) }()
	for range 100 {
		w.Wake() // nobody runs
	}
	require.Len(t, w.out, 1)
}

func TestCheckURL(t *testing.T) {
	t.Parallel()
	require.NoError(t, CheckURL("rediss://router@redis:6379/3"))
	for _, url := range []string{"http://redis", "redis://redis/first", "redis://redis/0?colour=red"} {
		require.Error(t, CheckURL(url), url)
	}
}
