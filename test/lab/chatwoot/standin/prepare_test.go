package standin

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReadEnvironmentRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ key, value, want string }{
		"not production":         {"RAILS_ENV", "development", "RAILS_ENV must be production"},
		"no secret":              {"SECRET_KEY_BASE", "", "SECRET_KEY_BASE must be set"},
		"secret with signs":      {"SECRET_KEY_BASE", strings.Repeat("a-", 30), "SECRET_KEY_BASE may hold only letters and digits"},
		"short secret":           {"SECRET_KEY_BASE", "abc", "SECRET_KEY_BASE is shorter"},
		"documented secret":      {"SECRET_KEY_BASE", "replace_with_lengthy_secure_hex", "example value"},
		"no primary key":         {"ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY", "", "ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY must be set"},
		"no deterministic key":   {"ACTIVE_RECORD_ENCRYPTION_DETERMINISTIC_KEY", "", "ACTIVE_RECORD_ENCRYPTION_DETERMINISTIC_KEY must be set"},
		"no salt":                {"ACTIVE_RECORD_ENCRYPTION_KEY_DERIVATION_SALT", "", "ACTIVE_RECORD_ENCRYPTION_KEY_DERIVATION_SALT must be set"},
		"short key":              {"ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY", "kurz", "shorter than 12"},
		"same keys":              {"ACTIVE_RECORD_ENCRYPTION_DETERMINISTIC_KEY", "primaryprimaryprimary", "they must differ"},
		"signup unset":           {"ENABLE_ACCOUNT_SIGNUP", "", "ENABLE_ACCOUNT_SIGNUP must be set"},
		"signup unknown":         {"ENABLE_ACCOUNT_SIGNUP", "maybe", "ENABLE_ACCOUNT_SIGNUP must be one of"},
		"no frontend":            {"FRONTEND_URL", "", "FRONTEND_URL must be set"},
		"frontend slash":         {"FRONTEND_URL", "https://a.example/", "must not end with a slash"},
		"frontend bare":          {"FRONTEND_URL", "a.example", "absolute http or https URL"},
		"no redis":               {"REDIS_URL", "", "REDIS_URL must be set"},
		"odd redis":              {"REDIS_URL", "http://redis", "REDIS_URL must look like"},
		"redis database":         {"REDIS_URL", "redis://redis/one", "must be a number"},
		"redis without password": {"REDIS_PASSWORD", "", "REDIS_PASSWORD must be set"},
		"odd database url":       {"DATABASE_URL", "mysql://a/b", "DATABASE_URL must look like"},
		"odd number":             {"SIDEKIQ_CONCURRENCY", "many", "SIDEKIQ_CONCURRENCY must be a number"},
		"odd timeout":            {"POSTGRES_STATEMENT_TIMEOUT", "soon", "POSTGRES_STATEMENT_TIMEOUT must be a duration"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vars := variables()
			vars[c.key] = c.value
			_, err := ReadEnvironment(func(k string) string { return vars[k] })
			require.ErrorContains(t, err, c.want)
			assert.Equal(t, 1, len(strings.Split(err.Error(), "\n")), "one problem, one line: %v", err)
		})
	}
}

func TestReadEnvironmentReportsEverythingAtOnceAndNoValue(t *testing.T) {
	t.Parallel()
	vars := map[string]string{"SECRET_KEY_BASE": "top-secret-value-that-is-long-enough", "POSTGRES_PORT": "x"}
	_, err := ReadEnvironment(func(k string) string { return vars[k] })
	require.Error(t, err)
	for _, name := range []string{"RAILS_ENV", "SECRET_KEY_BASE", "POSTGRES_HOST", "POSTGRES_DATABASE", "POSTGRES_USERNAME", "POSTGRES_PASSWORD",
		"POSTGRES_PORT", "REDIS_URL", "REDIS_PASSWORD", "FRONTEND_URL", "ENABLE_ACCOUNT_SIGNUP"} {
		assert.ErrorContains(t, err, name)
	}
	assert.NotContains(t, err.Error(), "top-secret")
}

func TestReadEnvironmentDefaults(t *testing.T) {
	t.Parallel()
	vars := variables()
	delete(vars, "DATABASE_URL")
	vars["POSTGRES_HOST"], vars["POSTGRES_USERNAME"], vars["POSTGRES_PASSWORD"], vars["POSTGRES_DATABASE"] = "postgres", "chatwoot", "p@ss/w", "chatwoot"
	vars["SAFE_FETCH_ALLOW_PRIVATE_NETWORK"] = ""
	env, err := ReadEnvironment(func(k string) string { return vars[k] })
	require.NoError(t, err)
	assert.Equal(t, "postgres://chatwoot:p%40ss%2Fw@postgres:5432/chatwoot", env.DatabaseURL)
	assert.False(t, env.AllowPrivate)
	assert.True(t, env.RackAttack)
	assert.Equal(t, 200, env.MessagesPerMinute)
}

