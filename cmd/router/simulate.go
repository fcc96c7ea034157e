package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"plantao/runtime/simulate"
)

// errUnseen ends a simulation in which some kind of fault never happened.
var errUnseen = errors.New("the simulation was too short")

func simulateCommand(o *options) *cobra.Command {
	var (
		c      simulate.Config
		asJSON bool
	)
	cmd := &cobra.Command{
		Use: "simulate", Short: "Look for a violated invariant in random schedules with faults, in a schema of its own", Args: cobra.NoArgs,
		Long: "Run the router's domain and store through random schedules with faults (replicas that die and freeze, lost commits, answers and\n" +
			"messages, humans that take over at any moment), in a throw-away schema router_simulation_… of the configured database, and look\n" +
			"for a state that must not be. The schema is dropped at the end, also after an interrupt. The role must be allowed to create it;\n" +
			"the router's own tables are not touched. A seed always gives the same schedule.\n\n" +
			"Exit status: 0 nothing found, 1 an invariant is violated, or some fault never happened, or the simulation could not go on;\n" +
			"2 the configuration or the command line cannot be used.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := loadMigrate(o.sources())
			if err != nil {
				return err
			}
			if c.Steps < 1 || c.Rounds < 1 || c.Replicas < 2 {
				return usage("--steps and --rounds are at least 1, --replicas at least 2")
			}
			if !cmd.Flags().Changed("seed") {
				c.Seed = rand.Uint64N(1 << 32) // short enough to type
			}
			c.Database = config.Database.postgres("router-simulate")
			if !asJSON {
				c.Progress = func(r simulate.Round) { printRound(o.stdout, r) }
			}
			report, err := simulate.Run(cmd.Context(), c)
			if err != nil {
				return err
			}
			return tellSimulation(o.stdout, report, c, asJSON)
		},
	}
	cmd.Flags().Uint64Var(&c.Seed, "seed", 0, "seed of the first round, each round has the next one; default: any")
	cmd.Flags().IntVar(&c.Steps, "steps", 2000, "steps of a round")
	cmd.Flags().IntVar(&c.Rounds, "rounds", 1, "rounds, each from an empty database on")
	cmd.Flags().IntVar(&c.Replicas, "replicas", 3, "replicas of the router")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	return cmd
}

// tellSimulation prints the report. The error says why the exit status is 1.
func tellSimulation(w io.Writer, r simulate.Report, c simulate.Config, asJSON bool) error {
	if asJSON {
		if err := json.NewEncoder(w).Encode(r); err != nil {
			return fmt.Errorf("print report: %w", err)
		}
	} else {
		printSimulation(w, r, c)
	}
	switch v := r.Violation; {
	case v != nil && v.Invariant == "":
		return fmt.Errorf("step %d of seed %d: %s", v.Step, v.Seed, v.What)
	case v != nil:
		return fmt.Errorf("%w: %s in step %d of seed %d", errViolated, v.Invariant, v.Step, v.Seed)
	case len(r.Unseen) > 0:
		return fmt.Errorf("%w: it did not come to %s; give it more steps or rounds", errUnseen, strings.Join(r.Unseen, ", "))
	}
	return nil
}

func printRound(w io.Writer, r simulate.Round) {
	fmt.Fprintf(w, "seed %d: %d steps in %s (%.0f/s), %d conversations, %d messages, %d parts received, %d checks, log %.12s\n",
		r.Seed, r.Steps, r.Took.Round(time.Millisecond), float64(r.Steps)/r.Took.Seconds(), r.Conversations, r.Messages, r.Parts,
		r.Checks, r.Log)
}

func printSimulation(w io.Writer, r simulate.Report, c simulate.Config) {
	printCounts(w, "actions", r.Actions)
	printCounts(w, "faults", r.Faults)
	v := r.Violation
	if v == nil {
		fmt.Fprintf(w, "%d rounds, %d steps, nothing violated\n", len(r.Rounds), r.Steps)
		return
	}
	fmt.Fprintf(w, "VIOLATED %s, conversation %d: %s\n", v.Invariant, v.Conversation, v.What)
	for _, line := range v.Last {
		fmt.Fprintln(w, "  "+line)
	}
	fmt.Fprintf(w, "again: router simulate --seed %d --steps %d --replicas %d\n", v.Seed, c.Steps, c.Replicas)
}

func printCounts(w io.Writer, what string, counts map[string]int) {
	fmt.Fprintf(w, "%s:", what)
	for i, name := range simulate.Named(counts) {
		if i > 0 {
			fmt.Fprint(w, ",")
		}
		fmt.Fprintf(w, " %s %d", name, counts[name])
	}
	fmt.Fprintln(w)
}
