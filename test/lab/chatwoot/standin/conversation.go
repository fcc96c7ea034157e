package standin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

const conversationsPerPage = 25

// conversationOrders are those of upstream's SORT_OPTIONS that need nothing this stand-in lacks; any other sort_by is the first.
var conversationOrders = map[string]string{
	"last_activity_at_desc": "last_activity_at DESC, id DESC", "last_activity_at_asc": "last_activity_at, id",
	"created_at_desc": "created_at DESC, id DESC", "created_at_asc": "created_at, id",
}

func (c conversation) priorityName() any {
	if c.Priority == nil {
		return nil
	}
	return priorityNames[*c.Priority]
}

// findConversation looks by display id, the id of every path; an agent must be a member of the inbox.
func (c *call) findConversation(ctx context.Context) (conversation, error) {
	conv, err := one[conversation](ctx, c.app.db, `SELECT * FROM conversations WHERE account_id = $1 AND display_id = $2`, c.account, c.id("id"))
	if err != nil || c.role != "agent" {
		return conv, err
	}
	_, err = c.visibleInbox(ctx, conv.InboxID)
	return conv, err
}

func unreadCount(ctx context.Context, q querier, c conversation) (int, error) {
	var n int
	err := q.QueryRow(ctx, `SELECT count(*) FROM (SELECT 1 FROM messages WHERE conversation_id = $1 AND message_type = 0
		AND ($2::timestamptz IS NULL OR created_at > $2) LIMIT 10) m`, c.ID, c.AgentLastSeenAt).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count unread: %w", err)
	}
	return n, nil
}

// canReply is false after the inbox's agent_reply_time_window (hours since the last incoming message).
func (a *App) canReply(ctx context.Context, c conversation, in inbox) (bool, error) {
	hours, ok := in.AdditionalAttributes["agent_reply_time_window"].(float64)
	if !ok {
		return true, nil
	}
	var open bool
	err := a.db.QueryRow(ctx, `SELECT coalesce(max(created_at) > now() - make_interval(hours => $2), false) FROM messages
		WHERE conversation_id = $1 AND message_type = 0`, c.ID, int(hours)).Scan(&open)
	if err != nil {
		return false, fmt.Errorf("read reply window: %w", err)
	}
	return open, nil
}

// conversationJSON is the API's shape; webhooks have another one (conversationWebhookData).
func (c *call) conversationJSON(ctx context.Context, conv conversation) (map[string]any, error) {
	data, err := c.app.conversationWebhookData(ctx, conv)
	if err != nil {
		return nil, err
	}
	who, err := findContact(ctx, c.app.db, conv.ContactID)
	if err != nil {
		return nil, err
	}
	link, err := one[contactInbox](ctx, c.app.db, `SELECT * FROM contact_inboxes WHERE id = $1`, conv.ContactInboxID)
	if err != nil {
		return nil, err
	}
	last, err := maybe[message](ctx, c.app.db, `SELECT * FROM messages WHERE conversation_id = $1 ORDER BY created_at DESC, id DESC LIMIT 1`, conv.ID)
	if err != nil {
		return nil, err
	}
	messages := []map[string]any{}
	if last != nil {
		push, err := c.app.messagePush(ctx, *last, conv)
		if err != nil {
			return nil, err
		}
		messages = append(messages, push)
	}
	meta := map[string]any{"sender": who.json(), "channel": channelAPI, "hmac_verified": link.HMACVerified}
	if assigned, ok := data["meta"].(map[string]any); ok && assigned["assignee"] != nil {
		meta["assignee"], meta["assignee_type"] = assigned["assignee"], assigned["assignee_type"]
	}
	return map[string]any{
		"meta": meta, "id": conv.DisplayID, "messages": messages, "account_id": conv.AccountID, "uuid": conv.UUID,
		"additional_attributes": conv.AdditionalAttributes, "agent_last_seen_at": unix(conv.AgentLastSeenAt), "assignee_last_seen_at": 0,
		"can_reply": data["can_reply"], "contact_last_seen_at": unix(conv.ContactLastSeenAt), "custom_attributes": conv.CustomAttributes,
		"inbox_id": conv.InboxID, "labels": conv.Labels, "muted": false, "snoozed_until": conv.SnoozedUntil, "status": statusNames[conv.Status],
		"created_at": conv.CreatedAt.Unix(), "updated_at": unixFloat(conv.UpdatedAt), "timestamp": conv.LastActivityAt.Unix(),
		"first_reply_created_at": unix(conv.FirstReplyCreatedAt), "unread_count": data["unread_count"], "last_activity_at": conv.LastActivityAt.Unix(),
		"priority": conv.priorityName(), "waiting_since": unix(conv.WaitingSince), "sla_policy_id": nil,
	}, nil
}

