package gate

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"plantao/runtime/conversation"
)

// readBackLimit is how many ambiguous parts one round looks at.
const readBackLimit = 20

// ReadBackStore is what a ReadBack needs kept.
type ReadBackStore interface {
	conversation.Outbox
	Do(ctx context.Context, c conversation.Command) (conversation.Result, error)
}

// ReadBackConfig holds what a ReadBack needs; every field is required.
type ReadBackConfig struct {
	Store ReadBackStore
	// Patience is how long proof is waited for before the conversation goes to the human queue. That routes it; the part
	// stays ambiguous.
	Patience time.Duration
	Sender   conversation.Sender
	Every    time.Duration // how often parts due for a check are looked for
	Wake     func()        // called when a turn can go on
	Observer Observer
	Logger   *slog.Logger
}

// ReadBack settles ambiguous parts by proof: Evolution shows the text, or an attachment of the kind with the caption, sent by us to
// this chat at or after the intent, under an id no other part has. Absence proves nothing (the message may still come), so without proof the part stays
// ambiguous for a human to decide.
type ReadBack struct{ c ReadBackConfig }

// NewReadBack makes a ReadBack.
func NewReadBack(c ReadBackConfig) *ReadBack { return &ReadBack{c: c} }

// Run works until ctx ends.
func (r *ReadBack) Run(ctx context.Context) {
	for conversation.Pause(ctx, r.c.Every) {
		parts, err := r.c.Store.CheckAmbiguous(ctx, readBackLimit)
		if err != nil {
			continue // the dispatcher's poll reports a database that is down
		}
		for _, p := range parts {
			r.check(ctx, p)
		}
		r.queueUndecided(ctx)
	}
}

func (r *ReadBack) check(ctx context.Context, p conversation.AmbiguousPart) {
	log := r.c.Logger.With("conversation", p.Conversation, "turn", p.No, "part", p.Part, "age", p.Age)
	// Evolution's clock has seconds.
	sent, err := r.c.Sender.SentSince(ctx, p.Channel, p.ChatJID, p.IntentAt.Truncate(time.Second))
	if err != nil {
		log.WarnContext(ctx, "read-back failed", "err", err)
		return
	}
	slices.Reverse(sent) // oldest first: of two equal texts the first is this part's
	for _, d := range sent {
		if !p.Is(d) {
			continue
		}
		proved, err := r.c.Store.Prove(ctx, p, d)
		if err != nil {
			log.WarnContext(ctx, "proof not recorded", "err", err)
			return
		}
		if proved {
			r.c.Observer.PartTried("proved", p.Age)
			log.InfoContext(ctx, "ambiguous part was sent: read-back shows it")
			r.c.Wake()
			return
		}
	}
	log.WarnContext(ctx, "ambiguous part not found by read-back; the AI stays silent in this conversation")
}

// queueUndecided hands conversations whose AI has been silent for long to any human, also those whose part may still be
// written: that routes them, and concludes nothing about the part.
func (r *ReadBack) queueUndecided(ctx context.Context) {
	parts, err := r.c.Store.Undecided(ctx, r.c.Patience, readBackLimit)
	if err != nil {
		return // as above
	}
	for _, p := range parts {
		r.queue(ctx, p)
	}
}

func (r *ReadBack) queue(ctx context.Context, p conversation.AmbiguousPart) {
	log := r.c.Logger.With("conversation", p.Conversation, "turn", p.No, "part", p.Part, "age", p.Age)
	_, err := r.c.Store.Do(ctx, conversation.Command{
		Verb: conversation.VerbQueue, Tenant: p.Tenant, Conversation: p.Conversation, IfEpoch: p.Epoch, Actor: conversation.Router,
		To: conversation.Owner{Kind: conversation.OwnedByQueue}, Reason: conversation.ReasonAmbiguous,
	})
	switch {
	case err == nil:
		log.ErrorContext(ctx, "no proof of an ambiguous part: the conversation waits for a human, who should settle it")
	case errors.Is(err, conversation.ErrStaleEpoch): // somebody has it by now
	default:
		log.WarnContext(ctx, "conversation of an ambiguous part not queued", "err", err)
	}
}
