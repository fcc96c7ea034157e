package webhook_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"plantao/test/lab/evolution/environment"
	"plantao/test/lab/evolution/store"
	"plantao/test/lab/evolution/webhook"
)

type source struct {
	hook store.Webhook
	err  error
}

func (s source) Webhook(context.Context, string) (store.Webhook, error) { return s.hook, s.err }

// receiver is the other end: it answers the statuses in turn, then the last one for ever. 0 means the connection breaks, -1 that no
// answer ever comes.
type receiver struct {
	mu       sync.Mutex
	statuses []int
	requests []*http.Request
	bodies   []map[string]any
	at       []time.Time
}

func (r *receiver) RoundTrip(req *http.Request) (*http.Response, error) {
	b, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	var body map[string]any
	if err := json.Unmarshal(b, &body); err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.requests, r.bodies, r.at = append(r.requests, req), append(r.bodies, body), append(r.at, time.Now())
	status := r.statuses[min(len(r.requests), len(r.statuses))-1]
	r.mu.Unlock()
	switch status {
	case 0:
		return nil, errors.New("connection reset")
	case -1:
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	return &http.Response{StatusCode: status, Body: http.NoBody, Header: http.Header{}, Request: req}, nil
}

func (r *receiver) waits() []time.Duration {
	var out []time.Duration
	for i := 1; i < len(r.at); i++ {
		out = append(out, r.at[i].Sub(r.at[i-1]))
	}
	return out
}

func hook(change func(*store.Webhook)) source {
	yes := true
	h := store.Webhook{URL: "http://router/hook", Enabled: &yes, Events: webhook.Events}
	if change != nil {
		change(&h)
	}
	return source{hook: h}
}

func config() environment.Config {
	return environment.Config{
		ServerURL: "http://evolution:8080", Zone: time.UTC,
		Webhook: environment.Webhook{
			Timeout: 10 * time.Second, MaxAttempts: 10, InitialDelay: 5 * time.Second, MaxDelay: 300 * time.Second,
			Exponential: true, Jitter: 0.2, NonRetryable: []int{400, 401, 403, 422},
		},
	}
}

func newSender(cfg environment.Config, src webhook.Source, r *receiver) *webhook.Sender {
	return webhook.New(cfg, src, nil, r, slog.New(slog.DiscardHandler))
}

var upsert = webhook.Event{Name: "messages.upsert", Data: map[string]any{"text": "a<b"}}

func TestRetries(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		statuses []int
		tries    int
	}{
		{"success at once", []int{201}, 1},
		{"success after failures", []int{500, 0, 404, 200}, 4},
		{"a redirect is no success", []int{304, 200}, 2},
		{"non-retryable ends at once", []int{422}, 1},
		{"non-retryable after a failure", []int{503, 401}, 2},
		{"given up after ten", []int{503}, 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := &receiver{statuses: tt.statuses}
				s := newSender(config(), hook(nil), r)
				s.Emit(t.Context(), webhook.Origin{ID: "1", Name: "principal"}, upsert)
				waitIdle(t, s)
				assert.Len(t, r.requests, tt.tries)
				s.Close()
			})
		})
	}
}

func waitIdle(t *testing.T, s *webhook.Sender) {
	t.Helper()
	deadline := time.Now().Add(time.Hour)
	for s.Pending() > 0 {
		require.True(t, time.Now().Before(deadline), "delivery still pending after an hour")
		<-time.After(time.Second) // fake time inside synctest
	}
}

func TestWaitsGrowWithJitter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{statuses: []int{503}}
		s := newSender(config(), hook(nil), r)
		s.Emit(t.Context(), webhook.Origin{}, upsert)
		waitIdle(t, s)
		want := []float64{5, 10, 20, 40, 80, 160, 300, 300, 300}
		waits := r.waits()
		require.Len(t, waits, len(want))
		for i, w := range want {
			assert.GreaterOrEqual(t, waits[i].Seconds(), max(5, w*0.8), "wait %d", i)
			assert.LessOrEqual(t, waits[i].Seconds(), w*1.2, "wait %d", i)
		}
		s.Close()
	})
}

func TestTimeoutIsRetried(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{statuses: []int{-1, 200}}
		s := newSender(config(), hook(nil), r)
		s.Emit(t.Context(), webhook.Origin{}, upsert)
		waitIdle(t, s)
		require.Len(t, r.requests, 2)
		assert.GreaterOrEqual(t, r.waits()[0], 15*time.Second, "10 s timeout and 5 s wait")
		s.Close()
	})
}

func TestCloseLosesRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{statuses: []int{503}}
		s := newSender(config(), hook(nil), r)
		s.Emit(t.Context(), webhook.Origin{}, upsert)
		synctest.Wait()
		assert.Equal(t, 1, s.Pending())
		s.Close()
		assert.Zero(t, s.Pending())
		assert.Len(t, r.requests, 1)
		s.Emit(t.Context(), webhook.Origin{}, upsert)
		assert.Zero(t, s.Pending(), "a closed sender takes nothing")
	})
}

