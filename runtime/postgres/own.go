package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"plantao/runtime/conversation"
)

var (
	ownMessagesSQL = query("own_messages")
	judgeOwnSQL    = query("judge_own")
)

// OwnMessages implements conversation.OwnSide.
func (s *Store) OwnMessages(ctx context.Context, after int64, limit int) ([]conversation.OwnMessage, error) {
	return collect(ctx, s, "list messages of our own side", func(row pgx.CollectableRow) (conversation.OwnMessage, error) {
		var (
			m     conversation.OwnMessage
			age   float64
			since *float64
		)
		err := row.Scan(&m.ID, &m.Tenant, &m.Channel, &m.Kind, &m.Type, &m.Text, &m.Conversation, &m.SentAt, &m.ReceivedAt, &age,
			&m.Ours, &m.Flying, &m.Resembles, &m.Begins, &since)
		m.Age = remaining(age)
		if since != nil {
			d := time.Duration(*since * float64(time.Second))
			m.Since = &d
		}
		return m, err
	}, ownMessagesSQL, after, bounded(limit))
}

// JudgeOwn implements conversation.OwnSide.
func (s *Store) JudgeOwn(ctx context.Context, id int64, reason string) (bool, error) {
	ok, err := s.one(ctx, judgeOwnSQL, id, reason)
	if err != nil {
		return false, fmt.Errorf("decide who wrote inbox row %d: %w", id, err)
	}
	return ok, nil
}