func (c *call) conversationList(ctx context.Context, found []conversation) ([]any, error) {
	list := make([]any, len(found))
	for i, conv := range found {
		body, err := c.conversationJSON(ctx, conv)
		if err != nil {
			return nil, err
		}
		list[i] = body
	}
	return list, nil
}

func showConversation(ctx context.Context, c *call) (any, error) {
	conv, err := c.findConversation(ctx)
	if err != nil {
		return nil, err
	}
	return c.conversationJSON(ctx, conv)
}

// listConversations filters by status (open unless given), inbox, labels and assignee; newest activity first.
func listConversations(ctx context.Context, c *call) (any, error) {
	where, args := `account_id = $1`, []any{c.account}
	add := func(condition string, value any) {
		args = append(args, value)
		where += " AND " + strings.ReplaceAll(condition, "?", "$"+strconv.Itoa(len(args)))
	}
	if c.role == "agent" {
		add(`inbox_id IN (SELECT inbox_id FROM inbox_members WHERE user_id = ?)`, c.user.ID)
	}
	if id := c.number("inbox_id"); id != 0 {
		add(`inbox_id = ?`, id)
	}
	if labels := c.strings("labels"); len(labels) > 0 {
		add(`labels && ?`, labels)
	}
	if seconds := c.number("updated_within"); seconds > 0 {
		add(`updated_at > now() - make_interval(secs => ?)`, float64(seconds))
	}
	if err := addStatus(c, add); err != nil {
		return nil, err
	}
	var mine, unassigned, all int
	err := c.app.db.QueryRow(ctx, fmt.Sprintf(`SELECT count(*) FILTER (WHERE assignee_id = %d), count(*) FILTER (WHERE assignee_id IS NULL), count(*)
		FROM conversations WHERE %s`, c.user.ID, where), args...).Scan(&mine, &unassigned, &all)
	if err != nil {
		return nil, fmt.Errorf("count conversations: %w", err)
	}
	switch c.text("assignee_type") {
	case "me":
		add(`assignee_id = ?`, c.user.ID)
	case "unassigned":
		where += ` AND assignee_id IS NULL`
	case "assigned":
		where += ` AND assignee_id IS NOT NULL`
	}
	order, known := conversationOrders[c.text("sort_by")]
	if !known {
		order = conversationOrders["last_activity_at_desc"]
	}
	sql := fmt.Sprintf(`SELECT * FROM conversations WHERE %s ORDER BY %s`, where, order)
	if c.number("updated_within") <= 0 { // with it there are no pages
		sql += fmt.Sprintf(` LIMIT %d OFFSET %d`, conversationsPerPage, (c.limit("page", 1)-1)*conversationsPerPage)
	}
	found, err := collect[conversation](ctx, c.app.db, sql, args...)
	if err != nil {
		return nil, err
	}
	list, err := c.conversationList(ctx, found)
	meta := map[string]any{"mine_count": mine, "assigned_count": all - unassigned, "unassigned_count": unassigned, "all_count": all}
	return map[string]any{"data": map[string]any{"meta": meta, "payload": list}}, err
}

func addStatus(c *call, add func(string, any)) error {
	switch name := c.text("status"); name {
	case "all":
	case "":
		add(`status = ?`, statusOpen)
	default:
		status := slices.Index(statusNames, name)
		if status < 0 {
			return fmt.Errorf("'%s' is not a valid status (ArgumentError)", name)
		}
		add(`status = ?`, status)
	}
	return nil
}

// conversationLink finds the contact's entry the new conversation belongs to: by inbox and contact, else by source id.
func (c *call) conversationLink(ctx context.Context, q querier) (contactInbox, error) {
	if c.number("inbox_id") != 0 {
		if _, err := c.visibleInbox(ctx, c.number("inbox_id")); err != nil {
			return contactInbox{}, err
		}
		if c.number("contact_id") != 0 {
			if _, err := c.findContact(ctx, c.number("contact_id")); err != nil {
				return contactInbox{}, err
			}
			return linkContact(ctx, q, c.number("contact_id"), c.number("inbox_id"), c.text("source_id"))
		}
	}
	link, err := one[contactInbox](ctx, q, `SELECT l.* FROM contact_inboxes l JOIN inboxes i ON i.id = l.inbox_id
		WHERE i.account_id = $1 AND l.source_id = $2 ORDER BY l.id LIMIT 1`, c.account, c.text("source_id"))
	if err != nil {
		return link, err
	}
	_, err = c.visibleInbox(ctx, link.InboxID)
	return link, err
}

