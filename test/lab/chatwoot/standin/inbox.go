package standin

import (
	"context"
	"fmt"
	"math"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5"
)

func (c *call) findInbox(ctx context.Context, id int64) (inbox, error) {
	return one[inbox](ctx, c.app.db, inboxQuery+`WHERE i.account_id = $1 AND i.id = $2`, c.account, id)
}

// visibleInbox is findInbox plus the policy: administrators see all, an agent the inboxes he is a member of.
func (c *call) visibleInbox(ctx context.Context, id int64) (inbox, error) {
	in, err := c.findInbox(ctx, id)
	if err != nil || c.role != "agent" {
		return in, err
	}
	var member bool
	err = c.app.db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM inbox_members WHERE inbox_id = $1 AND user_id = $2)`, id, c.user.ID).Scan(&member)
	if err != nil {
		return in, fmt.Errorf("look for membership: %w", err)
	}
	if !member {
		return in, errNotPermitted
	}
	return in, nil
}

// json shows secret and hmac_token to administrators only.
func (in inbox) json(c *call) map[string]any {
	out := map[string]any{
		"id": in.ID, "avatar_url": "", "channel_id": in.ChannelID, "name": in.Name, "channel_type": channelAPI,
		"greeting_enabled": in.GreetingEnabled, "greeting_message": in.GreetingMessage, "working_hours_enabled": false,
		"enable_email_collect": true, "csat_survey_enabled": false, "enable_auto_assignment": in.EnableAutoAssignment,
		"auto_assignment_config": map[string]any{}, "out_of_office_message": nil, "timezone": "UTC",
		"callback_webhook_url": c.app.env.FrontendURL + "/webhooks/api", "allow_messages_after_resolved": in.AllowMessagesAfterResolved,
		"lock_to_single_conversation": in.LockToSingleConversation, "sender_name_type": "friendly", "business_name": nil,
		"hmac_mandatory": in.HMACMandatory, "webhook_url": in.WebhookURL, "inbox_identifier": in.Identifier,
		"additional_attributes": in.AdditionalAttributes, "provider": nil,
	}
	if c.admin() {
		out["hmac_token"], out["secret"] = in.HMACToken, in.Secret
	}
	return out
}

func listInboxes(ctx context.Context, c *call) (any, error) {
	sql, args := inboxQuery+`WHERE i.account_id = $1 `, []any{c.account}
	if !c.admin() {
		sql, args = sql+`AND i.id IN (SELECT inbox_id FROM inbox_members WHERE user_id = $2) `, append(args, c.user.ID)
	}
	found, err := collect[inbox](ctx, c.app.db, sql+`ORDER BY lower(i.name), i.id`, args...)
	if err != nil {
		return nil, err
	}
	payload := make([]any, len(found))
	for i, in := range found {
		payload[i] = in.json(c)
	}
	return map[string]any{"payload": payload}, nil
}

func showInbox(ctx context.Context, c *call) (any, error) {
	in, err := c.visibleInbox(ctx, c.id("id"))
	if err != nil {
		return nil, err
	}
	return in.json(c), nil
}

// validateWebhookURL is the model's rule; the stricter one (a dot in the host name) is only the UI's.
func validateWebhookURL(attribute string, value *string) error {
	if value == nil {
		return nil
	}
	u, err := url.Parse(*value)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return invalid(attribute, strings.ToUpper(attribute[:1])+strings.ReplaceAll(attribute[1:], "_", " ")+" is invalid")
	}
	return nil
}

func createInbox(ctx context.Context, c *call) (any, error) {
	channel := c.object("channel")
	if kind := channel.text("type"); kind != "api" {
		return nil, unprocessable(fmt.Sprintf("this stand-in has API channels only, not %q", kind))
	}
	name := strings.TrimSpace(c.text("name"))
	if name == "" {
		return nil, invalid("name", "Name can't be blank")
	}
	hook := channel.optional("webhook_url")
	if err := validateWebhookURL("webhook_url", hook); err != nil {
		return nil, err
	}
	extra := channel.attributes("additional_attributes")
	if err := validateReplyWindow(extra); err != nil {
		return nil, err
	}
	var id int64
	err := c.app.inTx(ctx, func(tx pgx.Tx) error {
		var channelID int64
		err := tx.QueryRow(ctx, `INSERT INTO channel_api (account_id, webhook_url, identifier, hmac_token, hmac_mandatory, secret, additional_attributes)
			VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id`, c.account, hook, token(), token(), channel.flag("hmac_mandatory", false),
			token()+token(), orEmpty(extra)).Scan(&channelID)
		if err != nil {
			return fmt.Errorf("create channel: %w", err)
		}
		err = tx.QueryRow(ctx, `INSERT INTO inboxes (account_id, channel_id, name, greeting_enabled, greeting_message, enable_auto_assignment, lock_to_single_conversation)
			VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id`, c.account, channelID, name, c.flag("greeting_enabled", false),
			c.optional("greeting_message"), c.flag("enable_auto_assignment", true), c.flag("lock_to_single_conversation", false)).Scan(&id)
		if err != nil {
			return fmt.Errorf("create inbox: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	in, err := c.findInbox(ctx, id)
	return in.json(c), err
}

// validateReplyWindow: agent_reply_time_window is hours, a whole number above zero.
func validateReplyWindow(extra attributes) error {
	window, given := extra["agent_reply_time_window"]
	if !given {
		return nil
	}
	if hours, ok := window.(float64); !ok || hours < 1 || hours != math.Trunc(hours) {
		return invalid("agent_reply_time_window", "Agent reply time window must be greater than 0")
	}
	return nil
}

func orEmpty(given attributes) attributes {
	if given == nil {
		return attributes{}
	}
	return given
}

func updateInbox(ctx context.Context, c *call) (any, error) {
	in, err := c.findInbox(ctx, c.id("id"))
	if err != nil {
		return nil, err
	}
	if c.has("name") {
		if in.Name = strings.TrimSpace(c.text("name")); in.Name == "" {
			return nil, invalid("name", "Name can't be blank")
		}
	}
	in.EnableAutoAssignment = c.flag("enable_auto_assignment", in.EnableAutoAssignment)
	in.LockToSingleConversation = c.flag("lock_to_single_conversation", in.LockToSingleConversation)
	if channel := c.object("channel"); channel != nil {
		if channel.has("webhook_url") {
			in.WebhookURL = channel.optional("webhook_url")
			if err := validateWebhookURL("webhook_url", in.WebhookURL); err != nil {
				return nil, err
			}
		}
		in.HMACMandatory = channel.flag("hmac_mandatory", in.HMACMandatory)
		if extra := channel.attributes("additional_attributes"); extra != nil {
			if err := validateReplyWindow(extra); err != nil {
				return nil, err
			}
			in.AdditionalAttributes = extra
		}
	}
	err = c.app.inTx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE inboxes SET name = $2, enable_auto_assignment = $3, lock_to_single_conversation = $4 WHERE id = $1`,
			in.ID, in.Name, in.EnableAutoAssignment, in.LockToSingleConversation)
		if err != nil {
			return fmt.Errorf("update inbox: %w", err)
		}
		_, err = tx.Exec(ctx, `UPDATE channel_api SET webhook_url = $2, hmac_mandatory = $3, additional_attributes = $4 WHERE id = $1`,
			in.ChannelID, in.WebhookURL, in.HMACMandatory, in.AdditionalAttributes)
		if err != nil {
			return fmt.Errorf("update channel: %w", err)
		}
		return nil
	})
	return in.json(c), err
}

