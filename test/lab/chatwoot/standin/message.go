package standin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
)

// maxContent is counted in characters.
const maxContent = 150_000

var contentTypes = []string{"text", "input_text", "input_textarea", "input_email", "input_select", "cards", "form", "article", "incoming_email",
	"input_csat", "integrations", "sticker", "voice_call"}

// json is the API's shape: message_type is a number, created_at unix seconds.
func (a *App) messageJSON(ctx context.Context, m message, conv conversation) (map[string]any, error) {
	sender, err := a.senderPush(ctx, m)
	if err != nil {
		return nil, err
	}
	out := map[string]any{
		"id": m.ID, "content": m.Content, "inbox_id": m.InboxID, "conversation_id": conv.DisplayID, "message_type": m.MessageType,
		"content_type": m.ContentType, "status": messageStatuses[m.Status], "content_attributes": m.ContentAttributes,
		"created_at": m.CreatedAt.Unix(), "private": m.Private, "source_id": m.SourceID,
	}
	if sender != nil {
		out["sender"] = sender
	}
	files, err := a.attachments(ctx, m)
	if err != nil {
		return nil, err
	}
	if files != nil {
		out["attachments"] = files
	}
	return out, nil
}

// messagePush is the shape of live updates, which conversation payloads carry in messages[].
func (a *App) messagePush(ctx context.Context, m message, conv conversation) (map[string]any, error) {
	out, err := a.messageJSON(ctx, m, conv)
	if err != nil {
		return nil, err
	}
	unread, err := unreadCount(ctx, a.db, conv)
	if err != nil {
		return nil, err
	}
	var source string
	if err := a.db.QueryRow(ctx, `SELECT source_id FROM contact_inboxes WHERE id = $1`, conv.ContactInboxID).Scan(&source); err != nil {
		return nil, fmt.Errorf("read source id: %w", err)
	}
	out["account_id"], out["updated_at"] = m.AccountID, isoTime(m.UpdatedAt)
	out["sender_type"], out["sender_id"] = m.SenderType, m.SenderID
	out["external_source_ids"], out["additional_attributes"] = map[string]any{}, m.AdditionalAttributes
	out["processed_message_content"], out["sentiment"] = m.Content, map[string]any{}
	out["conversation"] = map[string]any{"assignee_id": conv.AssigneeID, "unread_count": unread, "last_activity_at": conv.LastActivityAt.Unix(),
		"contact_inbox": map[string]any{"source_id": source}}
	return out, nil
}

func (a *App) senderPush(ctx context.Context, m message) (any, error) {
	if m.SenderType == nil || m.SenderID == nil {
		return nil, nil
	}
	switch *m.SenderType {
	case "Contact":
		c, err := findContact(ctx, a.db, *m.SenderID)
		return contactPush(c), err
	case "AgentBot":
		b, err := maybe[agentBot](ctx, a.db, `SELECT `+botColumns+` FROM agent_bots b WHERE b.id = $1`, *m.SenderID)
		if err != nil || b == nil {
			return nil, err
		}
		return map[string]any{"id": b.ID, "name": b.Name, "avatar_url": "", "type": "agent_bot"}, nil
	}
	u, err := maybe[user](ctx, a.db, userQuery+`WHERE u.id = $1`, *m.SenderID)
	if err != nil || u == nil {
		return nil, err
	}
	return userPush(u), nil
}

