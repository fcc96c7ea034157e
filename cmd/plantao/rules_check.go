package main

import (
	"github.com/spf13/cobra"

	"plantao/cmd/plantao/text"
)

func newRulesCheckCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use: "check " + p.text.Say(text.RulesArgument), Short: p.text.Say(text.RulesCheckShort), Long: codes(p, text.RulesCheckLong), Args: oneFile,
		RunE: func(_ *cobra.Command, args []string) error {
			_, set, err := p.ruleFile(args[0])
			if err != nil {
				return err
			}
			p.say(text.RulesGood, args[0], set.Len(), set.Version())
			return nil
		},
	}
}
