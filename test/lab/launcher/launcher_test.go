package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/websocket"
)

// TestMain lets this binary play the runner: it sends its environment to the test and ends, or stays until
// it is told to go.
func TestMain(m *testing.M) {
	url := os.Getenv("RUNNER_REPORTS_TO")
	if url == "" {
		os.Exit(m.Run())
	}
	b, _ := json.Marshal(os.Environ())
	res, err := http.Post(url, "application/json", bytes.NewReader(b))
	if err != nil {
		os.Exit(1)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	res.Body.Close()
}

const authToken = "auth-token"

// fakeBroker is the broker's side of the contract.
type fakeBroker struct {
	t *testing.T
	*httptest.Server
	// offers receives each task offer; the broker accepts it once accept can be read.
	offers chan message
	accept chan struct{}
	// deferred receives the id of each task that the launcher leaves to a runner; drop ends the connection instead.
	deferred chan string
	drop     chan struct{}
	// runners receives the environment of each runner started.
	runners chan []string
	grants  chan string
}

func newFakeBroker(t *testing.T) *fakeBroker {
	b := &fakeBroker{
		t: t, offers: make(chan message, 8), accept: make(chan struct{}, 8), deferred: make(chan string, 8), drop: make(chan struct{}, 8),
		runners: make(chan []string, 8), grants: make(chan string, 64),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /runners/auth", b.grant)
	mux.Handle("GET /runners/_ws", websocket.Server{Handler: b.talk})
	mux.HandleFunc("POST /runner", func(_ http.ResponseWriter, r *http.Request) {
		var env []string
		assert.NoError(t, json.NewDecoder(r.Body).Decode(&env))
		b.runners <- env
	})
	b.Server = httptest.NewServer(mux)
	t.Cleanup(b.Close)
	return b
}

func (b *fakeBroker) grant(w http.ResponseWriter, r *http.Request) {
	var body struct{ Token string }
	if json.NewDecoder(r.Body).Decode(&body) != nil || body.Token != authToken {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	token := "grant-" + string(rune('a'+len(b.grants)))
	b.grants <- token
	_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]string{"token": token}})
}

func (b *fakeBroker) talk(conn *websocket.Conn) {
	assert.True(b.t, strings.HasPrefix(conn.Request().Header.Get("Authorization"), "Bearer grant-"))
	assert.NotEmpty(b.t, conn.Request().URL.Query().Get("id"))
	send := func(m message) { _ = websocket.JSON.Send(conn, m) }
	send(message{Type: "broker:inforequest"})
	var m message
	for websocket.JSON.Receive(conn, &m) == nil {
		switch m.Type {
		case "runner:info":
			assert.Equal(b.t, []string{"javascript"}, m.Types)
			send(message{Type: "broker:runnerregistered"})
		case "runner:taskoffer":
			b.offers <- m
			select {
			case <-b.accept:
				send(message{Type: "broker:taskofferaccept", TaskID: "task-1"})
			case <-b.drop:
				return
			case <-conn.Request().Context().Done():
				return
			}
		case "runner:taskdeferred":
			b.deferred <- m.TaskID
			return
		}
		m = message{}
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port
}

// environment writes a config file whose runner is this test binary.
func environment(t *testing.T, broker string) []string {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	dir := t.TempDir()
	file := map[string]any{"task-runners": []map[string]any{{
		"runner-type": "javascript", "workdir": dir, "command": self, "allowed-env": []string{"ALLOWED"},
		"env-overrides": map[string]string{
			"RUNNER_REPORTS_TO": broker + "/runner", "NODE_FUNCTION_ALLOW_BUILTIN": "crypto", "N8N_RUNNERS_GRANT_TOKEN": "overridden",
		},
	}}}
	b, err := json.Marshal(file)
	require.NoError(t, err)
	config := filepath.Join(dir, "runners.json")
	require.NoError(t, os.WriteFile(config, b, 0o600))
	token := filepath.Join(dir, "token")
	require.NoError(t, os.WriteFile(token, []byte(authToken+"\n"), 0o600))
	return []string{
		"N8N_RUNNERS_TASK_BROKER_URI=" + broker, "N8N_RUNNERS_AUTH_TOKEN_FILE=" + token, "N8N_RUNNERS_CONFIG_PATH=" + config,
		"N8N_RUNNERS_LAUNCHER_HEALTH_CHECK_PORT=" + freePort(t), "ALLOWED=yes", "NODE_FUNCTION_ALLOW_EXTERNAL=ignored", "SECRET=kept",
	}
}

func receive[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(20 * time.Second):
		require.Fail(t, "waited in vain for "+what)
		panic("unreachable")
	}
}

