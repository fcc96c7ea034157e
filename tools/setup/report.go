package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// progressEvery is how often a long step says that it is still at work.
const progressEvery = 30 * time.Second

// reporter speaks to the person at the terminal, in their language. It is safe for concurrent use.
type reporter struct {
	out   io.Writer
	texts catalogue
	mu    sync.Mutex
}

// say prints one line of the catalogue.
func (r *reporter) say(key textKey, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = fmt.Fprintln(r.out, r.texts.text(key, args...))
}

// fail prints an error: the sentence for people, what to do, and the cause below it.
func (r *reporter) fail(err error) {
	var told *toldError
	if !errors.As(err, &told) {
		r.say(keyFailed, err)
		return
	}
	message := r.texts.text(told.key, told.args...)
	if told.cause != nil {
		message += "\n  " + strings.ReplaceAll(strings.TrimSpace(told.cause.Error()), "\n", "\n  ")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = fmt.Fprintln(r.out, message)
}

// usage prints how to call the program, and why when something was wrong.
func (r *reporter) usage(err error, unknown []string) error {
	problem := errors.New("nothing to do")
	switch {
	case err != nil:
		problem = err
	case len(unknown) > 0:
		problem = fmt.Errorf("unknown: %s", strings.Join(unknown, " "))
	}
	r.say(keyUsage, problem)
	return fmt.Errorf("%w: %w", errUsage, problem)
}

var errUsage = errors.New("wrong usage")

// working repeats a "still at work" line until the returned function is called.
func (r *reporter) working(ctx context.Context, what string) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	start := time.Now()
	go func() {
		defer close(done)
		ticker := time.NewTicker(progressEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				r.say(keyStillWorking, what, elapsed(start))
			}
		}
	}()
	return func() { cancel(); <-done }
}

// elapsed is the time since start as people read it.
func elapsed(start time.Time) string {
	d := time.Since(start)
	if d < 10*time.Second {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// toldError is an error with a sentence for people, in the catalogue: what happened and what to do about it.
type toldError struct {
	key   textKey
	args  []any
	cause error // nil when the sentence says it all
}

// userError makes a toldError.
func userError(key textKey, cause error, args ...any) error {
	return &toldError{key: key, args: args, cause: cause}
}

// Error is the form for logs and tests; people get the sentence.
func (e *toldError) Error() string {
	if e.cause == nil {
		return string(e.key)
	}
	return fmt.Sprintf("%s: %v", e.key, e.cause)
}

func (e *toldError) Unwrap() error { return e.cause }
