package store

import (
	"context"
	"encoding/json"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5"
)

// Message is a row of "Message" in the form findMessages answers.
type Message struct {
	ID               string          `json:"id"`
	Key              map[string]any  `json:"key"`
	PushName         *string         `json:"pushName"`
	MessageType      string          `json:"messageType"`
	Message          map[string]any  `json:"message"`
	MessageTimestamp int64           `json:"messageTimestamp"`
	InstanceID       string          `json:"instanceId"`
	Source           string          `json:"source"`
	ContextInfo      map[string]any  `json:"contextInfo"`
	Updates          []MessageStatus `json:"MessageUpdate"`

	// Status is stored but not part of findMessages.
	Status *string `json:"-"`
}

// MessageStatus is one entry of a message's history.
type MessageStatus struct {
	Status string `json:"status"`
}

// SaveMessage inserts m under a new id and returns the id. A message without a type is refused, as by upstream's database layer.
func (s *Store) SaveMessage(ctx context.Context, m Message) (string, error) {
	key, err := jsonParam(m.Key)
	if err != nil {
		return "", err
	}
	content, err := jsonParam(m.Message)
	if err != nil {
		return "", err
	}
	var info any
	if m.ContextInfo != nil {
		if info, err = jsonParam(m.ContextInfo); err != nil {
			return "", err
		}
	}
	id := newID()
	_, err = s.pool.Exec(ctx, `INSERT INTO "Message" ("id", "key", "pushName", "messageType", "message", "contextInfo", "source", "messageTimestamp", "instanceId", "status")
		VALUES ($1, $2, $3, NULLIF($4, ''), $5, $6, $7, $8, $9, $10)`,
		id, key, m.PushName, m.MessageType, content, info, m.Source, m.MessageTimestamp, m.InstanceID, m.Status)
	if err != nil {
		return "", fmt.Errorf("insert message: %w", err)
	}
	return id, nil
}

// MessageFilter selects messages of one instance; zero fields do not filter.
type MessageFilter struct {
	ID, KeyID, RemoteJID, MessageType, Source string
	// FromMe filters only when true: upstream ignores false.
	FromMe bool
	// Since and Until bound messageTimestamp, in seconds; they count only together.
	Since, Until int64
	// Page counts from 1; PageSize is the number of messages on a page, default 50.
	Page, PageSize int
}

// MessagePage is one page of a search, newest first.
type MessagePage struct {
	Total       int       `json:"total"`
	Pages       int       `json:"pages"`
	CurrentPage int       `json:"currentPage"`
	Records     []Message `json:"records"`
}

const messageWhere = ` FROM "Message" m WHERE m."instanceId" = $1
	AND ($2 = '' OR m."id" = $2) AND ($3 = '' OR m."key"->>'id' = $3) AND ($4 = '' OR m."key"->>'remoteJid' = $4)
	AND ($5 = '' OR m."messageType" = $5) AND ($6 = '' OR m."source"::text = $6) AND (NOT $7 OR m."key"->'fromMe' = 'true')
	AND ($8 = 0 OR $9 = 0 OR m."messageTimestamp" BETWEEN $8 AND $9)`

// FindMessages returns one page of the messages of an instance.
func (s *Store) FindMessages(ctx context.Context, instanceID string, f MessageFilter) (MessagePage, error) {
	if f.PageSize <= 0 {
		f.PageSize = 50
	}
	f.Page = max(f.Page, 1)
	args := []any{instanceID, f.ID, f.KeyID, f.RemoteJID, f.MessageType, f.Source, f.FromMe, f.Since, f.Until}
	page := MessagePage{CurrentPage: f.Page}
	if err := s.pool.QueryRow(ctx, `SELECT count(*)`+messageWhere, args...).Scan(&page.Total); err != nil {
		return page, fmt.Errorf("count messages: %w", err)
	}
	page.Pages = int(math.Ceil(float64(page.Total) / float64(f.PageSize)))
	rows, err := s.pool.Query(ctx, `SELECT m."id", m."key", m."pushName", m."messageType", m."message", m."messageTimestamp", m."instanceId", m."source"::text, m."contextInfo",
		COALESCE((SELECT jsonb_agg(jsonb_build_object('status', u."status")) FROM "MessageUpdate" u WHERE u."messageId" = m."id"), '[]'), m."status"`+
		messageWhere+` ORDER BY m."messageTimestamp" DESC, m."id" LIMIT $10 OFFSET $11`, append(args, f.PageSize, f.PageSize*(f.Page-1))...)
	if err != nil {
		return page, fmt.Errorf("query messages: %w", err)
	}
	page.Records, err = pgx.CollectRows(rows, scanMessage)
	if err != nil {
		return page, fmt.Errorf("read messages: %w", err)
	}
	return page, nil
}

