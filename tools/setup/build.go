package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// platform is what a built program depends on besides its sources.
type platform struct {
	GoVersion, OS, Arch, GOAMD64 string
	GoCache                      string // Go's build cache: what a cold build fills
}

// goPlatform asks the go command once; it may be newer than the one this program was built with.
func (s *setup) goPlatform(ctx context.Context) (platform, error) {
	if s.platform.GoVersion != "" {
		return s.platform, nil
	}
	cmd := exec.CommandContext(ctx, "go", "env", "-json", "GOVERSION", "GOOS", "GOARCH", "GOAMD64", "GOCACHE")
	cmd.Dir = s.tools // its go.mod may choose another toolchain than the working folder's
	out, err := cmd.Output()
	if err != nil {
		return platform{}, userError(keyNoGo, err)
	}
	var env map[string]string
	if err := json.Unmarshal(out, &env); err != nil {
		return platform{}, fmt.Errorf("read the answer of go env: %w", err)
	}
	s.platform = platform{GoVersion: env["GOVERSION"], OS: env["GOOS"], Arch: env["GOARCH"], GOAMD64: env["GOAMD64"], GoCache: env["GOCACHE"]}
	return s.platform, nil
}

func (p platform) key() []string { return []string{p.GoVersion, p.OS, p.Arch, p.GOAMD64} }

// program is one Go program that is built into the cache.
type program struct {
	Name    string // artifact name; also the file's
	Title   string // what people call it, with its version
	Key     string // content key
	Module  string // folder of the go.mod it is built with
	Package string
	Args    []string // more arguments of go build, before the package
	About   string   // how long it takes the first time, for people
	NeedMiB int64    // free space a cold build needs; 0 is not checked
	// Prepare, when set, makes the module folder below the given one and returns it; Module is not used then.
	Prepare func(ctx context.Context, dir string) (string, error)
}

// commonArgs make programs small and the same wherever they are built; `make build` and the language host use the
// same, so that all builds share Go's cache.
var commonArgs = []string{"build", "-buildvcs=false", "-trimpath", "-mod=readonly"}

// build returns the program's path in the cache, building it when it is not there, and says which.
func (s *setup) build(ctx context.Context, p program) (string, error) {
	start := time.Now()
	dir, made, err := s.cache.make(ctx, p.Name, p.Key, func(dir string) error {
		if err := s.checkDisk(p); err != nil {
			return err
		}
		s.report.say(keyBuilding, p.Title, p.About)
		defer s.report.working(ctx, p.Title)()
		return s.goBuild(ctx, p, dir)
	})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, p.Name)
	if !made {
		s.report.say(keyReady, p.Title, path)
		return path, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("look at the built program: %w", err)
	}
	s.report.say(keyBuilt, p.Title, elapsed(start), info.Size()>>20, path)
	return path, nil
}

func (s *setup) goBuild(ctx context.Context, p program, dir string) error {
	module := p.Module
	if p.Prepare != nil {
		source := filepath.Join(dir, "src")
		defer func() { _ = os.RemoveAll(source) }()
		var err error
		if module, err = p.Prepare(ctx, source); err != nil {
			return err
		}
	}
	args := append(append([]string{}, commonArgs...), p.Args...)
	args = append(args, "-o", filepath.Join(dir, p.Name), p.Package)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = module
	// The user's GOFLAGS and workspace are for their programs; these must come out as pinned.
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	if s.env("GOGC") == "" && availableMiB("/proc/meminfo") >= plentyMiB {
		// The compiler then collects garbage less often: a quarter less processor time, for up to 1 GiB more memory.
		cmd.Env = append(cmd.Env, "GOGC=400")
	}
	return s.runLogged(cmd, p.Name, func(cause error) error {
		return userError(keyBuildFailed, cause, p.Title, s.cache.log(p.Name))
	})
}

// plentyMiB is the available memory from which builds may use more of it to be faster.
const plentyMiB = 6 << 10

// availableMiB reads how much memory programs can have without swapping (proc(5)); 0 when it is not known.
func availableMiB(meminfo string) int64 {
	body, err := os.ReadFile(meminfo)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(body)) {
		if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == "MemAvailable:" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				return 0
			}
			return kib >> 10
		}
	}
	return 0
}

// runLogged runs a command with its output in the cache's log, and on failure returns what failed makes of its last
// lines. The end of its context interrupts it, then kills it.
func (s *setup) runLogged(cmd *exec.Cmd, name string, failed func(cause error) error) error {
	path := s.cache.log(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // in our own cache folder
		return fmt.Errorf("make the log folder: %w", err)
	}
	log, err := os.Create(path) //nolint:gosec // in our own cache folder
	if err != nil {
		return fmt.Errorf("make the log: %w", err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Run(); err != nil {
		return failed(fmt.Errorf("%w\n%s", err, lastLines(path, 15)))
	}
	return nil
}

// lastLines is the end of a text file, for an error; empty when there is none to read.
func lastLines(path string, n int) []byte {
	body, err := os.ReadFile(path) //nolint:gosec // a log of ours
	if err != nil {
		return nil
	}
	body = bytes.TrimSpace(body)
	for at := len(body); n > 0 && at > 0; n-- {
		at = bytes.LastIndexByte(body[:at], '\n')
		if n == 1 && at >= 0 {
			return body[at+1:]
		}
	}
	return body
}

// checkDisk refuses to start a build that cannot end, because a full disk breaks more than the build.
func (s *setup) checkDisk(p program) error {
	if p.NeedMiB == 0 {
		return nil
	}
	for _, dir := range []string{s.cache.root, s.platform.GoCache} {
		if dir == "" || os.MkdirAll(dir, 0o755) != nil { //nolint:gosec // our cache and Go's
			continue // the build itself says it better
		}
		var fs syscall.Statfs_t
		if syscall.Statfs(dir, &fs) != nil {
			continue
		}
		if free := int64(fs.Bavail) * int64(fs.Bsize) >> 20; free < p.NeedMiB { //nolint:unconvert // the types differ between systems
			return userError(keyNoDisk, nil, free, dir, p.Title, p.NeedMiB)
		}
	}
	return nil
}
