package standin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// channelAPI is the one channel type the stand-in has.
const channelAPI = "Channel::Api"

// Message types and conversation states have upstream's numbers.
const (
	typeIncoming = 0
	typeOutgoing = 1
	typeActivity = 2

	statusOpen     = 0
	statusResolved = 1
	statusPending  = 2
	statusSnoozed  = 3
)

var (
	messageTypes    = []string{"incoming", "outgoing", "activity", "template"}
	messageStatuses = []string{"sent", "delivered", "read", "failed"}
	statusNames     = []string{"open", "resolved", "pending", "snoozed"}
	priorityNames   = []string{"low", "medium", "high", "urgent"}
)

type attributes = map[string]any

type inbox struct {
	ID, AccountID, ChannelID                         int64
	Name                                             string
	GreetingEnabled                                  bool
	GreetingMessage                                  *string
	EnableAutoAssignment, AllowMessagesAfterResolved bool
	LockToSingleConversation                         bool
	CreatedAt                                        time.Time
	WebhookURL                                       *string
	Identifier, HMACToken                            string
	HMACMandatory                                    bool
	Secret                                           string
	AdditionalAttributes                             attributes
}

const inboxQuery = `SELECT i.*, c.webhook_url, c.identifier, c.hmac_token, c.hmac_mandatory, c.secret, c.additional_attributes
	FROM inboxes i JOIN channel_api c ON c.id = i.channel_id `

type agentBot struct {
	ID                       int64
	AccountID                *int64
	Name                     string
	Description, OutgoingURL *string
	BotType                  string
	BotConfig                attributes
	Secret                   string
	AccessToken              string
}

const botColumns = `b.*, (SELECT token FROM access_tokens t WHERE t.owner_type = 'AgentBot' AND t.owner_id = b.id) AS access_token`

type webhook struct {
	ID, AccountID int64
	InboxID       *int64
	Name          *string
	URL           string
	Subscriptions []string
	Secret        string
}

type contact struct {
	ID, AccountID                          int64
	Name                                   string
	Email, PhoneNumber, Identifier         *string
	Blocked                                bool
	CustomAttributes, AdditionalAttributes attributes
	LastActivityAt                         *time.Time
	CreatedAt, UpdatedAt                   time.Time
}

type contactInbox struct {
	ID, ContactID, InboxID int64
	SourceID               string
	HMACVerified           bool
	PubsubToken            string
	CreatedAt, UpdatedAt   time.Time
}

type conversation struct {
	ID, AccountID, DisplayID               int64
	UUID                                   string
	InboxID, ContactID, ContactInboxID     int64
	Status                                 int
	Priority                               *int
	AssigneeID, AssigneeAgentBotID         *int64
	Labels                                 []string
	CustomAttributes, AdditionalAttributes attributes
	SnoozedUntil, WaitingSince             *time.Time
	FirstReplyCreatedAt, AgentLastSeenAt   *time.Time
	ContactLastSeenAt                      *time.Time
	LastActivityAt, CreatedAt, UpdatedAt   time.Time
}

type message struct {
	ID, AccountID, InboxID, ConversationID  int64
	MessageType, Status                     int
	Content                                 *string
	ContentType                             string
	ContentAttributes, AdditionalAttributes attributes
	Private                                 bool
	SourceID, SenderType                    *string
	SenderID                                *int64
	CreatedAt, UpdatedAt                    time.Time
}

type user struct {
	ID                             int64
	Type                           *string
	Email, Name, EncryptedPassword string
	ConfirmedAt                    *time.Time
	PubsubToken                    string
	Tokens                         map[string]session
	CreatedAt                      time.Time
	AccessToken                    string
}

const userQuery = `SELECT u.*, (SELECT token FROM access_tokens t WHERE t.owner_type = 'User' AND t.owner_id = u.id) AS access_token FROM users u `

// session is one device token of a user.
type session struct {
	Token  string `json:"token"` // sha256 hex
	Expiry int64  `json:"expiry"`
}

// collect reads all rows into structs by column name.
func collect[T any](ctx context.Context, q querier, sql string, args ...any) ([]T, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByName[T])
	if err != nil {
		return nil, fmt.Errorf("read rows: %w", err)
	}
	return out, nil
}

// one reads exactly one row; pgx.ErrNoRows, wrapped, when there is none.
func one[T any](ctx context.Context, q querier, sql string, args ...any) (T, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		var zero T
		return zero, fmt.Errorf("query: %w", err)
	}
	out, err := pgx.CollectOneRow(rows, pgx.RowToStructByName[T])
	if err != nil {
		return out, fmt.Errorf("read row: %w", err)
	}
	return out, nil
}

// maybe is one, with nil for no row.
func maybe[T any](ctx context.Context, q querier, sql string, args ...any) (*T, error) {
	got, err := one[T](ctx, q, sql, args...)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &got, nil
}

func findInbox(ctx context.Context, q querier, id int64) (inbox, error) {
	return one[inbox](ctx, q, inboxQuery+`WHERE i.id = $1`, id)
}

func findMessage(ctx context.Context, q querier, id int64) (message, error) {
	return one[message](ctx, q, `SELECT * FROM messages WHERE id = $1`, id)
}

func findConversation(ctx context.Context, q querier, id int64) (conversation, error) {
	return one[conversation](ctx, q, `SELECT * FROM conversations WHERE id = $1`, id)
}

func findContact(ctx context.Context, q querier, id int64) (contact, error) {
	return one[contact](ctx, q, `SELECT * FROM contacts WHERE id = $1`, id)
}

func accountData(ctx context.Context, q querier, id int64) (map[string]any, error) {
	var name string
	if err := q.QueryRow(ctx, `SELECT name FROM accounts WHERE id = $1`, id).Scan(&name); err != nil {
		return nil, fmt.Errorf("read account %d: %w", id, err)
	}
	return map[string]any{"id": id, "name": name}, nil
}
