package postgres

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"plantao/runtime/conversation"
)

var (
	dueConversationSQL = query("due_conversation")
	claimTurnSQL       = query("claim_turn")
	expireSendingSQL   = query("expire_sending")
	reclaimTurnSQL     = query("reclaim_turn")
	setTokenSQL        = query("set_token")
	turnMessagesSQL    = query("turn_messages")
	nextDueSQL         = query("next_due")
	renewSQL           = query("renew")
	handBackSQL        = query("hand_back")
	replySQL           = query("reply")
	cancelTurnSQL      = query("cancel_turn")
	failTurnSQL        = query("fail_turn")
)

// ClaimTurn implements conversation.Turns.
func (s *Store) ClaimTurn(ctx context.Context, terms conversation.TurnTerms) (conversation.Turn, error) {
	return s.takeTurn(ctx, "claim turn", func(tx pgx.Tx) (conversation.Turn, error) {
		var id conversation.ID
		if err := tx.QueryRow(ctx, dueConversationSQL).Scan(&id); err != nil {
			return conversation.Turn{}, err
		}
		return s.openTurn(ctx, tx, terms, claimTurnSQL, id, terms.Holder.Instance, terms.Holder.Boot, terms.Lease, terms.Deadline)
	})
}

// ReclaimTurn implements conversation.Turns.
func (s *Store) ReclaimTurn(ctx context.Context, terms conversation.TurnTerms) (conversation.Turn, error) {
	// It locks turn and part in the other order than a sender that marks its part: a deadlock is possible, and harmless.
	err := again(ctx, func() error {
		_, err := s.pool.Exec(ctx, expireSendingSQL)
		return err
	})
	if err != nil {
		return conversation.Turn{}, fmt.Errorf("expire lost senders: %w", err)
	}
	return s.takeTurn(ctx, "reclaim turn", func(tx pgx.Tx) (conversation.Turn, error) {
		return s.openTurn(ctx, tx, terms, reclaimTurnSQL, terms.Holder.Instance, terms.Holder.Boot, terms.Lease)
	})
}

func (s *Store) takeTurn(ctx context.Context, what string, take func(pgx.Tx) (conversation.Turn, error)) (conversation.Turn, error) {
	var turn conversation.Turn
	err := s.inTx(ctx, func(tx pgx.Tx) (err error) {
		turn, err = take(tx)
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return conversation.Turn{}, conversation.ErrNothingDue
	}
	if err != nil {
		return conversation.Turn{}, fmt.Errorf("%s: %w", what, err)
	}
	return turn, nil
}

// openTurn runs a statement that yields a turn, gives the turn its token and reads its messages.
func (s *Store) openTurn(ctx context.Context, tx pgx.Tx, terms conversation.TurnTerms, sql string, args ...any) (conversation.Turn, error) {
	var (
		t         conversation.Turn
		remaining float64
		asked     = time.Now() // before the database computes what remains: the local deadline is never the later one
	)
	err := tx.QueryRow(ctx, sql, args...).Scan(&t.Tenant, &t.Conversation, &t.No, &t.Epoch, &t.Gen, &t.Deadline, &t.State,
		&t.Channel, &t.Flow, &t.Contact.JID, &t.Contact.Name, &remaining, &t.Stale)
	if err != nil {
		return conversation.Turn{}, err
	}
	t.Expires = asked.Add(time.Duration(remaining * float64(time.Second)))
	t.Token = terms.Sign(t.TurnRef)
	if _, err := tx.Exec(ctx, setTokenSQL, t.Conversation, t.No, tokenHash(t.Token)); err != nil {
		return conversation.Turn{}, fmt.Errorf("keep token hash: %w", err)
	}
	if t.State == conversation.TurnReplied {
		return t, nil
	}
	rows, err := tx.Query(ctx, turnMessagesSQL, t.Conversation, t.No)
	if err != nil {
		return conversation.Turn{}, fmt.Errorf("read messages: %w", err)
	}
	t.Messages, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (conversation.Message, error) {
		var m conversation.Message
		err := row.Scan(&m.ID, &m.TS, &m.Type, &m.Text)
		return m, err
	})
	if err != nil {
		return conversation.Turn{}, fmt.Errorf("read messages: %w", err)
	}
	return t, nil
}

