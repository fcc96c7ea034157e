// Command setup brings a machine to where the project builds, runs and is tested: Pulumi and its plugins, a Docker
// Engine, Debian packages, linters. What the machine or an official download offers is used first; the rest is built
// from Go modules into the user's cache, keyed by content, so that another clone and another run reuse it.
//
// Every step is idempotent and may be killed at any moment: results appear by one rename, and a lock that dies with
// its process keeps two runs apart. Progress and errors go to stderr, what a script reads (--print-env) to stdout.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// config is what a run was asked for.
type config struct {
	Targets  []string // of targetSteps; empty when only PrintEnv was asked for
	ToolsDir string   // the tools/ folder of the clone; default "tools", else found above the working folder
	PrintEnv bool     // print the shell lines that make raw `pulumi` work
	Vulns    bool     // run govulncheck on the module in the working folder
}

// targetSteps is what each --for target needs, in an order that fails early and builds late.
var targetSteps = map[string][]stepName{
	"up":   {stepEngine, stepPulumi, stepDockerPlugin},
	"test": {stepTestPackages},
	"lab":  {stepEngine, stepLabPackages},
	"lint": {stepLint},
	"all":  {stepEngine, stepTestPackages, stepLabPackages, stepPulumi, stepDockerPlugin, stepLint},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case ctx.Err() != nil:
		os.Exit(130)
	default:
		os.Exit(1)
	}
}

// run does what the arguments ask; an error was already told to the user.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	texts, err := loadCatalogue(language(os.Getenv))
	if err != nil {
		return err
	}
	r := &reporter{out: stderr, texts: texts}
	cfg, err := parseArgs(args, r)
	if err != nil {
		return err
	}
	s, err := newSetup(cfg, r)
	if err == nil {
		err = s.do(ctx, cfg, stdout)
	}
	if err != nil && ctx.Err() == nil {
		r.fail(err)
	}
	return err
}

func parseArgs(args []string, r *reporter) (config, error) {
	var cfg config
	var targets string
	flags := flag.NewFlagSet("setup", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&targets, "for", "", "")
	flags.StringVar(&cfg.ToolsDir, "tools", "", "")
	flags.BoolVar(&cfg.PrintEnv, "print-env", false, "")
	flags.BoolVar(&cfg.Vulns, "govulncheck", false, "")
	if err := flags.Parse(args); err != nil || flags.NArg() > 0 {
		return cfg, r.usage(err, flags.Args())
	}
	for target := range strings.SplitSeq(targets, ",") {
		if target == "" {
			continue
		}
		if targetSteps[target] == nil {
			return cfg, r.usage(nil, []string{target})
		}
		cfg.Targets = append(cfg.Targets, target)
	}
	if len(cfg.Targets) == 0 && !cfg.PrintEnv && !cfg.Vulns {
		return cfg, r.usage(nil, nil)
	}
	return cfg, nil
}

// steps lists the steps of the targets, each once, in the order of "all".
func steps(targets []string) []stepName {
	var out []stepName
	for _, step := range targetSteps["all"] {
		for _, target := range targets {
			if slices.Contains(targetSteps[target], step) {
				out = append(out, step)
				break
			}
		}
	}
	return out
}

// findTools returns the tools folder: the one given, or the nearest named so at or above the working folder.
func findTools(given string) (string, error) {
	if given != "" {
		return filepath.Abs(given)
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the working folder: %w", err)
	}
	for {
		for _, candidate := range []string{dir, filepath.Join(dir, "tools")} {
			if body, err := os.ReadFile(filepath.Join(candidate, "go.mod")); err == nil && strings.HasPrefix(string(body), "module plantao/tools\n") {
				return candidate, nil
			}
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", userError(keyNoTools, nil)
		}
		dir = parent
	}
}
