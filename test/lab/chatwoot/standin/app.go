// Package standin is the inside of the stand-in for Chatwoot: the environment it accepts, its tables, its jobs, its
// HTTP API and its webhook deliveries. The command in the parent folder gives it upstream's command line; tests of the
// code that talks to Chatwoot use it in-process (Open, Prepare, Handler, Work).
//
// What is imitated, from which facts, and what is not, is said at the top of the command.
package standin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
)

// Version is what GET /api answers: the newest release whose code the facts were read from.
const Version = "4.15.1"

// ErrNotPrepared is returned by CheckPrepared: the database has no schema, or an older one than this program.
var ErrNotPrepared = errors.New(`the database is not prepared: run "bundle exec rails db:chatwoot_prepare" first`)

// App is one process' connections. It is safe for concurrent use; Close releases it.
type App struct {
	env   Environment
	db    *pgxpool.Pool
	redis *redis.Client
	log   *slog.Logger
	// retryWait is the pause between two attempts of a bot webhook; a test shortens it.
	retryWait time.Duration
}

// Open connects to the database and the Redis that env names, and checks what upstream's Redis clients need there. It
// makes no schema: that is Prepare's work.
func Open(ctx context.Context, env Environment, log *slog.Logger) (*App, error) {
	cfg, err := pgxpool.ParseConfig(env.DatabaseURL)
	if err != nil {
		return nil, errors.New("parse the database settings: check POSTGRES_HOST, POSTGRES_PORT and DATABASE_URL")
	}
	cfg.MaxConns = int32(min(env.Concurrency, 20) + 5)
	cfg.ConnConfig.RuntimeParams["statement_timeout"] = fmt.Sprint(env.StatementTimeout.Milliseconds())
	cfg.ConnConfig.RuntimeParams["application_name"] = "chatwoot"
	cfg.ConnConfig.ConnectTimeout = 5 * time.Second
	db, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	options, err := redisOptions(env)
	if err != nil {
		db.Close()
		return nil, err
	}
	app := &App{env: env, db: db, redis: redis.NewClient(options), log: log, retryWait: 3 * time.Second}
	if err := app.checkRedis(ctx); err != nil {
		app.Close()
		return nil, err
	}
	return app, nil
}

// Close releases the connections.
func (a *App) Close() {
	a.db.Close()
	_ = a.redis.Close()
}

// redisOptions reads the URL as redis-client (Ruby) does, which differs from most clients: a user without a password in
// the URL is taken for the *password* of the default user. An ACL user therefore needs both in REDIS_URL, even though
// REDIS_PASSWORD replaces the password afterwards. Source: redis-client lib/redis_client/url_config.rb.
func redisOptions(env Environment) (*redis.Options, error) {
	u, err := url.Parse(env.RedisURL)
	if err != nil {
		return nil, errors.New("parse REDIS_URL: it must look like redis://host:6379/1")
	}
	user, password := "", ""
	if u.User != nil {
		if p, ok := u.User.Password(); ok {
			user, password = u.User.Username(), p
		} else {
			password = u.User.Username()
		}
		u.User = nil
	}
	o, err := redis.ParseURL(u.String())
	if err != nil {
		return nil, errors.New("parse REDIS_URL: it must look like redis://host:6379/1")
	}
	o.Username, o.Password = user, password
	if env.RedisPassword != "" {
		o.Password = env.RedisPassword
	}
	o.PoolSize = env.Concurrency + 10
	o.DialTimeout, o.MaxRetries = 5*time.Second, 2
	return o, nil
}

// userInURL is the way out of the trap redisOptions describes.
const userInURL = "if it has ACL users, REDIS_URL must be redis://USER:PASSWORD@HOST:PORT/DB: a user alone is taken for the password"

// Lua that moves due jobs from a sorted set, as Sidekiq's poller does.
var popDue = redis.NewScript(`local d = redis.call("zrangebyscore", KEYS[1], "-inf", ARGV[1], "LIMIT", 0, 1)
if d[1] then redis.call("zrem", KEYS[1], d[1]) return d[1] end
return false`)

// checkRedis tries each kind of command upstream's own clients use, so that an ACL that is too narrow for the real
// image fails in the lab too: INFO and scripting (Sidekiq), publish (ActionCable), keys of several prefixes.
func (a *App) checkRedis(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := a.redis.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("reach redis at %s: %w; %s", a.redis.Options().Addr, err, userInURL)
	}
	for _, check := range []struct {
		what string
		err  func() error
	}{
		{"INFO (Sidekiq reads the server version)", func() error { return a.redis.Info(ctx, "server").Err() }},
		{"EVALSHA and SCRIPT LOAD (Sidekiq's scheduled jobs)", func() error { return popDue.Load(ctx, a.redis).Err() }},
		{"PUBLISH to chatwoot_production_action_cable* (live updates)", func() error {
			return a.redis.Publish(ctx, cablePrefix+"boot", "{}").Err()
		}},
		{"keys alfred:*", func() error { return a.redis.Get(ctx, onboardingKey).Err() }},
		{"keys queue:*", func() error { return a.redis.LLen(ctx, "queue:default").Err() }},
	} {
		if err := check.err(); err != nil && !errors.Is(err, redis.Nil) {
			if a.redis.Options().Username == "" {
				return fmt.Errorf("redis refuses the default user %s: %w; %s", check.what, err, userInURL)
			}
			return fmt.Errorf("redis refuses %s: %w; widen the ACL of Chatwoot's Redis user", check.what, err)
		}
	}
	return nil
}

// CheckPrepared returns ErrNotPrepared unless the schema is there and as new as this program. Web and worker call it
// before they do anything.
func (a *App) CheckPrepared(ctx context.Context) error {
	var there bool
	err := a.db.QueryRow(ctx, `SELECT to_regclass('ar_internal_metadata') IS NOT NULL AND to_regclass('schema_migrations') IS NOT NULL`).Scan(&there)
	if err != nil {
		return fmt.Errorf("reach the database: %w", err)
	}
	if !there {
		return ErrNotPrepared
	}
	pending, err := pendingMigrations(ctx, a.db)
	if err != nil {
		return err
	}
	if len(pending) > 0 {
		return fmt.Errorf("%w (pending: %s)", ErrNotPrepared, strings.Join(pending, ", "))
	}
	return nil
}

// inTx runs fn in one transaction.
func (a *App) inTx(ctx context.Context, fn func(pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, a.db, fn)
}
