package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

const secretHeader = "X-Plantao-Secret"

// ingest knows the channel "p" with the secret "s" and answers Receive with err.
type ingest struct {
	err  error
	mu   sync.Mutex
	body []byte
}

func (*ingest) Authorize(_ context.Context, channel, secret string) (conversation.Channel, error) {
	switch {
	case channel != "p":
		return conversation.Channel{}, conversation.ErrUnknownChannel
	case secret != "s":
		return conversation.Channel{}, conversation.ErrWrongSecret
	}
	return conversation.Channel{Name: "p"}, nil
}

func (i *ingest) Receive(_ context.Context, _ conversation.Channel, body []byte) (conversation.Receipt, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.body = body
	return conversation.Receipt{}, i.err
}

func newServer(i *ingest, checks ...Check) *Server {
	rows := func(context.Context) (OpenRows, error) { return OpenRows{Pending: 4}, nil }
	return New(Config{Ingest: i, SecretHeader: secretHeader, MaxBodyBytes: 64, Checks: checks,
		Metrics: NewMetrics("test", rows, func() bool { return true }), Logger: slog.New(slog.DiscardHandler)})
}

func get(s *Server, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

func post(s *Server, body io.Reader) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/hooks/evolution/p", body)
	r.Header.Set(secretHeader, "s")
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// broken is a body whose sender falls silent.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("i/o timeout") }

func TestHookStatuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		err    error
		body   io.Reader
		status int
	}{
		{"stored", nil, strings.NewReader("{}"), http.StatusOK},
		{"malformed", conversation.ErrMalformed, strings.NewReader("{}"), http.StatusBadRequest},
		{"store down", conversation.ErrUnavailable, strings.NewReader("{}"), http.StatusServiceUnavailable},
		{"unforeseen", errors.New("password=s3cr3t"), strings.NewReader("{}"), http.StatusInternalServerError},
		{"over the limit", nil, strings.NewReader(strings.Repeat(" ", 65)), http.StatusRequestEntityTooLarge},
		{"at the limit", nil, strings.NewReader(strings.Repeat(" ", 64)), http.StatusOK},
		// 400 would end it: Evolution repeats what was answered with 503, never what was answered with 400.
		{"body broken off", nil, broken{}, http.StatusServiceUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(&ingest{err: c.err})
			s.Open()
			w := post(s, c.body)
			require.Equal(t, c.status, w.Code, w.Body)
			require.Equal(t, c.status == http.StatusServiceUnavailable, w.Header().Get("Retry-After") != "")
			require.NotContains(t, w.Body.String(), "s3cr3t")
		})
	}
}

func TestPhases(t *testing.T) {
	t.Parallel()
	s := newServer(&ingest{})
	require.Equal(t, http.StatusServiceUnavailable, post(s, strings.NewReader("{}")).Code, "the schema is not checked yet")
	require.Equal(t, http.StatusServiceUnavailable, get(s, "/readyz").Code)
	require.Equal(t, http.StatusOK, get(s, "/healthz").Code)
	s.Open()
	require.Equal(t, http.StatusOK, post(s, strings.NewReader("{}")).Code)
	require.Equal(t, http.StatusOK, get(s, "/readyz").Code)
	s.Drain()
	require.Equal(t, http.StatusOK, post(s, strings.NewReader("{}")).Code, "webhooks are stored to the end")
	require.Equal(t, http.StatusServiceUnavailable, get(s, "/readyz").Code)
}

func TestReadinessNamesWhatFails(t *testing.T) {
	t.Parallel()
	s := newServer(&ingest{},
		Check{Name: "database", Test: func(context.Context) error { return nil }},
		Check{Name: "schema", Test: func(ctx context.Context) error {
			_, bounded := ctx.Deadline()
			require.True(t, bounded)
			return errors.New("run `router migrate`")
		}})
	s.Open()
	w := get(s, "/readyz")
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.JSONEq(t, `{"ready": false, "checks": [{"name": "serving", "ok": true}, {"name": "database", "ok": true},
		{"name": "schema", "ok": false, "reason": "run `+"`router migrate`"+`"}]}`, w.Body.String())
}

func TestMetricsDoNotGrowWithTriedPaths(t *testing.T) {
	t.Parallel()
	s := newServer(&ingest{})
	s.Open()
	for _, path := range []string{"/hooks/evolution/a", "/hooks/evolution/b"} {
		s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, path, strings.NewReader("{}")))
	}
	post(s, strings.NewReader("{}"))
	body := get(s, "/metrics").Body.String()
	require.Contains(t, body, `router_hook_requests_total{channel="",status="404"} 2`)
	require.Contains(t, body, `router_hook_requests_total{channel="p",status="200"} 1`)
	require.Contains(t, body, "router_inbox_pending 4")
	require.Contains(t, body, `router_turns{state="ambiguous"} 0`, "an alert must find a zero")
}

func TestMetricsWithoutTheStore(t *testing.T) {
	t.Parallel()
	m := NewMetrics("test", func(context.Context) (OpenRows, error) { return OpenRows{}, errors.New("down") }, func() bool { return false })
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, w.Code)
	require.Contains(t, w.Body.String(), "router_store_up 0")
	require.NotContains(t, w.Body.String(), "router_inbox_pending ", "old numbers would mislead")
	require.Contains(t, w.Body.String(), "router_redis_up 0")
}

func TestEveryTimeoutIsSet(t *testing.T) {
	t.Parallel()
	h := newServer(&ingest{}).HTTP()
	require.Positive(t, h.ReadHeaderTimeout)
	require.Positive(t, h.ReadTimeout)
	require.Positive(t, h.WriteTimeout)
	require.Positive(t, h.IdleTimeout)
	require.Positive(t, h.MaxHeaderBytes)
}

// held is a body that comes only once it is let go.
type held struct{ let <-chan struct{} }

func (h held) Read([]byte) (int, error) { <-h.let; return 0, io.EOF }

func TestBodiesAtOnceAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(&ingest{})
		s.Open()
		let := make(chan struct{})
		var waiting sync.WaitGroup
		for range bodiesAtOnce {
			waiting.Go(func() { post(s, held{let}) })
		}
		synctest.Wait()
		// The bubble's clock runs to the deadline at once: nobody lets go before it.
		refused := post(s, held{let})
		require.Equal(t, http.StatusServiceUnavailable, refused.Code)
		require.NotEmpty(t, refused.Header().Get("Retry-After"))
		close(let)
		waiting.Wait()
		require.Equal(t, http.StatusOK, post(s, strings.NewReader("{}")).Code)
	})
}
