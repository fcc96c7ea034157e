package main

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"plantao/cmd/plantao/text"
	"plantao/runtime/api"
	"plantao/runtime/client"
	"plantao/runtime/conversation"
)

// maxPage is the longest page the router gives.
const maxPage = 500

// contactWidth is where a contact's name is cut in the table.
const contactWidth = 24

// listOptions of `plantao conversation list`.
type listOptions struct {
	routerOptions
	// State, Owner and Channel narrow the list; empty ones do not.
	State, Owner, Channel string
	// Limit is how many are shown at most.
	Limit int
}

func newListCommand(p *program) *cobra.Command {
	var opts listOptions
	cmd := &cobra.Command{
		Use: "list [--state AI_ACTIVE] [--owner ai:vendas] [--channel principal] [--limit 50]", Short: p.text.Say(text.ListShort),
		Long: codes(p, text.ListLong), Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return runList(cmd.Context(), p, opts) },
	}
	flags := cmd.Flags()
	opts.add(p, flags)
	flags.StringVar(&opts.State, "state", "", p.text.Say(text.FlagState))
	flags.StringVar(&opts.Owner, "owner", "", p.text.Say(text.FlagOwner))
	flags.StringVar(&opts.Channel, "channel", "", p.text.Say(text.FlagChannel))
	flags.IntVar(&opts.Limit, "limit", 50, p.text.Say(text.FlagLimit))
	return cmd
}

func runList(ctx context.Context, p *program, opts listOptions) error {
	filter, err := listFilter(opts)
	if err != nil {
		return err
	}
	r, err := p.reach(ctx, opts.routerOptions)
	if err != nil {
		return err
	}
	defer r.close()
	list, err := r.list(ctx, filter, opts.Limit)
	if err != nil {
		return err
	}
	if list.Next != "" {
		p.note(text.ListMore, opts.Limit)
	}
	if opts.JSON {
		return p.json(list)
	}
	if len(list.Conversations) == 0 {
		p.note(text.ListEmpty)
		return nil
	}
	table(p.out, conversationRows(p, list.Conversations))
	return nil
}

// listFilter checks the flags. A state may be typed as ai-active.
func listFilter(opts listOptions) (client.Filter, error) {
	state := strings.ToUpper(strings.ReplaceAll(opts.State, "-", "_"))
	if state != "" && !slices.Contains(conversation.States(), conversation.State(state)) {
		return client.Filter{}, usage(text.FlagBadState, opts.State, join(conversation.States()))
	}
	kind, _, _ := strings.Cut(opts.Owner, ":")
	kinds := []conversation.OwnerKind{conversation.OwnedByAI, conversation.OwnedByHuman, conversation.OwnedByQueue, conversation.OwnedByNone}
	if opts.Owner != "" && !slices.Contains(kinds, conversation.OwnerKind(kind)) {
		return client.Filter{}, usage(text.FlagBadOwner, opts.Owner)
	}
	if opts.Limit < 1 {
		return client.Filter{}, usage(text.FlagBadLimit, opts.Limit)
	}
	return client.Filter{State: state, Owner: opts.Owner, Channel: opts.Channel}, nil
}

func join[T ~string](words []T) string {
	said := make([]string, len(words))
	for i, w := range words {
		said[i] = string(w)
	}
	return strings.Join(said, ", ")
}

// pages reads up to limit of what the router lists a page at a time; next says that there is more.
func pages[T any](limit int, read func(limit int, after string) (page []T, next string, err error)) (all []T, next string, err error) {
	all = []T{}
	for {
		var page []T
		if page, next, err = read(min(limit-len(all), maxPage), next); err != nil {
			return nil, "", err
		}
		all = append(all, page...)
		if next == "" || len(all) >= limit {
			return all, next, nil
		}
	}
}

func (r *router) list(ctx context.Context, f client.Filter, limit int) (list api.Conversations, err error) {
	list.Conversations, list.Next, err = pages(limit, func(limit int, after string) ([]api.Conversation, string, error) {
		f.Limit, f.After = limit, after
		page, err := ask(ctx, r, func() (api.Conversations, error) { return r.client.List(ctx, f) })
		return page.Conversations, page.Next, err
	})
	if err != nil {
		return list, r.explain("", err)
	}
	return list, nil
}

func conversationRows(p *program, list []api.Conversation) [][]cell {
	rows := [][]cell{cells(
		p.text.Say(text.ColumnID), p.text.Say(text.ColumnChannel), p.text.Say(text.ColumnContact), p.text.Say(text.ColumnState),
		p.text.Say(text.ColumnOwner), p.text.Say(text.ColumnSince), p.text.Say(text.ColumnEpoch), p.text.Say(text.ColumnWaiting),
	)}
	for _, c := range list {
		waiting := "-"
		if c.Waiting {
			waiting = p.text.Say(text.Yes)
		}
		rows = append(rows, cells(
			c.ID, printable(c.Channel), contactWord(c.Contact), p.stateWord(c.State), p.ownerWord(c.Owner),
			p.since(c.OwnerSince), strconv.FormatInt(c.Epoch, 10), waiting,
		))
	}
	return rows
}

// contactWord is the customer's name, or the number of one without.
func contactWord(c api.Contact) string {
	number := strings.TrimSuffix(printable(c.ID), "@s.whatsapp.net")
	return short(cmp.Or(strings.TrimSpace(printable(c.Name)), number), contactWidth)
}