func TestLauncherRunsRunnerPerTask(t *testing.T) {
	b := newFakeBroker(t)
	env := environment(t, b.URL)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, []string{"javascript"}, env) }()

	for range 2 {
		offer := receive(t, "an offer", b.offers)
		assert.Equal(t, "javascript", offer.TaskType)
		assert.Equal(t, -1, offer.ValidFor)
		assert.NotEmpty(t, offer.OfferID)
		b.accept <- struct{}{}
		assert.Equal(t, "task-1", receive(t, "the deferral", b.deferred))

		got := receive(t, "the runner", b.runners)
		assert.Contains(t, got, "ALLOWED=yes")
		assert.Contains(t, got, "NODE_FUNCTION_ALLOW_BUILTIN=crypto")
		assert.Contains(t, got, "N8N_RUNNERS_TASK_BROKER_URI="+b.URL)
		assert.Contains(t, got, "N8N_RUNNERS_HEALTH_CHECK_SERVER_ENABLED=true")
		assert.Contains(t, got, "N8N_RUNNERS_HEALTH_CHECK_SERVER_PORT=5681")
		all := strings.Join(got, "\n")
		assert.Contains(t, all, "N8N_RUNNERS_GRANT_TOKEN=grant-")
		for _, hidden := range []string{authToken, "SECRET", "ignored", "overridden"} {
			assert.NotContains(t, all, hidden)
		}
	}

	// A broker that goes away is waited for.
	receive(t, "an offer", b.offers)
	b.drop <- struct{}{}
	receive(t, "an offer after the broker was gone", b.offers)

	port := strings.TrimPrefix(env[3], "N8N_RUNNERS_LAUNCHER_HEALTH_CHECK_PORT=")
	res, err := http.Get("http://127.0.0.1:" + port + "/healthz")
	require.NoError(t, err)
	res.Body.Close()
	assert.Equal(t, http.StatusOK, res.StatusCode)

	cancel()
	require.NoError(t, receive(t, "the end", ended))
}

func TestLauncherEndsWhenTokenIsRefused(t *testing.T) {
	b := newFakeBroker(t)
	env := append(environment(t, b.URL), "N8N_RUNNERS_AUTH_TOKEN=wrong")
	env[1] = "UNUSED=" // the file goes before the variable
	err := run(t.Context(), []string{"javascript"}, env)
	require.ErrorContains(t, err, "refused N8N_RUNNERS_AUTH_TOKEN")
	assert.NotContains(t, err.Error(), "wrong")
}

func TestLoadConfigReportsEverything(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "runners.json")
	require.NoError(t, os.WriteFile(config, []byte(`{"task-runners":[{"runner-type":"javascript","health-check-server-port":"5680"}]}`), 0o600))
	for name, c := range map[string]struct {
		args, env []string
		want      []string
	}{
		"nothing set": {nil, nil, []string{"set N8N_RUNNERS_AUTH_TOKEN", "name at least one runner type"}},
		"all wrong": {[]string{"python"}, []string{
			"N8N_RUNNERS_AUTH_TOKEN=x", "N8N_RUNNERS_TASK_BROKER_URI=n8n:5679", "N8N_RUNNERS_LAUNCHER_HEALTH_CHECK_PORT=0",
			"N8N_RUNNERS_AUTO_SHUTDOWN_TIMEOUT=-1", "N8N_RUNNERS_LAUNCHER_LOG_LEVEL=loud", "N8N_RUNNERS_CONFIG_PATH=" + config,
		}, []string{`"n8n:5679" is not an http URL`, `"0" is not a port`, `"-1" is not a number of seconds`, `"loud" is none of`, `no runner of type "python"`}},
		"port taken":   {[]string{"javascript"}, []string{"N8N_RUNNERS_CONFIG_PATH=" + config}, []string{"5680 is used by the launcher"}},
		"file missing": {[]string{"javascript"}, []string{"N8N_RUNNERS_AUTH_TOKEN_FILE=" + dir + "/none"}, []string{"read N8N_RUNNERS_AUTH_TOKEN_FILE"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := loadConfig(c.args, c.env)
			for _, want := range c.want {
				assert.ErrorContains(t, err, want)
			}
		})
	}
}
