package postgres

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"plantao/runtime/conversation"
)

var (
	conflictsSQL        = query("conflicts")
	mergeTargetsSQL     = query("merge_targets")
	onTheWireSQL        = query("on_the_wire")
	moveWaitingSQL      = query("move_waiting")
	joinSQL             = query("join")
	endConflictSQL      = query("end_conflict")
	postponeConflictSQL = query("postpone_conflict")
)

// mergePause is how long a merge that has to wait is left alone.
const mergePause = 2 * time.Second

// mergeTries is how often a merge looks anew where its conversations went, because others were faster.
const mergeTries = 8

// errOvertaken: another merge came between the look and the lock.
var errOvertaken = errors.New("merged meanwhile")

// Conflicts implements conversation.Identity.
func (s *Store) Conflicts(ctx context.Context, limit int) ([]conversation.Conflict, error) {
	return collect(ctx, s, "list conversations to be merged", func(row pgx.CollectableRow) (conversation.Conflict, error) {
		var c conversation.Conflict
		err := row.Scan(&c.Tenant, &c.A, &c.B)
		return c, err
	}, conflictsSQL, limit)
}

// Merge implements conversation.Identity.
func (s *Store) Merge(ctx context.Context, tenant string, a, b conversation.ID) (conversation.Joined, error) {
	var (
		joined conversation.Joined
		err    = errOvertaken
	)
	for try := 0; try < mergeTries && errors.Is(err, errOvertaken); try++ {
		joined, err = s.merge(ctx, tenant, a, b)
	}
	if err != nil { // whatever it is, it must not keep the others from being looked at
		if _, late := s.pool.Exec(ctx, postponeConflictSQL, a, b, mergePause); late != nil {
			err = errors.Join(err, late)
		}
	}
	if err != nil {
		return conversation.Joined{}, fmt.Errorf("merge conversations %s and %s: %w", a, b, err)
	}
	return joined, nil
}

func (s *Store) merge(ctx context.Context, tenant string, a, b conversation.ID) (conversation.Joined, error) {
	var toA, toB conversation.ID
	err := again(ctx, func() error { return s.pool.QueryRow(ctx, mergeTargetsSQL, tenant, a, b).Scan(&toA, &toB) })
	if errors.Is(err, pgx.ErrNoRows) {
		err = conversation.ErrNotFound
	}
	if err != nil {
		return conversation.Joined{}, err
	}
	if toA != toB {
		return s.joinPair(ctx, tenant, toA, toB, func(p *pipe) {
			p.queue(endConflictSQL, a, b)
			p.queue(endConflictSQL, toA, toB)
		})
	}
	joined := conversation.Joined{Stays: toA, Already: true}
	for _, goes := range []conversation.ID{a, b} {
		if goes == toA {
			continue
		}
		j, err := s.follow(ctx, tenant, goes, toA)
		if err != nil {
			return conversation.Joined{}, err
		}
		joined.Goes, joined.Epoch, joined.Moved = goes, j.Epoch, joined.Moved+j.Moved
	}
	_, err = s.pool.Exec(ctx, endConflictSQL, a, b)
	return joined, err
}

// pair is two conversations of one contact, both locked, in the order of their ids.
type pair struct {
	a, b         *lockedConversation
	aBusy, bBusy bool
}

func (p *pair) row(id conversation.ID) *lockedConversation {
	if p.a.ID == id {
		return p.a
	}
	return p.b
}

// lockPair begins the transaction. Two merges of the same conversations take turns, whatever they call which.
func (p *pipe) lockPair(ctx context.Context, tenant string, a, b conversation.ID) (*pair, error) {
	if a > b {
		a, b = b, a
	}
	both := &pair{a: &lockedConversation{}, b: &lockedConversation{}}
	p.queue(lockConversationSQL, a, tenant).QueryRow(func(r pgx.Row) error { return both.a.scan(r) })
	p.queue(lockConversationSQL, b, tenant).QueryRow(func(r pgx.Row) error { return both.b.scan(r) })
	p.queue(onTheWireSQL, a, b).QueryRow(func(r pgx.Row) error { return r.Scan(&both.a.now, &both.aBusy, &both.bBusy) })
	err := p.flush(ctx)
	both.b.now = both.a.now
	if errors.Is(err, pgx.ErrNoRows) {
		err = conversation.ErrNotFound
	}
	return both, err
}

