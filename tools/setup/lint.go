package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// vulnerabilityIndex is the first file govulncheck asks its database for.
const vulnerabilityIndex = "https://vuln.go.dev/index/db.json"

// lint provides golangci-lint. It is always the pinned one: another version finds other things.
func (s *setup) lint(ctx context.Context) error {
	path, err := s.buildTool(ctx, program{
		Name: "golangci-lint", About: "4 min", NeedMiB: 2500,
		Package: "github.com/golangci/golangci-lint/v2/cmd/golangci-lint",
	}, "github.com/golangci/golangci-lint/v2")
	if err != nil {
		return err
	}
	return s.cache.link("golangci-lint", path)
}

// buildTool builds a program that has a module of its own below tools/, named like it, which pins it.
func (s *setup) buildTool(ctx context.Context, p program, module string) (string, error) {
	pl, err := s.goPlatform(ctx)
	if err != nil {
		return "", err
	}
	p.Module = filepath.Join(s.tools, p.Name)
	gomod := filepath.Join(p.Module, "go.mod")
	p.Key, err = new(contentKey).text(pl.key()...).files(gomod).sum()
	if err != nil {
		return "", err
	}
	version, err := requiredVersion(gomod, module)
	if err != nil {
		return "", err
	}
	p.Title = p.Name + " " + version
	// The stamp is for programs that ask it of their build; harmless for the others.
	p.Args = append(p.Args, "-ldflags=-s -w -X main.version="+strings.TrimPrefix(version, "v"))
	return s.build(ctx, p)
}

// requiredVersion reads a module's version out of a go.mod; "" when it requires none.
func requiredVersion(gomod, module string) (string, error) {
	body, err := os.ReadFile(gomod) //nolint:gosec // a go.mod of the clone
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(body)) {
		if fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require ")); len(fields) >= 2 && fields[0] == module {
			return fields[1], nil
		}
	}
	return "", nil
}

// vulnerabilities runs govulncheck on the module in the working folder. Its database is on the network; where that
// does not answer, it says so and lets the check pass, since nothing was found wrong.
func (s *setup) vulnerabilities(ctx context.Context) error {
	if !answers(ctx, vulnerabilityIndex) {
		s.report.say(keyVulnsUnreachable, probeTime)
		return nil
	}
	path, err := s.buildTool(ctx, program{
		Name: "govulncheck", About: "30 s", NeedMiB: 500, Package: "golang.org/x/vuln/cmd/govulncheck",
	}, "golang.org/x/vuln")
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, "./...") //nolint:gosec // our own program, from the cache
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}
