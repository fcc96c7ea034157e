package routing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"plantao/runtime/conversation"
	"plantao/runtime/routing/rules"
)

// Book decides by the rules in force. Which those are comes with each conversation, read in one statement with what it is
// about: a new version decides from the first conversation read after its commit, on every replica, and none has to be told.
type Book struct {
	store conversation.Rulebooks
	log   *slog.Logger
	mu    sync.Mutex
	sets  map[string]read // by tenant
}

// read is what was made of a version.
type read struct {
	version string
	set     *rules.Set // nil: this binary cannot read it
}

// PutInForce checks a text of rules and puts it in force. The error is a *conversation.BadRulesError if anything is wrong with it,
// and then nothing has changed.
func PutInForce(ctx context.Context, store conversation.Rulebooks, r conversation.Rulebook) (put conversation.Rulebook, changed bool, err error) {
	set, err := rules.Read("rules", []byte(r.Text))
	var problems rules.Problems
	if errors.As(err, &problems) {
		bad := &conversation.BadRulesError{}
		for _, p := range problems {
			bad.Problems = append(bad.Problems, p.Error())
		}
		return r, false, bad
	}
	if err != nil {
		return r, false, err
	}
	r.Version = set.Version()
	r.Capacities = set.Capacities()
	changed, err = store.PutRules(ctx, r)
	return r, changed, err
}

// NewBook makes a Book.
func NewBook(store conversation.Rulebooks, log *slog.Logger) *Book {
	return &Book{store: store, log: log, sets: map[string]read{}}
}

// Decide decides. The error is the store's: which rules are in force is known, but not what they say. Rules that this binary
// cannot read, since a newer one put them in force, are passed over for the channel's flow, which is logged once.
func (b *Book) Decide(ctx context.Context, u conversation.Unrouted) (Decision, error) {
	if u.Rules == "" {
		return Decide(u, nil), nil
	}
	set, err := b.rules(ctx, u.Tenant, u.Rules)
	if err != nil {
		return Decision{}, err
	}
	d := Decide(u, set)
	if set == nil {
		d.Reason, d.RuleVersion = ReasonUnreadable, u.Rules
	}
	return d, nil
}

// Next decides what is done for a plan now. The error is the store's.
func (b *Book) Next(ctx context.Context, d conversation.DuePlan, mates []conversation.Mate) (Move, error) {
	var set *rules.Set
	if d.Rules != "" {
		var err error
		if set, err = b.rules(ctx, d.Tenant, d.Rules); err != nil {
			return Move{}, err
		}
	}
	return Next(d, mates, set), nil
}

func (b *Book) rules(ctx context.Context, tenant, version string) (*rules.Set, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if have, ok := b.sets[tenant]; ok && have.version == version {
		return have.set, nil
	}
	stored, err := b.store.Rules(ctx, tenant, version)
	if err != nil {
		return nil, fmt.Errorf("read the rules in force: %w", err)
	}
	set, err := rules.Read("rules "+version, []byte(stored.Text))
	if err != nil {
		b.log.ErrorContext(ctx, "the rules in force cannot be read by this router, so conversations go to their channel's flow; deploy the router that put them in force, or put others in force",
			"tenant", tenant, "rules", version, "err", err)
		set = nil
	} else {
		b.log.InfoContext(ctx, "rules read", "tenant", tenant, "rules", version, "since", stored.At, "by", stored.By)
	}
	b.sets[tenant] = read{version, set}
	return set, nil
}
