package chatwoot

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What needs a Chatwoot that keeps state is tested against the stand-in, in test/lab/chatwoot.

func server(t *testing.T, handler http.HandlerFunc) *client {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return newClient(s.URL+"/", nil)
}

func TestSecretPrintsRedacted(t *testing.T) {
	t.Parallel()
	s := Secret("geheim")
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", s, "inbox", Inbox{Secret: s})
	raw, err := json.Marshal(Inbox{Secret: s})
	require.NoError(t, err)
	for _, text := range []string{s.String(), log.String(), string(raw), fmt.Sprintf("%s %q %v %+v %#v %x %d", s, s, s, Inbox{Secret: s}, InboxConfig{Password: s}, s, s)} {
		assert.Contains(t, text, redacted)
		assert.NotContains(t, text, "geheim")
		assert.NotContains(t, text, fmt.Sprintf("%x", "geheim"))
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	elsewhere := server(t, func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") })
	c := server(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.base, http.StatusTemporaryRedirect)
	})
	_, err := c.signIn(t.Context(), "a@b.c", "geheim")
	require.ErrorContains(t, err, "status 307")
	assert.NotContains(t, err.Error(), "geheim")
}

func TestTokenHeaderHasHyphens(t *testing.T) {
	t.Parallel()
	c := server(t, func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "tok", r.Header.Get("api-access-token"))
		_, _ = io.WriteString(w, `{"payload":[]}`)
	})
	c.token = "tok"
	list, err := c.inboxes(t.Context(), 1)
	require.NoError(t, err)
	assert.Empty(t, list)
}

func TestLargeAnswersAreRefused(t *testing.T) {
	t.Parallel()
	c := server(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.Copy(w, io.LimitReader(neverEnding{}, maxAnswerBytes+10)) // the client may leave early
	})
	_, err := c.state(t.Context())
	require.ErrorContains(t, err, "larger than")
}

type neverEnding struct{}

func (neverEnding) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestReasonOfARefusal(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"error":"no"}`: "no", `{"message":"m","attributes":["name"]}`: "m", `{"success":false,"errors":["a","b"]}`: "a, b",
		`{"status":404,"error":"Not Found"}`: "Not Found", `<html>`: "", ``: "", `{"error":{"x":1}}`: "",
	} {
		assert.Equal(t, want, reason([]byte(body)), body)
	}
	long := reason([]byte(`{"error":"` + strings.Repeat("é", 500) + `"}`))
	assert.LessOrEqual(t, len(long), maxReasonBytes+len("…"))
}

func TestOnboardingOpen(t *testing.T) {
	t.Parallel()
	for location, want := range map[string]bool{"/installation/onboarding": true, "http://chatwoot/installation/onboarding": true, "/app/login": false, "": false} {
		c := server(t, func(w http.ResponseWriter, r *http.Request) {
			assert.Equal(t, "text/html", r.Header.Get("Accept"), "for JSON the page answers 406")
			if location != "" {
				w.Header().Set("Location", location)
				w.WriteHeader(http.StatusFound)
			}
		})
		open, err := c.onboardingOpen(t.Context())
		require.NoError(t, err)
		assert.Equal(t, want, open, location)
	}
}

func TestEnsureInboxChecksItsConfig(t *testing.T) {
	t.Parallel()
	_, err := EnsureInbox(t.Context(), InboxConfig{WebhookURL: "router:8080", URL: "http://admin:geheim@chatwoot"})
	for _, want := range []string{"email", "password", "account name", "inbox name", "webhook url must be", "url must not hold a user"} {
		require.ErrorContains(t, err, want)
	}
	assert.NotContains(t, err.Error(), "geheim")
}

func TestEnsureInboxGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := EnsureInbox(ctx, InboxConfig{URL: "http://127.0.0.1:1", Email: "a@b.c", Password: "geheim", AccountName: "a", InboxName: "i", WebhookURL: "http://r"})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "db:chatwoot_prepare")
	assert.NotContains(t, err.Error(), "geheim")
}
