package environment_test

import (
	"maps"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"plantao/test/lab/evolution/environment"
	"plantao/test/lab/evolution/environment/environmenttest"
)

func lookup(change map[string]string, unset ...string) environment.Lookup {
	env := environmenttest.Safe()
	maps.Copy(env, change)
	for _, name := range unset {
		delete(env, name)
	}
	return environmenttest.Lookup(env)
}

func TestSafeEnvironmentLoads(t *testing.T) {
	t.Parallel()
	cfg, err := environment.Load(lookup(nil))
	require.NoError(t, err)
	assert.Equal(t, 8080, cfg.Port)
	assert.Equal(t, environment.Webhook{
		Timeout: 10 * time.Second, MaxAttempts: 10, InitialDelay: 5 * time.Second, MaxDelay: 5 * time.Minute, Exponential: true, Jitter: 0.2,
		NonRetryable: []int{400, 401, 403, 422},
	}, cfg.Webhook)
	assert.False(t, cfg.ExposeTokens)
	assert.False(t, cfg.Manager)
	assert.Empty(t, cfg.ControlAddr, "no control port unless asked for")
	assert.Equal(t, []string{"*"}, cfg.CORSOrigins)
}

func TestUnsetIsRefused(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"AUTHENTICATION_API_KEY", "AUTHENTICATION_EXPOSE_IN_FETCH_INSTANCES", "DATABASE_PROVIDER", "DATABASE_CONNECTION_URI",
		"DATABASE_CONNECTION_CLIENT_NAME", "SERVER_URL", "SERVER_DISABLE_MANAGER", "TELEMETRY_ENABLED", "LOG_LEVEL", "CACHE_REDIS_ENABLED",
		"CACHE_REDIS_URI", "CACHE_REDIS_PREFIX_KEY", "CACHE_REDIS_SAVE_INSTANCES", "WEBHOOK_REQUEST_TIMEOUT_MS",
		"WEBHOOK_RETRY_NON_RETRYABLE_STATUS_CODES", "CHATWOOT_ENABLED", "CHATWOOT_IMPORT_DATABASE_CONNECTION_URI", "WA_BUSINESS_TOKEN_WEBHOOK",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := environment.Load(lookup(nil, name))
			require.ErrorContains(t, err, name)
			assert.NotContains(t, err.Error(), "\n", "one line")
		})
	}
}

func TestValuesAreRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, value, message string }{
		{"AUTHENTICATION_API_KEY", "", "the key published"},
		{"AUTHENTICATION_API_KEY", "BQYHJGJHJ", "published"},
		{"WA_BUSINESS_TOKEN_WEBHOOK", "evolution", "published"},
		{"DATABASE_PROVIDER", "oracle", "Database provider oracle invalid"},
		{"DATABASE_PROVIDER", "mysql", "postgresql only"},
		{"DATABASE_CONNECTION_URI", "mysql://u:p@h/d", "postgresql://"},
		{"WEBHOOK_EVENTS_ERRORS", "true", "global key"},
		{"WEBHOOK_GLOBAL_ENABLED", "true", "does not imitate"},
		{"CHATWOOT_ENABLED", "true", "does not imitate"},
		{"S3_ENABLED", "true", "does not imitate"},
		{"WEBHOOK_RETRY_NON_RETRYABLE_STATUS_CODES", "400;401", "commas"},
		{"TZ", "Mars/Olympus", "Mars/Olympus"},
	} {
		t.Run(tt.name+"="+tt.value, func(t *testing.T) {
			t.Parallel()
			_, err := environment.Load(lookup(map[string]string{tt.name: tt.value}))
			require.ErrorContains(t, err, tt.name)
			assert.ErrorContains(t, err, tt.message)
		})
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	t.Parallel()
	_, err := environment.Load(environmenttest.Lookup(nil))
	require.Error(t, err)
	assert.GreaterOrEqual(t, len(strings.Split(err.Error(), "\n")), 14)
	assert.NotContains(t, err.Error(), "METRICS_PASSWORD", "matters only with PROMETHEUS_METRICS")
	assert.NotContains(t, err.Error(), "CACHE_REDIS_URI", "matters only with CACHE_REDIS_ENABLED=true")
}

func TestUpstreamFallbacks(t *testing.T) {
	t.Parallel()
	cfg, err := environment.Load(lookup(map[string]string{
		"SERVER_PORT": "word", "WEBHOOK_REQUEST_TIMEOUT_MS": "0", "WEBHOOK_RETRY_MAX_ATTEMPTS": "3x", "WEBHOOK_RETRY_USE_EXPONENTIAL_BACKOFF": "no",
		"LOG_LEVEL": "ERROR,DEBUG", "CACHE_REDIS_ENABLED": "false", "CORS_ORIGIN": "a,b",
	}, "TZ"))
	require.NoError(t, err)
	assert.Equal(t, 8080, cfg.Port)
	assert.Equal(t, 30*time.Second, cfg.Webhook.Timeout)
	assert.Equal(t, 3, cfg.Webhook.MaxAttempts)
	assert.True(t, cfg.Webhook.Exponential, "only the word false turns it off")
	assert.True(t, cfg.Debug)
	assert.Empty(t, cfg.Redis.URI)
	assert.Equal(t, []string{"a", "b"}, cfg.CORSOrigins)
	assert.Equal(t, "America/Sao_Paulo", cfg.Zone.String(), "the image's own TZ")
}

func TestLoadDatabase(t *testing.T) {
	t.Parallel()
	db, err := environment.LoadDatabase(lookup(nil))
	require.NoError(t, err)
	assert.NotEmpty(t, db.URI)
	_, err = environment.LoadDatabase(lookup(map[string]string{"DATABASE_URL": "postgresql://u:secret@h/d"}, "DATABASE_PROVIDER", "DATABASE_CONNECTION_URI"))
	require.Error(t, err)
	for _, part := range []string{"DATABASE_URL is set", "Database provider  invalid", "DATABASE_CONNECTION_URI is not set"} {
		assert.ErrorContains(t, err, part)
	}
	assert.NotContains(t, err.Error(), "secret")
}
