package engine

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"golang.org/x/sync/errgroup"
)

// Follow waits this long between attempts to reach an engine that went away, and gives up after patience.
const (
	retryPause = 500 * time.Millisecond
	patience   = time.Minute
)

// Following is a request to follow the logs of a stack.
type Following struct {
	Stack string
	// Wanted says which services; nil means all.
	Wanted func(service string) bool
	// Range bounds what is shown of the past.
	Range LogRange
	// Emit gets each line, one at a time. An error of its ends the following.
	Emit func(Line) error
	// Lost is told when the engine's connection broke and is tried again; nil means nobody is.
	Lost func(error)
}

// Follow hands on the past lines in order, then new ones as they come, until ctx ends (no error then).
//
// Docker ends a log stream when its container stops, so a start event opens it again after the last
// line seen; a container made anew for the same service (an upgrade) is followed from its first line.
// When the engine itself goes away, Follow tries for a minute to come back.
func (e *Engine) Follow(ctx context.Context, f Following) error {
	group, running := errgroup.WithContext(ctx)
	follower := &follower{engine: e, want: f, group: group, workers: map[string]*worker{}, last: map[string]time.Time{}}
	group.Go(func() error { return follower.watch(running) })
	err := group.Wait()
	if ctx.Err() != nil {
		// Whoever follows ends it by cancelling: that is success.
		return nil //nolint:nilerr // err is the cancellation seen by a worker
	}
	return err
}

// follower runs one worker per container of the stack. Only watch touches workers and last.
type follower struct {
	engine  *Engine
	want    Following
	group   *errgroup.Group
	workers map[string]*worker
	// last is when each service's newest line of the past was received.
	last map[string]time.Time
	emit sync.Mutex
}

func (f *follower) wanted(service string) bool {
	return service != "" && (f.want.Wanted == nil || f.want.Wanted(service))
}

// say hands one line on; workers take turns.
func (f *follower) say(line Line) error {
	f.emit.Lock()
	defer f.emit.Unlock()
	return f.want.Emit(line)
}

// watch shows the past once, then keeps a worker for each container until ctx ends.
func (f *follower) watch(ctx context.Context) error {
	lostSince := time.Time{}
	for first := true; ; first = false {
		connected, err := f.session(ctx, first)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !connected && first {
			return err
		}
		if connected || lostSince.IsZero() {
			lostSince = time.Now()
			if f.want.Lost != nil {
				f.want.Lost(err)
			}
		}
		if time.Since(lostSince) > patience {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryPause):
		}
	}
}

// session subscribes to starts before it lists, so that no start falls between the two. It ends when
// the event stream does; connected tells whether it got that far.
func (f *follower) session(ctx context.Context, first bool) (connected bool, err error) {
	listening, cancel := context.WithCancel(ctx)
	defer cancel()
	started, failed := f.engine.api.Events(listening, events.ListOptions{Filters: filters.NewArgs(
		filters.Arg("type", "container"), filters.Arg("event", "start"), filters.Arg("label", LabelStack+"="+f.want.Stack),
	)})
	if err := f.resume(ctx, first); err != nil {
		return false, err
	}
	for {
		select {
		case event := <-started:
			if err := f.start(ctx, event.Actor.ID); err != nil {
				return true, err
			}
		case err := <-failed:
			if err == nil {
				err = io.EOF
			}
			return true, f.engine.wrap("listen to Docker's events", err)
		}
	}
}

// resume gives every container of the stack a worker; those that have one try again.
func (f *follower) resume(ctx context.Context, first bool) error {
	containers, err := f.engine.Containers(ctx, f.want.Stack)
	if err != nil {
		return err
	}
	var wanted []Container
	for _, c := range containers {
		if f.wanted(c.Service) {
			wanted = append(wanted, c)
		}
	}
	if first {
		if err := f.past(ctx, wanted); err != nil {
			return err
		}
	}
	for _, c := range wanted {
		from := LogRange{Tail: -1}
		if first {
			from = f.want.Range
		}
		if at, ok := f.last[c.Service]; ok && first {
			from = LogRange{Since: at.Add(time.Nanosecond), Tail: -1}
		}
		f.work(ctx, c, from)
	}
	return nil
}

func (f *follower) past(ctx context.Context, containers []Container) error {
	return f.engine.Logs(ctx, containers, f.want.Range, func(line Line) error {
		f.last[line.Service] = line.At
		return f.say(line)
	})
}

// start is a container's start: again, or for the first time.
func (f *follower) start(ctx context.Context, id string) error {
	c, err := f.engine.inspect(ctx, id)
	if err != nil || c == nil || !f.wanted(c.Service) {
		return err
	}
	f.work(ctx, *c, LogRange{Tail: -1})
	return nil
}

// work wakes the container's worker, or makes one that begins at from.
func (f *follower) work(ctx context.Context, c Container, from LogRange) {
	if known, ok := f.workers[c.ID]; ok {
		select {
		case known.wake <- struct{}{}:
		default: // it has not seen the last wake yet, and will look after that one
		}
		return
	}
	w := &worker{follower: f, container: c, from: from, wake: make(chan struct{}, 1)}
	f.workers[c.ID] = w
	f.group.Go(func() error { return w.run(ctx) })
}

// worker follows the log of one container through its restarts.
type worker struct {
	follower  *follower
	container Container
	from      LogRange
	wake      chan struct{}
}

func (w *worker) run(ctx context.Context) error {
	for {
		if err := w.read(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.wake:
		}
	}
}

// read hands lines on until the stream ends. A broken connection counts as an end: the watch wakes
// the worker when the engine is back.
func (w *worker) read(ctx context.Context) error {
	opened, err := w.follower.engine.open(ctx, w.container, w.from.options(true))
	if err != nil || opened == nil {
		return nil //nolint:nilerr // the engine or the container is gone: the watch wakes the worker if it comes back
	}
	defer opened.body.Close()
	for {
		line, err := opened.next()
		if errors.Is(err, errFrame) {
			return err
		}
		if err != nil {
			return nil //nolint:nilerr // the end of the stream, whatever ended it
		}
		if err := w.follower.say(line); err != nil {
			return err
		}
		if !line.At.IsZero() {
			w.from = LogRange{Since: line.At.Add(time.Nanosecond), Tail: -1}
		}
	}
}
