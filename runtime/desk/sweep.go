package desk

import (
	"context"
	"errors"
	"time"

	"plantao/runtime/conversation"
)

const (
	// overlap is how far a sweep goes back behind the last one: what Chatwoot committed late, in whole seconds.
	overlap = time.Minute
	// maxPages bounds one sweep. What is further back, the next one begins with as soon as it shows activity.
	maxPages = 200
)

// sweeps runs beside the rest until ctx ends: reading a large inbox takes longer than the time between two sweeps, and nobody should
// wait for it.
func (d *Desk) sweeps(ctx context.Context) {
	for ok := true; ok; ok = conversation.Pause(ctx, d.c.Poll) {
		if d.wait() == 0 {
			d.sweep(ctx)
		}
	}
}

// sweep asks for each channel whose time has come what the webhooks did not tell.
func (d *Desk) sweep(ctx context.Context) {
	for ctx.Err() == nil {
		row, since, err := d.c.Store.DueDeskSweep(ctx, d.c.Sweep)
		if err != nil {
			if !errors.Is(err, conversation.ErrNothingDue) && ctx.Err() == nil {
				d.c.Logger.WarnContext(ctx, "sweep not begun", "err", err)
			}
			return
		}
		missed, err := d.sweepOne(ctx, row, since)
		if missed > 0 {
			ring(d.work)
		}
		if err != nil && ctx.Err() == nil {
			d.c.Logger.WarnContext(ctx, "chatwoot could not be swept; what its webhooks did not tell is found later", "channel", row.Channel, "err", err)
			return
		}
		if missed > 0 {
			d.c.Observer.DeskMissed(missed)
			d.c.Logger.DebugContext(ctx, "chatwoot's webhooks had not told of all", "channel", row.Channel, "conversations", missed)
		}
	}
}

// sweepOne reads the inbox's conversations, newest activity first, as far back as the last sweep went. Times are Chatwoot's.
func (d *Desk) sweepOne(ctx context.Context, row conversation.Desk, since time.Time) (missed int, err error) {
	a, err := d.open(row)
	if err != nil {
		return 0, err
	}
	// Presence is told to no webhook.
	if err := d.people(ctx, row.Tenant, a); err != nil {
		d.c.Logger.WarnContext(ctx, "who is there in chatwoot could not be read; nobody is offered a conversation before long", "channel", row.Channel, "err", err)
	}
	to := since
	for page := 1; page <= maxPages; page++ {
		list, err := d.c.Client.Conversations(ctx, a, page)
		if err != nil {
			return missed, err
		}
		var seen []conversation.Glimpse
		for _, c := range list {
			at := time.Unix(c.LastActivityAt, 0)
			if at.Before(since.Add(-overlap)) {
				continue
			}
			if at.After(to) {
				to = at
			}
			g := conversation.Glimpse{Display: c.ID, DeskState: conversation.DeskState{Status: c.Status, Assignee: c.Assignee()}}
			if len(c.Messages) > 0 {
				g.LastMessage = c.Messages[0].ID
			}
			seen = append(seen, g)
		}
		last := len(seen) == 0 || len(seen) < len(list)
		mark := since // moved with the last page: a sweep that is broken off is done again
		if last || page == maxPages {
			mark = to
		}
		n, err := d.c.Store.DeskSwept(ctx, row, seen, mark)
		if err != nil {
			return missed, err
		}
		missed += n
		if last {
			return missed, nil
		}
	}
	return missed, nil
}
