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
	unroutedSQL         = query("unrouted")
	lockConversationSQL = query("lock_conversation")
	moveOwnerSQL        = query("move_owner")
	insertAuditSQL      = query("insert_audit")
	auditTrailSQL       = query("audit_trail")
)

// Unrouted implements conversation.Ownership.
func (s *Store) Unrouted(ctx context.Context, limit int) ([]conversation.Unrouted, error) {
	rows, err := s.pool.Query(ctx, unroutedSQL, limit)
	if err != nil {
		return nil, fmt.Errorf("list unrouted conversations: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (conversation.Unrouted, error) {
		var u conversation.Unrouted
		err := row.Scan(&u.Conversation, &u.Tenant, &u.Channel, &u.Flow, &u.State, &u.Epoch)
		return u, err
	})
	if err != nil {
		return nil, fmt.Errorf("list unrouted conversations: %w", err)
	}
	return list, nil
}

// Claim implements conversation.Ownership.
func (s *Store) Claim(ctx context.Context, c conversation.Claim) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		row, err := lockConversation(ctx, tx, c.Conversation)
		if err != nil {
			return err
		}
		if row.epoch != c.IfEpoch || row.owner.Kind != conversation.OwnedByNone {
			return conversation.ErrStaleEpoch
		}
		var steps []step
		if row.state != conversation.Routing {
			steps = append(steps, step{verb: "inbound", actor: "router", to: row.owner, state: conversation.Routing,
				reason: "message_waits"})
		}
		steps = append(steps, step{verb: "claim", actor: c.Actor, to: c.To, state: c.State, reason: c.Reason,
			ruleVersion: c.RuleVersion})
		return row.walk(ctx, tx, steps...)
	})
	if err != nil {
		return fmt.Errorf("claim conversation %s: %w", c.Conversation, err)
	}
	return nil
}

// lockedConversation is a conversation row under "for update".
type lockedConversation struct {
	id       conversation.ID
	tenant   string
	state    conversation.State
	owner    conversation.Owner
	epoch    int64
	auditSeq int64
	lastHash []byte
	now      time.Time
}

func lockConversation(ctx context.Context, tx pgx.Tx, id conversation.ID) (*lockedConversation, error) {
	r := lockedConversation{id: id}
	err := tx.QueryRow(ctx, lockConversationSQL, id).
		Scan(&r.tenant, &r.state, &r.owner.Kind, &r.owner.ID, &r.epoch, &r.auditSeq, &r.lastHash, &r.now)
	if err != nil {
		return nil, fmt.Errorf("lock conversation %s: %w", id, err)
	}
	return &r, nil
}

// step is one transition: one audit row.
type step struct {
	verb        string
	actor       string
	to          conversation.Owner
	state       conversation.State
	reason      string
	ruleVersion string
	detail      map[string]string
}

// walk takes the conversation through the steps and writes row and audit. It is the only place that changes an owner,
// and the only one that mints an epoch.
func (r *lockedConversation) walk(ctx context.Context, tx pgx.Tx, steps ...step) error {
	for _, st := range steps {
		epoch := r.epoch
		if st.to != r.owner {
			epoch++
		}
		if err := r.record(ctx, tx, st, epoch); err != nil {
			return err
		}
		r.state, r.owner, r.epoch = st.state, st.to, epoch
	}
	_, err := tx.Exec(ctx, moveOwnerSQL,
		r.id, r.state, r.owner.Kind, r.owner.ID, r.epoch, r.auditSeq, r.lastHash, len(steps))
	if err != nil {
		return fmt.Errorf("move conversation %s to %s: %w", r.id, r.state, err)
	}
	return nil
}

func (r *lockedConversation) record(ctx context.Context, tx pgx.Tx, st step, epoch int64) error {
	e := audit.Entry{
		Tenant: r.tenant, Conversation: int64(r.id), Seq: r.auditSeq + 1, At: r.now.UTC(),
		Actor: st.actor, Verb: st.verb, StateFrom: string(r.state), StateTo: string(st.state),
		EpochFrom: r.epoch, EpochTo: epoch, Reason: st.reason, RuleVersion: st.ruleVersion, Detail: st.detail,
		Prev: r.lastHash,
	}
	if e.Detail == nil {
		e.Detail = map[string]string{}
	}
	e.Hash = e.Sum()
	_, err := tx.Exec(ctx, insertAuditSQL, e.Conversation, e.Seq, e.Tenant, e.At, e.Actor, e.Verb, e.StateFrom, e.StateTo,
		e.EpochFrom, e.EpochTo, e.Reason, e.RuleVersion, e.Detail, e.Prev, e.Hash)
	if err != nil {
		return fmt.Errorf("record %s of conversation %s: %w", st.verb, r.id, err)
	}
	r.auditSeq, r.lastHash = e.Seq, e.Hash
	return nil
}

// AuditTrail returns a conversation's audit in order; audit.Verify checks it.
func (s *Store) AuditTrail(ctx context.Context, id conversation.ID) ([]audit.Entry, error) {
	rows, err := s.pool.Query(ctx, auditTrailSQL, id)
	if err != nil {
		return nil, fmt.Errorf("read audit of conversation %s: %w", id, err)
	}
	entries, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (audit.Entry, error) {
		var e audit.Entry
		err := row.Scan(&e.Tenant, &e.Conversation, &e.Seq, &e.At, &e.Actor, &e.Verb, &e.StateFrom, &e.StateTo,
			&e.EpochFrom, &e.EpochTo, &e.Reason, &e.RuleVersion, &e.Detail, &e.Prev, &e.Hash)
		return e, err
	})
	if err != nil {
		return nil, fmt.Errorf("read audit of conversation %s: %w", id, err)
	}
	return entries, nil
}

// domainError keeps the sentinels of the domain visible and adds which verb failed.
func domainError(verb string, t conversation.TurnRef, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, pgx.ErrNoRows) {
		err = conversation.ErrTurnClosed
	}
	return fmt.Errorf("%s turn %s/%d: %w", verb, t.Conversation, t.No, err)
}
