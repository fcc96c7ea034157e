package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"plantao/runtime/conversation"
)

var (
	findLetterSQL  = query("letter", "letter_by_id")
	listLettersSQL = query("letter", "letter_by_filter")
	lockLetterSQL  = query("lock_letter")
	redriveSQL     = query("redrive")
	dropLetterSQL  = query("drop_letter")
)

// reasonRedriven stands in the audit where an AI gets a conversation for the sake of a dead letter.
const reasonRedriven = "dead_letter_redriven"

func scanLetter(row pgx.CollectableRow) (conversation.DeadLetter, error) {
	var (
		d       conversation.DeadLetter
		decided *time.Time
	)
	err := row.Scan(&d.ID, &d.Tenant, &d.Conversation, &d.Channel, &d.Turn, &d.Agent, &d.Reason, &d.Detail, &d.At, &d.State,
		&d.DecidedBy, &decided, &d.Decision, &d.Messages)
	d.DecidedAt = value(decided)
	return d, err
}

// ListDeadLetters implements conversation.DeadLetters. Which index serves depends on the filter, so this one is planned each time.
func (s *Store) ListDeadLetters(ctx context.Context, f conversation.LetterFilter) ([]conversation.DeadLetter, error) {
	var list []conversation.DeadLetter
	err := s.transact(ctx, func(p *pipe) error {
		p.queue("set local plan_cache_mode = force_custom_plan")
		p.queue(listLettersSQL, f.Tenant, f.State, f.Reason, f.Channel, orNull(f.Before), f.After, bounded(f.Limit)).
			Query(func(rows pgx.Rows) (err error) {
				list, err = pgx.CollectRows(rows, scanLetter)
				return err
			})
		return p.commit(ctx)
	})
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	return list, nil
}

// FindDeadLetter implements conversation.DeadLetters.
func (s *Store) FindDeadLetter(ctx context.Context, tenant string, id int64) (conversation.DeadLetter, error) {
	list, err := collect(ctx, s, fmt.Sprintf("find dead letter %d", id), scanLetter, findLetterSQL, id, tenant)
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("find dead letter %d: %w", id, conversation.ErrNoLetter)
	}
	if err != nil {
		return conversation.DeadLetter{}, err
	}
	return list[0], nil
}

// DecideDeadLetter implements conversation.DeadLetters.
func (s *Store) DecideDeadLetter(ctx context.Context, d conversation.LetterDecision) (conversation.DeadLetter, error) {
	letter, err := s.FindDeadLetter(ctx, d.Tenant, d.ID)
	if err != nil {
		return conversation.DeadLetter{}, err
	}
	var row *lockedConversation
	err = s.transact(ctx, func(tx *pipe) (err error) {
		to := conversation.Owner{Kind: conversation.OwnedByAI, ID: letter.Agent}
		row, _, err = tx.lockFor(ctx, conversation.Command{Conversation: letter.Conversation, Tenant: d.Tenant, To: to})
		if err != nil {
			return err
		}
		var state conversation.LetterState
		tx.queue(lockLetterSQL, d.ID).QueryRow(func(r pgx.Row) error { return r.Scan(&state) })
		switch err := tx.flush(ctx); {
		case err != nil:
			return err
		case state == d.State:
			return nil // decided so before
		case state != conversation.LetterOpen:
			return fmt.Errorf("it is %s: %w", state, conversation.ErrDecided)
		}
		if d.State == conversation.LetterDropped {
			return tx.drop(ctx, row, letter, d)
		}
		return tx.redrive(ctx, row, letter, d, to, s.cluster.Load())
	})
	if sqlState(err) == codeAtCapacity && row != nil {
		err = &conversation.RefusedError{Err: conversation.ErrAtCapacity, Now: row.Conversation}
	}
	if err != nil {
		return conversation.DeadLetter{}, fmt.Errorf("decide dead letter %d: %w", d.ID, err)
	}
	return s.FindDeadLetter(ctx, d.Tenant, d.ID)
}

// drop leaves the messages unanswered.
func (p *pipe) drop(ctx context.Context, row *lockedConversation, l conversation.DeadLetter, d conversation.LetterDecision) error {
	if _, err := p.write(row, unchanged(row, l, d, conversation.VerbDrop), nil); err != nil {
		return err
	}
	p.queue(dropLetterSQL, l.ID, d.Actor.String(), d.Reason)
	return p.commit(ctx)
}

// redrive gives the conversation to the AI, unless one has it, and then lets the messages wait again: a hand-back takes what waits
// in a human stretch for dealt with.
func (p *pipe) redrive(ctx context.Context, row *lockedConversation, l conversation.DeadLetter, d conversation.LetterDecision, to conversation.Owner, cluster int64) error {
	c := conversation.Command{
		Tenant: d.Tenant, Conversation: l.Conversation, IfEpoch: row.Epoch, Actor: d.Actor, To: to, Reason: reasonRedriven,
	}
	change := unchanged(row, l, d, conversation.VerbRedrive)
	switch row.Owner.Kind {
	case conversation.OwnedByHuman:
		return &conversation.RefusedError{Err: conversation.ErrHumanOnDuty, Now: row.Conversation}
	case conversation.OwnedByQueue:
		c.Verb = conversation.VerbHandback
	case conversation.OwnedByNone:
		c.Verb = conversation.VerbClaim // refused where it is suspended
	}
	if c.Verb != "" {
		var err error
		if change, err = conversation.Decide(row.Conversation, c, conversation.Terms{Now: row.now, Cluster: cluster}); err != nil {
			return err
		}
		change.Steps[len(change.Steps)-1].Detail["letter"] = fmt.Sprint(l.ID)
	}
	after, err := p.write(row, change, nil)
	if err != nil {
		return err
	}
	if change.Gives && row.bounded {
		p.queue(checkCapacitySQL, after.Tenant, after.Owner.Kind, after.Owner.ID, false)
	}
	p.queue(redriveSQL, l.Conversation, l.Turn, l.ID, d.Actor.String())
	return p.commit(ctx)
}

// unchanged is an entry of the audit that leaves the owner as it is.
func unchanged(row *lockedConversation, l conversation.DeadLetter, d conversation.LetterDecision, v conversation.Verb) conversation.Change {
	return conversation.Change{After: row.Conversation, Steps: []conversation.Step{{
		Verb: v, Actor: d.Actor, StateFrom: row.State, StateTo: row.State, EpochFrom: row.Epoch, EpochTo: row.Epoch, Owner: row.Owner,
		Reason: d.Reason, Detail: map[string]string{"letter": fmt.Sprint(l.ID), "turn": fmt.Sprint(l.Turn)},
	}}}
}
