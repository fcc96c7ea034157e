package main

import (
	"context"
	"errors"
	"strconv"

	"github.com/spf13/cobra"

	"plantao/cmd/plantao/text"
	"plantao/runtime/api"
	"plantao/runtime/conversation"
)

// settleOptions of `plantao conversation settle`.
type settleOptions struct {
	routerOptions
	ID         string
	Turn, Part int
	// Sent and NotSent are what became of the part; exactly one is true.
	Sent, NotSent bool
}

func newSettleCommand(p *program) *cobra.Command {
	var opts settleOptions
	cmd := &cobra.Command{
		Use: "settle ID --turn N --part N --sent|--not-sent", Short: p.text.Say(text.SettleShort), Long: codes(p, text.SettleLong),
		Args: oneConversation,
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.ID = args[0]
			if opts.Turn < 1 || opts.Part < 1 || opts.Sent == opts.NotSent {
				return usage(text.SettleIncomplete, opts.ID)
			}
			return runSettle(cmd.Context(), p, opts)
		},
	}
	flags := cmd.Flags()
	opts.add(p, flags)
	flags.IntVar(&opts.Turn, "turn", 0, p.text.Say(text.FlagTurn))
	flags.IntVar(&opts.Part, "part", 0, p.text.Say(text.FlagPart))
	flags.BoolVar(&opts.Sent, "sent", false, p.text.Say(text.FlagSent))
	flags.BoolVar(&opts.NotSent, "not-sent", false, p.text.Say(text.FlagNotSent))
	return cmd
}

func runSettle(ctx context.Context, p *program, opts settleOptions) error {
	r, err := p.reach(ctx, opts.routerOptions)
	if err != nil {
		return err
	}
	defer r.close()
	c, err := r.settle(ctx, opts)
	if err != nil {
		return r.undone(opts.ID, err)
	}
	if opts.JSON {
		return p.json(c)
	}
	key := text.SettledNotSent
	if opts.Sent {
		key = text.SettledSent
	}
	p.say(key, opts.Part, opts.Turn, c.ID)
	p.tellDuty(c)
	return nil
}

// settle has no key to repeat with. When an attempt went unanswered and the next finds nothing left to settle, the audit says
// whether that was ours.
func (r *router) settle(ctx context.Context, opts settleOptions) (c api.Conversation, err error) {
	unknown := false
	err = r.insist(ctx, func() (err error) {
		c, err = r.client.Settle(ctx, opts.ID, opts.Turn, api.SettleRequest{Part: opts.Part, Sent: opts.Sent})
		if unknown && errors.Is(err, conversation.ErrTurnClosed) && r.settled(ctx, opts) {
			c, err = r.client.Get(ctx, opts.ID)
		}
		unknown = unknown || unanswered(err)
		return err
	})
	return c, err
}

// settled says that the audit has this settlement.
func (r *router) settled(ctx context.Context, opts settleOptions) bool {
	fate := "not_sent"
	if opts.Sent {
		fate = "sent"
	}
	entries, err := r.trail(ctx, opts.ID, 0)
	if err != nil {
		return false
	}
	for _, e := range entries {
		if conversation.Verb(e.Verb) == verbSettle && e.Reason == fate &&
			e.Detail["turn"] == strconv.Itoa(opts.Turn) && e.Detail["part"] == strconv.Itoa(opts.Part) {
			return true
		}
	}
	return false
}
