package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// engineStart is what a started engine gets to answer; loading many images from a cold disk takes a while.
	engineStart = 90 * time.Second
	enginePoll  = 100 * time.Millisecond
	// engineExecRoot is where our engine keeps its runtime state; gone after a reboot, as it must be.
	engineExecRoot = "/run/plantao-docker-exec"
	// maxEngineLog is the size (bytes) from which the engine's log is put aside at the next start.
	maxEngineLog = 10 << 20
)

// startEngine installs Docker when it is missing and starts it: by systemd where that runs, else by hand.
func (s *setup) startEngine(ctx context.Context, sys system) error {
	unlock, err := s.cache.lock(ctx, "docker")
	if err != nil {
		return err
	}
	defer unlock()
	if found, err := s.findEngine(ctx); err == nil {
		s.sayEngine(found) // another run started it while this one waited
		return nil
	}
	if _, err := findDockerd(); err != nil {
		if err := s.install(ctx, sys, []string{"docker.io"}); err != nil {
			return err
		}
	}
	start := time.Now()
	s.report.say(keyEngineStarting)
	var where string
	if sys.Systemd {
		where = "systemctl status docker"
		err = s.startBySystemd(ctx)
	} else {
		where = s.engineLog()
		err = s.startByHand(ctx)
	}
	if err != nil {
		return err
	}
	version, err := s.engineVersion(ctx, defaultEngine)
	if err != nil {
		return err
	}
	s.report.say(keyEngineStarted, version, elapsed(start), where)
	return nil
}

func (s *setup) startBySystemd(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "systemctl", "enable", "--now", "docker")
	died := func(cause error) error { return userError(keyEngineDied, cause, "journalctl -u docker") }
	if err := s.runLogged(cmd, "docker-start", died); err != nil {
		return err
	}
	return s.awaitEngine(ctx, nil, died)
}

func (s *setup) engineLog() string  { return s.cache.log("dockerd") }
func (s *setup) enginePid() string  { return filepath.Join(s.cache.root, "dockerd.pid") }
func (s *setup) engineData() string { return filepath.Join(s.cache.root, "docker") }

// startByHand starts dockerd in a session of its own, so that it outlives this program and its terminal, and waits
// until it answers. What a dead engine left is cleared first; its containers, if their processes still run, are taken
// over (live-restore).
func (s *setup) startByHand(ctx context.Context) error {
	dockerd, err := findDockerd()
	if err != nil {
		return err
	}
	s.clearDeadEngine()
	configFile, err := s.writeEngineConfig("/etc/docker/daemon.json")
	if err != nil {
		return err
	}
	log, err := s.openEngineLog()
	if err != nil {
		return err
	}
	defer log.Close()
	// The engine outlives this run, and a Ctrl-C while it starts.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), dockerd, "--config-file", configFile, "--data-root", s.engineData(), "--exec-root", engineExecRoot,
		"--pidfile", s.enginePid(), "--host", defaultEngine)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = "/"
	// containerd, runc and iptables are in the sbin folders, which not every root shell has on PATH.
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/local/sbin:/usr/sbin:/sbin")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start dockerd: %w", err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	return s.awaitEngine(ctx, exited, func(cause error) error {
		return userError(keyEngineDied, fmt.Errorf("%w\n%s", cause, lastLines(s.engineLog(), 15)), s.engineLog())
	})
}

// awaitEngine waits until the default socket answers, or the engine ends, or engineStart is over.
func (s *setup) awaitEngine(ctx context.Context, exited <-chan error, died func(error) error) error {
	defer s.report.working(ctx, "docker")()
	deadline := time.NewTimer(engineStart)
	defer deadline.Stop()
	poll := time.NewTicker(enginePoll)
	defer poll.Stop()
	for {
		_, err := s.engineVersion(ctx, defaultEngine)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the engine: %w", ctx.Err())
		case <-deadline.C:
			return died(fmt.Errorf("no answer within %s: %w", engineStart, err))
		case err := <-exited:
			if err == nil {
				err = errors.New("it ended at once")
			}
			return died(err)
		case <-poll.C:
		}
	}
}

func findDockerd() (string, error) {
	for _, path := range []string{"dockerd", "/usr/bin/dockerd", "/usr/sbin/dockerd", "/usr/local/bin/dockerd"} {
		if found, err := exec.LookPath(path); err == nil {
			return found, nil
		}
	}
	return "", fmt.Errorf("find dockerd: %w", exec.ErrNotFound)
}

// clearDeadEngine removes the pid files of an engine that is gone. Docker and containerd trust a pid that exists,
// whoever it belongs to by now: dockerd would refuse to start, or wait for a containerd that is none. Sockets, shims
// and docker0 they deal with themselves.
func (s *setup) clearDeadEngine() {
	for file, name := range map[string]string{
		s.enginePid(): "dockerd",
		filepath.Join(engineExecRoot, "containerd", "containerd.pid"): "containerd",
	} {
		if pid, ok := readPid(file); ok && !alive(pid, name) {
			_ = os.Remove(file)
		}
	}
}

func readPid(file string) (int, bool) {
	body, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(body)))
	if err != nil {
		return 0, true // a broken pid file names no process
	}
	return pid, true
}

// writeEngineConfig writes our engine's settings: the machine's own, if any, with ours where it says nothing. They are
// not given as flags because dockerd refuses a setting that is both in its file and a flag.
func (s *setup) writeEngineConfig(machines string) (string, error) {
	settings := map[string]any{}
	body, err := os.ReadFile(machines)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return "", fmt.Errorf("read the engine's settings: %w", err)
	default:
		if err := json.Unmarshal(body, &settings); err != nil {
			return "", fmt.Errorf("read the engine's settings in %q: %w", machines, err)
		}
	}
	for name, value := range map[string]any{
		"live-restore": true,
		"log-driver":   "json-file",
	} {
		if _, ok := settings[name]; !ok {
			settings[name] = value
		}
	}
	if _, ok := settings["log-opts"]; !ok && settings["log-driver"] == "json-file" {
		settings["log-opts"] = map[string]string{"max-size": "10m", "max-file": "3"}
	}
	for _, ours := range []string{"data-root", "exec-root", "pidfile", "hosts"} {
		delete(settings, ours)
	}
	out, err := json.MarshalIndent(settings, "", "  ")
	if err != nil {
		return "", fmt.Errorf("write the engine's settings: %w", err)
	}
	path := filepath.Join(s.cache.root, "dockerd.json")
	if err := os.MkdirAll(s.cache.root, 0o755); err != nil {
		return "", fmt.Errorf("make the cache folder: %w", err)
	}
	if err := os.WriteFile(path, append(out, '\n'), 0o644); err != nil {
		return "", fmt.Errorf("write the engine's settings: %w", err)
	}
	return path, nil
}

// openEngineLog opens the log to append to; one that has grown large is put aside first.
func (s *setup) openEngineLog() (*os.File, error) {
	path := s.engineLog()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the log folder: %w", err)
	}
	if info, err := os.Stat(path); err == nil && info.Size() > maxEngineLog {
		_ = os.Rename(path, path+".1")
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the engine's log: %w", err)
	}
	return file, nil
}
