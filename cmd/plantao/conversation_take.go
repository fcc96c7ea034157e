package main

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"plantao/cmd/plantao/text"
	"plantao/runtime/conversation"
)

func newTakeCommand(p *program) *cobra.Command {
	var (
		as      string
		silence time.Duration
	)
	opts := verbOptions{Verb: conversation.VerbTake}
	cmd := &cobra.Command{
		Use: "take ID --as ana [--silence 10m] [--reason …]", Short: p.text.Say(text.TakeShort), Long: codes(p, text.TakeLong),
		Args: oneConversation,
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.read(cmd, args)
			if err := opts.take(as, silence); err != nil {
				return err
			}
			return runVerb(cmd.Context(), p, opts)
		},
	}
	flags := cmd.Flags()
	opts.add(p, flags)
	flags.StringVar(&as, "as", "", p.text.Say(text.FlagAs))
	flags.DurationVar(&silence, "silence", 0, p.text.Say(text.FlagSilence))
	return cmd
}

// take reads who takes the conversation: a name, or as it is written elsewhere, human:ana.
func (o *verbOptions) take(as string, silence time.Duration) error {
	name := strings.TrimPrefix(as, "human:")
	switch {
	case as == "":
		return usage(text.TakeNobody)
	case strings.Contains(name, ":") || name == "":
		return usage(text.FlagBadHuman, as)
	case silence < 0 || silence > conversation.MaxWait:
		return usage(text.FlagBadSilence, silence, conversation.MaxWait)
	}
	o.To, o.WaitSeconds = "human:"+name, silence.Seconds()
	return nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
