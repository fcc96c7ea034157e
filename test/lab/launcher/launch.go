package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// How a runner is watched and ended; the official launcher uses the same numbers.
const (
	brokerRetryEvery   = time.Second
	runnerCheckEvery   = 10 * time.Second
	runnerCheckTimeout = 5 * time.Second
	runnerMaxFailures  = 6
	// runnerStopTimeout is how long a runner may finish its task after SIGTERM before it is killed.
	runnerStopTimeout = 10 * time.Second
)

// launcher keeps one runner type going.
type launcher struct {
	cfg    *config
	runner runner
	logger *slog.Logger
}

// loop offers, launches and offers again until ctx ends or something happens that waiting cannot mend,
// such as a refused token.
func (l *launcher) loop(ctx context.Context) error {
	b := broker{url: l.cfg.brokerURL, authToken: l.cfg.authToken}
	reported := false
	for {
		connected, err := l.once(ctx, b)
		reported = reported && !connected // one line per outage, not per attempt
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			continue
		case !errors.Is(err, errBrokerGone):
			return fmt.Errorf("run %s tasks: %w", l.runner.Type, err)
		case !reported:
			l.logger.WarnContext(ctx, "task broker is not reachable, waiting for it", "broker", l.cfg.brokerURL, "error", err)
			reported = true
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(brokerRetryEvery):
		}
	}
}

// once waits for one task and runs one runner process to its end; connected tells that the broker was there.
func (l *launcher) once(ctx context.Context, b broker) (connected bool, err error) {
	if err := b.ready(ctx); err != nil {
		return false, err
	}
	grant, err := b.grantToken(ctx)
	if err != nil {
		return false, err
	}
	l.logger.InfoContext(ctx, "waiting for a task", "broker", l.cfg.brokerURL)
	if err := b.awaitTask(ctx, l.runner.Type, grant); err != nil {
		return true, err
	}
	if grant, err = b.grantToken(ctx); err != nil {
		return true, err
	}
	return true, l.launch(ctx, grant)
}

// launch starts the runner and waits for it. A runner that fails is logged, not returned: the next task
// gets a fresh one.
func (l *launcher) launch(ctx context.Context, grantToken string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, l.runner.Command, l.runner.Args...)
	cmd.Dir = l.runner.WorkDir
	cmd.Env = l.cfg.runnerEnv(l.runner, grantToken)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = runnerStopTimeout
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start runner %s: %w", l.runner.Command, err)
	}
	l.logger.InfoContext(ctx, "runner started", "pid", cmd.Process.Pid)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		l.watch(ctx, cancel)
	}()
	err := cmd.Wait()
	cancel()
	<-watched
	l.logger.InfoContext(ctx, "runner ended", "dur", time.Since(start), "state", cmd.ProcessState.String(), "error", err)
	return nil
}

// watch asks the runner's health server at intervals and calls stop once it has failed too often in a row.
func (l *launcher) watch(ctx context.Context, stop func()) {
	url := "http://" + net.JoinHostPort(l.cfg.runnerHealthHost, l.runner.HealthPort) + "/healthz"
	client := &http.Client{Timeout: runnerCheckTimeout}
	tick := time.NewTicker(runnerCheckEvery)
	defer tick.Stop()
	failures := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := checkRunner(ctx, client, url); err == nil {
			failures = 0
			continue
		}
		if failures++; failures >= runnerMaxFailures {
			l.logger.WarnContext(ctx, "runner does not answer its health check, ending it", "failures", failures)
			stop()
			return
		}
	}
}

func checkRunner(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("check runner: %w", err)
	}
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("check runner: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("check runner: %s", res.Status)
	}
	return nil
}
