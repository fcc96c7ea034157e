package standin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// change is one entry of changed_attributes.
type change struct {
	Key      string `json:"key"`
	Previous any    `json:"previous"`
	Current  any    `json:"current"`
}

// event is what an EventDispatcherJob carries: names and ids only. The payload is made when the job runs, so it shows
// the rows of that moment, as upstream's does.
type event struct {
	Name           string          `json:"name"`
	ConversationID int64           `json:"conversation_id,omitempty"`
	MessageID      int64           `json:"message_id,omitempty"`
	ContactID      int64           `json:"contact_id,omitempty"`
	Changes        []change        `json:"changes,omitempty"`
	Typing         json.RawMessage `json:"typing,omitempty"`
}

// emit enqueues events after their transaction committed. A failure is logged, not returned: upstream's commit hooks
// cannot undo the commit either, and the event is lost. That is why the receiver must poll as well.
func (a *App) emit(ctx context.Context, events ...event) {
	for _, e := range events {
		if err := a.enqueue(ctx, "EventDispatcherJob", "critical", e); err != nil {
			a.log.ErrorContext(ctx, "event lost", "event", e.Name, "err", err)
		}
	}
}

var botEvents = []string{"conversation_resolved", "conversation_opened", "conversation_status_changed", "conversation_updated", "message_created", "message_updated"}

// botOnly are never sent to account and inbox webhooks.
var botOnly = []string{"conversation_resolved", "conversation_opened"}

// dispatch turns an event into webhook jobs, one per sink.
func (a *App) dispatch(ctx context.Context, e event) error {
	payload, conv, err := a.payload(ctx, e)
	if errors.Is(err, pgx.ErrNoRows) || (err == nil && payload == nil) {
		return nil // deleted meanwhile, or an activity message
	}
	if err != nil {
		return err
	}
	payload["event"] = e.Name
	raw, err := json.Marshal(payload)
	if err != nil {
		return fmt.Errorf("encode payload of %s: %w", e.Name, err)
	}
	if err := a.redis.Publish(ctx, fmt.Sprintf("%saccount_%d", cablePrefix, conv.AccountID), raw).Err(); err != nil {
		a.log.WarnContext(ctx, "live update not published", "event", e.Name, "err", err)
	}
	var failed []error
	if !slices.Contains(botOnly, e.Name) {
		failed = append(failed, a.toAccountHooks(ctx, conv.AccountID, e.Name, raw))
		if conv.InboxID != 0 {
			failed = append(failed, a.toInboxHook(ctx, conv.InboxID, raw))
		}
	}
	if conv.InboxID != 0 && slices.Contains(botEvents, e.Name) {
		failed = append(failed, a.toBots(ctx, conv, raw))
	}
	return errors.Join(failed...)
}

func (a *App) toAccountHooks(ctx context.Context, account int64, name string, raw json.RawMessage) error {
	hooks, err := collect[webhook](ctx, a.db, `SELECT * FROM webhooks WHERE account_id = $1 AND $2 = ANY (subscriptions) ORDER BY id`, account, name)
	if err != nil {
		return err
	}
	for _, h := range hooks {
		if err := a.enqueueWebhook(ctx, h.URL, accountWebhook, h.Secret, raw); err != nil {
			return err
		}
	}
	return nil
}

func (a *App) toInboxHook(ctx context.Context, inboxID int64, raw json.RawMessage) error {
	in, err := findInbox(ctx, a.db, inboxID)
	if err != nil {
		return err
	}
	if in.WebhookURL == nil || *in.WebhookURL == "" {
		return nil
	}
	return a.enqueueWebhook(ctx, *in.WebhookURL, apiInboxWebhook, in.Secret, raw)
}

// toBots reaches the inbox's bot and the conversation's assigned bot, once each.
func (a *App) toBots(ctx context.Context, conv conversation, raw json.RawMessage) error {
	bots, err := collect[agentBot](ctx, a.db, `SELECT `+botColumns+` FROM agent_bots b
		WHERE b.id = $2 OR b.id IN (SELECT agent_bot_id FROM agent_bot_inboxes WHERE inbox_id = $1) ORDER BY b.id`,
		conv.InboxID, conv.AssigneeAgentBotID)
	if err != nil {
		return err
	}
	for _, b := range bots {
		if b.OutgoingURL == nil || *b.OutgoingURL == "" {
			continue
		}
		if err := a.enqueueWebhook(ctx, *b.OutgoingURL, agentBotWebhook, b.Secret, raw); err != nil {
			return err
		}
	}
	return nil
}

// payload builds the body; the conversation it returns names account and inbox. A nil map means: not sent.
func (a *App) payload(ctx context.Context, e event) (map[string]any, conversation, error) {
	switch {
	case e.ContactID != 0:
		return a.contactPayload(ctx, e)
	case e.MessageID != 0:
		m, err := findMessage(ctx, a.db, e.MessageID)
		if err != nil || m.MessageType == typeActivity {
			return nil, conversation{}, err
		}
		conv, err := findConversation(ctx, a.db, m.ConversationID)
		if err != nil {
			return nil, conversation{}, err
		}
		body, err := a.messageWebhookData(ctx, m, conv)
		return body, conv, err
	}
	conv, err := findConversation(ctx, a.db, e.ConversationID)
	if err != nil {
		return nil, conversation{}, err
	}
	body, err := a.conversationWebhookData(ctx, conv)
	if err != nil {
		return nil, conversation{}, err
	}
	switch e.Name {
	case "conversation_updated", "conversation_status_changed":
		body["changed_attributes"] = changedAttributes(e.Changes)
	case "conversation_typing_on", "conversation_typing_off":
		typing := map[string]any{}
		if err := json.Unmarshal(e.Typing, &typing); err != nil {
			return nil, conversation{}, fmt.Errorf("decode typing event: %w", err)
		}
		typing["conversation"] = body
		body = typing
	}
	return body, conv, nil
}

