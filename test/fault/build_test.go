package fault

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"plantao/test/figure"
)

// patience bounds every wait for something that must happen. It is long because the machine may be slow, not because
// anything takes long.
const patience = 60 * time.Second

// sheet is what this run measured.
var sheet figure.Sheet

// baseDir holds everything this run puts on disk.
var baseDir string

const basePrefix = "plantao-fault-"

func TestMain(m *testing.M) {
	removeStale()
	dir, err := os.MkdirTemp("", basePrefix+strconv.Itoa(os.Getpid())+"-")
	if err == nil {
		err = os.Chmod(dir, 0o755) // PostgreSQL's directory is in it, and somebody else's
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	baseDir = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	sheet.Print()
	os.Exit(code)
}

// removeStale removes what runs left that were killed.
func removeStale() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), basePrefix+"*"))
	for _, dir := range dirs {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), basePrefix), "-")
		if _, err := os.Stat("/proc/" + pid); os.IsNotExist(err) {
			_ = os.RemoveAll(dir)
		}
	}
}

// withFailpoints is the router as it is shipped, and the failpoints.
var withFailpoints = sync.OnceValues(func() (string, error) { return buildRouter("router", "-tags", "failpoints") })

// buildRouter builds the real router.
func buildRouter(name string, flags ...string) (string, error) {
	if err := dependOnSources(); err != nil {
		return "", err
	}
	path := filepath.Join(baseDir, name)
	args := append([]string{"build", "-trimpath", "-ldflags", "-s -w -X main.version=fault", "-o", path}, flags...)
	cmd := exec.Command("go", append(args, "plantao/cmd/router")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build router: %w: %s", err, out)
	}
	return path, nil
}

// dependOnSources looks into every directory the router is made of. The go command remembers what a test has opened, and takes
// its result from the cache only as long as that has not changed; of what a build opens it knows nothing.
func dependOnSources() error {
	for _, root := range []string{"../../cmd/router", "../../runtime", "../../migrations"} {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				_, err = os.ReadDir(path)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// withClock is withFailpoints, built against a time package whose wall clock can be moved. A Go program takes the time from
// the vDSO: LD_PRELOAD does not reach it, and a time namespace moves only the monotonic clock. So time.Now itself adds an
// offset, for every package in the program; the monotonic reading in its result is left alone, as the kernel leaves that clock
// alone when the wall clock is set.
var withClock = sync.OnceValues(func() (string, error) {
	overlay, err := patchTime(baseDir)
	if err != nil {
		return "", fmt.Errorf("patch package time: %w", err)
	}
	return buildRouter("router-clock", "-tags", "failpoints,clockjump", "-overlay", overlay)
})

// patchTime writes the patched file and the overlay that replaces the one of the toolchain.
func patchTime(dir string) (string, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	original := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	text, err := os.ReadFile(original)
	if err != nil {
		return "", err
	}
	const now = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	if strings.Count(string(text), now) != 1 {
		return "", errors.New("time.Now is written otherwise in this release of Go: change patchTime with it")
	}
	patched := strings.Replace(string(text), now, now+"\tsec += wallJump\n", 1) + "\n//go:linkname wallJump\nvar wallJump int64\n"
	path := filepath.Join(dir, "time.go")
	if err := os.WriteFile(path, []byte(patched), 0o644); err != nil {
		return "", err
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {original: path}})
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, overlay, 0o644)
}