func createConversation(ctx context.Context, c *call) (any, error) {
	var conv conversation
	var events []event
	err := c.app.inTx(ctx, func(tx pgx.Tx) error {
		link, err := c.conversationLink(ctx, tx)
		if err != nil {
			return err
		}
		in, err := findInbox(ctx, tx, link.InboxID)
		if err != nil {
			return err
		}
		created := true
		if in.LockToSingleConversation {
			conv, err = one[conversation](ctx, tx, `SELECT * FROM conversations WHERE contact_inbox_id = $1 ORDER BY id LIMIT 1`, link.ID)
			created = errors.Is(err, pgx.ErrNoRows)
			if err != nil && !created {
				return err
			}
		}
		if created {
			if conv, err = c.insertConversation(ctx, tx, link); err != nil {
				return err
			}
			events = append(events, event{Name: "conversation_created", ConversationID: conv.ID})
		}
		first := c.object("message")
		if first == nil {
			return nil
		}
		_, more, err := c.insertMessage(ctx, tx, conv.ID, first)
		events = append(events, more...)
		return err
	})
	if err != nil {
		return nil, err
	}
	c.app.emit(ctx, events...)
	if conv, err = findConversation(ctx, c.app.db, conv.ID); err != nil {
		return nil, err
	}
	return c.conversationJSON(ctx, conv)
}

func (c *call) insertConversation(ctx context.Context, q querier, link contactInbox) (conversation, error) {
	status := statusOpen
	if name := c.text("status"); name != "" {
		if status = slices.Index(statusNames, name); status < 0 {
			return conversation{}, fmt.Errorf("'%s' is not a valid status (ArgumentError)", name)
		}
	}
	var blocked, bot bool
	err := q.QueryRow(ctx, `SELECT (SELECT blocked FROM contacts WHERE id = $1), EXISTS (SELECT FROM agent_bot_inboxes WHERE inbox_id = $2)`,
		link.ContactID, link.InboxID).Scan(&blocked, &bot)
	if err != nil {
		return conversation{}, fmt.Errorf("read inbox state: %w", err)
	}
	switch { // both win over the given status
	case blocked:
		status = statusResolved
	case bot:
		status = statusPending
	}
	assignee, err := c.assignableUser(ctx, q)
	if err != nil {
		return conversation{}, err
	}
	var id int64
	err = q.QueryRow(ctx, `INSERT INTO conversations (account_id, display_id, uuid, inbox_id, contact_id, contact_inbox_id, status, assignee_id,
		custom_attributes, additional_attributes, waiting_since) VALUES ($1, nextval(format('conv_dpid_seq_%s', $10::bigint)::regclass), $2, $3, $4, $5, $6, $7, $8, $9, now()) RETURNING id`,
		c.account, uuid.New(), link.InboxID, link.ContactID, link.ID, status, assignee, orEmpty(c.attributes("custom_attributes")),
		orEmpty(c.attributes("additional_attributes")), c.account).Scan(&id)
	if err != nil {
		return conversation{}, fmt.Errorf("create conversation: %w", err)
	}
	return findConversation(ctx, q, id)
}

// assignableUser is assignee_id when it names a user of the account, nil when none is given.
func (c *call) assignableUser(ctx context.Context, q querier) (*int64, error) {
	id := c.number("assignee_id")
	if id == 0 {
		return nil, nil
	}
	err := q.QueryRow(ctx, `SELECT user_id FROM account_users WHERE account_id = $1 AND user_id = $2`, c.account, id).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for assignee: %w", err)
	}
	return &id, nil
}

// updateConversation applies fn to the locked row and emits what follows from the difference. actor is the user named in
// activity messages, "" for none.
func (a *App) updateConversation(ctx context.Context, id int64, actor string, fn func(*conversation) error) (conversation, error) {
	var after conversation
	var events []event
	var before conversation
	err := a.inTx(ctx, func(tx pgx.Tx) error {
		var err error
		if before, err = lockConversation(ctx, tx, id); err != nil {
			return err
		}
		after = before
		if err := fn(&after); err != nil {
			return err
		}
		events, err = saveConversation(ctx, tx, before, &after)
		return err
	})
	if err != nil {
		return conversation{}, err
	}
	a.emit(ctx, events...)
	a.recordActivities(ctx, before, after, actor)
	return after, nil
}

