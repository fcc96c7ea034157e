package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	// pulumiVersion is built or downloaded where none is installed; tools/go.mod requires the same.
	pulumiVersion = "v3.256.0"
	// pulumiOldest is the oldest installed CLI the project works with.
	pulumiOldest = "v3.200.0"

	// versionFlag stamps the CLI; without it, tools that ask for its version refuse it.
	versionFlag = "-X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=" + pulumiVersion
)

// pulumi provides the CLI and the Go language host: the machine's own, else the official download, else built ones.
func (s *setup) pulumi(ctx context.Context) error {
	path, err := s.installedPulumi(ctx)
	if err != nil {
		return err
	}
	if path != "" {
		return s.useInstalledPulumi(ctx, path)
	}
	if dir, ok := s.downloadPulumi(ctx); ok {
		for _, name := range []string{"pulumi", "pulumi-language-go"} {
			if err := s.cache.link(name, filepath.Join(dir, name)); err != nil {
				return err
			}
		}
		return nil
	}
	return s.builtPulumi(ctx)
}

// installedPulumi returns the path of a recent enough CLI on PATH, or "" when there is none.
func (s *setup) installedPulumi(ctx context.Context) (string, error) {
	path, ok := s.lookPath("pulumi")
	if !ok {
		return "", nil
	}
	version, err := s.versionOf(ctx, path)
	if err != nil {
		return "", fmt.Errorf("ask the installed pulumi for its version: %w", err)
	}
	if !atLeast(version, pulumiOldest) {
		s.report.say(keyTooOld, "pulumi", path, version, pulumiOldest)
		return "", nil
	}
	s.report.say(keyOfficial, "pulumi "+version, path)
	return path, nil
}

// useInstalledPulumi takes our links off PATH, and adds our language host only when the installation has none.
func (s *setup) useInstalledPulumi(ctx context.Context, path string) error {
	if err := s.cache.unlink("pulumi"); err != nil {
		return err
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Errorf("follow the link of the installed pulumi: %w", err)
	}
	beside := filepath.Join(filepath.Dir(real), "pulumi-language-go")
	if _, err := exec.LookPath(beside); err == nil {
		return s.cache.unlink("pulumi-language-go")
	}
	if _, ok := s.lookPath("pulumi-language-go"); ok {
		return s.cache.unlink("pulumi-language-go")
	}
	host, err := s.builtLanguageHost(ctx)
	if err != nil {
		return err
	}
	return s.cache.link("pulumi-language-go", host)
}

// builtPulumi builds CLI and language host and puts them side by side: the engine looks for the host beside its own
// executable, links followed, and warns at every run about one that is elsewhere on PATH.
func (s *setup) builtPulumi(ctx context.Context) error {
	cli, err := s.builtCLI(ctx)
	if err != nil {
		return err
	}
	host, err := s.builtLanguageHost(ctx)
	if err != nil {
		return err
	}
	key, err := new(contentKey).text(cli, host).sum()
	if err != nil {
		return err
	}
	dir, _, err := s.cache.make(ctx, "pulumi-toolchain", key, func(dir string) error {
		for _, program := range []string{cli, host} {
			if err := place(program, filepath.Join(dir, filepath.Base(program))); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, program := range []string{cli, host} {
		name := filepath.Base(program)
		if err := s.cache.link(name, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

func (s *setup) builtCLI(ctx context.Context) (string, error) {
	pl, err := s.goPlatform(ctx)
	if err != nil {
		return "", err
	}
	key, err := new(contentKey).text(pulumiVersion).text(pl.key()...).files(filepath.Join(s.tools, "go.mod")).sum()
	if err != nil {
		return "", err
	}
	return s.build(ctx, program{
		Name: "pulumi", Title: "pulumi " + pulumiVersion, Key: key, About: "5 min", NeedMiB: 3000,
		Module: s.tools, Package: "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
		Args: []string{"-ldflags=-s -w " + versionFlag},
	})
}

func (s *setup) builtLanguageHost(ctx context.Context) (string, error) {
	pl, err := s.goPlatform(ctx)
	if err != nil {
		return "", err
	}
	key, err := new(contentKey).text(pulumiVersion).text(pl.key()...).
		files(filepath.Join(s.tools, "go.mod")).folder(filepath.Join(s.tools, "pulumi-language-go")).sum()
	if err != nil {
		return "", err
	}
	return s.build(ctx, program{
		Name: "pulumi-language-go", Title: "pulumi-language-go (minimal)", Key: key, About: "10 s", NeedMiB: 500,
		Module: s.tools, Package: "./pulumi-language-go",
		Args: []string{"-ldflags=-s -w " + versionFlag},
	})
}

// knownVersion remembers what a program said its version was. Starting Pulumi takes most of a second, too long to do
// on every run.
type knownVersion struct {
	Path    string    `json:"path"`
	Size    int64     `json:"size"`
	Changed time.Time `json:"changed"`
	Version string    `json:"version"`
}

func (s *setup) versionOf(ctx context.Context, path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	file := filepath.Join(s.cache.root, "pulumi-version.json")
	var known knownVersion
	if body, err := os.ReadFile(file); err == nil && json.Unmarshal(body, &known) == nil &&
		known.Path == path && known.Size == info.Size() && known.Changed.Equal(info.ModTime()) {
		return known.Version, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "version")
	cmd.Env = append(os.Environ(), "PULUMI_SKIP_UPDATE_CHECK=1")
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("run %q: %w", path+" version", err)
	}
	known = knownVersion{Path: path, Size: info.Size(), Changed: info.ModTime(), Version: strings.TrimSpace(string(out))}
	if body, err := json.Marshal(known); err == nil && os.MkdirAll(s.cache.root, 0o755) == nil {
		_ = os.WriteFile(file, body, 0o644) // only saves time
	}
	return known.Version, nil
}

var versionNumbers = regexp.MustCompile(`^v?(\d+)\.(\d+)\.(\d+)`)

// atLeast compares versions by their three numbers; one that is none is too old.
func atLeast(version, oldest string) bool {
	have, want := versionNumbers.FindStringSubmatch(version), versionNumbers.FindStringSubmatch(oldest)
	if have == nil || want == nil {
		return false
	}
	for i := 1; i <= 3; i++ {
		h, errH := strconv.Atoi(have[i])
		w, errW := strconv.Atoi(want[i])
		if errH != nil || errW != nil {
			return false
		}
		if h != w {
			return h > w
		}
	}
	return true
}
