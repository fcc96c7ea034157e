package diagnosis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"plantao/cmd/plantao/engine"
	"plantao/cmd/plantao/text"
	"plantao/infra/upstream"
)

// Machine is what the checks look at. Every field is needed unless it says otherwise.
type Machine struct {
	// Project is the project's folder; empty when the command runs outside of one.
	Project string
	// Stack is the stack to bring up, Port the TCP port of its ingress on this machine.
	Stack string
	Port  int
	// Purpose decides which disk matters: Docker's, or for tests the project's.
	Purpose Purpose
	// Engine may be nil when EngineError says why it could not even be opened.
	Engine      *engine.Engine
	EngineError error
	// Getenv reads the environment, LookPath finds a program.
	Getenv   func(string) string
	LookPath func(string) (string, error)
	// Passphrase is the default passphrase file; PulumiHome holds installed plugins.
	Passphrase, PulumiHome string
	// Versions and Safe are the pinned versions and the safe-version table.
	Versions func() (map[string]upstream.Version, error)
	Safe     func() ([]upstream.SafeVersion, error)
	// Proc is where the kernel shows processes: /proc.
	Proc string
	// Root is true for the superuser.
	Root bool
	CPUs int
	// Disk tells the space at a path; Clock whether the kernel's clock is synchronised.
	Disk  func(path string) (Space, error)
	Clock func() (synchronised bool, err error)
	Now   func() time.Time
	// Listen tries to bind the address and lets go at once.
	Listen func(ctx context.Context, address string) error

	info func(context.Context) (engine.Info, error)
}

// Space is what a file system has left.
type Space struct {
	// FreeBytes is what an ordinary user may still write; FreeFiles is zero when the file system has no
	// fixed number of files (TotalFiles is zero then too).
	FreeBytes, FreeFiles, TotalFiles uint64
}

// Disk asks the kernel about the file system that path is on, or would be on once made.
func Disk(path string) (Space, error) {
	for {
		var stat unix.Statfs_t
		err := unix.Statfs(path, &stat)
		if err == nil {
			return Space{FreeBytes: stat.Bavail * uint64(stat.Bsize), FreeFiles: stat.Ffree, TotalFiles: stat.Files}, nil
		}
		if parent := filepath.Dir(path); errors.Is(err, fs.ErrNotExist) && parent != path {
			path = parent
			continue
		}
		return Space{}, fmt.Errorf("ask for the free space at %q: %w", path, err)
	}
}

// Clock asks the kernel whether something keeps its clock right.
func Clock() (bool, error) {
	var state unix.Timex
	if _, err := unix.Adjtimex(&state); err != nil {
		return false, fmt.Errorf("ask the kernel about its clock: %w", err)
	}
	return state.Status&unix.STA_UNSYNC == 0, nil
}

// engineInfo asks the engine once for all checks.
func (m *Machine) engineInfo(ctx context.Context) (engine.Info, error) { return m.info(ctx) }

// Checks are all checks, in the order they are told.
func (m *Machine) Checks() []Check {
	m.info = once(func(ctx context.Context) (engine.Info, error) {
		if m.Engine == nil {
			return engine.Info{}, m.EngineError
		}
		return m.Engine.Info(ctx)
	})
	all := []Purpose{Up, Test, Preflight}
	up := []Purpose{Up, Preflight}
	return []Check{
		{ID: "docker", Why: text.WhyDocker, For: up, Run: m.docker},
		{ID: "disk", Why: text.WhyDisk, For: all, Run: m.disk},
		{ID: "memory", Why: text.WhyMemory, For: all, Run: m.memory},
		{ID: "cpu", Why: text.WhyCPU, For: []Purpose{Up, Test}, Run: m.cpu},
		{ID: "port", Why: text.WhyPort, For: up, Run: m.port},
		{ID: "images", Why: text.WhyImages, For: []Purpose{Up}, Run: m.images},
		{ID: "versions", Why: text.WhyVersions, For: []Purpose{Up, Test}, Run: m.versions},
		{ID: "pulumi", Why: text.WhyPulumi, For: up, Run: m.pulumi},
		{ID: "passphrase", Why: text.WhyPassphrase, For: up, Run: m.passphrase},
		{ID: "services", Why: text.WhyServices, For: []Purpose{Test}, Run: m.services},
		{ID: "clock", Why: text.WhyClock, For: []Purpose{Up, Test}, Run: m.clock},
	}
}

// once shares one answer among all who ask; each waits no longer than its own context.
func once(ask func(context.Context) (engine.Info, error)) func(context.Context) (engine.Info, error) {
	type answer struct {
		info engine.Info
		err  error
	}
	var (
		start sync.Once
		done  = make(chan struct{})
		got   answer
	)
	return func(ctx context.Context) (engine.Info, error) {
		start.Do(func() {
			go func() {
				defer close(done)
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deadline)
				defer cancel()
				got.info, got.err = ask(ctx)
			}()
		})
		select {
		case <-done:
			return got.info, got.err
		case <-ctx.Done():
			return engine.Info{}, ctx.Err()
		}
	}
}

// Prepared is .plantao/images.json: where the images come from and which they are.
type Prepared struct {
	// Source is "lab" (built on this machine) or "registry".
	Source string `json:"source"`
	// Images are references by component key.
	Images map[string]string `json:"images"`
}

// preparedImages is nil without an error when no images were prepared yet.
func (m *Machine) preparedImages() (*Prepared, error) {
	path := filepath.Join(m.Project, ".plantao", "images.json")
	body, err := os.ReadFile(path)
	if m.Project == "" || errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the list of images: %w", err)
	}
	var prepared Prepared
	if err := json.Unmarshal(body, &prepared); err != nil {
		return nil, fmt.Errorf("read %q: %w", path, err)
	}
	return &prepared, nil
}
