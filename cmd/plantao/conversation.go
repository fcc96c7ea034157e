package main

import (
	"context"
	"strconv"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"plantao/cmd/plantao/text"
	"plantao/runtime/api"
	"plantao/runtime/client"
	"plantao/runtime/conversation"
)

func newConversationCommand(p *program) *cobra.Command {
	return group(p, "conversation", text.ConversationShort,
		newListCommand(p), newShowCommand(p), newWhyCommand(p),
		newTakeCommand(p), newHandbackCommand(p), newPassCommand(p), newCloseCommand(p),
		newHoldCommand(p), newResumeCommand(p), newSettleCommand(p),
	)
}

// oneConversation wants the conversation's number as the only argument.
func oneConversation(_ *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return usage(text.ConversationNoID)
	case len(args) > 1:
		return usage(text.ArgumentTooMany, args[1])
	}
	if n, err := strconv.ParseInt(args[0], 10, 64); err != nil || n <= 0 {
		return usage(text.ConversationBadID, args[0])
	}
	return nil
}

// verbOptions of the commands that change who is on duty.
type verbOptions struct {
	routerOptions
	ID   string
	Verb conversation.Verb
	// Epoch is the epoch the verb is meant for; nil means the one that a reading shows. Take has none: a human always wins.
	Epoch *int64
	api.VerbRequest
}

func (o *verbOptions) add(p *program, flags *pflag.FlagSet) {
	o.routerOptions.add(p, flags)
	flags.StringVar(&o.Reason, "reason", "", p.text.Say(text.FlagReason))
	if o.Verb != conversation.VerbTake {
		flags.Int64("epoch", 0, p.text.Say(text.FlagEpoch))
	}
}

// read takes what cobra parsed.
func (o *verbOptions) read(cmd *cobra.Command, args []string) {
	o.ID = args[0]
	if epoch, err := cmd.Flags().GetInt64("epoch"); err == nil && cmd.Flags().Changed("epoch") {
		o.Epoch = &epoch
	}
}

// plainVerb is the command of a verb that needs nothing beside the conversation.
func plainVerb(p *program, verb conversation.Verb, use string, short, long text.Key) *cobra.Command {
	opts := verbOptions{Verb: verb}
	cmd := &cobra.Command{
		Use: use, Short: p.text.Say(short), Long: codes(p, long), Args: oneConversation,
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.read(cmd, args)
			return runVerb(cmd.Context(), p, opts)
		},
	}
	opts.add(p, cmd.Flags())
	return cmd
}

// runVerb does a verb once, however often it has to be sent, and says who is on duty then.
func runVerb(ctx context.Context, p *program, opts verbOptions) error {
	r, err := p.reach(ctx, opts.routerOptions)
	if err != nil {
		return err
	}
	defer r.close()
	verb := client.Verb{
		Verb: opts.Verb, ID: opts.ID, IfEpoch: conversation.AnyEpoch, Key: uuid.NewString(), VerbRequest: opts.VerbRequest,
	}
	switch {
	case opts.Epoch != nil:
		verb.IfEpoch = *opts.Epoch
	case opts.Verb != conversation.VerbTake:
		now, err := r.get(ctx, opts.ID)
		if err != nil {
			return err
		}
		verb.IfEpoch = now.Epoch
	}
	var result api.VerbResult
	err = r.insist(ctx, func() (err error) {
		result, err = r.client.Do(ctx, verb)
		return err
	})
	if err != nil {
		return r.undone(opts.ID, err)
	}
	if opts.JSON {
		return p.json(result)
	}
	p.tellDuty(result.Conversation)
	return nil
}

func (p *program) tellDuty(c api.Conversation) {
	p.sayMessage(p.duty(c))
	if c.Silence != nil {
		p.say(text.DutySilence, at(c.Silence.Until))
	}
}

func (r *router) get(ctx context.Context, id string) (api.Conversation, error) {
	c, err := ask(ctx, r, func() (api.Conversation, error) { return r.client.Get(ctx, id) })
	return c, r.explain(id, err)
}

// undone is the failure of a change: refused, or nobody knows.
func (r *router) undone(id string, err error) error {
	if unanswered(err) {
		return text.Because(silence(err), text.OutcomeUnknown, id, r.opts.suffix())
	}
	return r.explain(id, err)
}
