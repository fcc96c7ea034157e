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
	receiveMarksSQL  = query("receive", "receive_marks", "receive_rows")
	receivePlainSQL  = query("receive", "receive_plain", "receive_rows")
	storableSQL      = query("storable")
	contactTypingSQL = query("contact_typing")
)

// Channel implements conversation.Inbox.
func (s *Store) Channel(ctx context.Context, name string) (conversation.Channel, error) {
	var (
		c      conversation.Channel
		secret []byte
	)
	err := again(ctx, func() error {
		return s.pool.QueryRow(ctx, channelSQL, name).Scan(&c.Name, &c.Tenant, &secret, &c.Flow, &c.Mirror)
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
			c.Tenant, c.Name, c.Integration, c.Number, c.HookSecretSHA256[:], c.Flow, c.Mirror).Scan(&created)
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
func (s *Store) Receive(ctx context.Context, events []conversation.Event, w conversation.Window) ([]conversation.Receipt, error) {
	columns, err := columnsOf(events)
	if err != nil {
		return nil, err
	}
	receipts, err := s.receive(ctx, columns, len(events), w)
	if err != nil && unstorable(err) {
		// JSON admits what jsonb does not (a NUL character, half a surrogate pair, a number of a million digits).
		// Keep the bytes all the same: a message the sender repeats for ever helps nobody.
		if wrapErr := s.wrapUnstorable(ctx, columns.body); wrapErr != nil {
			return nil, fmt.Errorf("store %d events: %w: %w", len(events), conversation.ErrUnavailable, wrapErr)
		}
		receipts, err = s.receive(ctx, columns, len(events), w)
	}
	if err != nil {
		return nil, fmt.Errorf("store %d events: %w: %w", len(events), conversation.ErrUnavailable, err)
	}
	return receipts, nil
}

// eventColumns are events as the arrays of receive.sql.
type eventColumns struct {
	tenant, channel, kind, waID, jid, alt, form, name, typ, text, body, state, reason, ref, media []string
	fromMe, begins, mirror                                                                        []bool
	sentAt                                                                                        []*time.Time
	marks                                                                                         bool // some are about others: see receive_marks.sql
}

func columnsOf(events []conversation.Event) (*eventColumns, error) {
	n := len(events)
	all := make([]string, 15*n) // one piece of memory for all columns
	take := func() (column []string) {
		column, all = all[:n:n], all[n:]
		return column
	}
	c := &eventColumns{
		tenant: take(), channel: take(), kind: take(), waID: take(), jid: take(), alt: take(), form: take(), name: take(), typ: take(),
		text: take(), body: take(), state: take(), reason: take(), ref: take(), media: take(),
		fromMe: make([]bool, n), begins: make([]bool, n), mirror: make([]bool, n), sentAt: make([]*time.Time, n),
	}
	for i := range events {
		e := &events[i]
		c.tenant[i], c.channel[i], c.kind[i], c.waID[i] = e.Tenant, e.Channel, string(e.Kind), e.WAID
		c.jid[i], c.alt[i], c.form[i], c.name[i] = e.ChatJID, e.AltJID, e.FormJID, e.ContactName
		c.typ[i], c.text[i], c.body[i], c.state[i], c.reason[i], c.ref[i] = e.Type, e.Text, string(e.Body), string(e.State), e.Reason, e.Ref
		c.marks = c.marks || e.FromMe || e.Kind == conversation.KindEdit || e.Kind == conversation.KindRevoke || e.Kind == conversation.KindStatus
		c.fromMe[i], c.begins[i], c.mirror[i] = e.FromMe, e.Begins, e.Mirror
		if !e.SentAt.IsZero() {
			c.sentAt[i] = &e.SentAt
		}
		if e.Media != nil {
			media, err := json.Marshal(e.Media)
			if err != nil {
				return nil, fmt.Errorf("write attachment: %w", err)
			}
			c.media[i] = string(media)
		}
	}
	return c, nil
}

func (s *Store) receive(ctx context.Context, c *eventColumns, n int, w conversation.Window) ([]conversation.Receipt, error) {
	var receipts []conversation.Receipt
	sql := receivePlainSQL
	if c.marks {
		sql = receiveMarksSQL
	}
	err := again(ctx, func() error {
		rows, err := s.pool.Query(ctx, sql, c.tenant, c.channel, c.kind, c.waID, c.jid, c.alt, c.form, c.fromMe, c.name, c.typ, c.text,
			c.sentAt, c.body, c.state, c.reason, c.ref, c.media, c.begins, c.mirror, w.Quiet, w.Cap, w.Media)
		if err != nil {
			return err
		}
		receipts = make([]conversation.Receipt, n)
		for i := range receipts {
			receipts[i].Duplicate = true
		}
		var (
			at int
			r  conversation.Receipt
		)
		_, err = pgx.ForEachRow(rows, []any{&at, &r.State, &r.Reason, &r.Conversation}, func() error {
			receipts[at-1] = r
			return nil
		})
		return err
	})
	return receipts, err
}

// wrapUnstorable finds the bodies jsonb does not admit, by halves, and wraps each so that it does: {"base64": …}.
func (s *Store) wrapUnstorable(ctx context.Context, bodies []string) error {
	err := again(ctx, func() error {
		_, err := s.pool.Exec(ctx, storableSQL, bodies)
		return err
	})
	if err == nil || !unstorable(err) {
		return err
	}
	if len(bodies) > 1 {
		half := len(bodies) / 2
		if err := s.wrapUnstorable(ctx, bodies[:half]); err != nil {
			return err
		}
		return s.wrapUnstorable(ctx, bodies[half:])
	}
	wrapped, err := json.Marshal(map[string][]byte{"base64": []byte(bodies[0])})
	bodies[0] = string(wrapped)
	return err
}

// ContactTyping implements conversation.Inbox.
func (s *Store) ContactTyping(ctx context.Context, t conversation.Typing, w conversation.Window) error {
	believed := w.Typing
	if !t.Now {
		believed = 0
	}
	err := again(ctx, func() error {
		_, err := s.pool.Exec(ctx, contactTypingSQL, t.Tenant, t.Channel, t.ChatJID, t.FormJID, believed, w.Quiet)
		return err
	})
	if err != nil {
		return fmt.Errorf("note that a contact types: %w: %w", conversation.ErrUnavailable, err)
	}
	return nil
}

// unstorable is an error about the value, not about the database: a data exception, or a nesting the parser refuses.
func unstorable(err error) bool {
	code := sqlState(err)
	return strings.HasPrefix(code, "22") || strings.HasPrefix(code, "54")
}
