// Command pulumi-language-go is a minimal language host for Pulumi programs written in Go.
//
// The official host of the same name ships with Pulumi's own CLI and is not published as a Go module, so a machine
// that only reaches package registries cannot have it. This one runs, previews and describes Go programs; it
// generates no code (convert, package add): those calls answer that the official host is needed. tools/setup
// installs it only where the official one is missing, and `pulumi about` and the log name it as minimal.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil"
	"github.com/pulumi/pulumi/sdk/v3/go/common/version"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"
)

// engineStartTimeout is how long the host waits for the engine that started it to answer.
const engineStartTimeout = time.Minute

func main() {
	if err := serve(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			os.Exit(2)
		}
		fmt.Fprintln(os.Stderr, "pulumi-language-go:", err)
		os.Exit(1)
	}
}

// serve answers the engine until it goes away or the process is interrupted. The one line it writes to stdout before
// anything else is the port: the engine reads it to find the host.
func serve(args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("pulumi-language-go", flag.ContinueOnError)
	flags.SetOutput(stderr)
	showVersion := flags.Bool("version", false, "print the version and exit")
	// Accepted because the engine may pass it; this host sends no traces.
	_ = flags.String("tracing", "", "accepted for compatibility, unused")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *showVersion {
		_, err := fmt.Fprintln(stdout, version.Version)
		return err
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	engine := flags.Arg(0)
	if engine != "" {
		// The health check ends the context when the engine dies, so an orphaned host does not stay behind.
		if err := rpcutil.Healthcheck(ctx, engine, engineStartTimeout, stop); err != nil {
			return fmt.Errorf("wait for the engine at %q: %w", engine, err)
		}
	}

	cancel := make(chan bool)
	server, err := rpcutil.ServeWithOptions(rpcutil.ServeOptions{
		Cancel: cancel,
		Init: func(s *grpc.Server) error {
			pulumirpc.RegisterLanguageRuntimeServer(s, newHost(ctx, engine))
			return nil
		},
	})
	if err != nil {
		return fmt.Errorf("listen for the engine: %w", err)
	}
	context.AfterFunc(ctx, func() { close(cancel) })
	if _, err := fmt.Fprintf(stdout, "%d\n", server.Port); err != nil {
		return fmt.Errorf("tell the engine the port: %w", err)
	}
	if err := <-server.Done; err != nil {
		return fmt.Errorf("serve the engine: %w", err)
	}
	return nil
}
