package main

import (
	"cmp"
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"plantao/cmd/plantao/text"
	"plantao/runtime/api"
	"plantao/runtime/client"
	"plantao/runtime/conversation"
)

// anyState of --state shows all dead letters.
const anyState = "all"

// letterWords are the states of a dead letter in the catalogue.
var letterWords = map[conversation.LetterState]text.Key{
	conversation.LetterOpen: text.LetterIsOpen, conversation.LetterRedriven: text.LetterIsRedriven, conversation.LetterDropped: text.LetterIsDropped,
}

func (p *program) letterWord(state string) string {
	if key, ok := letterWords[conversation.LetterState(state)]; ok {
		return p.text.Say(key)
	}
	return printable(state)
}

// letterListOptions of `plantao deadletter list`.
type letterListOptions struct {
	routerOptions
	letterFilter
	// State is open, redriven, dropped or all.
	State string
	// Limit is how many are shown at most.
	Limit int
}

func newLetterListCommand(p *program) *cobra.Command {
	var opts letterListOptions
	cmd := &cobra.Command{
		Use: "list [--state open] [--reason …] [--channel …] [--before 24h] [--limit 50]", Short: p.text.Say(text.LetterListShort),
		Long: codes(p, text.LetterListLong), Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return runLetterList(cmd.Context(), p, opts) },
	}
	flags := cmd.Flags()
	opts.routerOptions.add(p, flags)
	opts.letterFilter.add(p, flags)
	flags.StringVar(&opts.State, "state", string(conversation.LetterOpen), p.text.Say(text.FlagLetterState))
	flags.IntVar(&opts.Limit, "limit", 50, p.text.Say(text.FlagLimit))
	return cmd
}

func runLetterList(ctx context.Context, p *program, opts letterListOptions) error {
	filter := client.LetterFilter{State: opts.State, Reason: opts.Reason, Channel: opts.Channel}
	_, known := letterWords[conversation.LetterState(opts.State)]
	switch {
	case opts.State == anyState:
		filter.State = ""
	case !known:
		return usage(text.FlagBadLetterState, opts.State)
	}
	if opts.Limit < 1 {
		return usage(text.FlagBadLimit, opts.Limit)
	}
	var err error
	if filter.Before, err = p.before(opts.Before); err != nil {
		return err
	}
	r, err := p.reach(ctx, opts.routerOptions)
	if err != nil {
		return err
	}
	defer r.close()
	list, err := r.letters(ctx, filter, opts.Limit)
	if err != nil {
		return err
	}
	if list.Next != "" {
		p.note(text.ListMore, opts.Limit)
	}
	if opts.JSON {
		return p.json(list)
	}
	if len(list.DeadLetters) == 0 {
		p.note(text.LetterEmpty)
		return nil
	}
	say := p.text.Say
	rows := [][]cell{cells(say(text.ColumnID), say(text.ColumnChannel), say(text.ColumnConversation), say(text.ColumnAgent), say(text.ColumnReason),
		say(text.ColumnMessages), say(text.ColumnSince), say(text.ColumnState))}
	for _, l := range list.DeadLetters {
		rows = append(rows, cells(l.ID, printable(l.Channel), l.Conversation, "ai:"+printable(l.Agent), p.reasonWord(l.Reason),
			strconv.Itoa(l.Messages), p.since(l.At), p.letterWord(l.State)))
	}
	table(p.out, rows)
	return nil
}

func (r *router) letters(ctx context.Context, f client.LetterFilter, limit int) (list api.DeadLetters, err error) {
	list.DeadLetters, list.Next, err = pages(limit, func(limit int, after string) ([]api.DeadLetter, string, error) {
		f.Limit, f.After = limit, after
		page, err := ask(ctx, r, func() (api.DeadLetters, error) { return r.client.DeadLetters(ctx, f) })
		return page.DeadLetters, page.Next, err
	})
	if err != nil {
		return list, r.explainLetter("", err)
	}
	return list, nil
}

func newLetterShowCommand(p *program) *cobra.Command {
	var opts routerOptions
	cmd := &cobra.Command{
		Use: "show ID", Short: p.text.Say(text.LetterShowShort), Long: codes(p, text.LetterShowLong), Args: oneLetter,
		RunE: func(cmd *cobra.Command, args []string) error { return runLetterShow(cmd.Context(), p, args[0], opts) },
	}
	opts.add(p, cmd.Flags())
	return cmd
}

func runLetterShow(ctx context.Context, p *program, id string, opts routerOptions) error {
	r, err := p.reach(ctx, opts)
	if err != nil {
		return err
	}
	defer r.close()
	l, err := ask(ctx, r, func() (api.DeadLetter, error) { return r.client.DeadLetter(ctx, id) })
	if err != nil {
		return r.explainLetter(id, err)
	}
	if opts.JSON {
		return p.json(l)
	}
	say := p.text.Say
	rows := [][]cell{
		cells(say(text.FactState), p.letterWord(l.State)),
		cells(say(text.FactChannel), printable(l.Channel)),
		cells(say(text.FactConversation), say(text.FactConversationIs, l.Conversation, l.Turn, "ai:"+printable(l.Agent))),
		cells(say(text.FactReason), cmp.Or(p.reasonWord(l.Reason), "-")),
		cells(say(text.FactDetail), cmp.Or(printable(l.Detail), "-")),
		cells(say(text.FactSince), say(text.FactSinceIs, at(l.At), p.since(l.At))),
		cells(say(text.FactMessages), strconv.Itoa(l.Messages)),
	}
	if l.DecidedAt != nil {
		rows = append(rows, cells(say(text.FactDecided), say(text.FactDecidedIs, printable(l.DecidedBy), at(*l.DecidedAt))))
	}
	if l.Decision != "" {
		rows = append(rows, cells(say(text.FactWhy), printable(l.Decision)))
	}
	table(p.out, rows)
	if l.State == string(conversation.LetterOpen) {
		p.sayMessage(text.New(text.MoveLetter, l.ID, opts.suffix(), l.ID, opts.suffix()))
	}
	return nil
}
