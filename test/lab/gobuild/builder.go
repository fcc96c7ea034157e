// Package gobuild builds the Go programs that images carry: statically, reproducibly, and only when
// something they are made of changed.
package gobuild

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// Program is what to build.
type Program struct {
	// Name is the file's name.
	Name string
	// Module is the folder with the go.mod, absolute.
	Module string
	// Package is the Go package inside that module ("./cmd/router").
	Package string
}

// Builder builds programs for one platform and keeps them in a cache folder. One at a time: the Go
// tool uses every core by itself. Safe for concurrent use.
type Builder struct {
	cache, arch, goVersion string

	mu sync.Mutex
}

// stamp remembers what a program was made of. Checking it needs no Go tool, only reading files.
type stamp struct {
	// Inputs are the files' hash (see [fingerprint]).
	Inputs string `json:"inputs"`
	// Folders are the packages' folders; a true value means with everything below (embedded files).
	Folders map[string]bool `json:"folders"`
}

// New returns a Builder for linux/arch that keeps its results below cache.
func New(ctx context.Context, cache, arch string) (*Builder, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOVERSION").Output()
	if err != nil {
		return nil, fmt.Errorf("ask Go for its version: %w; install Go and put it on PATH", err)
	}
	return &Builder{cache: cache, arch: arch, goVersion: strings.TrimSpace(string(out))}, nil
}

// Build returns the path of the built program, and whether it had to be compiled; compiling is called
// before that begins.
func (b *Builder) Build(ctx context.Context, p Program, compiling func()) (path string, built bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	stampPath := b.stampPath(p)
	s := readStamp(stampPath)
	if s != nil {
		if current, err := b.fingerprint(p, s.Folders); err == nil && current == s.Inputs {
			if out := b.output(p, current); exists(out) {
				return out, false, nil
			}
		}
	}
	folders, err := b.folders(ctx, p)
	if err != nil {
		return "", false, err
	}
	inputs, err := b.fingerprint(p, folders)
	if err != nil {
		return "", false, err
	}
	out := b.output(p, inputs)
	if !exists(out) {
		compiling()
		if err := b.compile(ctx, p, "", out); err != nil {
			return "", false, err
		}
		built = true
	}
	return out, built, writeStamp(stampPath, stamp{Inputs: inputs, Folders: folders})
}

// Stamp builds the program once more with variable (a package path and name, "main.version") set to
// value, into the file at out. Only the link is new work. plain is what [Builder.Build] returned; sources that
// changed since are an error, or value would name another program.
func (b *Builder) Stamp(ctx context.Context, p Program, plain, variable, value, out string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.compile(ctx, p, "-X "+variable+"="+value, out); err != nil {
		return err
	}
	s := readStamp(b.stampPath(p))
	if s == nil {
		return fmt.Errorf("stamp program %s: it was not built before", p.Name)
	}
	inputs, err := b.fingerprint(p, s.Folders)
	if err != nil {
		return err
	}
	if b.output(p, inputs) != plain {
		return fmt.Errorf("stamp program %s: its sources changed during the build; run this again", p.Name)
	}
	return nil
}

func (b *Builder) compile(ctx context.Context, p Program, extra, out string) error {
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return fmt.Errorf("make folder for program %s: %w", p.Name, err)
	}
	// Named by process: two clones may build at the same time.
	partial := fmt.Sprintf("%s.%d.partial", out, os.Getpid())
	defer func() { _ = os.Remove(partial) }()
	ldflags := strings.TrimSpace("-s -w -buildid= " + extra)
	cmd := b.command(ctx, p, "build", "-trimpath", "-buildvcs=false", "-ldflags", ldflags, "-o", partial, p.Package)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build program %s: %w:\n%s", p.Name, err, strings.TrimSpace(output.String()))
	}
	if err := os.Rename(partial, out); err != nil {
		return fmt.Errorf("keep program %s: %w", p.Name, err)
	}
	return nil
}

func (b *Builder) command(ctx context.Context, p Program, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = p.Module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+b.arch, "GOWORK=off")
	return cmd
}

// listed is the part of `go list -json` read here.
type listed struct {
	Dir           string
	Standard      bool
	EmbedPatterns []string
	Module        *struct{ Version, Dir string }
}

// folders asks Go which folders of this machine's sources the program is made of. Packages of versioned
// modules are not among them: go.sum already fixes their content.
func (b *Builder) folders(ctx context.Context, p Program) (map[string]bool, error) {
	cmd := b.command(ctx, p, "list", "-deps", "-json=Dir,Standard,EmbedPatterns,Module", p.Package)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list what program %s is made of: %w:\n%s", p.Name, err, strings.TrimSpace(stderr.String()))
	}
	cacheDir, err := b.command(ctx, p, "env", "GOMODCACHE").Output()
	if err != nil {
		return nil, fmt.Errorf("ask Go for its module cache: %w", err)
	}
	modCache := strings.TrimSpace(string(cacheDir)) + string(filepath.Separator)
	found := map[string]bool{}
	decoder := json.NewDecoder(bytes.NewReader(out))
	for decoder.More() {
		var l listed
		if err := decoder.Decode(&l); err != nil {
			return nil, fmt.Errorf("read what program %s is made of: %w", p.Name, err)
		}
		if l.Standard || l.Dir == "" || strings.HasPrefix(l.Dir, modCache) {
			continue
		}
		found[l.Dir] = len(l.EmbedPatterns) > 0
	}
	return found, nil
}

func readStamp(path string) *stamp {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	var s stamp
	// A stamp that cannot be read is as good as none: the program's inputs are listed again.
	if json.Unmarshal(text, &s) != nil {
		return nil
	}
	return &s
}

func writeStamp(path string, s stamp) error {
	text, err := json.Marshal(s)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o755)
	}
	if err == nil {
		err = os.WriteFile(path, text, 0o644)
	}
	if err != nil {
		return fmt.Errorf("remember what was built: %w", err)
	}
	return nil
}

func exists(path string) bool {
	info, err := os.Stat(path)
	return !errors.Is(err, os.ErrNotExist) && err == nil && info.Mode().IsRegular()
}
