package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"plantao/runtime/conversation"
)

var (
	queuedPartsSQL    = query("queued_parts")
	passSQL           = query("pass")
	sentSQL           = query("sent")
	unsentSQL         = query("unsent")
	unknownSQL        = query("unknown")
	checkAmbiguousSQL = query("check_ambiguous")
	proveSQL          = query("prove")
)

// QueuedParts implements conversation.Outbox.
func (s *Store) QueuedParts(ctx context.Context, t conversation.TurnRef) ([]conversation.QueuedPart, error) {
	rows, err := s.pool.Query(ctx, queuedPartsSQL, t.Conversation, t.No)
	if err != nil {
		return nil, domainError("list parts of", t, err)
	}
	parts, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (conversation.QueuedPart, error) {
		var p conversation.QueuedPart
		err := row.Scan(&p.No, &p.Text)
		return p, err
	})
	return parts, domainError("list parts of", t, err)
}

// Pass implements conversation.Outbox.
func (s *Store) Pass(ctx context.Context, p conversation.PartRef, sender conversation.Process, lease time.Duration) (bool, error) {
	ok, err := s.one(ctx, passSQL, p.Conversation, p.Epoch, p.No, p.Gen, p.Part, lease, sender.Instance, sender.Boot)
	return ok, partError("pass", p, err)
}

// Sent implements conversation.Outbox.
func (s *Store) Sent(ctx context.Context, p conversation.PartRef, d conversation.Delivery) (bool, error) {
	ok, err := s.one(ctx, sentSQL, p.Conversation, p.No, p.Gen, p.Part, d.MessageID, d.ChatJID)
	return ok, partError("mark sent", p, err)
}

// Unsent implements conversation.Outbox.
func (s *Store) Unsent(ctx context.Context, p conversation.PartRef) (bool, error) {
	ok, err := s.one(ctx, unsentSQL, p.Conversation, p.No, p.Gen, p.Part)
	return ok, partError("put back", p, err)
}

// Unknown implements conversation.Outbox.
func (s *Store) Unknown(ctx context.Context, p conversation.PartRef, reason string) (bool, error) {
	ok, err := s.one(ctx, unknownSQL, p.Conversation, p.No, p.Gen, p.Part, reason)
	return ok, partError("mark ambiguous", p, err)
}

// CheckAmbiguous implements conversation.Outbox.
func (s *Store) CheckAmbiguous(ctx context.Context, limit int) ([]conversation.AmbiguousPart, error) {
	rows, err := s.pool.Query(ctx, checkAmbiguousSQL, limit)
	if err != nil {
		return nil, fmt.Errorf("list ambiguous parts: %w", err)
	}
	parts, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (conversation.AmbiguousPart, error) {
		var (
			p   conversation.AmbiguousPart
			age float64
		)
		err := row.Scan(&p.Tenant, &p.Conversation, &p.No, &p.Part, &p.Channel, &p.ChatJID, &p.Text, &p.IntentAt, &age)
		p.Age = time.Duration(age * float64(time.Second))
		return p, err
	})
	if err != nil {
		return nil, fmt.Errorf("list ambiguous parts: %w", err)
	}
	return parts, nil
}

// Prove implements conversation.Outbox.
func (s *Store) Prove(ctx context.Context, p conversation.AmbiguousPart, d conversation.Delivery) (bool, error) {
	ok, err := s.one(ctx, proveSQL, p.Conversation, p.No, p.Part, d.MessageID, d.ChatJID)
	if err != nil {
		return false, fmt.Errorf("prove part %s/%d/%d: %w", p.Conversation, p.No, p.Part, err)
	}
	return ok, nil
}

func partError(verb string, p conversation.PartRef, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s part %s/%d/%d: %w", verb, p.Conversation, p.No, p.Part, err)
}
