package main

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"plantao/cmd/plantao/text"
	"plantao/runtime/api"
	"plantao/runtime/client"
	"plantao/runtime/conversation"
)

func newDeadLetterCommand(p *program) *cobra.Command {
	return group(p, "deadletter", text.LetterShort, newLetterListCommand(p), newLetterShowCommand(p), newRedriveCommand(p), newDropCommand(p))
}

// letterFilter says which dead letters are meant. Empty fields do not narrow.
type letterFilter struct {
	Reason, Channel string
	// Before is how old they are at least (24h), or when they were given up at the latest.
	Before string
}

func (f *letterFilter) add(p *program, flags *pflag.FlagSet) {
	flags.StringVar(&f.Reason, "reason", "", p.text.Say(text.FlagLetterReason))
	flags.StringVar(&f.Channel, "channel", "", p.text.Say(text.FlagChannel))
	flags.StringVar(&f.Before, "before", "", p.text.Say(text.FlagBefore))
}

func (f *letterFilter) empty() bool { return *f == letterFilter{} }

// before reads an age or an instant; zero if there is none.
func (p *program) before(said string) (time.Time, error) {
	if said == "" {
		return time.Time{}, nil
	}
	if age, err := time.ParseDuration(said); err == nil && age >= 0 {
		return p.now().Add(-age), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, time.DateOnly} {
		if at, err := time.ParseInLocation(layout, said, time.Local); err == nil {
			return at, nil
		}
	}
	return time.Time{}, usage(text.FlagBadBefore, said)
}

// oneLetter wants a dead letter's number as the only argument.
func oneLetter(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usage(text.LetterNoID)
	}
	return letterArgument(args)
}

func letterArgument(args []string) error {
	if len(args) > 1 {
		return usage(text.ArgumentTooMany, args[1])
	}
	if n, err := strconv.ParseInt(args[0], 10, 64); err != nil || n <= 0 {
		return usage(text.LetterBadID, args[0])
	}
	return nil
}

// explainLetter is explain for what concerns a dead letter.
func (r *router) explainLetter(id string, err error) error {
	var refused *client.Error
	switch {
	case errors.Is(err, conversation.ErrNoLetter):
		return notFound(text.LetterMissing, id, r.opts.suffix())
	case errors.Is(err, conversation.ErrDecided):
		return failure{errHeld, text.Fail(text.LetterDecided, id, r.opts.suffix())}
	case errors.As(err, &refused) && refused.Body.Now != nil:
		return r.explain(refused.Body.Now.Conversation, err)
	}
	return r.explain("", err)
}

// undoneLetter is the failure of a decision: refused, or nobody knows.
func (r *router) undoneLetter(id string, err error) error {
	if unanswered(err) {
		return text.Because(silence(err), text.LetterUnknown, id, r.opts.suffix())
	}
	return r.explainLetter(id, err)
}

// decideOptions of the commands that decide dead letters: one, or all that the filter names.
type decideOptions struct {
	routerOptions
	letterFilter
	// ID is empty with All.
	ID       string
	All, Yes bool
	// Why is why they are dropped; required there.
	Why string
}

func (o *decideOptions) add(p *program, flags *pflag.FlagSet) {
	o.routerOptions.add(p, flags)
	o.letterFilter.add(p, flags)
	flags.BoolVar(&o.All, "all", false, p.text.Say(text.FlagAll))
	flags.BoolVar(&o.Yes, "yes", false, p.text.Say(text.FlagYes))
}

// read takes what cobra parsed: either a number, or --all.
func (o *decideOptions) read(args []string) error {
	switch {
	case o.All == (len(args) > 0), !o.All && !o.letterFilter.empty():
		return usage(text.LetterOneOrAll)
	case o.All:
		return nil
	}
	o.ID = args[0]
	return letterArgument(args)
}

// decision is what differs between redriving and dropping.
type decision struct {
	one                   func(ctx context.Context, c *client.Client) (api.DeadLetter, error)
	all                   func(ctx context.Context, c *client.Client, q api.LettersRequest) (api.LettersResult, error)
	confirm, done, number text.Key
}

