package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"plantao/runtime/postgres/postgrestest"
	"plantao/runtime/redis/redistest"
	"plantao/test/lab/chatwoot/standin"
)

const redisPassword = "servers1Test"

// variables is a complete environment on empty servers.
func variables(t *testing.T) map[string]string {
	t.Helper()
	redis := redistest.New(t)
	redis.Do("CONFIG", "SET", "requirepass", redisPassword)
	return map[string]string{
		"RAILS_ENV": "production", "SECRET_KEY_BASE": strings.Repeat("a1B2", 16), "FRONTEND_URL": "http://chatwoot.localhost", "ENABLE_ACCOUNT_SIGNUP": "false",
		"ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY": "primaryprimary", "ACTIVE_RECORD_ENCRYPTION_DETERMINISTIC_KEY": "deterministic",
		"ACTIVE_RECORD_ENCRYPTION_KEY_DERIVATION_SALT": "saltsaltsalt", "REDIS_PASSWORD": redisPassword,
		"DATABASE_URL": postgrestest.NewEmpty(t).URL, "REDIS_URL": redis.URL,
		"PLANTAO_ACCOUNT_NAME": "Padaria", "PLANTAO_ADMIN_NAME": "Dona", "PLANTAO_ADMIN_EMAIL": "dona@example.com", "PLANTAO_ADMIN_PASSWORD": "Senha-1234",
	}
}

func TestCommandsThatAreRefused(t *testing.T) {
	t.Parallel()
	none := func(string) string { return "" }
	for line, want := range map[string]string{
		"":                                       "could not find command",
		"update":                                 "could not find command",
		"exec":                                   "needs a command",
		"exec rake db:migrate":                   "command not found: rake",
		"exec rails":                             "needs a command",
		"exec rails db:migrate":                  "build task",
		"exec rails db:chatwoot_prepare VERBOSE": "build task",
		"exec rails runner":                      "valid ruby command",
		"exec rails runner a b":                  "valid ruby command",
		"exec rails s -p":                        "no value",
		"exec rails s -p http":                   "numeric value",
		"exec rails s -e production":             "unknown option",
		"exec sidekiq":                           "-C config/sidekiq.yml",
		"exec sidekiq -C other.yml":              "-C config/sidekiq.yml",
		"exec rails db:chatwoot_prepare":         "RAILS_ENV must be set",
	} {
		require.ErrorContains(t, run(t.Context(), strings.Fields(line), none, io.Discard), want, line)
	}
	require.NoError(t, run(t.Context(), []string{"check"}, none, io.Discard))
	require.NoError(t, run(t.Context(), []string{"install"}, none, io.Discard))
}

func TestParseServer(t *testing.T) {
	t.Parallel()
	got, err := parseServer([]string{"-p", "3000", "-b", "0.0.0.0"})
	require.NoError(t, err)
	assert.Equal(t, "0.0.0.0:3000", got)
	got, err = parseServer(nil)
	require.NoError(t, err)
	assert.Equal(t, "localhost:3000", got)
}

// output is a buffer that a running process writes and the test reads.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func TestDeployment(t *testing.T) {
	t.Parallel()
	vars := variables(t)
	get := func(name string) string { return vars[name] }
	for _, line := range []string{"exec rails s -p 0 -b 127.0.0.1", "exec sidekiq -C config/sidekiq.yml", "exec rails runner ../../../templates/chatwoot/bootstrap.rb"} {
		require.ErrorIs(t, run(t.Context(), strings.Fields(line), get, io.Discard), standin.ErrNotPrepared, line)
	}
	for range 2 {
		require.NoError(t, run(t.Context(), []string{"exec", "rails", "db:chatwoot_prepare"}, get, io.Discard))
		require.NoError(t, run(t.Context(), []string{"exec", "rails", "runner", "../../../templates/chatwoot/bootstrap.rb"}, get, io.Discard))
	}

	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	var web, worker output
	go func() { ended <- run(ctx, strings.Fields("exec rails s -p 0 -b 127.0.0.1"), get, &web) }()
	go func() { ended <- run(ctx, strings.Fields("exec sidekiq -C config/sidekiq.yml"), get, &worker) }()
	address := regexp.MustCompile(`listen=(\S+)`)
	require.Eventually(t, func() bool {
		return address.MatchString(web.String()) && strings.Contains(worker.String(), "worker started")
	}, 20*time.Second, 20*time.Millisecond)
	url := "http://" + address.FindStringSubmatch(web.String())[1]
	for path, want := range map[string]int{"/health": 200, "/api": 200, "/": 200} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", url+path, nil)
		require.NoError(t, err)
		resp, err := http.DefaultTransport.RoundTrip(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		assert.Equal(t, want, resp.StatusCode, path)
	}
	stop()
	require.NoError(t, errors.Join(<-ended, <-ended), "a stop signal ends both cleanly")
}
