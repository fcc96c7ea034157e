// Command chatwoot is the stand-in for Chatwoot in the lab, for machines where the real image cannot be had. In the lab
// image the binary is installed as `bundle`, so that the component definition, the entrypoint scripts and the prepare
// job of the real image run unchanged:
//
//	bundle exec rails db:chatwoot_prepare
//	bundle exec rails runner FILE.rb
//	bundle exec rails s -p 3000 -b 0.0.0.0
//	bundle exec sidekiq -C config/sidekiq.yml
//
// It was written from upstream's documentation (Chatwoot v4.15.1) and, for shapes and texts, from the
// upstream sources those name. It refuses what the real one refuses, with the same status codes.
//
// Imitated: the environment (what is dangerous unset is refused, all problems at once), the database and Redis it names,
// db:chatwoot_prepare and its seed, the onboarding page while the Redis key exists, AccountBuilder with its validations,
// Rack::Attack's limits, access tokens and devise sessions, roles, agent bots' narrow rights, API inboxes, contacts,
// conversations with display ids, messages with their limits and the finder's cursor rules, attachments served at addresses built from FRONTEND_URL, webhooks, and Sidekiq: events
// and deliveries are jobs in Redis that only the worker runs, with upstream's signature, time limit, retries, refusal of
// private addresses and what a failure does to the message or conversation.
//
// Not imitated: every other channel type, teams of conversations, attachments but as files, filters, reports, the websocket (/cable answers 404;
// updates are published to Redis all the same), the platform and the public client API, mail, the super admin's pages
// behind their sign-in, Captain, other Ruby than the statements of bootstrap.rb.
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
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"plantao/test/lab/chatwoot/standin"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Getenv, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bundle: "+strings.ReplaceAll(err.Error(), "\n", "\nbundle: "))
		os.Exit(1) //nolint:gocritic // nothing is left for stop to release
	}
}

// run is the whole command line. get reads the environment, out is the standard output.
func run(ctx context.Context, args []string, get func(string) string, out io.Writer) error {
	if len(args) == 1 && (args[0] == "install" || args[0] == "check") {
		// The entrypoint script of the image calls both before it starts the server.
		_, _ = fmt.Fprintln(out, "The Gemfile's dependencies are satisfied")
		return nil
	}
	if len(args) == 0 || args[0] != "exec" {
		return fmt.Errorf("could not find command %q", strings.Join(args, " "))
	}
	command, err := parseExec(args[1:])
	if err != nil {
		return err
	}
	env, err := standin.ReadEnvironment(get)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(out, nil))
	app, err := standin.Open(ctx, env, log)
	if err != nil {
		return err
	}
	defer app.Close()
	return command(ctx, process{app: app, log: log, get: get, out: out})
}

// process is what a command runs with.
type process struct {
	app *standin.App
	log *slog.Logger
	get func(string) string
	out io.Writer
}

type command func(context.Context, process) error

// parseExec knows the four calls of the deployment and refuses everything else before anything is opened.
func parseExec(args []string) (command, error) {
	if len(args) == 0 {
		return nil, errors.New("bundler: exec needs a command to run")
	}
	switch args[0] {
	case "rails":
		return parseRails(args[1:])
	case "sidekiq":
		if !slices.Equal(args[1:], []string{"-C", "config/sidekiq.yml"}) {
			return nil, fmt.Errorf("sidekiq: unknown arguments %q: call it with -C config/sidekiq.yml", args[1:])
		}
		return func(ctx context.Context, p process) error { return p.app.Work(ctx) }, nil
	}
	return nil, fmt.Errorf("bundler: command not found: %s", args[0])
}

func parseRails(args []string) (command, error) {
	if len(args) == 0 {
		return nil, errors.New("rails: needs a command")
	}
	switch args[0] {
	case "db:chatwoot_prepare":
		if len(args) == 1 {
			return func(ctx context.Context, p process) error { return p.app.Prepare(ctx, p.out) }, nil
		}
	case "runner":
		if len(args) != 2 {
			return nil, errors.New("rails runner: please specify a valid ruby command or the path of a script to run")
		}
		return func(ctx context.Context, p process) error {
			if err := p.app.CheckPrepared(ctx); err != nil {
				return err
			}
			return p.app.RunScriptFile(ctx, args[1], p.get)
		}, nil
	case "s", "server":
		address, err := parseServer(args[1:])
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context, p process) error { return serve(ctx, p, address) }, nil
	}
	return nil, fmt.Errorf("rails aborted! Don't know how to build task %q", strings.Join(args, " "))
}

// parseServer reads -p PORT and -b ADDRESS; Rails' defaults are 3000 and localhost.
func parseServer(args []string) (string, error) {
	port, host := "3000", "localhost"
	for i := 0; i < len(args); i += 2 {
		if i+1 == len(args) {
			return "", fmt.Errorf("rails server: no value provided for option %q", args[i])
		}
		switch args[i] {
		case "-p", "--port":
			port = args[i+1]
		case "-b", "--binding":
			host = args[i+1]
		default:
			return "", fmt.Errorf("rails server: unknown option %q", args[i])
		}
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return "", fmt.Errorf("rails server: expected numeric value for '--port'; got %q", port)
	}
	return net.JoinHostPort(host, port), nil
}

// serve is the web process.
func serve(ctx context.Context, p process, address string) error {
	if err := p.app.CheckPrepared(ctx); err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", address, err)
	}
	server := &http.Server{Handler: p.app.Handler(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 60 * time.Second, IdleTimeout: 60 * time.Second}
	p.log.InfoContext(ctx, "web started", "listen", listener.Addr().String())
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	shutdown, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := server.Shutdown(shutdown); err != nil {
		return fmt.Errorf("shut the server down: %w", err)
	}
	return nil
}
