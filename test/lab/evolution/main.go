package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
	_ "time/tzdata" // TZ must work in an image without zone files

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"plantao/test/lab/evolution/control"
	"plantao/test/lab/evolution/environment"
	"plantao/test/lab/evolution/server"
	"plantao/test/lab/evolution/store"
	"plantao/test/lab/evolution/webhook"
)

const usage = `usage: evolution deploy-database | serve

The lab's stand-in for Evolution API v2.3.7. Configuration is the environment of the real one.
  deploy-database   apply the database migrations
  serve             answer the API on SERVER_PORT
`

// shutdownTime bounds the end of running requests.
const shutdownTime = 5 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr))
}

// run is main without the process. It returns the exit code: 0 ok, 1 failed, 2 wrong usage.
func run(ctx context.Context, args []string, env environment.Lookup, stdout, stderr io.Writer) int {
	if len(args) != 1 {
		fmt.Fprint(stderr, usage)
		return 2
	}
	var err error
	switch args[0] {
	case "deploy-database":
		err = deployDatabase(ctx, env, stdout)
	case "serve":
		err = serve(ctx, env, stderr)
	default:
		fmt.Fprint(stderr, usage)
		return 2
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

// deployDatabase prints what upstream's script prints.
func deployDatabase(ctx context.Context, env environment.Lookup, stdout io.Writer) error {
	db, err := environment.LoadDatabase(env)
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, "Deploying migrations for postgresql")
	fmt.Fprintln(stdout, "Database URL: ")
	applied, err := store.Migrate(ctx, db.URI)
	if err != nil {
		fmt.Fprintln(stdout, "Migration failed")
		return fmt.Errorf("deploy database: %w", err)
	}
	if len(applied) == 0 {
		fmt.Fprintln(stdout, "No pending migrations to apply.")
	}
	for _, name := range applied {
		fmt.Fprintln(stdout, "Applying migration", name)
	}
	fmt.Fprintln(stdout, "Migration succeeded")
	return nil
}

func serve(ctx context.Context, env environment.Lookup, stderr io.Writer) error {
	cfg, err := environment.Load(env)
	if err != nil {
		return err
	}
	level := slog.LevelInfo
	if cfg.Debug {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: level}))

	db, err := store.Open(ctx, cfg.Database.URI)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := db.Ready(ctx); err != nil {
		return err
	}
	checkCache(ctx, cfg.Redis, log)

	board := &control.Board{}
	sender := webhook.New(cfg, db, board, nil, log)
	defer sender.Close()
	api, err := server.New(ctx, server.Options{Config: cfg, Store: db, Sender: sender, Board: board, Log: log})
	if err != nil {
		return err
	}
	defer api.Close()

	group, ctx := errgroup.WithContext(ctx)
	listen(ctx, group, log, "api", ":"+strconv.Itoa(cfg.Port), api, api.Close)
	if cfg.ControlAddr != "" {
		listen(ctx, group, log, "lab control", cfg.ControlAddr, control.Handler(board, api), func() {})
	}
	return group.Wait()
}

// listen serves h until ctx ends. onStop is called first, so that requests which wait on purpose end too.
func listen(ctx context.Context, group *errgroup.Group, log *slog.Logger, name, addr string, h http.Handler, onStop func()) {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	group.Go(func() error {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
		if err != nil {
			return fmt.Errorf("listen for %s on %s: %w", name, addr, err)
		}
		log.InfoContext(ctx, "listening", "server", name, "addr", l.Addr().String())
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve %s: %w", name, err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		onStop()
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
		defer cancel()
		if err := srv.Shutdown(stopCtx); err != nil {
			return fmt.Errorf("shut down %s: %w", name, errors.Join(err, srv.Close()))
		}
		return nil
	})
}

// checkCache writes and removes one key the way upstream names its keys. Like upstream it starts without Redis all the same; the log
// line is what tells of a wrong password or key pattern.
func checkCache(ctx context.Context, cfg environment.Redis, log *slog.Logger) {
	if cfg.URI == "" {
		return
	}
	opts, err := redis.ParseURL(cfg.URI)
	if err != nil {
		log.ErrorContext(ctx, "redis disconnected", "err", "CACHE_REDIS_URI is no redis:// URL")
		return
	}
	opts.MaxRetries = -1 // one line in the log is enough
	opts.DialerRetries = 1
	client := redis.NewClient(opts)
	defer func() { _ = client.Close() }() // it was only tried out
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	key := cfg.PrefixKey + ":instance:start"
	if err := client.Set(ctx, key, "1", time.Minute).Err(); err != nil {
		log.ErrorContext(ctx, "redis disconnected", "err", err)
		return
	}
	if err := client.Del(ctx, key).Err(); err != nil {
		log.ErrorContext(ctx, "redis refuses DEL", "err", err)
		return
	}
	log.InfoContext(ctx, "redis ready")
}