func scanMessage(row pgx.CollectableRow) (Message, error) {
	var m Message
	var updates []byte
	err := row.Scan(&m.ID, &m.Key, &m.PushName, &m.MessageType, &m.Message, &m.MessageTimestamp, &m.InstanceID, &m.Source, &m.ContextInfo, &updates, &m.Status)
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(updates, &m.Updates)
}

// SaveMessageUpdate records a new status of a message.
func (s *Store) SaveMessageUpdate(ctx context.Context, messageID, instanceID, keyID, remoteJID, status string) error {
	_, err := s.pool.Exec(ctx, `INSERT INTO "MessageUpdate" ("id", "keyId", "remoteJid", "fromMe", "status", "messageId", "instanceId")
		VALUES ($1, $2, $3, true, $4, $5, $6)`, newID(), keyID, remoteJID, status, messageID, instanceID)
	if err != nil {
		return fmt.Errorf("insert status of message %s: %w", keyID, err)
	}
	return nil
}

// Contact is what the channel knows of a customer.
type Contact struct {
	RemoteJID     string  `json:"remoteJid"`
	PushName      *string `json:"pushName,omitempty"`
	InstanceID    string  `json:"instanceId"`
	ProfilePicURL *string `json:"profilePicUrl,omitempty"`
}

// SaveContact inserts or updates a contact.
func (s *Store) SaveContact(ctx context.Context, c Contact) error {
	_, err := s.pool.Exec(ctx, `INSERT INTO "Contact" AS c ("id", "remoteJid", "pushName", "profilePicUrl", "instanceId") VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT ("remoteJid", "instanceId") DO UPDATE SET "pushName" = COALESCE($3, c."pushName"),
			"profilePicUrl" = COALESCE($4, c."profilePicUrl"), "updatedAt" = now() AT TIME ZONE 'utc'`,
		newID(), c.RemoteJID, c.PushName, c.ProfilePicURL, c.InstanceID)
	if err != nil {
		return fmt.Errorf("save contact: %w", err)
	}
	return nil
}

// SaveChat makes sure that the chat exists and tells whether it did before.
func (s *Store) SaveChat(ctx context.Context, instanceID, remoteJID string) (existed bool, err error) {
	tag, err := s.pool.Exec(ctx, `INSERT INTO "Chat" ("id", "remoteJid", "instanceId") SELECT $1, $2::varchar, $3
		WHERE NOT EXISTS (SELECT FROM "Chat" WHERE "remoteJid" = $2 AND "instanceId" = $3)`, newID(), remoteJID, instanceID)
	if err != nil {
		return false, fmt.Errorf("save chat: %w", err)
	}
	return tag.RowsAffected() == 0, nil
}

// SaveOnWhatsApp remembers that a number was found on WhatsApp.
func (s *Store) SaveOnWhatsApp(ctx context.Context, remoteJID string) error {
	_, err := s.pool.Exec(ctx, `INSERT INTO "IsOnWhatsapp" ("id", "remoteJid", "jidOptions") VALUES ($1, $2::varchar, $2::varchar)
		ON CONFLICT ("remoteJid") DO UPDATE SET "updatedAt" = now() AT TIME ZONE 'utc'`, newID(), remoteJID)
	if err != nil {
		return fmt.Errorf("remember number: %w", err)
	}
	return nil
}
