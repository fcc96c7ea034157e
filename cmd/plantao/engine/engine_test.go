package engine_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/cmd/plantao/engine"
	"plantao/cmd/plantao/engine/enginetest"
)

// open is an engine over a double; the environment makes these tests serial.
func open(t *testing.T, pretend enginetest.Engine) (*engine.Engine, *enginetest.Double) {
	t.Helper()
	double := enginetest.Start(pretend, t.Errorf)
	t.Cleanup(double.Close)
	t.Setenv("DOCKER_HOST", double.Host())
	e, err := engine.Open()
	require.NoError(t, err)
	t.Cleanup(func() { _ = e.Close() })
	return e, double
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestInfo(t *testing.T) {
	e, _ := open(t, enginetest.Engine{Version: "20.10.24", API: "1.41", Driver: "overlay2", CPUs: 2, Memory: 8 << 30})
	info, err := e.Info(within(t))
	require.NoError(t, err)
	require.Equal(t, "20.10.24", info.Version)
	require.Equal(t, "1.41", info.API)
	require.Equal(t, int64(8<<30), info.MemoryBytes)
	require.WithinDuration(t, time.Now(), info.Time, time.Minute)
}

func TestUnreachable(t *testing.T) {
	for name, c := range map[string]struct {
		host   string
		absent bool
	}{
		"no socket":      {"unix://" + filepath.Join(t.TempDir(), "docker.sock"), true},
		"nobody listens": {"tcp://127.0.0.1:1", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("DOCKER_HOST", c.host)
			e, err := engine.Open()
			require.NoError(t, err)
			defer e.Close()
			_, err = e.Info(within(t))
			var unreachable *engine.UnreachableError
			require.ErrorAs(t, err, &unreachable)
			require.Equal(t, c.host, unreachable.Host)
			require.Equal(t, c.absent, unreachable.Absent)
			require.False(t, unreachable.Denied)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestContainers(t *testing.T) {
	e, _ := open(t, enginetest.Engine{Containers: []enginetest.Container{
		{Stack: "dev", Service: "redis", Image: "redis:8.6.3-alpine@sha256:abc", Health: "healthy", Used: 30 << 20, Cache: 10 << 20, Limit: 256 << 20, Restarts: 2, Up: time.Hour},
		{Stack: "dev", Service: "n8n", Image: "n8nio/n8n:2.42.1", Health: "unhealthy", URL: "http://n8n.localhost:8080"},
		{Stack: "dev", Service: "chatwoot-prepare", State: "exited", Policy: "no"},
		{Stack: "dev", Service: "evolution", State: "exited", ExitCode: 137, OOM: true},
		{Stack: "prod", Service: "postgres"},
		{Name: "stranger"},
	}})
	got, err := e.Containers(within(t), "dev")
	require.NoError(t, err)
	require.Len(t, got, 4)
	prepare, evolution, n8n, redis := got[0], got[1], got[2], got[3]

	require.True(t, prepare.Done())
	require.False(t, prepare.Failing())
	require.True(t, evolution.Failing())
	require.True(t, evolution.OOMKilled)
	require.False(t, evolution.Finished.IsZero())
	require.True(t, n8n.Failing())
	require.Equal(t, "http://n8n.localhost:8080", n8n.URL)
	require.False(t, redis.Failing())
	require.Equal(t, "redis:8.6.3-alpine", redis.Image)
	require.Equal(t, uint64(20<<20), redis.MemoryUsed)
	require.Equal(t, uint64(256<<20), redis.MemoryLimit)
	require.Equal(t, 2, redis.Restarts)
	require.True(t, redis.Finished.IsZero())
	require.WithinDuration(t, time.Now().Add(-time.Hour), redis.Started, time.Minute)
}

func TestPortHolder(t *testing.T) {
	e, _ := open(t, enginetest.Engine{Containers: []enginetest.Container{
		{Stack: "dev", Service: "ingress", Ports: []int{8080}},
		{Name: "web", Ports: []int{9090}},
	}})
	ours, err := e.PortHolder(within(t), 8080)
	require.NoError(t, err)
	require.Equal(t, "ingress", ours.Service)
	theirs, err := e.PortHolder(within(t), 9090)
	require.NoError(t, err)
	require.Equal(t, "web", theirs.Name)
	nobody, err := e.PortHolder(within(t), 7070)
	require.NoError(t, err)
	require.Nil(t, nobody)
}

func TestHasImage(t *testing.T) {
	e, _ := open(t, enginetest.Engine{Images: []string{"plantao-lab/n8n:1234"}})
	has, err := e.HasImage(within(t), "plantao-lab/n8n:1234")
	require.NoError(t, err)
	require.True(t, has)
	has, err = e.HasImage(within(t), "plantao-lab/redis:1234")
	require.NoError(t, err)
	require.False(t, has)
}

func lines(texts ...string) []enginetest.Line {
	out := make([]enginetest.Line, len(texts))
	for i, text := range texts {
		out[i] = enginetest.Line{Text: text}
	}
	return out
}

func TestLogsAreMergedByTime(t *testing.T) {
	base := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	long := strings.Repeat("x", 40<<10)
	e, _ := open(t, enginetest.Engine{Containers: []enginetest.Container{
		{Stack: "dev", Service: "n8n", Log: []enginetest.Line{{At: base, Text: "one"}, {At: base.Add(2 * time.Second), Text: "three", Stderr: true}}},
		{Stack: "dev", Service: "redis", Log: []enginetest.Line{{At: base.Add(time.Second), Text: "two"}, {At: base.Add(3 * time.Second), Text: long}, {At: base.Add(4 * time.Second)}}},
	}})
	containers, err := e.Containers(within(t), "dev")
	require.NoError(t, err)

	collect := func(r engine.LogRange) (got []string) {
		require.NoError(t, e.Logs(within(t), containers, r, func(l engine.Line) error {
			got = append(got, l.Service+" "+l.Text)
			return nil
		}))
		return got
	}
	require.Equal(t, []string{"n8n one", "redis two", "n8n three", "redis " + long, "redis "}, collect(engine.LogRange{Tail: -1}))
	require.Equal(t, []string{"n8n three", "redis "}, collect(engine.LogRange{Tail: 1}))
	require.Equal(t, []string{"n8n three", "redis " + long, "redis "}, collect(engine.LogRange{Tail: -1, Since: base.Add(1500 * time.Millisecond)}))

	stop := errors.New("enough")
	require.ErrorIs(t, e.Logs(within(t), containers, engine.LogRange{Tail: -1}, func(engine.Line) error { return stop }), stop)
}

// heard collects followed lines and lets a test wait for one.
type heard struct {
	mu    sync.Mutex
	lines []string
	fresh chan struct{}
}

func newHeard() *heard { return &heard{fresh: make(chan struct{}, 1)} }

func (h *heard) emit(l engine.Line) error {
	h.mu.Lock()
	h.lines = append(h.lines, l.Service+" "+l.Text)
	h.mu.Unlock()
	select {
	case h.fresh <- struct{}{}:
	default:
	}
	return nil
}

func (h *heard) all() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.lines...)
}

func (h *heard) wait(t *testing.T, n int) []string {
	t.Helper()
	deadline := time.After(15 * time.Second)
	for {
		if got := h.all(); len(got) >= n {
			return got
		}
		select {
		case <-h.fresh:
		case <-deadline:
			t.Fatalf("waited for %d lines, have %q", n, h.all())
		}
	}
}

func TestFollowSurvivesRestartReplacementAndALostEngine(t *testing.T) {
	e, double := open(t, enginetest.Engine{Containers: []enginetest.Container{
		{Stack: "dev", Service: "router-1", Log: lines("a", "b")},
		{Stack: "dev", Service: "n8n", Log: lines("not asked for")},
	}})
	ctx, cancel := context.WithCancel(within(t))
	heard, lost, ended := newHeard(), make(chan error, 8), make(chan error, 1)
	go func() {
		ended <- e.Follow(ctx, engine.Following{
			Stack: "dev", Wanted: func(service string) bool { return service == "router-1" },
			Range: engine.LogRange{Tail: 1}, Emit: heard.emit, Lost: func(err error) { lost <- err },
		})
	}()
	heard.wait(t, 1)
	double.Write("router-1", "c")
	heard.wait(t, 2)
	double.Stop("router-1")
	double.Restart("router-1")
	double.Write("router-1", "d")
	heard.wait(t, 3)
	double.Replace("router-1")
	double.Write("router-1", "e")
	heard.wait(t, 4)
	double.Drop()
	require.Error(t, <-lost)
	double.Write("router-1", "f")
	double.Write("n8n", "still not asked for")
	got := heard.wait(t, 5)
	require.Equal(t, []string{"router-1 b", "router-1 c", "router-1 d", "router-1 e", "router-1 f"}, got)
	cancel()
	require.NoError(t, <-ended)
}

func TestFollowEndsWithTheReader(t *testing.T) {
	e, _ := open(t, enginetest.Engine{Containers: []enginetest.Container{{Stack: "dev", Service: "n8n", Log: lines("a")}}})
	broken := errors.New("broken pipe")
	err := e.Follow(within(t), engine.Following{
		Stack: "dev", Range: engine.LogRange{Tail: -1}, Emit: func(engine.Line) error { return broken },
	})
	require.ErrorIs(t, err, broken)
}
