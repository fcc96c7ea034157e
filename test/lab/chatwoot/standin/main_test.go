package standin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/postgres/postgrestest"
	"plantao/runtime/redis/redistest"
)

const (
	redisPassword = "servers1Test"
	adminEmail    = "dona@example.com.br"
	adminPassword = "Senha-1234"
	accountName   = "Padaria São João"
)

// variables is a complete, correct environment; the servers are filled in by lab.
func variables() map[string]string {
	return map[string]string{
		"RAILS_ENV":                                    "production",
		"SECRET_KEY_BASE":                              strings.Repeat("a1B2", 16),
		"ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY":         "primaryprimaryprimary",
		"ACTIVE_RECORD_ENCRYPTION_DETERMINISTIC_KEY":   "deterministicdeterministic",
		"ACTIVE_RECORD_ENCRYPTION_KEY_DERIVATION_SALT": "saltsaltsaltsaltsalt",
		"FRONTEND_URL":                                 "http://chatwoot.localhost:8080",
		"ENABLE_ACCOUNT_SIGNUP":                        "false",
		"DATABASE_URL":                                 "postgres://chatwoot:x@127.0.0.1:1/chatwoot",
		"REDIS_URL":                                    "redis://127.0.0.1:1/1",
		"REDIS_PASSWORD":                               redisPassword,
		"SAFE_FETCH_ALLOW_PRIVATE_NETWORK":             "true",
		"SIDEKIQ_CONCURRENCY":                          "3",
		"PLANTAO_ACCOUNT_NAME":                         accountName,
		"PLANTAO_ADMIN_NAME":                           "Dona Maria",
		"PLANTAO_ADMIN_EMAIL":                          adminEmail,
		"PLANTAO_ADMIN_PASSWORD":                       adminPassword,
	}
}

// lab is one installation on servers of its own.
type lab struct {
	*testing.T
	app  *App
	vars map[string]string
	url  string
	tok  string // access token of the administrator
}

// startRedis is a server of the test's own: Sidekiq's keys have no prefix that could keep tests apart.
func startRedis(t *testing.T) string {
	t.Helper()
	server := redistest.New(t)
	server.Do("CONFIG", "SET", "requirepass", redisPassword)
	return strings.TrimSuffix(server.URL, "/0") + "/1"
}

// newLab opens an empty installation; overrides change its variables.
func newLab(t *testing.T, overrides map[string]string) *lab {
	t.Helper()
	t.Parallel()
	vars := variables()
	vars["DATABASE_URL"] = postgrestest.NewEmpty(t).URL
	vars["REDIS_URL"] = startRedis(t)
	maps.Copy(vars, overrides)
	l := &lab{T: t, vars: vars}
	l.app = l.open()
	return l
}

func (l *lab) get(name string) string { return l.vars[name] }

func (l *lab) open() *App {
	l.Helper()
	env, err := ReadEnvironment(l.get)
	require.NoError(l, err)
	app, err := Open(l.Context(), env, slog.New(slog.NewTextHandler(l.Output(), nil)))
	require.NoError(l, err)
	app.retryWait = 10 * time.Millisecond
	l.Cleanup(app.Close)
	return app
}

const bootstrapFile = "../../../../templates/chatwoot/bootstrap.rb"

// ready prepares, bootstraps and starts the web process, and signs the administrator in.
func ready(t *testing.T, overrides map[string]string) *lab {
	t.Helper()
	l := newLab(t, overrides)
	require.NoError(l, l.app.Prepare(l.Context(), io.Discard))
	require.NoError(l, l.app.RunScriptFile(l.Context(), bootstrapFile, l.get))
	l.serve()
	require.NoError(l, l.app.db.QueryRow(l.Context(), `SELECT token FROM access_tokens`).Scan(&l.tok))
	return l
}

func (l *lab) serve() {
	server := httptest.NewServer(l.app.Handler())
	l.Cleanup(server.Close)
	l.url = server.URL
}

// work starts the worker; it ends with the test.
func (l *lab) work() {
	ctx, cancel := context.WithCancel(l.Context())
	done := make(chan error, 1)
	go func() { done <- l.app.Work(ctx) }()
	l.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			l.Errorf("worker: %v", err)
		}
	})
}

