package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"plantao/runtime/audit"
	"plantao/runtime/conversation"
)

var (
	unroutedSQL          = query("unrouted")
	overdueSQL           = query("overdue")
	findConversationSQL  = query("conversation", "by_id")
	listConversationsSQL = query("conversation", "by_filter")
	openTurnSQL          = query("open_turn")
	trailSQL             = query("trail")
	auditTrailSQL        = query("audit_trail")
)

// maxListed is the largest page of a list.
const maxListed = 500

// collect runs a query and scans each row.
func collect[T any](ctx context.Context, s *Store, what string, scan func(pgx.CollectableRow) (T, error), sql string, args ...any) ([]T, error) {
	var list []T
	err := again(ctx, func() error {
		rows, err := s.pool.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, scan)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return list, nil
}

// Unrouted implements conversation.Ownership.
func (s *Store) Unrouted(ctx context.Context, limit int) ([]conversation.Unrouted, error) {
	return collect(ctx, s, "list unrouted conversations", func(row pgx.CollectableRow) (conversation.Unrouted, error) {
		var (
			u             conversation.Unrouted
			f             conversation.Facts
			seq           int64
			since, before *time.Time
		)
		err := row.Scan(&u.Conversation, &u.Tenant, &u.Channel, &u.Flow, &u.State, &u.Epoch, &u.Rules,
			&f.Now, &f.Contact.Name, &f.Contact.JID, &f.LastOwner.Kind, &f.LastOwner.ID, &f.LastOwnerAt,
			&f.Texts, &f.Kinds, &f.Waiting, &since, &seq, &before, &f.Stretches, &f.Attempts, &f.Labels)
		if u.Rules != "" {
			f.Since, f.Before, f.BeforeAt = value(since), seq-int64(f.Waiting), value(before)
			u.Facts = f
		}
		return u, err
	}, unroutedSQL, limit, conversation.FactsMessages)
}

// Overdue implements conversation.Ownership.
func (s *Store) Overdue(ctx context.Context, limit int) ([]conversation.Command, error) {
	return collect(ctx, s, "list overdue conversations", func(row pgx.CollectableRow) (conversation.Command, error) {
		c := conversation.Command{Actor: conversation.Router}
		err := row.Scan(&c.Conversation, &c.Tenant, &c.IfEpoch, &c.Verb)
		if c.Verb == conversation.VerbHandback {
			c.Reason = "human_silent"
		}
		return c, err
	}, overdueSQL, limit)
}

// Find implements conversation.Ownership.
func (s *Store) Find(ctx context.Context, tenant string, id conversation.ID) (conversation.Conversation, error) {
	var c conversation.Conversation
	err := again(ctx, func() (err error) {
		var hash []byte
		c, err = scanConversation(s.pool.QueryRow(ctx, findConversationSQL, id, tenant), &hash)
		if err != nil {
			return err
		}
		c.Turn, err = s.openTurnOf(ctx, id)
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		err = conversation.ErrNotFound
	}
	if err != nil {
		return conversation.Conversation{}, fmt.Errorf("find conversation %s: %w", id, err)
	}
	return c, nil
}

func (s *Store) openTurnOf(ctx context.Context, id conversation.ID) (*conversation.OpenTurn, error) {
	var (
		t conversation.OpenTurn
		a conversation.Ambiguity
	)
	err := s.pool.QueryRow(ctx, openTurnSQL, id).Scan(&t.No, &t.Epoch, &t.Gen, &t.State, &t.Agent, &t.Reason, &t.Deadline,
		&a.Part, &a.Since, &a.Reason, &a.Sender, &a.Finished)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, err
	case a.Part > 0:
		t.Ambiguous = &a
	}
	return &t, nil
}

// List implements conversation.Ownership. Which index serves depends on the filter, so this one is planned each time.
func (s *Store) List(ctx context.Context, f conversation.Filter) ([]conversation.Conversation, error) {
	var list []conversation.Conversation
	err := s.transact(ctx, func(p *pipe) error {
		p.queue("set local plan_cache_mode = force_custom_plan")
		p.queue(listConversationsSQL, f.Tenant, f.State, f.Owner.Kind, f.Owner.ID, f.Channel, f.After, bounded(f.Limit)).
			Query(func(rows pgx.Rows) (err error) {
				list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (conversation.Conversation, error) {
					var hash []byte
					return scanConversation(row, &hash)
				})
				return err
			})
		return p.commit(ctx)
	})
	if err != nil {
		return nil, fmt.Errorf("list conversations: %w", err)
	}
	return list, nil
}

// bounded is a limit within bounds. One more than the largest page says whether there is another.
func bounded(limit int) int {
	if limit <= 0 {
		return maxListed
	}
	return min(limit, maxListed+1)
}

// Trail implements conversation.Ownership.
func (s *Store) Trail(ctx context.Context, tenant string, id conversation.ID, after int64, limit int) ([]conversation.Recorded, error) {
	list, err := collect(ctx, s, "read audit", func(row pgx.CollectableRow) (conversation.Recorded, error) {
		var r conversation.Recorded
		err := row.Scan(&r.Seq, &r.At, &r.Actor, &r.Verb, &r.StateFrom, &r.StateTo, &r.EpochFrom, &r.EpochTo, &r.Reason,
			&r.RuleVersion, &r.Detail)
		return r, err
	}, trailSQL, id, tenant, after, bounded(limit))
	if err != nil || len(list) > 0 {
		return list, err
	}
	// An empty page is an answer only where there is a conversation.
	_, err = s.Find(ctx, tenant, id)
	return nil, err
}

// AuditTrail returns a conversation's audit in order; audit.Verify checks it.
func (s *Store) AuditTrail(ctx context.Context, id conversation.ID) ([]audit.Entry, error) {
	return collect(ctx, s, fmt.Sprintf("read audit of conversation %s", id), func(row pgx.CollectableRow) (audit.Entry, error) {
		var e audit.Entry
		err := row.Scan(&e.Tenant, &e.Conversation, &e.Seq, &e.At, &e.Actor, &e.Verb, &e.StateFrom, &e.StateTo,
			&e.EpochFrom, &e.EpochTo, &e.Reason, &e.RuleVersion, &e.Detail, &e.Prev, &e.Hash)
		return e, err
	}, auditTrailSQL, id)
}

// remaining turns seconds into a duration that is never negative.
func remaining(seconds float64) time.Duration {
	return max(0, time.Duration(seconds*float64(time.Second)))
}
