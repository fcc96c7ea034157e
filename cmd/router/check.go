package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"plantao/runtime/conversation"
	"plantao/runtime/invariant"
	"plantao/runtime/postgres"
	"plantao/runtime/server"
)

// errViolated ends `router check` and `router simulate` with status 1.
var errViolated = errors.New("an invariant is violated")

// checkConfig is how `router serve` asserts the invariants beside its work.
type checkConfig struct {
	// Every is how often. Zero: never. Default 5m. Conversations updated in twice as long are looked at, so that nothing
	// falls between two checks.
	Every time.Duration `koanf:"every"`
}

func (c checkConfig) validate(p *problems) {
	p.require(c.Every == 0 || c.Every >= time.Second, "check.every: %s is below 1s; write 0 for never", c.Every)
}

func checkCommand(o *options) *cobra.Command {
	var (
		since, grace time.Duration
		skip         []string
		asJSON       bool
	)
	cmd := &cobra.Command{
		Use: "check", Short: "Assert the invariants on the database", Args: cobra.NoArgs,
		Long: "Assert the invariants on the database: one owner in each epoch, one turn at a time, nothing sent by an agent that is not on\n" +
			"duty, nothing sent twice, nothing lost, an unbroken audit, and the rest of the list it prints. It reads one snapshot, writes\n" +
			"nothing and locks nobody out; it may run beside routers, and not beside `router migrate`, which would wait for it.\n\n" +
			"Exit status: 0 all hold, 1 one is violated or something could not be read, 2 the configuration or the command line\n" +
			"cannot be used.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadMigrate(o.sources())
			if err != nil {
				return err
			}
			if since < 0 || grace < 0 {
				return usage("--since and --grace are lengths of time and not negative")
			}
			options := postgres.CheckOptions{Since: since, Grace: &grace}
			for _, id := range skip {
				if _, known := invariant.Get(invariant.ID(id)); !known {
					return usage("--skip %s: no such invariant; there are %v", id, invariant.IDs())
				}
				options.Skip = append(options.Skip, invariant.ID(id))
			}
			report, err := postgres.Check(cmd.Context(), c.Database.postgres("router-check"), options)
			if err != nil {
				return err
			}
			return tellReport(o.stdout, report, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	cmd.Flags().DurationVar(&since, "since", 0, "only conversations updated in so long, as 24h; 0: all")
	cmd.Flags().DurationVar(&grace, "grace", 2*time.Minute, "how late work may be before it counts as stranded")
	cmd.Flags().StringSliceVar(&skip, "skip", nil, "an invariant not to assert, as I-RYW on a database that may lose commits")
	return cmd
}

// tellReport prints a report. The error is errViolated if one is.
func tellReport(w io.Writer, r invariant.Report, asJSON bool) error {
	if asJSON {
		if err := json.NewEncoder(w).Encode(r); err != nil {
			return fmt.Errorf("print report: %w", err)
		}
	} else {
		printReport(w, r)
	}
	var violated []string
	for _, f := range r.Violated() {
		violated = append(violated, fmt.Sprintf("%s %d times", f.ID, f.Count))
	}
	if len(violated) > 0 {
		return fmt.Errorf("%w: %s", errViolated, strings.Join(violated, ", "))
	}
	return nil
}

func printReport(w io.Writer, r invariant.Report) {
	for _, f := range r.Findings {
		switch {
		case f.Skipped:
			fmt.Fprintf(w, "%-8s not asserted\n", f.ID)
		case f.Count == 0:
			fmt.Fprintf(w, "%-8s ok\n", f.ID)
		default:
			fmt.Fprintf(w, "%-8s VIOLATED: %s\n", f.ID, f.Sentence)
			for _, v := range f.Found {
				fmt.Fprintf(w, "         %s: %s\n", place(v.Conversation), v.What)
			}
			if more := f.Count - int64(len(f.Found)); more > 0 {
				fmt.Fprintf(w, "         and %d more\n", more)
			}
			fmt.Fprintf(w, "         what to do: %s\n", f.Remedy)
		}
	}
	fmt.Fprintf(w, "%d conversations, %d violations, %s\n", r.Conversations, r.Violations(), r.Took.Round(time.Millisecond))
}

func place(id int64) string {
	if id == 0 {
		return "database"
	}
	return fmt.Sprintf("conversation %d", id)
}

// watch asserts the invariants beside a router's work and keeps the newest result for scrapes.
type watch struct {
	every    time.Duration
	database postgres.Config
	log      *slog.Logger

	mu     sync.Mutex
	newest server.InvariantCheck
}

func newWatch(c checkConfig, database postgres.Config, log *slog.Logger) *watch {
	w := &watch{every: c.Every, database: database, log: log, newest: server.InvariantCheck{Violations: map[string]int64{}}}
	w.database.AppName += "-check"
	for _, id := range invariant.IDs() {
		w.newest.Violations[string(id)] = 0
	}
	return w
}

// read is the newest result. Nobody changes its map.
func (w *watch) read() server.InvariantCheck {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.newest
}

// run checks until ctx ends. A check that cannot read leaves the result as it is: its time says how old it is.
func (w *watch) run(ctx context.Context) {
	for w.every > 0 && conversation.Pause(ctx, w.every) {
		report, err := w.check(ctx)
		switch {
		case err == nil:
			w.tell(ctx, report)
		case ctx.Err() == nil:
			w.log.WarnContext(ctx, "invariants could not be checked", "err", err)
		}
	}
}

func (w *watch) check(ctx context.Context) (invariant.Report, error) {
	// From this side too: a server that is cut off enforces no limit.
	limit := max(w.every, time.Minute)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return postgres.Check(ctx, w.database, postgres.CheckOptions{Since: 2 * w.every, Limit: limit})
}

func (w *watch) tell(ctx context.Context, r invariant.Report) {
	newest := server.InvariantCheck{At: r.At, Violations: map[string]int64{}}
	for _, f := range r.Findings {
		newest.Violations[string(f.ID)] = f.Count
	}
	w.mu.Lock()
	w.newest = newest
	w.mu.Unlock()
	for _, f := range r.Violated() {
		first := f.Found[0]
		w.log.ErrorContext(ctx, "invariant violated; `router check` shows all of it", "invariant", f.ID, "violations", f.Count,
			"conversation", first.Conversation, "what", first.What, "do", f.Remedy)
	}
}