func deleteInbox(ctx context.Context, c *call) (any, error) {
	in, err := c.findInbox(ctx, c.id("id"))
	if err != nil {
		return nil, err
	}
	if _, err := c.app.db.Exec(ctx, `DELETE FROM channel_api WHERE id = $1`, in.ChannelID); err != nil {
		return nil, fmt.Errorf("delete inbox: %w", err)
	}
	return map[string]any{"message": "Your inbox deletion request will be processed in some time."}, nil
}

func resetInboxSecret(ctx context.Context, c *call) (any, error) {
	in, err := c.findInbox(ctx, c.id("id"))
	if err != nil {
		return nil, err
	}
	in.Secret = token() + token()
	if _, err := c.app.db.Exec(ctx, `UPDATE channel_api SET secret = $2 WHERE id = $1`, in.ChannelID, in.Secret); err != nil {
		return nil, fmt.Errorf("reset secret: %w", err)
	}
	return in.json(c), nil
}

// setAgentBot connects a bot, or disconnects the present one when agent_bot is null or absent.
func setAgentBot(ctx context.Context, c *call) (any, error) {
	in, err := c.findInbox(ctx, c.id("id"))
	if err != nil {
		return nil, err
	}
	bot := c.number("agent_bot")
	if bot == 0 {
		_, err = c.app.db.Exec(ctx, `DELETE FROM agent_bot_inboxes WHERE inbox_id = $1`, in.ID)
	} else {
		if _, err := c.findBot(ctx, bot, true); err != nil {
			return nil, err
		}
		_, err = c.app.db.Exec(ctx, `INSERT INTO agent_bot_inboxes (inbox_id, agent_bot_id, account_id) VALUES ($1, $2, $3)
			ON CONFLICT (inbox_id) DO UPDATE SET agent_bot_id = excluded.agent_bot_id`, in.ID, bot, c.account)
	}
	if err != nil {
		return nil, fmt.Errorf("set agent bot: %w", err)
	}
	return headOK{}, nil
}

