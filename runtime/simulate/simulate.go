package simulate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"plantao/runtime/conversation"
	"plantao/runtime/postgres"
)

// Config says what to simulate.
type Config struct {
	Database postgres.Config
	// Seed of the first round; each round has the next one.
	Seed uint64
	// Steps of a round, before it runs out. Zero means 2000.
	Steps int
	// Rounds, each in a schema of its own. Zero means one.
	Rounds int
	// Replicas of the router. Zero means three.
	Replicas int
	// CheckEvery is how many steps pass between two checks of the rows. Zero means 100.
	CheckEvery int
	// Progress is called after each round; nil: nobody is told.
	Progress func(Round)

	// plant is a store with a fault of its own, for tests that the fault is found.
	plant func(postgres.Config, *postgres.Store) conversation.Store
	// prepare changes the schema of a round before it begins, likewise.
	prepare string
	// tilt changes the weights of actions by name, for a fault that shows only in rare schedules.
	tilt map[string]int
	// rough is a database that is in trouble all the time, likewise.
	rough bool
}

func (c Config) withDefaults() Config {
	for field, otherwise := range map[*int]int{&c.Steps: 2000, &c.Rounds: 1, &c.Replicas: 3, &c.CheckEvery: 100} {
		if *field == 0 {
			*field = otherwise
		}
	}
	return c
}

// never is a grace beyond anything that passes in a simulation: while it runs, being late is no fault.
const never = 100 * 365 * 24 * time.Hour

// Run simulates the rounds, until one finds a violation: the report has it, and the error is nil. An error says that the
// simulation could not go on, or was interrupted; the report then has the rounds that ended. Every schema is dropped.
func Run(ctx context.Context, c Config) (Report, error) {
	c = c.withDefaults()
	report := Report{Rounds: []Round{}, Actions: map[string]int{}, Faults: map[string]int{}, Unseen: FaultKinds()}
	for n := range c.Rounds {
		round, err := runRound(ctx, c, n)
		if err != nil {
			return report, fmt.Errorf("round %d, seed %d: %w", n+1, c.Seed+uint64(n), err)
		}
		report.add(round)
		if c.Progress != nil {
			c.Progress(round)
		}
		if round.Violation != nil {
			break
		}
	}
	return report, nil
}

func runRound(ctx context.Context, c Config, n int) (round Round, err error) {
	s, err := newScratch(ctx, c.Database, n)
	if err != nil {
		return round, err
	}
	defer func() { err = errors.Join(err, s.drop()) }()
	w, err := newWorld(ctx, s, c.Seed+uint64(n), c)
	if w != nil {
		defer w.close()
	}
	if err != nil {
		return round, fmt.Errorf("prepare: %w", err)
	}
	if c.prepare != "" {
		w.exec(c.prepare)
	}
	start := time.Now()
	w.run(c)
	round = w.round()
	round.Took = time.Since(start)
	if ctx.Err() != nil {
		return round, fmt.Errorf("interrupted in step %d: %w", w.step, ctx.Err())
	}
	if w.bad == nil && w.err != nil {
		return round, fmt.Errorf("step %d: %w", w.step, w.err)
	}
	return round, nil
}

// run does the steps, and then lets everything come to its end.
func (w *world) run(c Config) {
	for range c.Steps {
		if w.next(); w.ended() {
			return
		}
		if w.step%c.CheckEvery == 0 {
			w.check(never)
		}
	}
	w.check(never)
	w.runOut()
	w.check(0)
}
