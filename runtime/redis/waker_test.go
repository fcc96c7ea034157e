package redis

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"plantao/runtime/redis/redistest"
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

func TestKindsReachOthers(t *testing.T) {
	t.Parallel()
	url := redistest.New(t).URL
	woken := func(self string) (*Waker, <-chan Kind) {
		w := NewWaker(mustOpen(t, Config{URL: url, Timeout: patience}), self, slog.New(slog.DiscardHandler))
		kinds, ended := make(chan Kind, 100), make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			defer close(ended)
			w.Run(ctx, func(k Kind) { kinds <- k })
		}()
		t.Cleanup(func() { cancel(); <-ended })
		for _, k := range []Kind{Work, Owner, Presence} {
			require.Equal(t, k, <-kinds, "whatever was missed")
		}
		return w, kinds
	}
	one, heardByOne := woken("one")
	other, heardByOther := woken("other")
	for _, k := range []Kind{Owner, Presence, Work} {
		one.WakeKind(k)
		require.Equal(t, k, <-heardByOther)
	}
	one.Wake()
	require.Equal(t, Work, <-heardByOther)
	other.WakeKind(Owner)
	require.Equal(t, Owner, <-heardByOne, "and none of its own before")
}

func TestHeard(t *testing.T) {
	t.Parallel()
	w := NewWaker(mustOpen(t, Config{URL: "redis://127.0.0.1:1/0"}), "me", slog.New(slog.DiscardHandler))
	for payload, want := range map[string]bool{
		"work you": true, "owner you": true, "presence you": true,
		"work me": false, "weather you": false, "you": false, "": false,
	} {
		kind, ok := w.heard(payload)
		require.Equal(t, want, ok, payload)
		if ok {
			require.Equal(t, kind.String()+" you", payload)
		}
	}
}
