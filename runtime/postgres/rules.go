package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"plantao/runtime/conversation"
)

var (
	putRulesSQL      = query("put_rules")
	putCapacitiesSQL = query("put_capacities")
	rulesSQL         = query("rules")
	decisionsSQL     = query("decisions")
)

// PutRules implements conversation.Rulebooks.
func (s *Store) PutRules(ctx context.Context, r conversation.Rulebook) (changed bool, err error) {
	names := slices.Sorted(maps.Keys(r.Capacities)) // two who put them in force lock in the same order
	capacities := make([]int, len(names))
	for i, name := range names {
		capacities[i] = r.Capacities[name]
	}
	err = s.transact(ctx, func(tx *pipe) (err error) {
		changed, err = tx.ask(ctx, func(pgx.Row) error { return nil }, putRulesSQL, r.Tenant, r.Version, r.Text, r.By, names, capacities)
		if err != nil {
			return err
		}
		tx.queue(putCapacitiesSQL, r.Tenant, names, capacities)
		return tx.commit(ctx)
	})
	if unstorable(err) {
		err = fmt.Errorf("%w: %w", conversation.ErrInvalid, err)
	}
	if err != nil {
		return false, fmt.Errorf("put rules %s in force: %w", r.Version, err)
	}
	return changed, nil
}

// Rules implements conversation.Rulebooks.
func (s *Store) Rules(ctx context.Context, tenant, version string) (conversation.Rulebook, error) {
	r := conversation.Rulebook{Tenant: tenant}
	err := again(ctx, func() error {
		return s.pool.QueryRow(ctx, rulesSQL, tenant, version).Scan(&r.Version, &r.Text, &r.At, &r.By)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		err = conversation.ErrNoRules
	}
	if err != nil {
		return conversation.Rulebook{}, fmt.Errorf("read rules %q: %w", version, err)
	}
	return r, nil
}

// withoutRules begins the version of decisions for which there were no rules.
const withoutRules = "channel-flow/"

// Decisions implements conversation.Rulebooks.
func (s *Store) Decisions(ctx context.Context, f conversation.DecisionFilter) ([]conversation.Decided, error) {
	after := f.After
	if after == (conversation.DecisionPlace{}) {
		after.At = f.Since
	}
	return collect(ctx, s, "list decisions", func(row pgx.CollectableRow) (conversation.Decided, error) {
		var (
			d             conversation.Decided
			v             = &d.Facts
			owner, last   string
			since, before *time.Time
		)
		err := row.Scan(&d.Conversation, &d.Seq, &v.Now, &owner, &d.Reason, &d.RuleVersion,
			&d.Tenant, &d.Channel, &d.Flow, &d.State, &d.Epoch, &v.Contact.Name, &v.Contact.JID, &last, &v.LastOwnerAt,
			&v.Texts, &v.Kinds, &v.Waiting, &since, &v.Before, &before, &v.Stretches, &v.Attempts, &v.Labels)
		if err != nil {
			return d, err
		}
		v.Since, v.BeforeAt, v.LastOwner = value(since), value(before), conversation.Nobody
		if !strings.HasPrefix(d.RuleVersion, withoutRules) {
			d.Rules = d.RuleVersion
		}
		if d.Owner, err = conversation.ParseOwner(owner); err != nil {
			return d, fmt.Errorf("entry %d of conversation %s: %w", d.Seq, d.Conversation, err)
		}
		if last != string(conversation.OwnedByNone) {
			v.LastOwner, err = conversation.ParseOwner(last)
		}
		return d, err
	}, decisionsSQL, f.Tenant, after.At, after.Conversation, after.Seq, bounded(f.Limit), conversation.FactsMessages)
}