// The Ruby client takes a user without a password in the URL for the password.
func TestRedisOptionsReadTheURLAsRubyDoes(t *testing.T) {
	t.Parallel()
	for url, want := range map[string][2]string{
		"redis://redis:6379/1":              {"", "env"},
		"redis://chatwoot@redis:6379/1":     {"", "env"},
		"redis://chatwoot:url@redis:6379/1": {"chatwoot", "env"},
		"redis://:url@redis:6379/1":         {"", "env"},
	} {
		o, err := redisOptions(Environment{RedisURL: url, RedisPassword: "env"})
		require.NoError(t, err)
		assert.Equal(t, want, [2]string{o.Username, o.Password}, url)
		assert.Equal(t, 1, o.DB)
	}
}

func TestOpenRefusesNarrowACL(t *testing.T) {
	l := newLab(t, nil)
	admin := l.app.redis
	for name, c := range map[string]struct{ rules, want string }{
		"noscripts":  {"~* &* +@all -@scripting", "EVALSHA"},
		"noinfo":     {"~* &* +@all -@dangerous", "INFO"},
		"nochannels": {"~* resetchannels +@all", "PUBLISH"},
		"noqueues":   {"~alfred:* &* +@all", "queue:"},
		"wide":       {"~* &* +@all -@dangerous +info", ""},
	} {
		require.NoError(t, admin.Do(t.Context(), append([]any{"ACL", "SETUSER", name, "on", ">pw"}, words(c.rules)...)...).Err())
		env, err := ReadEnvironment(l.get)
		require.NoError(t, err)
		env.RedisURL = strings.Replace(env.RedisURL, "redis://", "redis://"+name+":pw@", 1)
		env.RedisPassword = "pw"
		app, err := Open(t.Context(), env, l.app.log)
		if c.want == "" {
			require.NoError(t, err, name)
			app.Close()
			continue
		}
		require.ErrorContains(t, err, c.want, name)
		require.ErrorContains(t, err, "ACL")
	}
}

// Where Redis has ACL users, the form that most clients accept logs in as the default user, as with the real image.
func TestOpenSaysHowAnACLUserIsGiven(t *testing.T) {
	l := newLab(t, nil)
	require.NoError(t, l.app.redis.Do(t.Context(), "ACL", "SETUSER", "chatwoot", "on", ">pw", "~*", "&*", "+@all").Err())
	require.NoError(t, l.app.redis.Do(t.Context(), "ACL", "SETUSER", "default", "resetpass", "nopass", "resetkeys", "-@all", "+ping").Err())
	env, err := ReadEnvironment(l.get)
	require.NoError(t, err)
	env.RedisURL, env.RedisPassword = strings.Replace(env.RedisURL, "redis://", "redis://chatwoot@", 1), "pw"
	_, err = Open(t.Context(), env, l.app.log)
	require.ErrorContains(t, err, "redis://USER:PASSWORD@")
	env.RedisURL = strings.Replace(env.RedisURL, "chatwoot@", "chatwoot:pw@", 1)
	app, err := Open(t.Context(), env, l.app.log)
	require.NoError(t, err)
	app.Close()
}

func words(s string) []any {
	var out []any
	for _, w := range strings.Fields(s) {
		out = append(out, w)
	}
	return out
}

func TestPrepareTwice(t *testing.T) {
	l := newLab(t, nil)
	ctx := t.Context()
	require.ErrorIs(t, l.app.CheckPrepared(ctx), ErrNotPrepared)
	require.ErrorIs(t, l.app.Work(ctx), ErrNotPrepared, "sidekiq before prepare crashes")

	var first, second bytes.Buffer
	require.NoError(t, l.app.Prepare(ctx, &first))
	assert.Contains(t, first.String(), "schema loaded")
	require.NoError(t, l.app.CheckPrepared(ctx))
	require.NoError(t, l.app.redis.Get(ctx, onboardingKey).Err(), "the seed opens onboarding")

	require.NoError(t, l.app.RunScriptFile(ctx, bootstrapFile, l.get))
	require.NoError(t, l.app.Prepare(ctx, &second))
	assert.Empty(t, second.String())
	n, err := l.app.redis.Exists(ctx, onboardingKey).Result()
	require.NoError(t, err)
	assert.Zero(t, n, "a second prepare does not open onboarding again")
}

