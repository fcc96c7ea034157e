package channel

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"plantao/runtime/conversation"
)

const (
	// overlap is how far before the last sweep the next one begins: WhatsApp's clock is not the database's, a dropped connection is
	// noticed late, and what WhatsApp kept meanwhile comes with the time it was written.
	overlap = 10 * time.Minute
	// young is how old a message of the channel's own side must be. One of ours may be in Evolution's database before its id is in the
	// outbox, and would look like somebody else's.
	young = 2 * time.Minute
	// settling is how long a channel must have been connected before nothing is missing up to now: what WhatsApp kept while it was not
	// comes bit by bit, with the time it was written.
	settling = 3 * time.Minute
	// sweepStep is how many messages one step takes in.
	sweepStep = 200
	// sweepLease is how long a step may take.
	sweepLease = 5 * time.Minute
)

// SweepConfig holds what a Sweeper needs; every field is required.
type SweepConfig struct {
	Store conversation.Lines
	Phone conversation.Phone
	// Receive takes a webhook in: ingest.Service.Receive.
	Receive func(ctx context.Context, ch conversation.Channel, body []byte) (conversation.Receipt, error)
	// Every is how often each channel is swept.
	Every time.Duration
	// Poll is how often it is looked for a channel that is due.
	Poll   time.Duration
	Logger *slog.Logger
}

// Sweeper looks for messages whose webhooks were lost, while Evolution or the router was down, in Evolution's own database. What it finds
// goes the way of any webhook: the same key, so that one that comes late is a duplicate, and the same order, by WhatsApp's time.
type Sweeper struct{ c SweepConfig }

// NewSweeper makes a Sweeper; Run works.
func NewSweeper(c SweepConfig) *Sweeper { return &Sweeper{c: c} }

// Run works until ctx ends.
func (s *Sweeper) Run(ctx context.Context) {
	// What came while no router was there is looked for at once.
	for s.c.Store.SweepSoon(ctx, "") != nil {
		if !conversation.Pause(ctx, s.c.Poll) {
			return
		}
	}
	for conversation.Pause(ctx, s.c.Poll) {
		for ctx.Err() == nil {
			w, err := s.c.Store.DueSweep(ctx, sweepLease)
			if err != nil {
				break // nothing is due, or the database is down, which the dispatcher's poll reports
			}
			s.sweep(ctx, w)
		}
	}
}

// sweep goes through one channel, step by step, as long as the lease is ours. An error ends it: the lease does too, and the next one
// begins where this one got to.
func (s *Sweeper) sweep(ctx context.Context, w conversation.Sweep) {
	log := s.c.Logger.With("channel", w.Name)
	from, found := w.From.Add(-overlap), 0
	for {
		list, more, err := s.c.Phone.History(ctx, w.Name, from, sweepStep)
		if err == nil {
			var n int
			n, err = s.take(ctx, w, list)
			found += n
		}
		if err != nil {
			if ctx.Err() == nil {
				log.WarnContext(ctx, "sweep broken off, it goes on when its lease ends", "found", found, "err", err)
			}
			return
		}
		to, next := w.Now, s.next(w, list)
		if more {
			to, next = list[len(list)-1].SentAt, 0
			if !to.After(from) { // so many within one second: what else there is of it is passed over
				log.ErrorContext(ctx, "more messages in one second than a sweep takes in at once; some may be missing", "at", to)
				to = to.Add(time.Second)
			}
			from = to
		}
		if w.Open < settling {
			to = w.From
		}
		ours, err := s.c.Store.Swept(ctx, &w, to, sweepLease, next)
		if err != nil || !ours || !more {
			if found > 0 {
				log.WarnContext(ctx, "messages were recovered whose webhooks had not come", "found", found)
			}
			return
		}
	}
}

// next is when the next sweep is due: sooner if something was left to it.
func (s *Sweeper) next(w conversation.Sweep, list []conversation.Record) time.Duration {
	if w.Open < settling {
		return min(settling, s.c.Every)
	}
	for _, r := range list {
		if tooYoung(w, r) {
			return min(young, s.c.Every)
		}
	}
	return s.c.Every
}

func tooYoung(w conversation.Sweep, r conversation.Record) bool {
	return r.FromMe && r.SentAt.After(w.Now.Add(-young))
}

// take puts what has not been seen through the way of webhooks, oldest first, and says how much that was.
func (s *Sweeper) take(ctx context.Context, w conversation.Sweep, list []conversation.Record) (found int, err error) {
	messages, states := map[string][]byte{}, map[string][]byte{}
	var ids, stateIDs []string
	for _, r := range list {
		if tooYoung(w, r) {
			continue
		}
		messages[r.ID] = r.Body
		ids = append(ids, r.ID)
		if r.Status != "" {
			id := r.ID + "/" + r.Status
			states[id] = r.StatusBody
			stateIDs = append(stateIDs, id)
		}
	}
	for _, pass := range []struct {
		kinds  []conversation.EventKind
		ids    []string
		bodies map[string][]byte
	}{
		{[]conversation.EventKind{conversation.KindMessage, conversation.KindSent}, ids, messages},
		{[]conversation.EventKind{conversation.KindStatus}, stateIDs, states},
	} {
		if len(pass.ids) == 0 {
			continue
		}
		unseen, err := s.c.Store.Unseen(ctx, w.Tenant, w.Name, pass.kinds, pass.ids)
		if err != nil {
			return found, err
		}
		for _, id := range unseen {
			receipt, err := s.c.Receive(ctx, w.Channel, pass.bodies[id])
			if errors.Is(err, conversation.ErrMalformed) {
				continue // it would be so tomorrow
			}
			if err != nil {
				return found, err
			}
			if !receipt.Duplicate {
				found++
			}
		}
	}
	return found, nil
}
