package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"plantao/runtime/chatwoot"
	"plantao/test/lab/chatwoot/standin"
)

const password = "Senha-1234"

// installation is a stand-in on real servers.
type installation struct {
	*testing.T
	app *standin.App
	url string
	log bytes.Buffer
	db  string
}

func install(t *testing.T, bootstrapped bool) *installation {
	t.Helper()
	t.Parallel()
	vars := variables(t)
	get := func(name string) string { return vars[name] }
	env, err := standin.ReadEnvironment(get)
	require.NoError(t, err)
	app, err := standin.Open(t.Context(), env, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(app.Close)
	require.NoError(t, app.Prepare(t.Context(), io.Discard))
	if bootstrapped {
		require.NoError(t, app.RunScriptFile(t.Context(), "../../../templates/chatwoot/bootstrap.rb", get))
	}
	server := httptest.NewServer(app.Handler())
	t.Cleanup(server.Close)
	return &installation{T: t, app: app, url: server.URL, db: vars["DATABASE_URL"]}
}

func (i *installation) config() chatwoot.InboxConfig {
	return chatwoot.InboxConfig{URL: i.url, Email: "dona@example.com", Password: password, AccountName: "Padaria", InboxName: "WhatsApp",
		WebhookURL: "http://router:8080/hooks/chatwoot/principal", Logger: slog.New(slog.NewJSONHandler(&i.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
}

func (i *installation) ensure(change func(*chatwoot.InboxConfig)) (chatwoot.Inbox, error) {
	i.Helper()
	cfg := i.config()
	if change != nil {
		change(&cfg)
	}
	ctx, cancel := context.WithTimeout(i.Context(), 20*time.Second)
	defer cancel()
	return chatwoot.EnsureInbox(ctx, cfg)
}

// exec changes the installation behind its back.
func (i *installation) exec(sql string) {
	i.Helper()
	conn, err := pgx.Connect(i.Context(), i.db)
	require.NoError(i, err)
	defer func() { require.NoError(i, conn.Close(i.Context())) }()
	_, err = conn.Exec(i.Context(), sql)
	require.NoError(i, err)
}

func TestEnsureInboxTwice(t *testing.T) {
	i := install(t, true)
	first, err := i.ensure(nil)
	require.NoError(t, err)
	assert.True(t, first.Changed)
	assert.EqualValues(t, 1, first.AccountID)
	assert.NotEmpty(t, string(first.Secret))
	assert.NotEmpty(t, first.Identifier)

	second, err := i.ensure(nil)
	require.NoError(t, err)
	want := first
	want.Changed = false
	assert.Equal(t, want, second)

	moved, err := i.ensure(func(c *chatwoot.InboxConfig) { c.WebhookURL = "http://router:8080/hooks/chatwoot/novo" })
	require.NoError(t, err)
	assert.True(t, moved.Changed)
	assert.Equal(t, first.ID, moved.ID)
	assert.Equal(t, first.Secret, moved.Secret)

	other, err := i.ensure(func(c *chatwoot.InboxConfig) { c.InboxName = "Loja" })
	require.NoError(t, err)
	assert.NotEqual(t, first.ID, other.ID)

	log := i.log.String()
	assert.Contains(t, log, "chatwoot inbox created")
	for _, secret := range []string{password, string(first.Secret), string(other.Secret)} {
		assert.NotContains(t, log, secret)
		assert.NotContains(t, fmt.Sprintf("%v %+v %#v %s %q %x", first, first, first, first.Secret, first.Secret, first.Secret), secret)
	}
	raw, err := json.Marshal(i.config().Password)
	require.NoError(t, err)
	assert.Equal(t, `"[redacted]"`, string(raw))
}

// A session per run would be 25 of them soon, and then sign others out.
func TestEnsureInboxSignsOut(t *testing.T) {
	i := install(t, true)
	_, err := i.ensure(nil)
	require.NoError(t, err)
	i.exec(`DO $$ BEGIN IF EXISTS (SELECT FROM users WHERE tokens <> '{}') THEN RAISE 'a session is left'; END IF; END $$`)
}

func TestEnsureInboxSaysWhatToDo(t *testing.T) {
	i := install(t, true)
	for name, c := range map[string]struct {
		change func(*chatwoot.InboxConfig)
		is     error
		want   string
	}{
		"wrong password": {func(c *chatwoot.InboxConfig) { c.Password = "Falsch-9999" }, chatwoot.ErrSignIn, "needs a reset in chatwoot"},
		"unknown user":   {func(c *chatwoot.InboxConfig) { c.Email = "x@example.com" }, chatwoot.ErrSignIn, "x@example.com"},
		"no account":     {func(c *chatwoot.InboxConfig) { c.AccountName = "Outra" }, chatwoot.ErrNoAccount, `only to ["Padaria"]: correct the account's name`},
		"not chatwoot":   {func(c *chatwoot.InboxConfig) { c.URL += "/nowhere" }, nil, "check the address"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := i.ensure(c.change)
			require.ErrorContains(t, err, c.want)
			if c.is != nil {
				require.ErrorIs(t, err, c.is)
			}
			assert.NotContains(t, err.Error(), "Falsch")
			assert.NotContains(t, err.Error(), password)
		})
	}
	t.Run("two of a name", func(t *testing.T) {
		_, err := i.ensure(nil)
		require.NoError(t, err)
		_, err = i.ensure(func(c *chatwoot.InboxConfig) { c.InboxName = "B" })
		require.NoError(t, err)
		i.exec(`UPDATE inboxes SET name = 'WhatsApp'`)
		_, err = i.ensure(nil)
		require.ErrorContains(t, err, "delete or rename")
	})
	t.Run("no administrator", func(t *testing.T) {
		i.exec(`UPDATE account_users SET role = 'agent'`)
		_, err := i.ensure(nil)
		require.ErrorIs(t, err, chatwoot.ErrNoAccount)
		require.ErrorContains(t, err, "make this user an administrator")
	})
}

func TestEnsureInboxRefusesOpenOnboarding(t *testing.T) {
	i := install(t, false)
	_, err := i.ensure(nil)
	require.ErrorIs(t, err, chatwoot.ErrOnboardingOpen)
	require.ErrorContains(t, err, "bootstrap.rb")
}

// Chatwoot takes a minute or two to boot: until then nothing listens, or a proxy answers 502.
func TestEnsureInboxWaits(t *testing.T) {
	i := install(t, true)
	var calls atomic.Int64
	i.url = front(t, i.app.Handler(), func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.URL.Path != "/api":
			return false
		case calls.Add(1) == 1:
			w.WriteHeader(http.StatusBadGateway)
			return true
		case calls.Load() == 2:
			_, _ = io.WriteString(w, `{"version":"4.15.1","queue_services":"failing","data_services":"ok"}`)
			return true
		}
		return false
	})
	_, err := i.ensure(nil)
	require.NoError(t, err)
	assert.EqualValues(t, 3, calls.Load())
	assert.Contains(t, i.log.String(), "waiting for chatwoot")
}

// front answers with first when that returns true, else with the handler.
func front(t *testing.T, behind http.Handler, first func(http.ResponseWriter, *http.Request) bool) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !first(w, r) {
			behind.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestEnsureInboxAgainstOddAnswers(t *testing.T) {
	i := install(t, true)
	for name, c := range map[string]struct {
		path   string
		answer func(http.ResponseWriter)
		want   string
	}{
		"redirect to https": {"/api", func(w http.ResponseWriter) { w.Header().Set("Location", "https://x/api"); w.WriteHeader(301) }, "FORCE_SSL=false"},
		"two-factor":        {"/auth/sign_in", func(w http.ResponseWriter) { w.WriteHeader(206) }, "without it"},
		"throttled":         {"/auth/sign_in", func(w http.ResponseWriter) { w.WriteHeader(429) }, "5 sign-ins"},
		"no headers":        {"/auth/sign_in", func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{}`) }, "no session headers"},
		"no token":          {"/api/v1/profile", func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{}`) }, "no access token"},
		"not json":          {"/api/v1/profile", func(w http.ResponseWriter) { _, _ = io.WriteString(w, `<html>`) }, "decode answer"},
		"endless":           {"/api/v1/accounts/1/inboxes", endless, "larger than"},
		"refused":           {"/api/v1/accounts/1/inboxes", func(w http.ResponseWriter) { w.WriteHeader(422); _, _ = io.WriteString(w, `{"message":"Name is odd"}`) }, "status 422: Name is odd"},
		"start page down":   {"/", func(w http.ResponseWriter) { w.WriteHeader(500) }, "start page"},
		"old version": {"/api/v1/accounts/1/inboxes/1", func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, `{"id":1,"webhook_url":"http://router:8080/hooks/chatwoot/principal","inbox_identifier":"x"}`)
		}, "v4.13.0"},
		"url not kept": {"/api/v1/accounts/1/inboxes/1", func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"id":1}`) }, "does not keep"},
	} {
		t.Run(name, func(t *testing.T) {
			url := front(t, i.app.Handler(), func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != c.path {
					return false
				}
				c.answer(w)
				return true
			})
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			cfg := i.config()
			cfg.URL = url
			_, err := chatwoot.EnsureInbox(ctx, cfg)
			require.ErrorContains(t, err, c.want)
			assert.NotContains(t, err.Error(), password)
		})
	}
}

func endless(w http.ResponseWriter) {
	chunk := bytes.Repeat([]byte(" "), 1<<16)
	for range 128 {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}
