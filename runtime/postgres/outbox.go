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
	queuedPartsSQL    = query("queued_parts")
	passSQL           = query("pass")
	passSaidSQL       = query("pass_said")
	sentSQL           = query("sent")
	unsentSQL         = query("unsent")
	unknownSQL        = query("unknown")
	checkAmbiguousSQL = query("check_ambiguous")
	proveSQL          = query("prove")
	ambiguousPartSQL  = query("ambiguous_part")
	settleSQL         = query("settle")
	undecidedSQL      = query("undecided")
)

// QueuedParts implements conversation.Outbox.
func (s *Store) QueuedParts(ctx context.Context, t conversation.TurnRef) ([]conversation.QueuedPart, error) {
	rows, err := s.pool.Query(ctx, queuedPartsSQL, t.Conversation, t.No)
	if err != nil {
		return nil, domainError("list parts of", t, err)
	}
	parts, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (conversation.QueuedPart, error) {
		var (
			p    conversation.QueuedPart
			body partBody
		)
		err := row.Scan(&p.No, &body, &p.Delay, &p.MediaBytes)
		p.Text, p.Media = body.Text, body.Media
		return p, err
	})
	return parts, domainError("list parts of", t, err)
}

// Pass implements conversation.Outbox.
func (s *Store) Pass(ctx context.Context, p conversation.PartRef, sender conversation.Process, lease time.Duration) (bool, error) {
	sql, args := passSQL, []any{p.Conversation, p.Epoch, p.No, p.Gen, p.Part, lease, sender.Instance, sender.Boot, p.Attempt}
	if p.Kind == conversation.SaidByHuman || p.Kind == conversation.SaidByRouter {
		sql, args = passSaidSQL, append(args, p.Kind)
	}
	ok, err := s.one(ctx, sql, args...)
	return ok, partError("pass", p, err)
}

// Sent implements conversation.Outbox.
func (s *Store) Sent(ctx context.Context, p conversation.PartRef, d conversation.Delivery) (bool, error) {
	ok, err := s.mark(ctx, sentSQL, p.Conversation, p.No, p.Gen, p.Part, d.MessageID, d.ChatJID)
	return ok, partError("mark sent", p, err)
}

// Unsent implements conversation.Outbox.
func (s *Store) Unsent(ctx context.Context, p conversation.PartRef) (bool, error) {
	ok, err := s.one(ctx, unsentSQL, p.Conversation, p.No, p.Gen, p.Part, p.Attempt)
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
		err := row.Scan(&p.Tenant, &p.Conversation, &p.No, &p.Part, &p.Channel, &p.ChatJID, &p.Text, &p.Media, &p.IntentAt, &age)
		p.Age = time.Duration(age * float64(time.Second))
		return p, err
	})
	if err != nil {
		return nil, fmt.Errorf("list ambiguous parts: %w", err)
	}
	return parts, nil
}

// Undecided implements conversation.Outbox.
func (s *Store) Undecided(ctx context.Context, patience time.Duration, limit int) ([]conversation.AmbiguousPart, error) {
	return collect(ctx, s, "list undecided parts", func(row pgx.CollectableRow) (conversation.AmbiguousPart, error) {
		var (
			p   conversation.AmbiguousPart
			age float64
		)
		err := row.Scan(&p.Tenant, &p.Conversation, &p.No, &p.Part, &age, &p.Epoch)
		p.Age = remaining(age)
		return p, err
	}, undecidedSQL, patience, limit)
}

// Settle implements conversation.Outbox.
func (s *Store) Settle(ctx context.Context, st conversation.Settlement) error {
	err := s.transact(ctx, func(tx *pipe) error {
		row, _, err := tx.lockFor(ctx, conversation.Command{Conversation: st.Conversation, Tenant: st.Tenant})
		if err != nil {
			return err
		}
		var (
			sender   string
			finished bool
		)
		tx.queue(lockTurnSQL, st.Conversation, st.No)
		tx.queue(ambiguousPartSQL, st.Conversation, st.No, st.Part).QueryRow(func(r pgx.Row) error { return r.Scan(&sender, &finished) })
		switch err := tx.flush(ctx); {
		case errors.Is(err, pgx.ErrNoRows):
			return &conversation.RefusedError{Err: conversation.ErrTurnClosed, Now: row.Conversation}
		case err != nil:
			return err
		case !finished:
			return &conversation.RefusedError{Err: conversation.ErrSenderAlive, Now: row.Conversation,
				Extra: fmt.Sprintf("restart %s first, so that it certainly writes no more", sender)}
		}
		fate := "not_sent"
		if st.Sent {
			fate = "sent"
		}
		tx.queue(settleSQL, st.Conversation, st.No, st.Part, st.Sent, st.Actor.String())
		_, err = tx.write(row, conversation.Change{After: row.Conversation, Steps: []conversation.Step{{
			Verb: "settle", Actor: st.Actor, StateFrom: row.State, StateTo: row.State, EpochFrom: row.Epoch, EpochTo: row.Epoch,
			Owner: row.Owner, Reason: fate, Detail: map[string]string{"turn": fmt.Sprint(st.No), "part": fmt.Sprint(st.Part)},
		}}}, nil)
		if err != nil {
			return err
		}
		return tx.commit(ctx)
	})
	if err != nil {
		return fmt.Errorf("settle part %s/%d/%d: %w", st.Conversation, st.No, st.Part, err)
	}
	return nil
}

// Prove implements conversation.Outbox.
func (s *Store) Prove(ctx context.Context, p conversation.AmbiguousPart, d conversation.Delivery) (bool, error) {
	ok, err := s.mark(ctx, proveSQL, p.Conversation, p.No, p.Part, d.MessageID, d.ChatJID)
	if err != nil {
		return false, fmt.Errorf("prove part %s/%d/%d: %w", p.Conversation, p.No, p.Part, err)
	}
	return ok, nil
}

// mark runs a statement about a part after its turn is locked: what else the turn has to send may be dropped at this moment,
// with the owner.
func (s *Store) mark(ctx context.Context, sql string, id conversation.ID, no int, args ...any) (bool, error) {
	marked := 0
	err := s.transact(ctx, func(tx *pipe) error {
		tx.queue(lockTurnSQL, id, no)
		tx.queue(sql, append([]any{id, no}, args...)...).QueryRow(func(r pgx.Row) error { return r.Scan(&marked) })
		return tx.commit(ctx)
	})
	return marked > 0, err
}

func partError(verb string, p conversation.PartRef, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s part %s/%d/%d: %w", verb, p.Conversation, p.No, p.Part, err)
}
