package postgres

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"plantao/runtime/conversation"
)

var (
	restartConversationSQL = query("restart_conversation")
	lockRunningTurnSQL     = query("lock_running_turn")
	takeMoreLockSQL        = query("take_more_lock")
	takeMoreSQL            = query("take_more")
	contactIDsSQL          = query("contact_ids")
	historySQL             = query("history")
	untoldStretchSQL       = query("untold_stretch")
	toldSQL                = query("told")
	followingsSQL          = query("followings")
	followedSQL            = query("followed")
)

// RestartTurn implements conversation.Turns.
func (s *Store) RestartTurn(ctx context.Context, terms conversation.TurnTerms) (conversation.Turn, error) {
	return s.takeTurn(ctx, "restart turn", func(tx *pipe) (conversation.Turn, error) {
		var old, restarts int
		next := s.nextTurn()
		found, err := tx.ask(ctx, func(r pgx.Row) error {
			return r.Scan(&next.Conversation, &next.Tenant, &next.Epoch, &next.No, &next.Deadline, &old, &restarts)
		}, restartConversationSQL, conversation.MaxRestarts, terms.Deadline)
		if found && err == nil {
			found, err = tx.ask(ctx, func(r pgx.Row) error { return r.Scan(&old) }, lockRunningTurnSQL, next.Conversation, old)
		}
		if err != nil || !found {
			return conversation.Turn{}, cmp.Or(err, conversation.ErrNothingDue)
		}
		tx.queue(revokeTurnSQL, next.Conversation, conversation.ReasonRestarted, old, nil)
		return tx.openTurn(ctx, terms, next, restarts+1)
	})
}

// TakeMore implements conversation.Turns.
func (s *Store) TakeMore(ctx context.Context, t conversation.TurnRef, token string) ([]conversation.Message, int, error) {
	var (
		messages []conversation.Message
		more     int
	)
	err := s.transact(ctx, func(tx *pipe) error {
		var (
			policy conversation.MidTurn
			open   int
		)
		now := conversation.Conversation{ID: t.Conversation}
		tx.queue(takeMoreLockSQL, t.Conversation, t.Tenant).QueryRow(func(r pgx.Row) error {
			return r.Scan(&now.State, &now.Owner.Kind, &now.Owner.ID, &now.Epoch, &policy)
		})
		tx.queue(lockTurnSQL, t.Conversation, t.No)
		switch err := tx.flush(ctx); {
		case err != nil:
			return err
		case now.Epoch != t.Epoch || now.Owner.Kind != conversation.OwnedByAI:
			return &conversation.RefusedError{Err: conversation.ErrStaleEpoch, Now: now}
		case policy != conversation.MidTurnAppend:
			return conversation.ErrNotAppending
		}
		tx.queue(takeMoreSQL, t.Conversation, t.No, t.Epoch, t.Gen, tokenHash(token)).QueryRow(func(r pgx.Row) error {
			return r.Scan(&open, &more)
		})
		tx.queue(turnMessagesSQL, t.Conversation, t.No).Query(func(rows pgx.Rows) (err error) {
			messages, err = pgx.CollectRows(rows, scanMessage)
			return err
		})
		if err := tx.flush(ctx); err != nil {
			return err
		}
		if open == 0 {
			return conversation.ErrTurnClosed
		}
		return tx.commit(ctx)
	})
	if err != nil {
		return nil, 0, domainError("give more messages to", t, err)
	}
	return messages, more, nil
}

// Background implements conversation.Turns: one round trip, each statement on an index, whatever the history's length.
func (s *Store) Background(ctx context.Context, t conversation.TurnRef, n int) (conversation.Background, error) {
	var b conversation.Background
	err := again(ctx, func() error {
		b = conversation.Background{}
		batch := &pgx.Batch{}
		batch.Queue(contactIDsSQL, t.Conversation).QueryRow(func(r pgx.Row) error { return r.Scan(&b.ContactIDs) })
		batch.Queue(historySQL, t.Conversation, t.No, n).Query(func(rows pgx.Rows) (err error) {
			b.History, err = pgx.CollectRows(rows, scanUtterance)
			slices.Reverse(b.History)
			return err
		})
		batch.Queue(untoldStretchSQL, t.Conversation, t.No, t.Epoch).Query(func(rows pgx.Rows) error {
			return none(pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) (struct{}, error) {
				var st conversation.Stretch
				err := row.Scan(&st.Agent, &st.From, &st.To, &st.Began, &st.Ended)
				b.Stretch = &st
				return struct{}{}, err
			}))
		})
		batch.Queue(toldSQL, t.Conversation, t.Epoch).Query(func(rows pgx.Rows) error {
			return none(pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) (struct{}, error) {
				var h conversation.Handover
				err := row.Scan(&h.By, &h.At, &h.Reason, &h.Context)
				b.Handover = &h
				return struct{}{}, err
			}))
		})
		return s.pool.SendBatch(ctx, batch).Close()
	})
	return b, domainError("read background of", t, err)
}

// none takes no row for an answer.
func none(_ struct{}, err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	return err
}

func scanUtterance(row pgx.CollectableRow) (conversation.Utterance, error) {
	var (
		u       conversation.Utterance
		media   *conversation.Media
		state   conversation.MediaState
		content *int64
	)
	err := row.Scan(&u.TS, &u.From, &u.Agent, &u.Type, &u.Text, &media, &state, &content)
	if media != nil {
		u.Media = &conversation.MessageMedia{Media: *media, State: state, ID: value(content)}
	}
	return u, err
}

// followColumn is what follows an answer, as it is kept.
func followColumn(then []conversation.Then) (*string, error) {
	if len(then) == 0 {
		return nil, nil
	}
	if len(then) > 1 {
		return nil, fmt.Errorf("%d things cannot follow an answer: %w", len(then), conversation.ErrInvalid)
	}
	if err := then[0].Check(); err != nil {
		return nil, err
	}
	text, err := json.Marshal(then[0])
	if err != nil {
		return nil, fmt.Errorf("write what follows: %w", err)
	}
	column := string(text)
	return &column, nil
}

// Followings implements conversation.Turns.
func (s *Store) Followings(ctx context.Context, limit int) ([]conversation.Following, error) {
	return collect(ctx, s, "list what follows turns", func(row pgx.CollectableRow) (conversation.Following, error) {
		f := conversation.Following{TurnRef: conversation.TurnRef{Kind: conversation.TurnOfAI}}
		err := row.Scan(&f.Tenant, &f.Conversation, &f.No, &f.Epoch, &f.Gen, &f.Deadline, &f.Cluster, &f.Agent, &f.Then)
		return f, err
	}, followingsSQL, bounded(limit))
}

// Followed implements conversation.Turns.
func (s *Store) Followed(ctx context.Context, t conversation.TurnRef) error {
	return s.exec(ctx, fmt.Sprintf("end turn %s/%d for good", t.Conversation, t.No), followedSQL, t.Conversation, t.No)
}