func runDecide(ctx context.Context, p *program, opts decideOptions, d decision) error {
	before, err := p.before(opts.Before)
	if err != nil {
		return err
	}
	r, err := p.reach(ctx, opts.routerOptions)
	if err != nil {
		return err
	}
	defer r.close()
	if opts.All {
		return r.decideAll(ctx, opts, before, d)
	}
	var letter api.DeadLetter
	err = r.insist(ctx, func() (err error) {
		letter, err = d.one(ctx, r.client)
		return err
	})
	switch {
	case err != nil:
		return r.undoneLetter(opts.ID, err)
	case opts.JSON:
		return p.json(letter)
	}
	p.say(d.done, letter.ID, letter.Conversation)
	return nil
}

// decideAll decides a piece after the other. Deciding one again changes nothing, so a piece whose answer got lost is sent again.
func (r *router) decideAll(ctx context.Context, opts decideOptions, before time.Time, d decision) error {
	p := r.program
	if !opts.Yes {
		list, err := r.letters(ctx, client.LetterFilter{State: string(conversation.LetterOpen), Reason: opts.Reason, Channel: opts.Channel, Before: before}, maxPage)
		if err != nil {
			return err
		}
		if len(list.DeadLetters) == 0 {
			p.note(text.LetterEmpty)
			return nil
		}
		return usage(d.confirm, len(list.DeadLetters))
	}
	q := api.LettersRequest{Reason: opts.Reason, Channel: opts.Channel, Drop: opts.Why}
	if !before.IsZero() {
		q.Before = &before
	}
	all := api.LettersResult{Decided: []string{}, Refused: []api.LetterRefuse{}}
	for {
		var piece api.LettersResult
		err := r.insist(ctx, func() (err error) {
			piece, err = d.all(ctx, r.client, q)
			return err
		})
		if err != nil {
			p.say(d.number, len(all.Decided))
			return r.undoneLetter("", err)
		}
		all.Decided, all.Refused = append(all.Decided, piece.Decided...), append(all.Refused, piece.Refused...)
		if piece.Next == "" {
			break
		}
		q.After = piece.Next
	}
	if opts.JSON {
		if err := p.json(all); err != nil {
			return err
		}
	} else {
		p.say(d.number, len(all.Decided))
	}
	for _, refused := range all.Refused {
		why := r.explainLetter(refused.ID, &client.Error{Body: refused.Error})
		p.note(text.LetterStays, refused.ID, p.text.Error(why))
	}
	if len(all.Refused) > 0 {
		return failure{errHeld, text.Fail(text.LettersStay, len(all.Refused), r.opts.suffix())}
	}
	return nil
}

func newRedriveCommand(p *program) *cobra.Command {
	var opts decideOptions
	cmd := &cobra.Command{
		Use: "redrive ID | --all [--reason …] [--channel …] [--before 24h] --yes", Short: p.text.Say(text.RedriveShort),
		Long: codes(p, text.RedriveLong), Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := opts.read(args); err != nil {
				return err
			}
			return runDecide(cmd.Context(), p, opts, decision{
				one: func(ctx context.Context, c *client.Client) (api.DeadLetter, error) { return c.Redrive(ctx, opts.ID) },
				all: func(ctx context.Context, c *client.Client, q api.LettersRequest) (api.LettersResult, error) {
					return c.RedriveAll(ctx, q)
				},
				confirm: text.RedriveConfirm, done: text.Redriven, number: text.RedrivenAll,
			})
		},
	}
	opts.add(p, cmd.Flags())
	return cmd
}

func newDropCommand(p *program) *cobra.Command {
	var opts decideOptions
	cmd := &cobra.Command{
		Use: "drop ID --why … | --all [--reason …] [--channel …] [--before 24h] --why … --yes", Short: p.text.Say(text.DropShort),
		Long: codes(p, text.DropLong), Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := opts.read(args); err != nil {
				return err
			}
			if opts.Why == "" {
				return usage(text.DropNoWhy)
			}
			return runDecide(cmd.Context(), p, opts, decision{
				one: func(ctx context.Context, c *client.Client) (api.DeadLetter, error) {
					return c.Drop(ctx, opts.ID, opts.Why)
				},
				all: func(ctx context.Context, c *client.Client, q api.LettersRequest) (api.LettersResult, error) {
					return c.DropAll(ctx, q)
				},
				confirm: text.DropConfirm, done: text.Dropped, number: text.DroppedAll,
			})
		},
	}
	opts.add(p, cmd.Flags())
	cmd.Flags().StringVar(&opts.Why, "why", "", p.text.Say(text.FlagWhy))
	return cmd
}
