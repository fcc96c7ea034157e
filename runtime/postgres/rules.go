package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"plantao/runtime/conversation"
)

var (
	putRulesSQL      = query("put_rules")
	putCapacitiesSQL = query("put_capacities")
	rulesSQL         = query("rules")
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