// senderWebhookData: user and bot carry a type, a contact does not.
func (a *App) senderWebhookData(ctx context.Context, m message) (any, error) {
	if m.SenderType == nil || m.SenderID == nil {
		return nil, nil
	}
	switch *m.SenderType {
	case "Contact":
		c, err := findContact(ctx, a.db, *m.SenderID)
		if err != nil {
			return nil, err
		}
		return a.contactWebhookData(ctx, c)
	case "AgentBot":
		b, err := maybe[agentBot](ctx, a.db, `SELECT `+botColumns+` FROM agent_bots b WHERE b.id = $1`, *m.SenderID)
		if err != nil || b == nil {
			return nil, err
		}
		return map[string]any{"id": b.ID, "name": b.Name, "type": "agent_bot"}, nil
	}
	u, err := maybe[user](ctx, a.db, userQuery+`WHERE u.id = $1`, *m.SenderID)
	if err != nil || u == nil {
		return nil, err
	}
	return map[string]any{"id": u.ID, "name": u.Name, "email": u.Email, "type": "user"}, nil
}

// listMessages follows upstream's MessageFinder: the cursor is the id, the order is by creation.
func listMessages(ctx context.Context, c *call) (any, error) {
	conv, err := c.findConversation(ctx)
	if err != nil {
		return nil, err
	}
	sql := `SELECT * FROM messages WHERE conversation_id = $1`
	if c.text("filter_internal_messages") != "" {
		sql += ` AND NOT (private OR message_type = 2)`
	}
	after, before := c.text("after") != "", c.text("before") != ""
	const newestFirst, oldestFirst = ` ORDER BY created_at DESC, id DESC`, ` ORDER BY created_at, id`
	var found []message
	switch {
	case after && before:
		found, err = collect[message](ctx, c.app.db, sql+` AND id >= $2 AND id < $3`+oldestFirst+` LIMIT 1000`, conv.ID, c.number("after"), c.number("before"))
	case before:
		found, err = collect[message](ctx, c.app.db, sql+` AND id < $2`+newestFirst+` LIMIT 20`, conv.ID, c.number("before"))
		slices.Reverse(found)
	case after:
		found, err = collect[message](ctx, c.app.db, sql+` AND id > $2`+oldestFirst+` LIMIT 100`, conv.ID, c.number("after"))
	default:
		found, err = collect[message](ctx, c.app.db, sql+newestFirst+` LIMIT 20`, conv.ID)
		slices.Reverse(found)
	}
	if err != nil {
		return nil, err
	}
	list := make([]any, len(found))
	for i, m := range found {
		if list[i], err = c.app.messageJSON(ctx, m, conv); err != nil {
			return nil, err
		}
	}
	who, err := findContact(ctx, c.app.db, conv.ContactID)
	meta := map[string]any{"labels": conv.Labels, "additional_attributes": conv.AdditionalAttributes, "contact": who.json(),
		"agent_last_seen_at": conv.AgentLastSeenAt, "assignee_last_seen_at": nil}
	return map[string]any{"meta": meta, "payload": list}, err
}

// createMessage answers 422 for whatever goes wrong inside, as upstream's rescue does.
func createMessage(ctx context.Context, c *call) (any, error) {
	conv, err := c.findConversation(ctx)
	if err != nil {
		return nil, err
	}
	var m message
	var events []event
	err = c.app.inTx(ctx, func(tx pgx.Tx) error {
		var err error
		m, events, err = c.insertMessage(ctx, tx, conv.ID, c.params)
		return err
	})
	var record *recordInvalid
	var refused *argumentError
	if errors.As(err, &record) || errors.As(err, &refused) {
		return nil, unprocessable(err.Error())
	}
	if err != nil {
		return nil, err
	}
	c.app.emit(ctx, events...)
	out, err := c.app.messageJSON(ctx, m, conv)
	if err == nil && c.text("echo_id") != "" {
		out["echo_id"] = c.text("echo_id")
	}
	return out, err
}

type argumentError struct{ message string }

func (e *argumentError) Error() string { return e.message }