func (a *App) contactPayload(ctx context.Context, e event) (map[string]any, conversation, error) {
	c, err := findContact(ctx, a.db, e.ContactID)
	if err != nil {
		return nil, conversation{}, err
	}
	body, err := a.contactWebhookData(ctx, c)
	if err != nil {
		return nil, conversation{}, err
	}
	if e.Name == "contact_updated" {
		body["changed_attributes"] = changedAttributes(e.Changes)
	}
	return body, conversation{AccountID: c.AccountID}, nil
}

// changedAttributes is an array of one-key objects, or nil.
func changedAttributes(changes []change) any {
	if len(changes) == 0 {
		return nil
	}
	out := make([]map[string]any, len(changes))
	for i, c := range changes {
		out[i] = map[string]any{c.Key: map[string]any{"previous_value": c.Previous, "current_value": c.Current}}
	}
	return out
}

// conversationWebhookData is upstream's EventDataPresenter plus account.
func (a *App) conversationWebhookData(ctx context.Context, c conversation) (map[string]any, error) {
	in, err := findInbox(ctx, a.db, c.InboxID)
	if err != nil {
		return nil, err
	}
	sender, err := findContact(ctx, a.db, c.ContactID)
	if err != nil {
		return nil, err
	}
	link, err := one[contactInbox](ctx, a.db, `SELECT * FROM contact_inboxes WHERE id = $1`, c.ContactInboxID)
	if err != nil {
		return nil, err
	}
	assignee, assigneeType, err := a.assignee(ctx, c)
	if err != nil {
		return nil, err
	}
	last, err := a.lastMessage(ctx, c)
	if err != nil {
		return nil, err
	}
	unread, err := unreadCount(ctx, a.db, c)
	if err != nil {
		return nil, err
	}
	account, err := accountData(ctx, a.db, c.AccountID)
	if err != nil {
		return nil, err
	}
	canReply, err := a.canReply(ctx, c, in)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"id": c.DisplayID, "inbox_id": c.InboxID, "status": statusNames[c.Status], "can_reply": canReply,
		"channel": channelAPI, "contact_inbox": link.json(), "messages": last, "labels": c.Labels,
		"meta": map[string]any{"sender": contactPush(sender), "assignee": assignee, "assignee_type": assigneeType, "team": nil,
			"hmac_verified": link.HMACVerified},
		"custom_attributes": c.CustomAttributes, "additional_attributes": c.AdditionalAttributes,
		"snoozed_until": c.SnoozedUntil, "unread_count": unread, "first_reply_created_at": c.FirstReplyCreatedAt,
		"priority": c.priorityName(), "waiting_since": unix(c.WaitingSince), "agent_last_seen_at": unix(c.AgentLastSeenAt),
		"contact_last_seen_at": unix(c.ContactLastSeenAt), "last_activity_at": c.LastActivityAt.Unix(),
		"timestamp": c.LastActivityAt.Unix(), "created_at": c.CreatedAt.Unix(), "updated_at": unixFloat(c.UpdatedAt), "account": account,
	}, nil
}

// lastMessage is the newest message that is neither activity nor private, in the shape of live updates.
func (a *App) lastMessage(ctx context.Context, c conversation) ([]map[string]any, error) {
	m, err := one[message](ctx, a.db, `SELECT * FROM messages WHERE conversation_id = $1 AND message_type <> 2 AND NOT private
		ORDER BY created_at DESC, id DESC LIMIT 1`, c.ID)
	if errors.Is(err, pgx.ErrNoRows) {
		return []map[string]any{}, nil
	}
	if err != nil {
		return nil, err
	}
	push, err := a.messagePush(ctx, m, c)
	if err != nil {
		return nil, err
	}
	return []map[string]any{push}, nil
}

// messageWebhookData has the message type as a word; neither status nor echo_id is in it.
func (a *App) messageWebhookData(ctx context.Context, m message, c conversation) (map[string]any, error) {
	conv, err := a.conversationWebhookData(ctx, c)
	if err != nil {
		return nil, err
	}
	sender, err := a.senderWebhookData(ctx, m)
	if err != nil {
		return nil, err
	}
	in, err := findInbox(ctx, a.db, m.InboxID)
	if err != nil {
		return nil, err
	}
	files, err := a.attachments(ctx, m)
	if err != nil {
		return nil, err
	}
	out := map[string]any{
		"id": m.ID, "content": m.Content, "content_type": m.ContentType, "content_attributes": m.ContentAttributes,
		"additional_attributes": m.AdditionalAttributes, "message_type": messageTypes[m.MessageType], "private": m.Private,
		"created_at": isoTime(m.CreatedAt), "source_id": m.SourceID, "account": conv["account"],
		"inbox": map[string]any{"id": in.ID, "name": in.Name}, "sender": sender, "conversation": conv,
	}
	if files != nil {
		out["attachments"] = files
	}
	return out, nil
}

func unix(t *time.Time) int64 {
	if t == nil {
		return 0
	}
	return t.Unix()
}

func isoTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