type object = map[string]any

// do calls the API and decodes a JSON object or list into the result.
func (l *lab) do(token, method, path string, body any) (int, any) {
	l.Helper()
	var content io.Reader
	if s, ok := body.(string); ok {
		content = strings.NewReader(s)
	} else if body != nil {
		raw, err := json.Marshal(body)
		require.NoError(l, err)
		content = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(l.Context(), method, l.url+path, content)
	require.NoError(l, err)
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header["api_access_token"] = []string{token}
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(l, err)
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(l, err)
	var out any
	if len(raw) > 0 && strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		require.NoError(l, json.Unmarshal(raw, &out))
	}
	return resp.StatusCode, out
}

// must is do as administrator below the account, expecting 200 and an object.
func (l *lab) must(method, path string, body any) object {
	l.Helper()
	status, out := l.do(l.tok, method, "/api/v1/accounts/1"+path, body)
	require.Equal(l, 200, status, "%s %s: %v", method, path, out)
	m, _ := out.(object)
	return m
}

// refused is do as administrator below the account, expecting a status; it returns the body as text.
func (l *lab) refused(want int, method, path string, body any) string {
	l.Helper()
	status, out := l.do(l.tok, method, "/api/v1/accounts/1"+path, body)
	require.Equal(l, want, status, "%s %s: %v", method, path, out)
	return fmt.Sprint(out)
}

// customer makes an API inbox, a contact in it and a conversation, and returns the inbox and the display id's path.
func (l *lab) customer(webhookURL string) (in object, path string) {
	l.Helper()
	in = l.must("POST", "/inboxes", object{"name": "WhatsApp", "channel": object{"type": "api", "webhook_url": webhookURL}})
	who := l.must("POST", "/contacts", object{"inbox_id": in["id"], "name": "José", "phone_number": "+5511987654321", "source_id": "5511987654321"})
	contactID := who["payload"].(object)["contact"].(object)["id"]
	conv := l.must("POST", "/conversations", object{"source_id": "5511987654321", "inbox_id": in["id"], "contact_id": contactID})
	return in, fmt.Sprintf("/conversations/%v", conv["id"])
}

// received is one webhook.
type received struct {
	header http.Header
	raw    []byte
	body   object
}

// receiver collects webhooks and answers with what status says.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	status int
	all    []received
	more   chan struct{}
}

func newReceiver(t *testing.T, status int) *receiver {
	t.Helper()
	r := &receiver{status: status, more: make(chan struct{}, 1000)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		raw, _ := io.ReadAll(req.Body)
		var body object
		_ = json.Unmarshal(raw, &body)
		r.mu.Lock()
		r.all = append(r.all, received{header: req.Header.Clone(), raw: raw, body: body})
		status := r.status
		r.mu.Unlock()
		w.WriteHeader(status)
		r.more <- struct{}{}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) events(name string) []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []received
	for _, e := range r.all {
		if e.body["event"] == name {
			out = append(out, e)
		}
	}
	return out
}

// await waits until n events of the name have come and returns them.
func (r *receiver) await(t *testing.T, name string, n int) []received {
	t.Helper()
	deadline := time.NewTimer(15 * time.Second)
	defer deadline.Stop()
	for {
		if got := r.events(name); len(got) >= n {
			return got
		}
		select {
		case <-r.more:
		case <-deadline.C:
			t.Fatalf("%d events %q came, want %d", len(r.events(name)), name, n)
		}
	}
}

// idle waits until no job is queued or scheduled. A running one may still be at work.
func (l *lab) idle() {
	l.Helper()
	require.Eventually(l, func() bool {
		n, err := l.app.redis.LLen(l.Context(), "queue:critical").Result()
		for _, q := range []string{"queue:high", "queue:medium"} {
			more, e := l.app.redis.LLen(l.Context(), q).Result()
			if e != nil {
				err = e
			}
			n += more
		}
		waiting, e := l.app.redis.ZCard(l.Context(), scheduleKey).Result()
		return err == nil && e == nil && n+waiting == 0
	}, 15*time.Second, 20*time.Millisecond)
}
