package main

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"plantao/cmd/plantao/text"
	"plantao/runtime/api"
	"plantao/runtime/conversation"
)

// whyOptions of `plantao conversation why`.
type whyOptions struct {
	routerOptions
	ID string
	// Last is how many entries are shown, the newest; zero means all.
	Last int
}

func newWhyCommand(p *program) *cobra.Command {
	var opts whyOptions
	cmd := &cobra.Command{
		Use: "why ID [--last N]", Short: p.text.Say(text.WhyShort), Long: codes(p, text.WhyLong), Args: oneConversation,
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.ID = args[0]
			return runWhy(cmd.Context(), p, opts)
		},
	}
	flags := cmd.Flags()
	opts.add(p, flags)
	flags.IntVar(&opts.Last, "last", 0, p.text.Say(text.FlagLast))
	return cmd
}

func runWhy(ctx context.Context, p *program, opts whyOptions) error {
	if opts.Last < 0 {
		return usage(text.FlagBadLast, opts.Last)
	}
	r, err := p.reach(ctx, opts.routerOptions)
	if err != nil {
		return err
	}
	defer r.close()
	entries, err := r.last(ctx, opts)
	if err != nil {
		return r.explain(opts.ID, err)
	}
	if opts.JSON {
		return p.json(api.AuditTrail{Entries: entries})
	}
	if len(entries) == 0 {
		p.note(text.WhyEmpty, opts.ID)
		return nil
	}
	var rows [][]cell
	for _, e := range entries {
		rows = append(rows, cells(strconv.FormatInt(e.Seq, 10), at(e.At), p.sentence(e)))
	}
	table(p.out, rows)
	return nil
}

// last reads the entries that are wanted. Entries are numbered from 1 without a gap, so the newest need no reading of all.
func (r *router) last(ctx context.Context, opts whyOptions) ([]api.AuditEntry, error) {
	after := int64(0)
	if opts.Last > 0 {
		now, err := r.get(ctx, opts.ID)
		if err != nil {
			return nil, err
		}
		after = max(0, now.Version-int64(opts.Last))
	}
	entries, err := r.trail(ctx, opts.ID, after)
	if opts.Last > 0 && len(entries) > opts.Last { // more came meanwhile
		entries = entries[len(entries)-opts.Last:]
	}
	return entries, err
}

// trail reads every page of the audit from the entry after the given one.
func (r *router) trail(ctx context.Context, id string, after int64) ([]api.AuditEntry, error) {
	entries := []api.AuditEntry{}
	for {
		page, err := ask(ctx, r, func() (api.AuditTrail, error) { return r.client.Audit(ctx, id, after, maxPage) })
		if err != nil {
			return nil, err
		}
		entries = append(entries, page.Entries...)
		if page.Next == 0 {
			return entries, nil
		}
		after = page.Next
	}
}

// sentence is one entry: what was done and by whom, from where to where, who is on duty since, and why.
func (p *program) sentence(e api.AuditEntry) string {
	states := p.stateWord(e.StateTo)
	if e.StateFrom != e.StateTo {
		states = p.stateWord(e.StateFrom) + " → " + states
	}
	said := []string{p.text.Say(text.WhyDone, p.verbWord(e.Verb), printable(e.Actor), states)}
	add := func(there bool, m text.Message) {
		if there {
			said = append(said, p.text.Render(m))
		}
	}
	owner := e.Detail["owner"]
	add(owner != "" && owner != string(conversation.OwnedByNone), text.New(text.WhyOwner, printable(owner)))
	add(owner == string(conversation.OwnedByNone), text.New(text.WhyNobody))
	add(true, text.New(text.WhyEpoch, e.EpochTo))
	add(e.Reason != "", text.New(text.WhyReason, p.entryReason(e)))
	add(e.RuleVersion != "", text.New(text.WhyRule, printable(e.RuleVersion)))
	for _, name := range slices.Sorted(maps.Keys(e.Detail)) {
		if name != "owner" && name != "key" {
			said = append(said, printable(name)+"="+printable(e.Detail[name]))
		}
	}
	return strings.Join(said, "; ")
}

// entryReason is an entry's reason. Of a settlement it is what became of the part.
func (p *program) entryReason(e api.AuditEntry) string {
	switch {
	case conversation.Verb(e.Verb) == verbSettle && e.Reason == "sent":
		return p.text.Say(text.ReasonSent)
	case conversation.Verb(e.Verb) == verbSettle && e.Reason == "not_sent":
		return p.text.Say(text.ReasonNotSent)
	}
	return p.reasonWord(e.Reason)
}
