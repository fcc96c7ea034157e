package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"plantao/runtime/conversation"
)

var (
	dueConversationSQL   = query("due_conversation")
	shareConversationSQL = query("share_conversation")
	claimTurnSQL         = query("claim_turn")
	expireSendingSQL     = query("expire_sending")
	reclaimTurnSQL       = query("reclaim_turn")
	setTokenSQL          = query("set_token")
	turnMessagesSQL      = query("turn_messages")
	nextDueSQL           = query("next_due")
	renewSQL             = query("renew")
	handBackSQL          = query("hand_back")
	replySQL             = query("reply")
	failTurnSQL          = query("fail_turn")
	findTurnSQL          = query("find_turn")
	extendTurnSQL        = query("extend_turn")
	holdingSQL           = query("holding")
)

// holdingWithin is how long it is tried to tell a customer that their message waits for a human.
const holdingWithin = 5 * time.Minute

// ClaimTurn implements conversation.Turns: two round trips, as a customer waits for them.
func (s *Store) ClaimTurn(ctx context.Context, terms conversation.TurnTerms) (conversation.Turn, error) {
	return s.takeTurn(ctx, "claim turn", func(tx *pipe) (conversation.Turn, error) {
		next := s.nextTurn()
		found, err := tx.ask(ctx, func(r pgx.Row) error {
			return r.Scan(&next.Conversation, &next.Tenant, &next.Epoch, &next.No, &next.Deadline)
		}, dueConversationSQL, terms.Busy, terms.Deadline, terms.Crowded)
		if err != nil || !found {
			return conversation.Turn{}, cmp.Or(err, conversation.ErrNothingDue)
		}
		return tx.openTurn(ctx, terms, next, 0)
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
	return s.takeTurn(ctx, "reclaim turn", func(tx *pipe) (conversation.Turn, error) {
		var t conversation.Turn
		found, err := tx.ask(ctx, scanTurn(&t), reclaimTurnSQL, terms.Holder.Instance, terms.Holder.Boot, terms.Lease)
		if err != nil || !found {
			return conversation.Turn{}, cmp.Or(err, conversation.ErrNothingDue)
		}
		t.Token = terms.Sign(t.TurnRef)
		tx.queue(setTokenSQL, t.Conversation, t.No, tokenHash(t.Token))
		if t.State == conversation.TurnRunning {
			tx.queueMessages(&t)
		}
		err = tx.commit(ctx)
		return t, err
	})
}

func (s *Store) takeTurn(ctx context.Context, what string, take func(*pipe) (conversation.Turn, error)) (conversation.Turn, error) {
	var turn conversation.Turn
	err := s.transact(ctx, func(tx *pipe) (err error) {
		turn, err = take(tx)
		return err
	})
	switch {
	case errors.Is(err, conversation.ErrNothingDue), violates(err, "one_turn"): // another replica had the conversation a moment before
		return conversation.Turn{}, conversation.ErrNothingDue
	case err != nil:
		return conversation.Turn{}, fmt.Errorf("%s: %w", what, err)
	}
	return turn, nil
}

// nextTurn is what a new turn begins with; the rest is its conversation's.
func (s *Store) nextTurn() conversation.TurnRef {
	return conversation.TurnRef{Gen: 1, Cluster: s.cluster.Load(), Kind: conversation.TurnOfAI}
}

// openTurn begins the turn in a conversation that is locked, and commits. What its token is made of is known beforehand, so that
// both are one round trip.
func (p *pipe) openTurn(ctx context.Context, terms conversation.TurnTerms, next conversation.TurnRef, restarts int) (conversation.Turn, error) {
	t := conversation.Turn{Token: terms.Sign(next)}
	p.queue(claimTurnSQL, next.Conversation, terms.Holder.Instance, terms.Holder.Boot, terms.Lease, next.Deadline, next.Cluster,
		restarts, tokenHash(t.Token)).QueryRow(scanTurn(&t))
	t.TurnRef = next
	p.queueMessages(&t)
	err := p.commit(ctx)
	return t, err
}

// scanTurn reads a turn as the statements that begin or take over one yield it.
func scanTurn(t *conversation.Turn) func(pgx.Row) error {
	asked := time.Now() // before the database computes what remains: the local deadline is never the later one
	return func(r pgx.Row) error {
		var remains float64
		err := r.Scan(&t.Tenant, &t.Conversation, &t.No, &t.Epoch, &t.Gen, &t.Deadline, &t.State,
			&t.Channel, &t.Flow, &t.Contact.JID, &t.Contact.Name, &remains, &t.Stale, &t.Cluster, &t.Kind)
		t.Expires = asked.Add(time.Duration(remains * float64(time.Second)))
		return err
	}
}

func (p *pipe) queueMessages(t *conversation.Turn) {
	p.queue(turnMessagesSQL, t.Conversation, t.No).Query(func(rows pgx.Rows) (err error) {
		t.Messages, err = pgx.CollectRows(rows, scanMessage)
		return err
	})
}

func scanMessage(row pgx.CollectableRow) (conversation.Message, error) {
	var (
		m       conversation.Message
		media   *conversation.Media
		state   conversation.MediaState
		content *int64
	)
	err := row.Scan(&m.ID, &m.TS, &m.Type, &m.Text, &m.Ref, &media, &state, &content)
	if media != nil {
		m.Media = &conversation.MessageMedia{Media: *media, State: state}
		if content != nil {
			m.Media.ID = *content
		}
	}
	return m, err
}

// NextDue implements conversation.Turns.
func (s *Store) NextDue(ctx context.Context, busy ...string) (time.Duration, bool, error) {
	var seconds float64
	err := s.pool.QueryRow(ctx, nextDueSQL, busy, conversation.MaxRestarts).Scan(&seconds)
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
	h := conversation.Holding{TurnRef: conversation.TurnRef{Conversation: id, No: no, Kind: conversation.TurnOfAI}}
	now := conversation.Conversation{ID: id}
	var seconds float64
	err := again(ctx, func() error {
		return s.pool.QueryRow(ctx, findTurnSQL, id, no, tokenHash(token)).Scan(&h.Tenant, &h.Epoch, &h.Gen, &h.Deadline,
			&h.Cluster, &h.State, &seconds, &now.State, &now.Owner.Kind, &now.Owner.ID, &now.Epoch, &h.Waiting)
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
func (s *Store) Reply(ctx context.Context, t conversation.TurnRef, token string, parts []conversation.Part, then ...conversation.Then) error {
	parts, err := s.ownMedia(ctx, t.Conversation, parts)
	if err != nil {
		return domainError("answer", t, err)
	}
	bodies, delays, err := partColumns(parts)
	if err != nil {
		return domainError("answer", t, err)
	}
	follow, err := followColumn(then)
	if err != nil {
		return domainError("answer", t, err)
	}
	var owned, accepted int
	err = s.transact(ctx, func(tx *pipe) error {
		tx.queue(shareConversationSQL, t.Conversation)
		tx.queue(replySQL, t.Conversation, t.Epoch, t.No, t.Gen, tokenHash(token), bodies, delays, follow).
			QueryRow(func(r pgx.Row) error { return r.Scan(&owned, &accepted) })
		return tx.commit(ctx)
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
			epoch   int64
			state   string
			kind    conversation.TurnKind
			again   bool
			holding string
			since   int
		)
		plan, err := tx.planOf(ctx, row.Conversation)
		if err != nil {
			return err
		}
		next := plan.AfterFailure(f)
		tx.queue(lockTurnSQL, t.Conversation, t.No)
		tx.queue(failTurnSQL, t.Conversation, t.No, t.Gen, f.Reason, f.Detail, next != conversation.NobodyNext, plan.Pause()).
			QueryRow(func(r pgx.Row) error { return r.Scan(&epoch, &state, &kind, &again) })
		tx.queue(holdingSQL, t.Conversation, t.No).QueryRow(func(r pgx.Row) error { return r.Scan(&holding, &since) })
		if err := tx.flush(ctx); err != nil {
			return err
		}
		if state == "cancelled" || kind != conversation.TurnOfAI {
			return tx.commit(ctx) // somebody else is on duty already, or it was no AI that failed
		}
		if again && next == conversation.SameNext {
			plan.Failed++
			if err := tx.plan(row.Conversation, *plan); err != nil {
				return err
			}
			return tx.commit(ctx)
		}
		change, err := conversation.Decide(row.Conversation, conversation.Command{
			Verb: conversation.VerbQueue, Conversation: t.Conversation, Tenant: t.Tenant, IfEpoch: epoch, Actor: conversation.Router,
			To: conversation.Owner{Kind: conversation.OwnedByQueue}, Reason: f.Reason,
		}, conversation.Terms{Now: row.now, Cluster: s.cluster.Load()})
		if err != nil {
			return err
		}
		if plan != nil {
			change.Steps[0].RuleVersion = plan.Version
		}
		change.Steps[0].Detail["turn"], change.Steps[0].Detail["gen"] = fmt.Sprint(t.No), fmt.Sprint(t.Gen)
		after, err := tx.write(row, change, nil)
		if err != nil {
			return err
		}
		if next != conversation.NobodyNext {
			plan.Next, plan.Wait = true, time.Millisecond
			if err := tx.plan(after, *plan); err != nil {
				return err
			}
		}
		if holding != "" {
			if err := tx.say(conversation.Said{
				Tenant: t.Tenant, Conversation: t.Conversation, Kind: conversation.SaidByRouter, By: "router", IfEpoch: after.Epoch,
				Source: fmt.Sprintf("holding/%s/%d", t.Conversation, since), Parts: []conversation.Part{{Text: holding}},
				Within: holdingWithin,
			}, s.cluster.Load()); err != nil {
				return err
			}
		}
		return tx.commit(ctx)
	})
	return domainError("give up", t, err)
}