func TestDeliveriesRunInParallel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{statuses: []int{-1, -1, 200}}
		s := newSender(config(), hook(nil), r)
		for range 2 {
			s.Emit(t.Context(), webhook.Origin{}, upsert)
		}
		synctest.Wait()
		assert.Len(t, r.requests, 2, "the second does not wait for the first")
		s.Close()
	})
}

func TestFilter(t *testing.T) {
	t.Parallel()
	no := false
	for _, tt := range []struct {
		name  string
		src   source
		event string
		sent  bool
	}{
		{"subscribed", hook(func(h *store.Webhook) { h.Events = []string{"MESSAGES_UPSERT"} }), "messages.upsert", true},
		{"dash and dot become underscores", hook(func(h *store.Webhook) { h.Events = []string{"GROUP_PARTICIPANTS_UPDATE"} }), "group-participants.update", true},
		{"not subscribed", hook(func(h *store.Webhook) { h.Events = []string{"SEND_MESSAGE"} }), "messages.upsert", false},
		{"groups.update cannot be subscribed to", hook(nil), "groups.update", false},
		{"disabled", hook(func(h *store.Webhook) { h.Enabled = &no }), "messages.upsert", false},
		{"no URL", hook(func(h *store.Webhook) { h.URL = "router/hook" }), "messages.upsert", false},
		{"no webhook", source{err: store.ErrNotFound}, "messages.upsert", false},
		{"database down", source{err: errors.New("down")}, "messages.upsert", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := &receiver{statuses: []int{200}}
				s := newSender(config(), tt.src, r)
				s.Emit(t.Context(), webhook.Origin{}, webhook.Event{Name: tt.event})
				waitIdle(t, s)
				assert.Equal(t, tt.sent, len(r.requests) == 1)
				s.Close()
			})
		})
	}
}

func TestEnvelope(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // the fake clock starts at 2000-01-01 00:00 UTC
		zone, err := time.LoadLocation("America/Sao_Paulo")
		require.NoError(t, err)
		cfg := config()
		cfg.Zone = zone
		r := &receiver{statuses: []int{200}}
		s := newSender(cfg, hook(nil), r)
		s.Emit(t.Context(), webhook.Origin{Name: "principal", Token: "T"}, upsert)
		waitIdle(t, s)
		require.Len(t, r.bodies, 1)
		assert.Equal(t, map[string]any{
			"event": "messages.upsert", "instance": "principal", "data": map[string]any{"text": "a<b"}, "destination": "http://router/hook",
			"date_time": "1999-12-31T22:00:00.000Z", "server_url": "http://evolution:8080", "apikey": nil,
		}, r.bodies[0], "no sender before pairing; local wall clock marked Z; Sao Paulo had summer time then")
		assert.Equal(t, "http://router/hook", r.requests[0].URL.String())
		s.Close()

		cfg.ExposeTokens = true
		r = &receiver{statuses: []int{200}}
		s = newSender(cfg, hook(nil), r)
		s.Emit(t.Context(), webhook.Origin{Token: "T", Sender: "55@s.whatsapp.net"}, webhook.Event{Name: "messages.set", History: &webhook.History{Progress: 100}})
		waitIdle(t, s)
		assert.Equal(t, "T", r.bodies[0]["apikey"])
		assert.Equal(t, "55@s.whatsapp.net", r.bodies[0]["sender"])
		assert.Equal(t, false, r.bodies[0]["isLatest"])
		assert.InDelta(t, 100, r.bodies[0]["progress"], 0)
		assert.Contains(t, r.bodies[0], "data", "data is null, not absent")
		s.Close()
	})
}

func TestByEventsAndHeaders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		yes := true
		r := &receiver{statuses: []int{503, 200}}
		s := newSender(config(), hook(func(h *store.Webhook) {
			h.ByEvents = &yes
			h.Headers = map[string]any{"X-Plantao-Secret": "s", "jwt_key": "k"}
		}), r)
		s.Emit(t.Context(), webhook.Origin{}, upsert)
		waitIdle(t, s)
		require.Len(t, r.requests, 2)
		h := r.requests[0].Header
		assert.Equal(t, "http://router/hook/messages-upsert", r.requests[0].URL.String())
		assert.Equal(t, "s", h.Get("X-Plantao-Secret"))
		assert.Equal(t, "application/json", h.Get("Content-Type"))
		assert.Empty(t, h.Get("jwt_key"))
		assert.Equal(t, h.Get("Authorization"), r.requests[1].Header.Get("Authorization"), "made once, not per try")

		token, ok := strings.CutPrefix(h.Get("Authorization"), "Bearer ")
		require.True(t, ok)
		parts := strings.Split(token, ".")
		require.Len(t, parts, 3)
		mac := hmac.New(sha256.New, []byte("k"))
		mac.Write([]byte(parts[0] + "." + parts[1]))
		assert.Equal(t, base64.RawURLEncoding.EncodeToString(mac.Sum(nil)), parts[2])
		claims, err := base64.RawURLEncoding.DecodeString(parts[1])
		require.NoError(t, err)
		assert.JSONEq(t, `{"iat":946684800,"exp":946685400,"app":"evolution","action":"webhook"}`, string(claims))
		s.Close()
	})
}