// messageFrom reads and validates the parameters of a new message.
func (c *call) messageFrom(p params, conv conversation) (message, error) {
	m := message{AccountID: conv.AccountID, InboxID: conv.InboxID, ConversationID: conv.ID, MessageType: typeOutgoing, ContentType: "text",
		AdditionalAttributes: attributes{}, SourceID: p.optional("source_id"), Private: p.flag("private", false)}
	if name := p.text("message_type"); name != "" {
		if m.MessageType = slices.Index(messageTypes, name); m.MessageType < 0 {
			return m, &argumentError{fmt.Sprintf("'%s' is not a valid message_type", name)}
		}
	}
	if name := p.text("content_type"); name != "" {
		if m.ContentType = name; !slices.Contains(contentTypes, name) {
			return m, &argumentError{fmt.Sprintf("'%s' is not a valid content_type", name)}
		}
	}
	if p.has("content") && p["content"] != nil {
		text := p.text("content")
		if utf8.RuneCountInString(text) > maxContent {
			return m, invalid("content", "Content is too long (maximum is 150000 characters)")
		}
		text = strings.ReplaceAll(text, "\x00", "")
		m.Content = &text
	}
	m.ContentAttributes = contentAttributes(p)
	if m.MessageType == typeIncoming {
		m.SenderType, m.SenderID = ptr("Contact"), &conv.ContactID
	} else {
		c.setSender(&m)
	}
	return m, nil
}

func (c *call) setSender(m *message) {
	if c.bot != nil {
		m.SenderType, m.SenderID = ptr("AgentBot"), &c.bot.ID
	} else {
		m.SenderType, m.SenderID = ptr("User"), &c.user.ID
	}
}

func ptr[T any](v T) *T { return &v }

// contentAttributes may also be a JSON text, which is how multipart requests send them.
func contentAttributes(p params) attributes {
	given := p.attributes("content_attributes")
	if raw := p.text("content_attributes"); raw != "" {
		var decoded map[string]any
		if json.Unmarshal([]byte(raw), &decoded) == nil {
			given = decoded
		}
	}
	out := orEmpty(given)
	if at := p.text("external_created_at"); at != "" {
		out["external_created_at"] = at
	}
	return out
}

