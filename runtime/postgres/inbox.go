package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"plantao/runtime/conversation"
)

var (
	channelSQL       = query("channel")
	upsertChannelSQL = query("upsert_channel")
	receiveSQL       = query("receive")
)

// Channel implements conversation.Inbox.
func (s *Store) Channel(ctx context.Context, name string) (conversation.Channel, error) {
	var (
		c      conversation.Channel
		secret []byte
	)
	err := again(ctx, func() error {
		return s.pool.QueryRow(ctx, channelSQL, name).Scan(&c.Name, &c.Tenant, &secret, &c.Flow)
	})
	// The name is a path segment anybody may send: one that PostgreSQL's text cannot hold (NUL, not UTF-8) is unknown too,
	// and no sign of a database in trouble.
	if errors.Is(err, pgx.ErrNoRows) || unstorable(err) {
		return conversation.Channel{}, fmt.Errorf("channel %q: %w", name, conversation.ErrUnknownChannel)
	}
	if err != nil {
		return conversation.Channel{}, fmt.Errorf("find channel %q: %w: %w", name, conversation.ErrUnavailable, err)
	}
	copy(c.HookSecretSHA256[:], secret)
	return c, nil
}

// ChannelRow is a channel as wiring writes it.
type ChannelRow struct {
	conversation.Channel
	Integration string // EVOLUTION or WHATSAPP-BAILEYS
	Number      string // digits; required for EVOLUTION
}

// UpsertChannel writes the channel and says what it did: "created", "updated" or "unchanged".
func (s *Store) UpsertChannel(ctx context.Context, c ChannelRow) (string, error) {
	var created bool
	err := again(ctx, func() error {
		return s.pool.QueryRow(ctx, upsertChannelSQL,
			c.Tenant, c.Name, c.Integration, c.Number, c.HookSecretSHA256[:], c.Flow).Scan(&created)
	})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return "unchanged", nil
	case err != nil:
		return "", fmt.Errorf("write channel %q: %w", c.Name, err)
	case created:
		return "created", nil
	}
	return "updated", nil
}

// Receive implements conversation.Inbox.
func (s *Store) Receive(ctx context.Context, e conversation.Event, w conversation.Window) (conversation.Receipt, error) {
	r, err := s.receive(ctx, e, w, e.Body)
	if err != nil && unstorable(err) {
		// JSON admits what jsonb does not (a NUL character, half a surrogate pair, a number of a million digits).
		// Keep the bytes all the same: a message the sender repeats for ever helps nobody.
		wrapped, wrapErr := json.Marshal(map[string][]byte{"base64": e.Body})
		if wrapErr != nil {
			return conversation.Receipt{}, fmt.Errorf("wrap body: %w", wrapErr)
		}
		r, err = s.receive(ctx, e, w, wrapped)
	}
	if err != nil {
		return conversation.Receipt{}, fmt.Errorf("store %s event: %w: %w", e.Kind, conversation.ErrUnavailable, err)
	}
	return r, nil
}

func (s *Store) receive(ctx context.Context, e conversation.Event, w conversation.Window, body []byte) (conversation.Receipt, error) {
	var sentAt *time.Time
	if !e.SentAt.IsZero() {
		sentAt = &e.SentAt
	}
	var r conversation.Receipt
	err := again(ctx, func() error {
		return s.pool.QueryRow(ctx, receiveSQL,
			e.Tenant, e.Channel, e.Kind, e.WAID, e.ChatJID, e.AltJID, e.FromMe, e.ContactName, e.Type, e.Text,
			sentAt, body, e.State, e.Reason, w.Quiet, w.Cap,
		).Scan(&r.State, &r.Reason, &r.Conversation)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return conversation.Receipt{Duplicate: true}, nil
	}
	return r, err
}

// unstorable is an error about the value, not about the database: a data exception, or a nesting the parser refuses.
func unstorable(err error) bool {
	code := sqlState(err)
	return strings.HasPrefix(code, "22") || strings.HasPrefix(code, "54")
}
