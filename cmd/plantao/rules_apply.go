package main

import (
	"context"

	"github.com/spf13/cobra"

	"plantao/cmd/plantao/text"
	"plantao/runtime/api"
)

func newRulesApplyCommand(p *program) *cobra.Command {
	var opts routerOptions
	cmd := &cobra.Command{
		Use: "apply " + p.text.Say(text.RulesArgument), Short: p.text.Say(text.RulesApplyShort), Long: codes(p, text.RulesApplyLong), Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error { return runRulesApply(cmd.Context(), p, opts, args[0]) },
	}
	opts.add(p, cmd.Flags())
	return cmd
}

func runRulesApply(ctx context.Context, p *program, opts routerOptions, name string) error {
	body, _, err := p.ruleFile(name)
	if err != nil {
		return err
	}
	r, err := p.reach(ctx, opts)
	if err != nil {
		return err
	}
	defer r.close()
	done, err := ask(ctx, r, func() (api.RulesStored, error) { return r.client.PutRules(ctx, body) })
	switch {
	case err != nil:
		return r.explain("", err)
	case opts.JSON:
		return p.json(done)
	case done.Changed:
		p.say(text.RulesInForce, printable(done.Version))
	default:
		p.say(text.RulesWereInForce, printable(done.Version))
	}
	return nil
}
