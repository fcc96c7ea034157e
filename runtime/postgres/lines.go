package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"plantao/runtime/conversation"
)

var (
	linesSQL         = query("lines")
	setConnectionSQL = query("set_connection")
	sweepSoonSQL     = query("sweep_soon")
	dueSweepSQL      = query("due_sweep")
	sweptSQL         = query("swept")
	unseenSQL        = query("unseen")
	replicasSQL      = query("replicas")
)

// Lines implements conversation.Lines.
func (s *Store) Lines(ctx context.Context, tenant string) ([]conversation.Line, error) {
	return collect(ctx, s, "list channels", func(row pgx.CollectableRow) (conversation.Line, error) {
		var (
			l     conversation.Line
			since *time.Time
		)
		err := row.Scan(&l.Name, &l.Tenant, &l.Flow, &l.Mirror, &l.Integration, &l.Number, &l.State, &l.Reason, &since, &l.SweptTo)
		if since != nil {
			l.Since = *since
		}
		return l, err
	}, linesSQL, tenant)
}

// SetConnection implements conversation.Lines.
func (s *Store) SetConnection(ctx context.Context, channel string, c conversation.Connection, ago time.Duration) (conversation.Connection, bool, error) {
	var before conversation.Connection
	err := again(ctx, func() error {
		return s.pool.QueryRow(ctx, setConnectionSQL, channel, c.State, c.Reason, ago).Scan(&before.State, &before.Reason)
	})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return conversation.Connection{}, false, nil
	case err != nil:
		return conversation.Connection{}, false, fmt.Errorf("record connection of channel %q: %w", channel, err)
	}
	return before, true, nil
}

// SweepSoon implements conversation.Lines.
func (s *Store) SweepSoon(ctx context.Context, channel string) error {
	err := again(ctx, func() error {
		_, err := s.pool.Exec(ctx, sweepSoonSQL, channel)
		return err
	})
	if err != nil {
		return fmt.Errorf("ask for a sweep of channel %q: %w", channel, err)
	}
	return nil
}

// DueSweep implements conversation.Lines.
func (s *Store) DueSweep(ctx context.Context, lease time.Duration) (conversation.Sweep, error) {
	var (
		w    conversation.Sweep
		open float64
	)
	err := again(ctx, func() error {
		return s.pool.QueryRow(ctx, dueSweepSQL, lease).Scan(&w.Name, &w.Tenant, &w.Flow, &w.Mirror, &w.From, &w.Now, &w.Due, &open)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return conversation.Sweep{}, conversation.ErrNothingDue
	}
	if err != nil {
		return conversation.Sweep{}, fmt.Errorf("find a channel to sweep: %w", err)
	}
	w.Open = remaining(open)
	return w, nil
}

// Swept implements conversation.Lines.
func (s *Store) Swept(ctx context.Context, w *conversation.Sweep, to time.Time, lease, next time.Duration) (bool, error) {
	if next > 0 {
		lease = next
	}
	var (
		ours bool
		due  time.Time
	)
	err := again(ctx, func() error { return s.pool.QueryRow(ctx, sweptSQL, w.Name, w.Due, to, lease).Scan(&ours, &due) })
	if err != nil {
		return false, fmt.Errorf("record sweep of channel %q: %w", w.Name, err)
	}
	if ours {
		w.Due = due
	}
	return ours, nil
}

// Unseen implements conversation.Lines.
func (s *Store) Unseen(ctx context.Context, tenant, channel string, kinds []conversation.EventKind, ids []string) ([]string, error) {
	return collect(ctx, s, "compare messages with those stored", pgx.RowTo[string], unseenSQL, tenant, channel, kinds, ids)
}

// Replicas implements conversation.Lines.
func (s *Store) Replicas(ctx context.Context, within time.Duration) (int, error) {
	var n int
	err := again(ctx, func() error { return s.pool.QueryRow(ctx, replicasSQL, within).Scan(&n) })
	if err != nil {
		return 0, fmt.Errorf("count replicas: %w", err)
	}
	return n, nil
}