func lockConversation(ctx context.Context, tx querier, id int64) (conversation, error) {
	return one[conversation](ctx, tx, `SELECT * FROM conversations WHERE id = $1 FOR UPDATE`, id)
}

// saveConversation writes the row and returns the events its callbacks would dispatch, in their order.
func saveConversation(ctx context.Context, q querier, before conversation, after *conversation) ([]event, error) {
	if after.Status != statusSnoozed {
		after.SnoozedUntil = nil
	}
	if after.AssigneeID != nil {
		after.AssigneeAgentBotID = nil
	}
	if after.Status == statusResolved && before.Status != statusResolved {
		after.WaitingSince = nil
	}
	changes := conversationChanges(before, *after)
	err := q.QueryRow(ctx, `UPDATE conversations SET status = $2, priority = $3, assignee_id = $4, assignee_agent_bot_id = $5, labels = $6,
		custom_attributes = $7, snoozed_until = $8, waiting_since = $9, first_reply_created_at = $10, agent_last_seen_at = $11,
		last_activity_at = $12, updated_at = now() WHERE id = $1 RETURNING updated_at`, after.ID, after.Status, after.Priority, after.AssigneeID,
		after.AssigneeAgentBotID, after.Labels, after.CustomAttributes, after.SnoozedUntil, after.WaitingSince, after.FirstReplyCreatedAt,
		after.AgentLastSeenAt, after.LastActivityAt).Scan(&after.UpdatedAt)
	if err != nil {
		return nil, fmt.Errorf("update conversation: %w", err)
	}
	var events []event
	if after.Status != before.Status {
		switch after.Status {
		case statusOpen:
			events = append(events, event{Name: "conversation_opened", ConversationID: after.ID})
		case statusResolved:
			events = append(events, event{Name: "conversation_resolved", ConversationID: after.ID})
		}
		events = append(events, event{Name: "conversation_status_changed", ConversationID: after.ID, Changes: changes[:1]})
	}
	if len(changes) > 0 {
		events = append(events, event{Name: "conversation_updated", ConversationID: after.ID, Changes: changes})
	}
	return events, nil
}

// conversationChanges lists the keys whose change makes conversation_updated; status, when it changed, is the first.
func conversationChanges(before, after conversation) []change {
	return differences([]change{
		{"status", statusNames[before.Status], statusNames[after.Status]},
		{"assignee_id", before.AssigneeID, after.AssigneeID},
		{"assignee_agent_bot_id", before.AssigneeAgentBotID, after.AssigneeAgentBotID},
		{"label_list", before.Labels, after.Labels},
		{"custom_attributes", before.CustomAttributes, after.CustomAttributes},
		{"snoozed_until", before.SnoozedUntil, after.SnoozedUntil},
		{"waiting_since", before.WaitingSince, after.WaitingSince},
		{"first_reply_created_at", before.FirstReplyCreatedAt, after.FirstReplyCreatedAt},
		{"priority", before.priorityName(), after.priorityName()},
	})
}

// activity is the arguments of a Conversations::ActivityMessageJob.
type activity struct {
	ConversationID int64  `json:"conversation_id"`
	Content        string `json:"content"`
}

// recordActivities queues the notes that agents see about status and assignee.
func (a *App) recordActivities(ctx context.Context, before, after conversation, actor string) {
	if actor == "" {
		return
	}
	var notes []string
	if before.Status != after.Status {
		notes = append(notes, []string{"Conversation was reopened by ", "Conversation was marked resolved by ",
			"Conversation was marked as pending by ", "Conversation was snoozed by "}[after.Status]+actor)
	}
	if !equalID(before.AssigneeID, after.AssigneeID) {
		if after.AssigneeID == nil {
			notes = append(notes, "Conversation unassigned by "+actor)
		} else {
			notes = append(notes, "Assignee changed by "+actor)
		}
	}
	for _, n := range notes {
		if err := a.enqueue(ctx, "Conversations::ActivityMessageJob", "high", activity{ConversationID: after.ID, Content: n}); err != nil {
			a.log.ErrorContext(ctx, "activity lost", "conversation", after.DisplayID, "err", err)
		}
	}
}

func equalID(a, b *int64) bool {
	return (a == nil) == (b == nil) && (a == nil || *a == *b)
}