func TestPrepareMigratesAnOlderSchema(t *testing.T) {
	l := newLab(t, nil)
	ctx := t.Context()
	require.NoError(t, l.app.Prepare(ctx, io.Discard))
	_, err := l.app.db.Exec(ctx, `ALTER TABLE accounts DROP COLUMN keep_pending_on_bot_failure;
		DELETE FROM schema_migrations WHERE version LIKE '%keep_pending%'`)
	require.NoError(t, err)
	err = l.app.CheckPrepared(ctx)
	require.ErrorIs(t, err, ErrNotPrepared)
	require.ErrorContains(t, err, "keep_pending")
	var out bytes.Buffer
	require.NoError(t, l.app.Prepare(ctx, &out))
	assert.Contains(t, out.String(), "migrated 20260515000000_keep_pending_on_bot_failure")
	assert.NotContains(t, out.String(), "seed")
	require.NoError(t, l.app.CheckPrepared(ctx))
}

func TestPrepareTwoAtOnce(t *testing.T) {
	l := newLab(t, nil)
	failed := make(chan error, 2)
	for range 2 {
		go func() { failed <- l.app.Prepare(context.WithoutCancel(t.Context()), io.Discard) }()
	}
	require.NoError(t, errors.Join(<-failed, <-failed))
}

// Without Redis nothing of the seed is kept, so that the next run does all of it.
func TestPrepareWithoutRedisKeepsNothing(t *testing.T) {
	l := newLab(t, nil)
	other := l.open()
	require.NoError(t, other.redis.Close())
	require.ErrorContains(t, other.Prepare(t.Context(), io.Discard), "onboarding key")
	require.ErrorIs(t, l.app.CheckPrepared(t.Context()), ErrNotPrepared)
	require.NoError(t, l.app.Prepare(t.Context(), io.Discard))
}

// pg_stat_statements needs a superuser: an ordinary role stops there, as with the real image.
func TestPrepareAsOrdinaryRole(t *testing.T) {
	l := newLab(t, nil)
	super := l.vars["DATABASE_URL"]
	u, err := url.Parse(super)
	require.NoError(t, err)
	role := strings.TrimPrefix(u.Path, "/")
	execSQL(t, super, `CREATE ROLE `+role+` LOGIN PASSWORD 'pw'`)
	execSQL(t, super, `ALTER DATABASE `+role+` OWNER TO `+role)
	execSQL(t, super, `ALTER SCHEMA public OWNER TO `+role)
	u.User = url.UserPassword(role, "pw")
	l.vars["DATABASE_URL"] = u.String()
	app := l.open()
	err = app.Prepare(t.Context(), io.Discard)
	require.ErrorContains(t, err, "pg_stat_statements")
	require.ErrorContains(t, err, "superuser")
	execSQL(t, super, `CREATE EXTENSION pg_stat_statements`)
	require.NoError(t, app.Prepare(t.Context(), io.Discard))
}

func execSQL(t *testing.T, databaseURL, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), databaseURL)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(t.Context())) }()
	_, err = conn.Exec(t.Context(), sql)
	require.NoError(t, err, sql)
}

