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
	failTurnSQL        = query("fail_turn")
	findTurnSQL        = query("find_turn")
	extendTurnSQL      = query("extend_turn")
)

// ClaimTurn implements conversation.Turns.
func (s *Store) ClaimTurn(ctx context.Context, terms conversation.TurnTerms) (conversation.Turn, error) {
	return s.takeTurn(ctx, "claim turn", func(tx pgx.Tx) (conversation.Turn, error) {
		var id conversation.ID
		if err := tx.QueryRow(ctx, dueConversationSQL).Scan(&id); err != nil {
			return conversation.Turn{}, err
		}
		return s.openTurn(ctx, tx, terms, claimTurnSQL, id, terms.Holder.Instance, terms.Holder.Boot, terms.Lease, terms.Deadline,
			s.cluster.Load())
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
		t       conversation.Turn
		remains float64
		asked   = time.Now() // before the database computes what remains: the local deadline is never the later one
	)
	err := tx.QueryRow(ctx, sql, args...).Scan(&t.Tenant, &t.Conversation, &t.No, &t.Epoch, &t.Gen, &t.Deadline, &t.State,
		&t.Channel, &t.Flow, &t.Contact.JID, &t.Contact.Name, &remains, &t.Stale, &t.Cluster)
	if err != nil {
		return conversation.Turn{}, err
	}
	t.Expires = asked.Add(time.Duration(remains * float64(time.Second)))
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
func (s *Store) Renew(ctx context.Context, lease time.Duration, held []conversation.TurnRef) ([]conversation.Holding, error) {
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
	return collect(ctx, s, fmt.Sprintf("renew %d leases", len(held)), func(row pgx.CollectableRow) (conversation.Holding, error) {
		var (
			k       key
			h       conversation.Holding
			seconds float64
		)
		err := row.Scan(&k.id, &k.no, &k.gen, &h.State, &seconds)
		h.TurnRef, h.Remains = byKey[k], remaining(seconds)
		return h, err
	}, renewSQL, ids, nos, gens, lease)
}

// FindTurn implements conversation.Turns.
func (s *Store) FindTurn(ctx context.Context, id conversation.ID, no int, token string) (conversation.Holding, error) {
	h := conversation.Holding{TurnRef: conversation.TurnRef{Conversation: id, No: no}}
	now := conversation.Conversation{ID: id}
	var seconds float64
	err := again(ctx, func() error {
		return s.pool.QueryRow(ctx, findTurnSQL, id, no, tokenHash(token)).Scan(&h.Tenant, &h.Epoch, &h.Gen, &h.Deadline,
			&h.Cluster, &h.State, &seconds, &now.State, &now.Owner.Kind, &now.Owner.ID, &now.Epoch)
	})
	h.Remains = remaining(seconds)
	open := h.State == conversation.TurnRunning || h.State == conversation.TurnReplied || h.State == conversation.TurnSending
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		err = conversation.ErrBadToken
	case err != nil:
	case now.Epoch != h.Epoch || now.Owner.Kind != conversation.OwnedByAI:
		err = &conversation.RefusedError{Err: conversation.ErrStaleEpoch, Now: now}
	case !open || h.Remains == 0:
		err = conversation.ErrTurnClosed
	}
	return h, domainError("find", h.TurnRef, err)
}

// Extend implements conversation.Turns.
func (s *Store) Extend(ctx context.Context, t conversation.TurnRef, token string, wait, most time.Duration) (conversation.Holding, error) {
	ok, err := s.one(ctx, extendTurnSQL, t.Conversation, t.No, t.Gen, tokenHash(token), wait, most)
	if err != nil {
		return conversation.Holding{}, domainError("extend", t, err)
	}
	h, err := s.FindTurn(ctx, t.Conversation, t.No, token) // which also says why it could not be
	if err == nil && !ok {
		err = domainError("extend", t, conversation.ErrTurnClosed)
	}
	return h, err
}

// HandBack implements conversation.Turns.
func (s *Store) HandBack(ctx context.Context, t conversation.TurnRef) error {
	_, err := s.pool.Exec(ctx, handBackSQL, t.Conversation, t.No, t.Gen)
	return domainError("hand back", t, err)
}

// Reply implements conversation.Turns.
func (s *Store) Reply(ctx context.Context, t conversation.TurnRef, token string, parts []conversation.Part) error {
	texts, delays := make([]string, 0, len(parts)), make([]time.Duration, 0, len(parts))
	for _, p := range parts {
		texts, delays = append(texts, p.Text), append(delays, p.Delay)
	}
	var owned, accepted int
	err := again(ctx, func() error {
		return s.pool.QueryRow(ctx, replySQL, t.Conversation, t.Epoch, t.No, t.Gen, tokenHash(token), texts, delays).
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
	err := s.transact(ctx, func(tx *pipe) error {
		row, _, err := tx.lockFor(ctx, conversation.Command{Conversation: t.Conversation, Tenant: t.Tenant})
		if err != nil {
			return err
		}
		if row.Epoch == t.Epoch {
			return conversation.ErrTurnClosed
		}
		cancelled := 0
		tx.queue(lockTurnSQL, t.Conversation, t.No)
		tx.queue(revokeTurnSQL, t.Conversation, reason, t.No, t.Gen).QueryRow(func(r pgx.Row) error { return r.Scan(&cancelled) })
		if err := tx.commit(ctx); err != nil {
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
	err := s.transact(ctx, func(tx *pipe) error {
		row, _, err := tx.lockFor(ctx, conversation.Command{Conversation: t.Conversation, Tenant: t.Tenant})
		if err != nil {
			return err
		}
		var (
			epoch int64
			state string
		)
		tx.queue(lockTurnSQL, t.Conversation, t.No)
		tx.queue(failTurnSQL, t.Conversation, t.No, t.Gen, f.Reason, f.Detail).QueryRow(func(r pgx.Row) error { return r.Scan(&epoch, &state) })
		if err := tx.flush(ctx); err != nil {
			return err
		}
		if state == "cancelled" {
			return tx.commit(ctx) // somebody else is on duty already
		}
		change, err := conversation.Decide(row.Conversation, conversation.Command{
			Verb: conversation.VerbQueue, Conversation: t.Conversation, Tenant: t.Tenant, IfEpoch: epoch, Actor: conversation.Router,
			To: conversation.Owner{Kind: conversation.OwnedByQueue}, Reason: f.Reason,
		}, conversation.Terms{Now: row.now, Cluster: s.cluster.Load()})
		if err != nil {
			return err
		}
		change.Steps[0].Detail["turn"], change.Steps[0].Detail["gen"] = fmt.Sprint(t.No), fmt.Sprint(t.Gen)
		if _, err := tx.write(row, change, nil); err != nil {
			return err
		}
		return tx.commit(ctx)
	})
	return domainError("give up", t, err)
}
