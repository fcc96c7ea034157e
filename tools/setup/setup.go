package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

type stepName string

const (
	stepEngine       stepName = "docker"
	stepTestPackages stepName = "packages for tests"
	stepLabPackages  stepName = "packages for the lab"
	stepPulumi       stepName = "pulumi"
	stepDockerPlugin stepName = "docker plugin"
	stepLint         stepName = "golangci-lint"
)

// setup carries out steps. Its fields are set once; steps run one after the other.
type setup struct {
	report *reporter
	cache  *cache
	tools  string // absolute path of tools/
	home   string // PULUMI_HOME, default ~/.pulumi
	env    func(string) string

	downloads string // base address of Pulumi's releases

	platform platform // filled by goPlatform
}

func newSetup(cfg config, r *reporter) (*setup, error) {
	tools, err := findTools(cfg.ToolsDir)
	if err != nil {
		return nil, err
	}
	cacheDir, err := os.UserCacheDir()
	if err != nil {
		return nil, userError(keyNoHome, err)
	}
	home := os.Getenv("PULUMI_HOME")
	if home == "" {
		userHome, err := os.UserHomeDir()
		if err != nil {
			return nil, userError(keyNoHome, err)
		}
		home = filepath.Join(userHome, ".pulumi")
	}
	return &setup{report: r, cache: newCache(filepath.Join(cacheDir, "plantao"), r), tools: tools, home: home, env: os.Getenv, downloads: pulumiDownloads}, nil
}

func (s *setup) do(ctx context.Context, cfg config, stdout io.Writer) error {
	run := map[stepName]func(context.Context) error{
		stepEngine:       s.engine,
		stepTestPackages: func(ctx context.Context) error { return s.packages(ctx, testPackages) },
		stepLabPackages:  func(ctx context.Context) error { return s.packages(ctx, labPackages) },
		stepPulumi:       s.pulumi,
		stepDockerPlugin: s.dockerPlugin,
		stepLint:         s.lint,
	}
	if err := s.clearLeftFiles(ctx, serviceFiles); err != nil {
		return err
	}
	for _, step := range steps(cfg.Targets) {
		if err := run[step](ctx); err != nil {
			return fmt.Errorf("%s: %w", step, err)
		}
	}
	if cfg.Vulns {
		if err := s.vulnerabilities(ctx); err != nil {
			return fmt.Errorf("govulncheck: %w", err)
		}
	}
	if cfg.PrintEnv {
		return s.printEnv(ctx, stdout)
	}
	return nil
}

// printEnv writes what a shell needs for raw `pulumi` and `docker`: nothing but PATH, and DOCKER_HOST where the engine
// is one that only the docker command's context names, because Pulumi's plugin does not read contexts.
func (s *setup) printEnv(ctx context.Context, stdout io.Writer) error {
	lines := []string{"export PATH=" + shellQuote(s.cache.bin()) + `:"$PATH"`}
	if found, err := s.findEngine(ctx); err == nil && found.Context != "" {
		lines = append(lines, "export DOCKER_HOST="+shellQuote(found.Host))
	}
	_, err := fmt.Fprintln(stdout, strings.Join(lines, "\n"))
	return err
}

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// lookPath finds a command of the machine's own, past the folder this program fills.
func (s *setup) lookPath(name string) (path string, ok bool) {
	for _, dir := range filepath.SplitList(s.env("PATH")) {
		if dir == "" || sameFile(dir, s.cache.bin()) {
			continue
		}
		path, err := exec.LookPath(filepath.Join(dir, name))
		if err != nil {
			continue
		}
		// What this program built, reached by a link or of another user's cache (sudo with their PATH), is not the
		// machine's either.
		if real, err := filepath.EvalSymlinks(path); err == nil && strings.Contains(real, filepath.FromSlash("/plantao/tools/")) {
			continue
		}
		return path, true
	}
	return "", false
}

func sameFile(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}