func tokenHash(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

// NextDue implements conversation.Turns.
func (s *Store) NextDue(ctx context.Context) (time.Duration, bool, error) {
	var seconds float64
	err := s.pool.QueryRow(ctx, nextDueSQL).Scan(&seconds)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("find next due conversation: %w", err)
	}
	return max(0, time.Duration(seconds*float64(time.Second))), true, nil
}

// Renew implements conversation.Turns.
func (s *Store) Renew(ctx context.Context, lease time.Duration, held []conversation.TurnRef) ([]conversation.TurnRef, error) {
	type key struct {
		id      conversation.ID
		no, gen int
	}
	byKey := make(map[key]conversation.TurnRef, len(held))
	var ids []int64
	var nos, gens []int32
	for _, t := range held {
		byKey[key{t.Conversation, t.No, t.Gen}] = t
		ids, nos, gens = append(ids, int64(t.Conversation)), append(nos, int32(t.No)), append(gens, int32(t.Gen))
	}
	rows, err := s.pool.Query(ctx, renewSQL, ids, nos, gens, lease)
	if err != nil {
		return nil, fmt.Errorf("renew %d leases: %w", len(held), err)
	}
	kept, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (conversation.TurnRef, error) {
		var k key
		err := row.Scan(&k.id, &k.no, &k.gen)
		return byKey[k], err
	})
	if err != nil {
		return nil, fmt.Errorf("renew %d leases: %w", len(held), err)
	}
	return kept, nil
}

// HandBack implements conversation.Turns.
func (s *Store) HandBack(ctx context.Context, t conversation.TurnRef) error {
	_, err := s.pool.Exec(ctx, handBackSQL, t.Conversation, t.No, t.Gen)
	return domainError("hand back", t, err)
}

// Reply implements conversation.Turns.
func (s *Store) Reply(ctx context.Context, t conversation.TurnRef, token string, parts []conversation.Part) error {
	texts := make([]string, 0, len(parts))
	for _, p := range parts {
		texts = append(texts, p.Text)
	}
	var owned, accepted int
	err := again(ctx, func() error {
		return s.pool.QueryRow(ctx, replySQL, t.Conversation, t.Epoch, t.No, t.Gen, tokenHash(token), texts).
			Scan(&owned, &accepted)
	})
	switch {
	case err != nil:
	case owned == 0:
		err = conversation.ErrStaleEpoch
	case accepted == 0:
		err = conversation.ErrTurnClosed
	}
	return domainError("answer", t, err)
}

// Cancel implements conversation.Turns.
func (s *Store) Cancel(ctx context.Context, t conversation.TurnRef, reason string) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		row, err := lockConversation(ctx, tx, t.Conversation)
		if err != nil {
			return err
		}
		if row.epoch == t.Epoch {
			return conversation.ErrTurnClosed
		}
		var cancelled int
		if err := tx.QueryRow(ctx, cancelTurnSQL, t.Conversation, t.No, t.Gen, reason).Scan(&cancelled); err != nil {
			return err
		}
		if cancelled == 0 {
			return conversation.ErrTurnClosed
		}
		return nil
	})
	return domainError("cancel", t, err)
}

// Fail implements conversation.Turns.
func (s *Store) Fail(ctx context.Context, t conversation.TurnRef, f conversation.Failure) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		row, err := lockConversation(ctx, tx, t.Conversation)
		if err != nil {
			return err
		}
		var epoch int64
		if err := tx.QueryRow(ctx, failTurnSQL, t.Conversation, t.No, t.Gen, f.Reason, f.Detail).Scan(&epoch); err != nil {
			return err
		}
		if epoch != row.epoch {
			return nil // somebody else is on duty already
		}
		return row.walk(ctx, tx, step{
			verb: "queue", actor: "router", to: conversation.Owner{Kind: conversation.OwnedByQueue},
			state: conversation.HumanQueued, reason: f.Reason,
			detail: map[string]string{"turn": fmt.Sprint(t.No), "gen": fmt.Sprint(t.Gen)},
		})
	})
	return domainError("give up", t, err)
}
