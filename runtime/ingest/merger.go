package ingest

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"plantao/runtime/conversation"
)

// mergeBatch is how many conflicts one look takes up.
const mergeBatch = 50

// MergerConfig holds what a Merger needs; every field is required.
type MergerConfig struct {
	Store conversation.Identity
	Every time.Duration // how often conversations to be merged are looked for
	// Changed is called after a merge: a conversation has changed owner, turns were cancelled, messages wait elsewhere.
	Changed  func()
	Observer MergeObserver
	Logger   *slog.Logger
}

// MergeObserver counts merges.
type MergeObserver interface {
	// Merged is called for each pair looked at; outcome is merged, followed, waits or failed.
	Merged(outcome string)
}

// Merger joins conversations that turned out to be one contact's: a message named two ids that led to two of them. Every replica
// runs one; the store lets them take turns.
type Merger struct{ c MergerConfig }

// NewMerger makes a Merger.
func NewMerger(c MergerConfig) *Merger { return &Merger{c: c} }

// Run works until ctx ends.
func (m *Merger) Run(ctx context.Context) {
	for conversation.Pause(ctx, m.c.Every) {
		for m.look(ctx) == mergeBatch {
		}
	}
}

// look merges what is to be merged now and says how many it got through with.
func (m *Merger) look(ctx context.Context) (through int) {
	list, err := m.c.Store.Conflicts(ctx, mergeBatch)
	if err != nil {
		return 0 // the dispatcher's poll reports a database that is down
	}
	for _, p := range list {
		joined, err := m.c.Store.Merge(ctx, p.Tenant, p.A, p.B)
		log := m.c.Logger.With("conversation", p.A, "with", p.B)
		switch {
		case errors.Is(err, conversation.ErrOnTheWire):
			m.c.Observer.Merged("waits")
			log.DebugContext(ctx, "merge waits: something is on its way to the customer")
			through++ // it is not listed again for a while
			continue
		case err != nil:
			if ctx.Err() == nil {
				m.c.Observer.Merged("failed")
				log.ErrorContext(ctx, "conversations of one contact not merged; tried again", "err", err)
			}
			continue
		case joined.Already && joined.Moved == 0:
		case joined.Already:
			m.c.Observer.Merged("followed")
			log.InfoContext(ctx, "messages followed a merge", "into", joined.Stays, "messages", joined.Moved)
		default:
			m.c.Observer.Merged("merged")
			log.InfoContext(ctx, "conversations of one contact merged", "stays", joined.Stays, "epoch", joined.Epoch, "messages", joined.Moved)
		}
		through++
		m.c.Changed()
	}
	return through
}
