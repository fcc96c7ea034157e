// Command router takes WhatsApp webhooks in, keeps who is on duty in each conversation, asks the agent's flow and sends
// the answer. `router help` lists the commands.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the linker: -X main.version=….
var version = "dev"

// Exit statuses.
const (
	exitOK     = 0
	exitError  = 1
	exitConfig = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cmd := newCommand(stdout, stderr)
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(stderr, "router:", err)
	if isConfigError(err) {
		return exitConfig
	}
	return exitError
}

type options struct {
	configFile     string
	listen         string
	logLevel       string
	instanceName   string
	stdout, stderr io.Writer
}

func newCommand(stdout, stderr io.Writer) *cobra.Command {
	o := &options{stdout: stdout, stderr: stderr}
	root := &cobra.Command{
		Use:   "router",
		Short: "Routing and ownership of WhatsApp conversations",
		Long: "Routing and ownership of WhatsApp conversations.\n\n" +
			"Configuration: --config FILE, overridden by ROUTER_… (nested keys joined by __), overridden by flags.\n" +
			"Exit status: 0 ok, 1 failed, 2 the configuration or the command line cannot be used.",
		SilenceUsage: true, SilenceErrors: true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage("%v", err) })
	root.PersistentFlags().StringVar(&o.configFile, "config", "", "configuration file (YAML)")
	root.PersistentFlags().StringVar(&o.logLevel, "log-level", "", "debug, info, warn or error")
	root.AddCommand(serveCommand(o), migrateCommand(o), healthCommand(o), wireCommand(o), tokenCommand(o),
		recoverCommand(o), checkCommand(o), simulateCommand(o), versionCommand(o))
	return root
}

func (o *options) sources() sources {
	flags := map[string]string{}
	for key, value := range map[string]string{
		"listen": o.listen, "log_level": o.logLevel, "instance_name": o.instanceName,
	} {
		if value != "" {
			flags[key] = value
		}
	}
	return sources{file: o.configFile, environ: os.Environ(), flags: flags}
}

func (o *options) logger(level string) *slog.Logger {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		l = slog.LevelInfo
	}
	return slog.New(slog.NewJSONHandler(o.stderr, &slog.HandlerOptions{Level: l}))
}

func versionCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print version, Go version and commit", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			goVersion, commit := "", ""
			if info, ok := debug.ReadBuildInfo(); ok {
				goVersion = info.GoVersion
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						commit = s.Value
					}
				}
			}
			_, err := fmt.Fprintln(o.stdout, "router", version, goVersion, commit)
			return err
		},
	}
}

// errUnhealthy ends `router health` with status 1 and a reason.
var errUnhealthy = errors.New("unhealthy")