// insertMessage writes the message and what it does to its conversation, in the caller's transaction. The events are to
// be emitted after the commit.
func (c *call) insertMessage(ctx context.Context, tx querier, conversationID int64, p params) (message, []event, error) {
	before, err := lockConversation(ctx, tx, conversationID)
	if err != nil {
		return message{}, nil, err
	}
	m, err := c.messageFrom(p, before)
	if err != nil {
		return m, nil, err
	}
	files, err := p.uploads()
	if err != nil {
		return m, nil, err
	}
	var recent int
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM messages WHERE conversation_id = $1 AND created_at >= now() - interval '1 minute'`, conversationID).Scan(&recent); err != nil {
		return m, nil, fmt.Errorf("count messages: %w", err)
	}
	if recent >= c.app.env.MessagesPerMinute {
		return m, nil, invalid("base", "Too many messages")
	}
	if err := storeMessage(ctx, tx, &m); err != nil {
		return m, nil, err
	}
	if err := storeAttachments(ctx, tx, m, files); err != nil {
		return m, nil, err
	}
	if m.MessageType == typeIncoming {
		if err := touchContact(ctx, tx, before.ContactID, m.CreatedAt); err != nil {
			return m, nil, err
		}
	}
	after := before
	if err := c.applyMessage(ctx, tx, m, &after); err != nil {
		return m, nil, err
	}
	events, err := saveConversation(ctx, tx, before, &after)
	return m, append(events, event{Name: "message_created", MessageID: m.ID}), err
}

func storeMessage(ctx context.Context, q querier, m *message) error {
	err := q.QueryRow(ctx, `INSERT INTO messages (account_id, inbox_id, conversation_id, message_type, content, content_type, content_attributes,
		additional_attributes, private, source_id, sender_type, sender_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
		RETURNING id, created_at, updated_at`, m.AccountID, m.InboxID, m.ConversationID, m.MessageType, m.Content, m.ContentType, m.ContentAttributes,
		m.AdditionalAttributes, m.Private, m.SourceID, m.SenderType, m.SenderID).Scan(&m.ID, &m.CreatedAt, &m.UpdatedAt)
	if err != nil {
		return fmt.Errorf("store message: %w", err)
	}
	return nil
}

// applyMessage: a customer's message reopens (pending with a bot) and starts the waiting time; a public answer of a user
// ends it and counts as the first reply.
func (c *call) applyMessage(ctx context.Context, q querier, m message, conv *conversation) error {
	conv.LastActivityAt = m.CreatedAt
	switch {
	case m.MessageType == typeIncoming:
		if conv.WaitingSince == nil {
			conv.WaitingSince = &m.CreatedAt
		}
		if conv.Status == statusSnoozed {
			conv.Status = statusOpen
		}
		if conv.Status == statusResolved {
			var bot, blocked bool
			err := q.QueryRow(ctx, `SELECT EXISTS (SELECT FROM agent_bot_inboxes WHERE inbox_id = $1), (SELECT blocked FROM contacts WHERE id = $2)`,
				conv.InboxID, conv.ContactID).Scan(&bot, &blocked)
			if err != nil {
				return fmt.Errorf("read inbox state: %w", err)
			}
			switch {
			case blocked:
			case bot:
				conv.Status = statusPending
			default:
				conv.Status = statusOpen
			}
		}
	case m.MessageType == typeOutgoing && !m.Private && *m.SenderType == "User":
		conv.WaitingSince = nil
		if conv.FirstReplyCreatedAt == nil {
			conv.FirstReplyCreatedAt = &m.CreatedAt
		}
	}
	return nil
}

// createActivity is the job that writes a note about the conversation. It sends message_created, which no webhook gets.
func (a *App) createActivity(ctx context.Context, n activity) error {
	conv, err := findConversation(ctx, a.db, n.ConversationID)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	m := message{AccountID: conv.AccountID, InboxID: conv.InboxID, ConversationID: conv.ID, MessageType: typeActivity, ContentType: "text",
		Content: &n.Content, ContentAttributes: attributes{}, AdditionalAttributes: attributes{}}
	if err := storeMessage(ctx, a.db, &m); err != nil {
		return err
	}
	// Every message is activity, also this one: set_conversation_activity.
	if _, err := a.db.Exec(ctx, `UPDATE conversations SET last_activity_at = $2, updated_at = now() WHERE id = $1`, conv.ID, m.CreatedAt); err != nil {
		return fmt.Errorf("note activity: %w", err)
	}
	a.emit(ctx, event{Name: "message_created", MessageID: m.ID})
	return nil
}

func (c *call) findMessage(ctx context.Context) (message, conversation, error) {
	conv, err := c.findConversation(ctx)
	if err != nil {
		return message{}, conv, err
	}
	m, err := one[message](ctx, c.app.db, `SELECT * FROM messages WHERE conversation_id = $1 AND id = $2`, conv.ID, c.id("message"))
	return m, conv, err
}

// patchMessage changes the status; every conversation here is in an API inbox, so upstream's 403 for others cannot occur.
func patchMessage(ctx context.Context, c *call) (any, error) {
	m, conv, err := c.findMessage(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.app.updateMessageStatus(ctx, m.ID, c.text("status"), c.text("external_error")); err != nil {
		return nil, err
	}
	if m, err = findMessage(ctx, c.app.db, m.ID); err != nil {
		return nil, err
	}
	return c.app.messageJSON(ctx, m, conv)
}

// updateMessageStatus ignores an unknown status and read→delivered, and accepts every other change. external_error is
// kept with failed only. message_updated goes out when something changed.
func (a *App) updateMessageStatus(ctx context.Context, id int64, name, externalError string) error {
	status := slices.Index(messageStatuses, name)
	return a.changeMessage(ctx, id, func(m *message) {
		if status < 0 || (messageStatuses[m.Status] == "read" && name == "delivered") {
			return
		}
		m.Status = status
		if name == "failed" && externalError != "" {
			m.ContentAttributes["external_error"] = externalError
		} else {
			delete(m.ContentAttributes, "external_error")
		}
	})
}

func (a *App) changeMessage(ctx context.Context, id int64, fn func(*message)) error {
	changed := false
	err := a.inTx(ctx, func(tx pgx.Tx) error {
		m, err := one[message](ctx, tx, `SELECT * FROM messages WHERE id = $1 FOR UPDATE`, id)
		if err != nil {
			return err
		}
		before := m
		before.ContentAttributes = merged(m.ContentAttributes, nil)
		m.ContentAttributes = merged(m.ContentAttributes, nil)
		fn(&m)
		changed = len(differences([]change{{"status", before.Status, m.Status}, {"content", before.Content, m.Content},
			{"content_attributes", before.ContentAttributes, m.ContentAttributes}})) > 0
		if !changed {
			return nil
		}
		_, err = tx.Exec(ctx, `UPDATE messages SET status = $2, content = $3, content_type = $4, content_attributes = $5, updated_at = clock_timestamp() WHERE id = $1`,
			m.ID, m.Status, m.Content, m.ContentType, m.ContentAttributes)
		if err != nil {
			return fmt.Errorf("update message: %w", err)
		}
		return nil
	})
	if err == nil && changed {
		a.emit(ctx, event{Name: "message_updated", MessageID: id})
	}
	return err
}

// deleteMessage keeps the row: its content is replaced and it is marked deleted.
func deleteMessage(ctx context.Context, c *call) (any, error) {
	m, conv, err := c.findMessage(ctx)
	if err != nil {
		return nil, err
	}
	err = c.app.changeMessage(ctx, m.ID, func(m *message) {
		m.Content, m.ContentType, m.ContentAttributes = ptr("This message was deleted"), "text", attributes{"deleted": true}
	})
	if err != nil {
		return nil, err
	}
	if _, err := c.app.db.Exec(ctx, `DELETE FROM attachments WHERE message_id = $1`, m.ID); err != nil {
		return nil, fmt.Errorf("delete attachments: %w", err)
	}
	if m, err = findMessage(ctx, c.app.db, m.ID); err != nil {
		return nil, err
	}
	return c.app.messageJSON(ctx, m, conv)
}

// retryMessage is the agent's Retry: status sent, attributes emptied, and only message_updated is sent.
func retryMessage(ctx context.Context, c *call) (any, error) {
	m, conv, err := c.findMessage(ctx)
	if err != nil {
		return nil, err
	}
	err = c.app.changeMessage(ctx, m.ID, func(m *message) { m.Status, m.ContentAttributes = 0, attributes{} })
	if err != nil {
		return nil, err
	}
	if m, err = findMessage(ctx, c.app.db, m.ID); err != nil {
		return nil, err
	}
	return c.app.messageJSON(ctx, m, conv)
}

// toggleTyping tells the sinks that somebody is or is not typing.
func toggleTyping(ctx context.Context, c *call) (any, error) {
	conv, err := c.findConversation(ctx)
	if err != nil {
		return nil, err
	}
	state := c.text("typing_status")
	if state != "on" && state != "off" {
		return headOK{}, nil
	}
	var who any
	if c.bot != nil {
		who = map[string]any{"id": c.bot.ID, "name": c.bot.Name, "type": "agent_bot"}
	} else {
		who = map[string]any{"id": c.user.ID, "name": c.user.Name, "email": c.user.Email, "type": "user"}
	}
	raw, err := json.Marshal(map[string]any{"user": who, "is_private": c.flag("is_private", false)})
	if err != nil {
		return nil, fmt.Errorf("encode typing event: %w", err)
	}
	c.app.emit(ctx, event{Name: "conversation_typing_" + state, ConversationID: conv.ID, Typing: raw})
	return headOK{}, nil
}