func TestBootstrapScript(t *testing.T) {
	l := newLab(t, nil)
	ctx := t.Context()
	require.NoError(t, l.app.Prepare(ctx, io.Discard))

	for _, name := range []string{"PLANTAO_ACCOUNT_NAME", "PLANTAO_ADMIN_NAME", "PLANTAO_ADMIN_EMAIL", "PLANTAO_ADMIN_PASSWORD"} {
		err := l.app.RunScriptFile(ctx, bootstrapFile, func(k string) string {
			if k == name {
				return ""
			}
			return l.get(k)
		})
		require.ErrorContains(t, err, "set "+name+":", "the message names what is missing")
	}
	for what, c := range map[string]struct{ key, value, want string }{
		"domain without dot": {"PLANTAO_ADMIN_EMAIL", "dona@localhost", "no dot"},
		"no address":         {"PLANTAO_ADMIN_EMAIL", "dona", "invalid email"},
		"disposable":         {"PLANTAO_ADMIN_EMAIL", "a@mailinator.com", "disposable"},
		"short":              {"PLANTAO_ADMIN_PASSWORD", "aB1!", "too short"},
		"no upper":           {"PLANTAO_ADMIN_PASSWORD", "senha-1234", "uppercase"},
		"no lower":           {"PLANTAO_ADMIN_PASSWORD", "SENHA-1234", "lowercase"},
		"no digit":           {"PLANTAO_ADMIN_PASSWORD", "Senha-abcd", "number"},
		"no special":         {"PLANTAO_ADMIN_PASSWORD", "Senha1234", "special"},
	} {
		err := l.app.RunScriptFile(ctx, bootstrapFile, func(k string) string {
			if k == c.key {
				return c.value
			}
			return l.get(k)
		})
		require.ErrorContains(t, err, c.want, what)
		assert.NotContains(t, err.Error(), "1234")
	}
	require.NoError(t, l.app.redis.Get(ctx, onboardingKey).Err(), "a failed bootstrap leaves the key")

	require.NoError(t, l.app.RunScriptFile(ctx, bootstrapFile, l.get))
	require.NoError(t, l.app.redis.Set(ctx, onboardingKey, "true", 0).Err())
	require.NoError(t, l.app.RunScriptFile(ctx, bootstrapFile, l.get), "twice")
	n, err := l.app.redis.Exists(ctx, onboardingKey).Result()
	require.NoError(t, err)
	assert.Zero(t, n, "deleted each time")
	var users int
	require.NoError(t, l.app.db.QueryRow(ctx, `SELECT count(*) FROM users WHERE type = 'SuperAdmin' AND email = $1`, adminEmail).Scan(&users))
	assert.Equal(t, 1, users)
}

func TestScriptRefusesOtherRuby(t *testing.T) {
	l := newLab(t, nil)
	require.NoError(t, l.app.Prepare(t.Context(), io.Discard))
	deletion := "Redis::Alfred.delete(Redis::Alfred::CHATWOOT_INSTALLATION_ONBOARDING)\n"
	for script, want := range map[string]string{
		"":                             "empty",
		deletion + "User.delete_all\n": `line 2: this stand-in knows only`,
		deletion + "end\n":             "unexpected `end'",
		"unless User.exists?(email: ENV.fetch(\"A\"))\n" + deletion:  "expecting `end'",
		"AccountBuilder.new(account_name: ENV.fetch(\"A\")).perform": "missing keyword: email",
		"AccountBuilder.new(admin: true).perform":                    "unknown keyword",
		"AccountBuilder.new(email: 'a@b.c').perform":                 "cannot read argument",
		"AccountBuilder.new(\nemail: ENV.fetch(\"A\")":               "end-of-input",
		"AccountBuilder.new(email: ENV.fetch(\"UNSET\")).perform":    "key not found",
	} {
		err := l.app.RunScript(t.Context(), strings.NewReader(script), l.get)
		require.ErrorContains(t, err, want, script)
	}
	require.NoError(t, l.app.redis.Get(t.Context(), onboardingKey).Err(), "a script with one unknown line does nothing at all")
	require.ErrorContains(t, l.app.RunScriptFile(t.Context(), "/nowhere.rb", l.get), "/nowhere.rb")
}

func TestOnboardingPage(t *testing.T) {
	l := newLab(t, nil)
	require.NoError(t, l.app.Prepare(t.Context(), io.Discard))
	l.serve()
	location := func(method, path, form string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, l.url+path, strings.NewReader(form))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := http.DefaultTransport.RoundTrip(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode, resp.Header.Get("Location")
	}
	status, to := location("GET", "/", "")
	assert.Equal(t, "302 /installation/onboarding", strings.Join([]string{"302", to}, " "))
	assert.Equal(t, 302, status)
	status, _ = location("GET", "/installation/onboarding", "")
	assert.Equal(t, 200, status, "public while the key exists")

	bad := url.Values{"user[name]": {"Eve"}, "user[company]": {"Evil"}, "user[email]": {"eve@example.com"}, "user[password]": {"weak"}}
	_, _ = location("POST", "/installation/onboarding", bad.Encode())
	require.NoError(t, l.app.redis.Get(t.Context(), onboardingKey).Err(), "refused: still open")
	bad.Set("user[password]", "Strong-123")
	_, _ = location("POST", "/installation/onboarding", bad.Encode())
	var kind string
	require.NoError(t, l.app.db.QueryRow(t.Context(), `SELECT type FROM users WHERE email = 'eve@example.com'`).Scan(&kind))
	assert.Equal(t, "SuperAdmin", kind, "the first visitor becomes super admin")

	status, _ = location("GET", "/", "")
	assert.Equal(t, 200, status)
	status, to = location("GET", "/installation/onboarding", "")
	assert.Equal(t, 302, status)
	assert.Equal(t, "/", to)
}
