package main

import (
	"strings"

	"github.com/spf13/cobra"

	"plantao/cmd/plantao/text"
	"plantao/runtime/conversation"
)

func newHandbackCommand(p *program) *cobra.Command {
	var to string
	opts := verbOptions{Verb: conversation.VerbHandback}
	cmd := &cobra.Command{
		Use: "handback ID [--to vendas] [--through N] [--reason …]", Short: p.text.Say(text.HandbackShort),
		Long: codes(p, text.HandbackLong), Args: oneConversation,
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.read(cmd, args)
			if err := opts.handback(to); err != nil {
				return err
			}
			return runVerb(cmd.Context(), p, opts)
		},
	}
	flags := cmd.Flags()
	opts.add(p, flags)
	flags.StringVar(&to, "to", "", p.text.Say(text.FlagFlow))
	flags.Int64Var(&opts.Through, "through", 0, p.text.Say(text.FlagThrough))
	return cmd
}

// handback reads which AI gets the conversation: a flow's name, or as it is written elsewhere, ai:vendas.
func (o *verbOptions) handback(to string) error {
	flow := strings.TrimPrefix(to, "ai:")
	switch {
	case o.Through < 0:
		return usage(text.FlagBadThrough, o.Through)
	case to == "":
		return nil
	case strings.Contains(flow, ":") || flow == "":
		return usage(text.FlagBadFlow, to)
	}
	o.To = "ai:" + flow
	return nil
}
