package server

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/chatwoot"
	"plantao/runtime/conversation"
)

// deskHooks knows one channel and one secret.
type deskHooks struct {
	err  error // what a commit comes to
	seen []string
}

func (d *deskHooks) Known(_ context.Context, channel string) error {
	if channel != "p" {
		return conversation.ErrUnknownChannel
	}
	return nil
}

func (d *deskHooks) Receive(_ context.Context, channel string, bot bool, head chatwoot.Signed, body []byte) (bool, error) {
	if err := head.Check("geheim", body); err != nil {
		return false, err
	}
	if _, err := chatwoot.Decode(body); err != nil {
		return false, err
	}
	key := fmt.Sprint(channel, bot, head.Delivery)
	for _, s := range d.seen {
		if s == key {
			return true, d.err
		}
	}
	d.seen = append(d.seen, key)
	return false, d.err
}

func deskServer(d DeskHooks) *Server {
	rows := func(context.Context) (OpenRows, error) { return OpenRows{}, nil }
	return New(Config{Ingest: &ingest{}, SecretHeader: secretHeader, MaxBodyBytes: 64, Desk: d,
		Metrics: NewMetrics("test", rows, func() bool { return true }), Logger: slog.New(slog.DiscardHandler)})
}

func chatwootRequest(path, body string, at time.Time) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	stamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte("geheim"))
	mac.Write([]byte(stamp + "." + body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(chatwoot.HeaderDelivery, "0b6b2a35")
	r.Header.Set(chatwoot.HeaderTimestamp, stamp)
	r.Header.Set(chatwoot.HeaderSignature, "sha256="+hex.EncodeToString(mac.Sum(nil)))
	return r
}

func TestChatwootHookStatuses(t *testing.T) {
	t.Parallel()
	const event = `{"event":"conversation_updated","id":3}`
	now := time.Now()
	for _, c := range []struct {
		name   string
		body   string
		at     time.Time
		change func(*http.Request)
		err    error
		status int // of the inbox's hook
		bot    int // of the bot's; zero: the same
	}{
		{name: "stored", status: 200},
		{name: "store down", err: conversation.ErrUnavailable, status: 503, bot: 500},
		{name: "unknown channel", change: func(r *http.Request) { r.URL.Path = strings.Replace(r.URL.Path, "/p", "/q", 1) }, status: 404, bot: 500},
		{name: "no signature", change: func(r *http.Request) { r.Header.Del(chatwoot.HeaderSignature) }, status: 401},
		{name: "bad signature", change: func(r *http.Request) { r.Header.Set(chatwoot.HeaderSignature, "sha256="+strings.Repeat("00", 32)) }, status: 401},
		{name: "two signatures", change: func(r *http.Request) { r.Header.Add(chatwoot.HeaderSignature, "x") }, status: 400},
		{name: "no timestamp", change: func(r *http.Request) { r.Header.Del(chatwoot.HeaderTimestamp) }, status: 401},
		{name: "no delivery", change: func(r *http.Request) { r.Header.Del(chatwoot.HeaderDelivery) }, status: 401},
		{name: "old", at: now.Add(-6 * time.Minute), status: 401},
		{name: "from the future", at: now.Add(6 * time.Minute), status: 401},
		{name: "slow clock", at: now.Add(-4 * time.Minute), status: 200},
		{name: "another timestamp", change: func(r *http.Request) {
			r.Header.Set(chatwoot.HeaderTimestamp, strconv.FormatInt(now.Unix()-1, 10))
		}, status: 401},
		{name: "not json", change: func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, status: 415},
		{name: "compressed", change: func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }, status: 415},
		{name: "no event", body: `{}`, status: 400},
		{name: "no json in it", body: `{`, status: 400},
		{name: "too large", body: strings.Repeat(" ", 65), status: 413},
		{name: "read only", change: func(r *http.Request) { r.Method = http.MethodGet }, status: 405},
	} {
		for _, path := range []string{"/hooks/chatwoot/p", "/hooks/chatwoot/p/bot"} {
			t.Run(c.name+path, func(t *testing.T) {
				t.Parallel()
				s := deskServer(&deskHooks{err: c.err})
				s.Open()
				body, at, want := c.body, c.at, c.status
				if body == "" {
					body = event
				}
				if at.IsZero() {
					at = now
				}
				if strings.HasSuffix(path, "/bot") && c.bot != 0 {
					want = c.bot
				}
				r := chatwootRequest(path, body, at)
				if c.change != nil {
					c.change(r)
				}
				w := httptest.NewRecorder()
				s.ServeHTTP(w, r)
				require.Equal(t, want, w.Code, w.Body)
			})
		}
	}
}

func TestChatwootHookWhileStarting(t *testing.T) {
	t.Parallel()
	s := deskServer(&deskHooks{})
	for path, want := range map[string]int{"/hooks/chatwoot/p": 503, "/hooks/chatwoot/p/bot": 500} {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, chatwootRequest(path, `{"event":"x"}`, time.Now()))
		require.Equal(t, want, w.Code, path)
	}
}

func TestChatwootReplaysAreKnown(t *testing.T) {
	t.Parallel()
	s := deskServer(&deskHooks{})
	s.Open()
	for _, want := range []string{`"duplicate":false`, `"duplicate":true`} {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, chatwootRequest("/hooks/chatwoot/p/bot", `{"event":"x"}`, time.Now()))
		require.Equal(t, 200, w.Code)
		require.Contains(t, w.Body.String(), want)
	}
}

func TestWithoutADeskThereAreNoHooks(t *testing.T) {
	t.Parallel()
	s := newServer(&ingest{})
	s.Open()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, chatwootRequest("/hooks/chatwoot/p", `{"event":"x"}`, time.Now()))
	require.Equal(t, 404, w.Code)
}
