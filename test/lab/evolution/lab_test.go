package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"plantao/runtime/postgres/postgrestest"
	"plantao/test/lab/evolution/control"
	"plantao/test/lab/evolution/environment"
	"plantao/test/lab/evolution/environment/environmenttest"
	"plantao/test/lab/evolution/server"
	"plantao/test/lab/evolution/store"
	"plantao/test/lab/evolution/webhook"
)

const globalKey = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"

// patience is how long a test waits for something that should come at once.
const patience = 30 * time.Second

// lab is the stand-in inside the test process, on a real database.
type lab struct {
	t       *testing.T
	api     string
	control string
	hook    *receiver

	mu    sync.Mutex
	waits []time.Duration // what calls asked to wait for; no time passes
}

func newLab(t *testing.T, change map[string]string) *lab {
	t.Helper()
	env := environmenttest.Safe()
	env["DATABASE_CONNECTION_URI"] = databaseURI(t)
	maps.Copy(env, change)
	cfg, err := environment.Load(environmenttest.Lookup(env))
	require.NoError(t, err)
	_, err = store.Migrate(t.Context(), cfg.Database.URI)
	require.NoError(t, err)
	db, err := store.Open(t.Context(), cfg.Database.URI)
	require.NoError(t, err)
	t.Cleanup(db.Close)

	l := &lab{t: t, hook: newReceiver(t)}
	log := slog.New(slog.DiscardHandler)
	board := &control.Board{}
	sender := webhook.New(cfg, db, board, nil, log)
	t.Cleanup(sender.Close)
	api, err := server.New(t.Context(), server.Options{Config: cfg, Store: db, Sender: sender, Board: board, Log: log, Wait: l.noteWait})
	require.NoError(t, err)
	apiServer, controlServer := httptest.NewServer(api), httptest.NewServer(control.Handler(board, api))
	t.Cleanup(apiServer.Close)
	t.Cleanup(controlServer.Close)
	t.Cleanup(api.Close)
	l.api, l.control = apiServer.URL, controlServer.URL
	return l
}

func (l *lab) noteWait(_ context.Context, d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waits = append(l.waits, d)
}

func (l *lab) waited() []time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]time.Duration(nil), l.waits...)
}

// databaseURI gives a test a database of its own on a real server, in the form Prisma reads.
func databaseURI(t *testing.T) string {
	t.Helper()
	return postgrestest.NewEmpty(t).URL + "&connection_limit=5&schema=evolution_api"
}

// do sends a JSON request with the global key and returns the status and the decoded answer.
func (l *lab) do(method, path, body string) (int, any) {
	l.t.Helper()
	return l.doAs(globalKey, method, path, body)
}

func (l *lab) doAs(key, method, path, body string) (int, any) {
	l.t.Helper()
	req, err := http.NewRequestWithContext(l.t.Context(), method, l.api+path, strings.NewReader(body))
	require.NoError(l.t, err)
	if key != "" {
		req.Header.Set("apikey", key)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	return exchange(l.t, req)
}

func exchange(t *testing.T, req *http.Request) (int, any) {
	t.Helper()
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	if len(raw) == 0 {
		return res.StatusCode, nil
	}
	var v any
	require.NoError(t, json.Unmarshal(raw, &v), "%s", raw)
	return res.StatusCode, v
}

// must sends a request that has to succeed with that status.
func (l *lab) must(status int, method, path, body string) map[string]any {
	l.t.Helper()
	got, v := l.do(method, path, body)
	require.Equal(l.t, status, got, "%s %s: %v", method, path, v)
	m, _ := v.(map[string]any)
	return m
}

// lab calls the control port.
func (l *lab) lab(method, path, body string) map[string]any {
	l.t.Helper()
	req, err := http.NewRequestWithContext(l.t.Context(), method, l.control+"/lab"+path, bytes.NewReader([]byte(body)))
	require.NoError(l.t, err)
	status, v := exchange(l.t, req)
	require.Equal(l.t, http.StatusOK, status, "%v", v)
	return v.(map[string]any)
}

// channel creates an instance whose webhook is the lab's receiver, subscribed to all events, and returns its token.
func (l *lab) channel(name, integration, number string) string {
	l.t.Helper()
	created := l.must(http.StatusCreated, "POST", "/instance/create", `{"instanceName":"`+name+`","integration":"`+integration+`","number":"`+number+
		`","webhook":{"enabled":true,"url":"`+l.hook.url+`","headers":{"X-Plantao-Secret":"hook"},"events":[]}}`)
	l.hook.next("instance.create")
	return created["hash"].(string)
}

func message(messages ...any) []any { return messages }

// refused checks an error answer of upstream's form.
func refused(t *testing.T, status int, messages any, gotStatus int, got any) {
	t.Helper()
	title := http.StatusText(status)
	assert.Equal(t, status, gotStatus)
	assert.Equal(t, map[string]any{"status": float64(status), "error": title, "response": map[string]any{"message": messages}}, got)
}

// receiver takes webhooks. It answers 200 unless told otherwise.
type receiver struct {
	t      *testing.T
	url    string
	events chan received

	mu     sync.Mutex
	status int
}

type received struct {
	header http.Header
	path   string
	body   map[string]any
}

func (r received) data() map[string]any { return r.body["data"].(map[string]any) }

func newReceiver(t *testing.T) *receiver {
	r := &receiver{t: t, events: make(chan received, 1000), status: http.StatusOK}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		got := received{header: req.Header, path: req.URL.Path}
		if assert.NoError(t, json.NewDecoder(req.Body).Decode(&got.body)) {
			r.events <- got
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		w.WriteHeader(r.status)
	}))
	t.Cleanup(srv.Close)
	r.url = srv.URL + "/hooks/evolution/principal"
	return r
}

func (r *receiver) answer(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

// next waits for one event of each name, in whatever order they come, and returns the first name's. Any other event fails the test.
func (r *receiver) next(names ...string) received {
	r.t.Helper()
	found := map[string]received{}
	want := map[string]int{}
	for _, name := range names {
		want[name]++
	}
	for range names {
		select {
		case got := <-r.events:
			name := got.body["event"].(string)
			want[name]--
			require.GreaterOrEqual(r.t, want[name], 0, "unexpected event %s: %v", name, got.body)
			found[name] = got
		case <-time.After(patience):
			require.FailNow(r.t, "no webhook", "still wanted: %v", want)
		}
	}
	return found[names[0]]
}

// eventually waits for something that has no event to wait for.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, patience, 5*time.Millisecond, what)
}
