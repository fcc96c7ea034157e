// Package diagnosis finds out whether this machine can run a stack or the tests: checks as data, each
// with a reason, a deadline, and a way to fix what it finds.
//
// Checks only look. They run side by side, so that a diagnosis takes as long as its slowest check,
// and one that hangs (a dead network disk) costs its deadline and is reported as such.
package diagnosis

import (
	"context"
	"sync"
	"time"

	"plantao/cmd/plantao/text"
)

// Level says how a finding weighs.
type Level string

// The levels: Warn works but will bite, Fail does not work.
const (
	OK   Level = "ok"
	Warn Level = "warn"
	Fail Level = "fail"
)

// Purpose is what the machine is examined for.
type Purpose string

// The purposes. Preflight is the part of Up that `make up` asks before it builds anything.
const (
	Up        Purpose = "up"
	Test      Purpose = "test"
	Preflight Purpose = "preflight"
)

// deadline bounds a check that sets none. A whole diagnosis stays under two seconds.
const deadline = 1500 * time.Millisecond

// Check is one thing to look at.
type Check struct {
	// ID is stable, for scripts.
	ID string
	// Why says what goes wrong otherwise.
	Why text.Key
	// For are the purposes the check belongs to.
	For []Purpose
	// Run looks. It need not mind its deadline: a late answer is thrown away.
	Run func(ctx context.Context) Finding
}

// Finding is what a check found.
type Finding struct {
	Level Level
	// Found is what there is, Fix what to do about it; Fix is zero when Level is OK.
	Found, Fix text.Message
}

func ok(found text.Message) Finding        { return Finding{Level: OK, Found: found} }
func warn(found, fix text.Message) Finding { return Finding{Warn, found, fix} }
func fail(found, fix text.Message) Finding { return Finding{Fail, found, fix} }

// Result is a check with its finding.
type Result struct {
	Check   Check
	Finding Finding
}

// For picks the checks of a purpose, in their order.
func For(purpose Purpose, checks []Check) []Check {
	var picked []Check
	for _, check := range checks {
		for _, p := range check.For {
			if p == purpose {
				picked = append(picked, check)
				break
			}
		}
	}
	return picked
}

// Run runs the checks side by side and gives their results in the checks' order.
func Run(ctx context.Context, checks []Check) []Result {
	results := make([]Result, len(checks))
	var wait sync.WaitGroup
	for i, check := range checks {
		wait.Go(func() { results[i] = Result{check, one(ctx, check)} })
	}
	wait.Wait()
	return results
}

// one waits for the check no longer than its deadline. The result channel has room, so that a late
// check ends by itself.
func one(ctx context.Context, check Check) Finding {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	answer := make(chan Finding, 1)
	go func() { answer <- check.Run(ctx) }()
	late := time.NewTimer(deadline + 100*time.Millisecond)
	defer late.Stop()
	select {
	case finding := <-answer:
		return finding
	case <-late.C:
		return warn(text.New(text.CheckLate, deadline.String()), text.New(text.CheckLateFix))
	}
}

// Worst is the heaviest level among the results; OK when there are none.
func Worst(results []Result) Level {
	worst := OK
	for _, r := range results {
		switch {
		case r.Finding.Level == Fail:
			return Fail
		case r.Finding.Level == Warn:
			worst = Warn
		}
	}
	return worst
}
