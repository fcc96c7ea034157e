package server

import (
	"bytes"
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
	"time"

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

func (*ingest) Authorize(_ context.Context, channel string, p conversation.HookProof) (conversation.Channel, error) {
	switch {
	case channel != "p":
		return conversation.Channel{}, conversation.ErrUnknownChannel
	case p.Secret != "s" && p.Token != "t":
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
	return newServerFor(i, 64, checks...)
}

func newServerFor(i Ingest, maxBodyBytes int64, checks ...Check) *Server {
	rows := func(context.Context) (OpenRows, error) { return OpenRows{Pending: 4}, nil }
	return New(Config{Ingest: i, SecretHeader: secretHeader, MaxBodyBytes: maxBodyBytes, Checks: checks,
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
	if a, ok := body.(announced); ok {
		r.ContentLength = a.length
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// announced is a body of which more may be announced than comes.
type announced struct {
	io.Reader
	length int64
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
		{"body broken off", nil, announced{broken{}, 9}, http.StatusServiceUnavailable},
		{"in chunks", nil, io.MultiReader(strings.NewReader("{}")), http.StatusLengthRequired},
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

// TestStrangersDoNotFillTheLog: a line a second says that there are some, and how many.
func TestStrangersDoNotFillTheLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := newServer(&ingest{})
		s.c.Logger = slog.New(slog.NewTextHandler(&log, nil))
		s.Open()
		knock := func(path string) {
			w := httptest.NewRecorder()
			s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, strings.NewReader("{}")))
			require.Contains(t, []int{http.StatusUnauthorized, http.StatusNotFound}, w.Code)
		}
		for range 50 {
			knock("/hooks/evolution/p")
			knock("/hooks/evolution/guessed")
		}
		require.Equal(t, 1, strings.Count(log.String(), "webhook refused"))
		time.Sleep(time.Second + time.Millisecond) // the bubble's clock
		knock("/hooks/evolution/p")
		require.Equal(t, 2, strings.Count(log.String(), "webhook refused"))
		require.Contains(t, log.String(), "others_since_the_last=99")
	})
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

func TestMetricsOfPromises(t *testing.T) {
	t.Parallel()
	m := NewMetrics("test", func(context.Context) (OpenRows, error) { return OpenRows{}, nil }, func() bool { return false })
	for _, state := range []string{"met", "met", "void"} {
		m.PromiseEnded("vip", "first_response", state)
	}
	m.PromiseEnded("vip", "resolution", "broken")
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, line := range []string{
		`router_sla_met_total{kind="first_response",sla="vip"} 2`, `router_sla_broken_total{kind="first_response",sla="vip"} 0`,
		`router_sla_met_total{kind="resolution",sla="vip"} 0`, `router_sla_broken_total{kind="resolution",sla="vip"} 1`,
	} {
		require.Contains(t, w.Body.String(), line)
	}
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

func TestPathsInAnotherForm(t *testing.T) {
	t.Parallel()
	i := &ingest{}
	s := newServer(i)
	s.Open()
	for _, path := range []string{"/hooks//evolution/p", "/hooks/evolution/p/", "/hooks/evolution/./p", "/x/../hooks/evolution/p", "//hooks/evolution/p",
		"/hooks/evolution/p/..", "/hooks/evolution/%2e%2e/p", "/hooks/evolution/x%2f..%2fp", "/hooks/evolution/p%2f", "/HOOKS/evolution/p"} {
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader("{}"))
		r.Header.Set(secretHeader, "s")
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		require.Equal(t, http.StatusNotFound, w.Code, path)
		require.Empty(t, w.Header().Get("Location"), path)
	}
	require.Nil(t, i.body)
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

// held is a body of which the rest comes only once it is let go.
type held struct {
	first io.Reader
	let   <-chan struct{}
}

func (h held) Read(p []byte) (int, error) {
	if n, err := h.first.Read(p); n > 0 || err == nil {
		return n, nil
	}
	<-h.let
	return 0, io.EOF
}

func TestBodiesAtOnceAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServerFor(&ingest{}, 4*freeBytes)
		s.Open()
		let := make(chan struct{})
		slow := func() io.Reader {
			return announced{held{strings.NewReader(strings.Repeat(" ", freeBytes+1)), let}, 4 * freeBytes}
		}
		var waiting sync.WaitGroup
		for range 4 * bodiesAtOnce / 3 { // the beginning takes no room
			waiting.Go(func() { post(s, slow()) })
		}
		synctest.Wait()
		// The bubble's clock runs to the deadline at once: nobody lets go before it.
		refused := post(s, slow())
		require.Equal(t, http.StatusServiceUnavailable, refused.Code)
		require.NotEmpty(t, refused.Header().Get("Retry-After"))
		require.Equal(t, http.StatusOK, post(s, strings.NewReader("{}")).Code, "what everybody sends waits for nobody")
		close(let)
		waiting.Wait()
		require.Equal(t, http.StatusOK, post(s, strings.NewReader(strings.Repeat(" ", 4*freeBytes))).Code)
	})
}

func TestSmallPiecesHoldNoRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServerFor(&ingest{}, 4*freeBytes)
		s.Open()
		let := make(chan struct{})
		var waiting sync.WaitGroup
		for range 10 * bodiesAtOnce { // large ones are announced, and a few bytes come
			waiting.Go(func() { post(s, announced{held{strings.NewReader("{"), let}, 4 * freeBytes}) })
		}
		synctest.Wait()
		require.Equal(t, http.StatusOK, post(s, strings.NewReader(strings.Repeat(" ", 4*freeBytes))).Code)
		close(let)
		waiting.Wait()
	})
}
