package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"plantao/cmd/plantao/text"
	"plantao/runtime/api"
)

func newRulesShowCommand(p *program) *cobra.Command {
	var opts routerOptions
	cmd := &cobra.Command{
		Use: "show [" + p.text.Say(text.RulesVersion) + "]", Short: p.text.Say(text.RulesShowShort), Long: codes(p, text.RulesShowLong),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage(text.ArgumentTooMany, args[1])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return runRulesShow(cmd.Context(), p, opts, strings.Join(args, ""))
		},
	}
	opts.add(p, cmd.Flags())
	return cmd
}

func runRulesShow(ctx context.Context, p *program, opts routerOptions, version string) error {
	r, err := p.reach(ctx, opts)
	if err != nil {
		return err
	}
	defer r.close()
	shown, err := r.rules(ctx, version)
	if err != nil {
		return err
	}
	if opts.JSON {
		return p.json(shown)
	}
	// What is said about them goes elsewhere: what is shown may be written to a file and put in force again.
	p.note(text.RulesSince, printable(shown.Version), at(shown.Since), printable(shown.By))
	fmt.Fprint(p.out, shown.Text)
	return nil
}

// rules reads the router's: those of a version, or in force.
func (r *router) rules(ctx context.Context, version string) (api.Rules, error) {
	shown, err := ask(ctx, r, func() (api.Rules, error) { return r.client.Rules(ctx, version) })
	if err != nil {
		return shown, r.explain(version, err)
	}
	return shown, nil
}

// noRules: those of a version are not there, or none are in force.
func (r *router) noRules(version string) error {
	if version == "" {
		return notFound(text.RulesNone, r.opts.suffix())
	}
	return notFound(text.RulesMissing, version)
}