func inboxAgentBot(ctx context.Context, c *call) (any, error) {
	in, err := c.visibleInbox(ctx, c.id("id"))
	if err != nil {
		return nil, err
	}
	bot, err := maybe[agentBot](ctx, c.app.db, `SELECT `+botColumns+` FROM agent_bots b JOIN agent_bot_inboxes i ON i.agent_bot_id = b.id WHERE i.inbox_id = $1`, in.ID)
	if err != nil {
		return nil, err
	}
	if bot == nil {
		return map[string]any{"agent_bot": map[string]any{}}, nil
	}
	return map[string]any{"agent_bot": bot.json(c)}, nil
}

func addInboxMembers(ctx context.Context, c *call) (any, error) {
	in, err := c.findInbox(ctx, c.number("inbox_id"))
	if err != nil {
		return nil, err
	}
	for _, raw := range c.strings("user_ids") {
		id := params{"id": raw}.number("id")
		tag, err := c.app.db.Exec(ctx, `INSERT INTO inbox_members (inbox_id, user_id) SELECT $1, user_id FROM account_users
			WHERE account_id = $2 AND user_id = $3 ON CONFLICT DO NOTHING`, in.ID, c.account, id)
		if err != nil {
			return nil, fmt.Errorf("add inbox member: %w", err)
		}
		if tag.RowsAffected() == 0 && !c.isMember(ctx, id) {
			return nil, unprocessable("User must exist")
		}
	}
	return inboxMembers(ctx, c, in.ID)
}

func (c *call) isMember(ctx context.Context, userID int64) bool {
	var member bool
	err := c.app.db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM account_users WHERE account_id = $1 AND user_id = $2)`, c.account, userID).Scan(&member)
	return err == nil && member
}

func listInboxMembers(ctx context.Context, c *call) (any, error) {
	in, err := c.visibleInbox(ctx, c.id("id"))
	if err != nil {
		return nil, err
	}
	return inboxMembers(ctx, c, in.ID)
}

func inboxMembers(ctx context.Context, c *call, id int64) (any, error) {
	list, err := c.agentList(ctx, `AND u.id IN (SELECT user_id FROM inbox_members WHERE inbox_id = $2)`, id)
	return map[string]any{"payload": list}, err
}

func listAgents(ctx context.Context, c *call) (any, error) {
	return c.agentList(ctx, "AND $2 = 0", 0)
}

func (c *call) agentList(ctx context.Context, where string, arg int64) ([]any, error) {
	type row struct {
		ID                     int64
		Name, Email, Role      string
		Confirmed, AutoOffline bool
	}
	found, err := collect[row](ctx, c.app.db, `SELECT u.id, u.name, u.email, m.role, u.confirmed_at IS NOT NULL AS confirmed, m.auto_offline
		FROM users u JOIN account_users m ON m.user_id = u.id WHERE m.account_id = $1 `+where+` ORDER BY lower(u.name), u.id`, c.account, arg)
	if err != nil {
		return nil, err
	}
	list := make([]any, len(found))
	for i, r := range found {
		available, err := c.app.availability(ctx, c.account, r.ID)
		if err != nil {
			return nil, err
		}
		list[i] = map[string]any{"id": r.ID, "account_id": c.account, "availability_status": available, "auto_offline": r.AutoOffline,
			"confirmed": r.Confirmed, "email": r.Email, "available_name": r.Name, "name": r.Name, "role": r.Role, "thumbnail": ""}
	}
	return list, nil
}

// assignee is the conversation's user or bot in the shape of live updates, and which of the two it is.
func (a *App) assignee(ctx context.Context, c conversation) (any, any, error) {
	if c.AssigneeAgentBotID != nil {
		b, err := one[agentBot](ctx, a.db, `SELECT `+botColumns+` FROM agent_bots b WHERE b.id = $1`, *c.AssigneeAgentBotID)
		return map[string]any{"id": b.ID, "name": b.Name, "avatar_url": "", "type": "agent_bot"}, "AgentBot", err
	}
	if c.AssigneeID == nil {
		return nil, nil, nil
	}
	u, err := maybe[user](ctx, a.db, userQuery+`WHERE u.id = $1`, *c.AssigneeID)
	if err != nil || u == nil {
		return nil, nil, err
	}
	return userPush(u), "User", nil
}

func userPush(u *user) map[string]any {
	return map[string]any{"id": u.ID, "name": u.Name, "available_name": u.Name, "avatar_url": "", "type": "user",
		"availability_status": "offline", "thumbnail": ""}
}
