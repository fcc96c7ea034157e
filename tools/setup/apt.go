package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	aptWait = 2 * time.Minute
	aptPoll = 500 * time.Millisecond

	// policyFile is where Debian's service scripts ask whether they may start what is installed; 101 means no.
	policyFile = "/usr/sbin/policy-rc.d"
	policyBody = "#!/bin/sh\n# Made by plantao's setup while it installs packages whose services must not start.\nexit 101\n"
	// clusterFile keeps Debian from making and starting a database server when PostgreSQL is installed.
	clusterFile = "/etc/postgresql-common/createcluster.d/plantao-setup.conf"
	clusterBody = "# Made by plantao's setup while it installs PostgreSQL for tests, which start their own servers.\ncreate_main_cluster = false\n"
)

// serviceFiles are in place only while packages are installed.
var serviceFiles = map[string]string{policyFile: policyBody, clusterFile: clusterBody}

// aptLockName is the cache's lock for everything that installs packages.
const aptLockName = "apt"

// aptLocks are the files apt and dpkg lock while they work.
var aptLocks = []string{"/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock", "/var/lib/apt/lists/lock", "/var/cache/apt/archives/lock"}

// install installs Debian packages without starting or enabling their services: tests start their own, and Docker is
// started in a step of its own.
func (s *setup) install(ctx context.Context, sys system, names []string) error {
	list := strings.Join(names, " ")
	switch {
	case !sys.Debian:
		return userError(keyPackagesOtherOS, nil, list, sys.Pretty)
	case !sys.Root:
		return userError(keyPackagesByHand, nil, list, list)
	}
	unlock, err := s.cache.lock(ctx, aptLockName)
	if err != nil {
		return err
	}
	defer unlock()
	start := time.Now()
	s.report.say(keyPackagesInstall, list)
	defer s.report.working(ctx, "apt-get")()

	restore, err := noServices(slices.Contains(names, "postgresql"))
	if err != nil {
		return err
	}
	defer restore()
	// Package lists may be missing or name versions that are gone: the answer is to fetch them and try again.
	install := append([]string{"install"}, names...)
	if err := s.apt(ctx, install...); err != nil {
		if ctx.Err() != nil {
			return err
		}
		if err := s.apt(ctx, "update"); err != nil {
			return s.aptFailed(list, err)
		}
		if err := s.apt(ctx, install...); err != nil {
			return s.aptFailed(list, err)
		}
	}
	if sys.Systemd && slices.Contains(names, "redis-server") {
		// It was not started; this keeps it so after the next boot.
		_ = exec.CommandContext(ctx, "systemctl", "disable", "--quiet", "redis-server").Run()
	}
	s.report.say(keyPackagesInstalled, list, elapsed(start))
	return nil
}

func (s *setup) aptFailed(list string, err error) error {
	var told *toldError
	if errors.As(err, &told) {
		return err
	}
	return userError(keyPackagesFailed, err, list, s.cache.log("apt"))
}

// apt runs one apt-get command without questions, once nobody else uses apt.
func (s *setup) apt(ctx context.Context, args ...string) error {
	if err := s.awaitApt(ctx, aptLocks, aptWait); err != nil {
		return err
	}
	args = append([]string{"-y", "-q", "-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Options::=--force-confold", "--no-install-recommends"}, args...)
	cmd := exec.CommandContext(ctx, "apt-get", args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_MODE=l", "LC_ALL=C.UTF-8")
	return s.runLogged(cmd, "apt", func(cause error) error { return cause })
}

// awaitApt waits until no other program holds apt's locks. apt waits for some of them itself, but silently, and not
// for the lists' one.
func (s *setup) awaitApt(ctx context.Context, locks []string, limit time.Duration) error {
	pid := lockHolder(locks)
	if pid == 0 {
		return nil
	}
	s.report.say(keyAptBusy, pid, limit)
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	poll := time.NewTicker(aptPoll)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for apt: %w", ctx.Err())
		case <-deadline.C:
			return userError(keyAptStillBusy, nil, pid, limit)
		case <-poll.C:
			if pid = lockHolder(locks); pid == 0 {
				return nil
			}
		}
	}
}

// lockHolder returns the process that holds one of the files locked (fcntl), or 0.
func lockHolder(paths []string) int {
	for _, path := range paths {
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		lock := syscall.Flock_t{Type: syscall.F_WRLCK}
		err = syscall.FcntlFlock(file.Fd(), syscall.F_GETLK, &lock)
		_ = file.Close()
		if err == nil && lock.Type != syscall.F_UNLCK {
			return int(lock.Pid)
		}
	}
	return 0
}

// clearLeftFiles removes what a killed run left in the machine's folders: it would keep the services of whatever is
// installed next from starting. A run that is still at it is waited for.
func (s *setup) clearLeftFiles(ctx context.Context, files map[string]string) error {
	for path, body := range files {
		if old, err := os.ReadFile(path); err != nil || string(old) != body {
			continue
		}
		unlock, err := s.cache.lock(ctx, aptLockName)
		if err != nil {
			return err
		}
		if old, err := os.ReadFile(path); err == nil && string(old) == body {
			_ = os.Remove(path)
		}
		unlock()
	}
	return nil
}

// noServices puts the files in place that keep packages from starting services, and returns what takes them away.
// A file that is there already is somebody else's decision and stays.
func noServices(postgres bool) (restore func(), err error) {
	var ours []string
	restore = func() {
		for _, path := range ours {
			_ = os.Remove(path)
		}
	}
	for path, body := range serviceFiles {
		if path == clusterFile && !postgres {
			continue
		}
		made, err := writeNew(path, body)
		if err != nil {
			restore()
			return nil, fmt.Errorf("keep services from starting: %w", err)
		}
		if made {
			ours = append(ours, path)
		}
	}
	return restore, nil
}

// writeNew writes an executable file that is not there; one left by a killed run of ours counts as ours.
func writeNew(path, body string) (made bool, err error) {
	if old, err := os.ReadFile(path); err == nil {
		return string(old) == body, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return false, err
	}
	return true, os.WriteFile(path, []byte(body), 0o755)
}
