// Command launcher stands in for n8n's task-runner-launcher on machines that cannot have the official
// one: its module is in no public Go proxy and its releases are plain downloads. It keeps the same
// contract, so one container definition runs both:
//
//   - arguments are runner types; the runners come from /etc/n8n-task-runners.json (N8N_RUNNERS_CONFIG_PATH);
//   - N8N_RUNNERS_AUTH_TOKEN is exchanged for a single-use grant token, one per connection;
//   - the launcher itself holds one never-expiring task offer, and starts the real runner (Node) only
//     once the broker accepts it; an idle runner ends by itself and the launcher offers again;
//   - every variable may be given as NAME_FILE; the runner sees only what its entry allows;
//   - GET /healthz on port 5680 answers 200 while the launcher lives.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Environ())
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "task-runner-launcher:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends (nil) or a runner type cannot be kept going any more (its error).
func run(ctx context.Context, args, environ []string) error {
	cfg, err := loadConfig(args, environ)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: cfg.logLevel}))

	listener, err := net.Listen("tcp", net.JoinHostPort("", cfg.healthPort))
	if err != nil {
		return fmt.Errorf("listen for health checks on port %s: %w", cfg.healthPort, err)
	}
	health := &http.Server{Handler: healthHandler(), ReadHeaderTimeout: time.Second}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	var wg sync.WaitGroup
	errs := make(chan error, len(cfg.runners)+1)
	start := func(f func() error) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			errs <- f()
			// One part ending ends the process: the container's restart policy brings back all of it.
			cancel()
		}()
	}
	start(func() error {
		if err := health.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve health checks: %w", err)
		}
		return nil
	})
	for _, r := range cfg.runners {
		l := &launcher{cfg: cfg, runner: r, logger: logger.With("runner", r.Type)}
		start(func() error { return l.loop(ctx) })
	}

	<-ctx.Done()
	_ = health.Close() // only health checks are served; there is nothing to drain
	wg.Wait()
	close(errs)
	var all []error
	for err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			all = append(all, err)
		}
	}
	return errors.Join(all...)
}

func healthHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"status":"ok"}` + "\n"))
	})
	return mux
}