// joinPair merges two conversations that were not merged when they were looked at.
func (s *Store) joinPair(ctx context.Context, tenant string, a, b conversation.ID, also func(*pipe)) (joined conversation.Joined, err error) {
	err = s.transact(ctx, func(tx *pipe) error {
		both, err := tx.lockPair(ctx, tenant, a, b)
		if err != nil {
			return err
		}
		if both.a.MergedInto != 0 || both.b.MergedInto != 0 {
			return errOvertaken
		}
		m, err := conversation.Merge(conversation.Joining{Conversation: both.a.Conversation, OnTheWire: both.aBusy},
			conversation.Joining{Conversation: both.b.Conversation, OnTheWire: both.bBusy},
			conversation.Terms{Now: both.a.now, Cluster: s.cluster.Load()})
		if err != nil {
			return err
		}
		goes, stays := both.row(m.Goes.After.ID), both.row(m.Stays.After.ID)
		// Before anything moves, so that what their turns give back moves too.
		for _, id := range []conversation.ID{goes.ID, stays.ID} {
			tx.queue(lockOpenTurnSQL, id)
			tx.queue(revokeTurnSQL, id, conversation.ReasonOwnerChanged, nil, nil)
		}
		m.Goes.Revoke, m.Stays.Revoke = false, false
		if joined, err = tx.moveAndWrite(ctx, goes, stays, m); err != nil {
			return err
		}
		tx.queue(joinSQL, goes.ID, stays.ID)
		also(tx)
		return tx.commit(ctx)
	})
	return joined, err
}

// follow takes along what was filed in a merged conversation since. Nothing may have been.
func (s *Store) follow(ctx context.Context, tenant string, from, into conversation.ID) (joined conversation.Joined, err error) {
	err = s.transact(ctx, func(tx *pipe) error {
		both, err := tx.lockPair(ctx, tenant, from, into)
		if err != nil {
			return err
		}
		goes, stays := both.row(from), both.row(into)
		if stays.MergedInto != 0 {
			return errOvertaken
		}
		if joined, err = tx.moveAndWrite(ctx, goes, stays, conversation.Follow(goes.Conversation, stays.Conversation)); err != nil {
			return err
		}
		tx.queue(joinSQL, goes.ID, stays.ID)
		return tx.commit(ctx)
	})
	return joined, err
}

// moveAndWrite moves what waits and queues both rows and their entries, each of which names the other. The entry of the one that
// stays carries the hash of the other's, so that neither chain can be changed without the other.
func (p *pipe) moveAndWrite(ctx context.Context, goes, stays *lockedConversation, m conversation.Merging) (conversation.Joined, error) {
	joined := conversation.Joined{Stays: stays.ID, Goes: goes.ID, Epoch: m.Stays.After.Epoch}
	p.queue(moveWaitingSQL, goes.ID, stays.ID).QueryRow(func(r pgx.Row) error { return r.Scan(&joined.Moved) })
	if err := p.flush(ctx); err != nil {
		return joined, err
	}
	last := m.Goes.Steps[len(m.Goes.Steps)-1]
	if joined.Moved == 0 && last.Verb == conversation.VerbFollow {
		return joined, nil // whatever waited was taken back, or moved by another replica
	}
	moved := fmt.Sprint(joined.Moved)
	last.Detail["moved"], m.Stays.Steps[0].Detail["moved"] = moved, moved
	entries := chain(goes, m.Goes.Steps, "")
	m.Stays.Steps[0].Detail["absorbed_hash"] = hex.EncodeToString(entries[len(entries)-1].Hash)
	for _, of := range []struct {
		row *lockedConversation
		conversation.Change
	}{{goes, m.Goes}, {stays, m.Stays}} {
		if _, err := p.write(of.row, of.Change, nil); err != nil {
			return joined, err
		}
	}
	return joined, nil
}
