package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"plantao/cmd/plantao/diagnosis"
	"plantao/cmd/plantao/text"
)

func newPreflightCommand(p *program) *cobra.Command {
	var opts doctorOptions
	cmd := &cobra.Command{
		Use: "preflight [--stack dev] [--port N] [--json]", Short: p.text.Say(text.PreflightShort),
		Long: codes(p, text.PreflightLong), Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return runPreflight(cmd.Context(), p, opts) },
	}
	flags := cmd.Flags()
	flags.IntVar(&opts.Port, "port", 0, p.text.Say(text.FlagPort))
	flags.BoolVar(&opts.JSON, "json", false, p.text.Say(text.FlagJSON))
	stackFlag(p, flags, &opts.Stack)
	return cmd
}

// runPreflight says one line per finding that is not ok, and nothing when all are.
func runPreflight(ctx context.Context, p *program, opts doctorOptions) error {
	results, err := examine(ctx, p, diagnosis.Preflight, opts)
	if err != nil {
		return err
	}
	failed := diagnosis.Worst(results) == diagnosis.Fail
	if opts.JSON {
		if err := p.json(reportOf(p, results, !failed)); err != nil {
			return err
		}
	}
	for _, r := range results {
		if r.Finding.Level == diagnosis.OK || opts.JSON {
			continue
		}
		level := levels[r.Finding.Level]
		fmt.Fprintln(p.err, p.text.Say(text.PreflightLine, p.text.Say(level.word), r.Check.ID, r.Finding.Found, r.Finding.Fix))
	}
	if failed {
		return errTold
	}
	return nil
}
