package standin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

func toggleStatus(ctx context.Context, c *call) (any, error) {
	conv, err := c.findConversation(ctx)
	if err != nil {
		return nil, err
	}
	wanted := -1
	if name := c.text("status"); name != "" {
		if wanted = slices.Index(statusNames, name); wanted < 0 {
			return nil, fmt.Errorf("'%s' is not a valid status (ArgumentError)", name)
		}
	}
	until, err := c.snoozedUntil()
	if err != nil {
		return nil, err
	}
	after, err := c.app.updateConversation(ctx, conv.ID, c.actor(), func(row *conversation) error {
		c.applyStatus(row, wanted, until)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return map[string]any{"meta": map[string]any{}, "payload": map[string]any{"success": true, "conversation_id": after.DisplayID,
		"current_status": statusNames[after.Status], "snoozed_until": after.SnoozedUntil}}, nil
}

// applyStatus: without a wanted status it toggles (resolved when open, else open). A bot that opens a pending
// conversation hands it off; an agent who opens one gets it.
func (c *call) applyStatus(row *conversation, wanted int, until *time.Time) {
	if wanted < 0 {
		wanted = statusOpen
		if row.Status == statusOpen {
			wanted = statusResolved
		}
	}
	if c.bot != nil && row.Status == statusPending && wanted == statusOpen && row.WaitingSince == nil {
		now := time.Now()
		row.WaitingSince = &now
	}
	row.Status = wanted
	if until != nil {
		row.SnoozedUntil = until
	}
	if row.Status == statusOpen && c.role == "agent" {
		row.AssigneeID = &c.user.ID
	}
}

func (c *call) snoozedUntil() (*time.Time, error) {
	if !c.has("snoozed_until") || c.text("snoozed_until") == "" {
		return nil, nil
	}
	if n := c.number("snoozed_until"); n > 0 {
		t := time.Unix(n, 0)
		return &t, nil
	}
	t, err := time.Parse(time.RFC3339, c.text("snoozed_until"))
	if err != nil {
		return nil, fmt.Errorf("parse snoozed_until: %w", err)
	}
	return &t, nil
}

func (c *call) setPriority(ctx context.Context) (conversation, error) {
	conv, err := c.findConversation(ctx)
	if err != nil {
		return conv, err
	}
	var priority *int
	if name := c.text("priority"); name != "" && name != "none" {
		n := slices.Index(priorityNames, name)
		if n < 0 {
			return conv, fmt.Errorf("'%s' is not a valid priority (ArgumentError)", name)
		}
		priority = &n
	}
	return c.app.updateConversation(ctx, conv.ID, c.actor(), func(row *conversation) error { row.Priority = priority; return nil })
}

func togglePriority(ctx context.Context, c *call) (any, error) {
	_, err := c.setPriority(ctx)
	return headOK{}, err
}

// patchConversation takes priority only, as upstream's update does.
func patchConversation(ctx context.Context, c *call) (any, error) {
	if !c.has("priority") {
		return showConversation(ctx, c)
	}
	conv, err := c.setPriority(ctx)
	if err != nil {
		return nil, err
	}
	return c.conversationJSON(ctx, conv)
}

func updateLastSeen(ctx context.Context, c *call) (any, error) {
	conv, err := c.findConversation(ctx)
	if err != nil {
		return nil, err
	}
	conv, err = c.app.updateConversation(ctx, conv.ID, "", func(row *conversation) error {
		now := time.Now()
		row.AgentLastSeenAt = &now
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c.conversationJSON(ctx, conv)
}

func setCustomAttributes(ctx context.Context, c *call) (any, error) {
	conv, err := c.findConversation(ctx)
	if err != nil {
		return nil, err
	}
	given := orEmpty(c.attributes("custom_attributes"))
	_, err = c.app.updateConversation(ctx, conv.ID, "", func(row *conversation) error { row.CustomAttributes = given; return nil })
	return map[string]any{"custom_attributes": given}, err
}

func listLabels(ctx context.Context, c *call) (any, error) {
	conv, err := c.findConversation(ctx)
	return map[string]any{"payload": conv.Labels}, err
}

// setLabels replaces the list.
func setLabels(ctx context.Context, c *call) (any, error) {
	conv, err := c.findConversation(ctx)
	if err != nil {
		return nil, err
	}
	labels := []string{}
	for _, l := range c.strings("labels") {
		if l = strings.ToLower(strings.TrimSpace(l)); l != "" && !slices.Contains(labels, l) {
			labels = append(labels, l)
		}
	}
	_, err = c.app.updateConversation(ctx, conv.ID, "", func(row *conversation) error { row.Labels = labels; return nil })
	return map[string]any{"payload": labels}, err
}

// assign gives the conversation to a user of the account, to a bot, or, with an id that is neither, to nobody.
func assign(ctx context.Context, c *call) (any, error) {
	conv, err := c.findConversation(ctx)
	if err != nil {
		return nil, err
	}
	if c.text("assignee_type") == "AgentBot" {
		return c.assignBot(ctx, conv)
	}
	if c.has("team_id") && !c.has("assignee_id") {
		return nil, unprocessable("this stand-in gives no conversation to a team")
	}
	if !c.has("assignee_id") {
		return nil, nil
	}
	assignee, err := c.assignableUser(ctx, c.app.db)
	if err != nil {
		return nil, err
	}
	_, err = c.app.updateConversation(ctx, conv.ID, c.actor(), func(row *conversation) error {
		row.AssigneeID, row.AssigneeAgentBotID = assignee, nil
		return nil
	})
	if err != nil || assignee == nil {
		return nil, err
	}
	list, err := c.agentList(ctx, "AND u.id = $2", *assignee)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return list[0], nil
}

func (c *call) assignBot(ctx context.Context, conv conversation) (any, error) {
	bot, err := c.findBot(ctx, c.number("assignee_id"), true)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	_, err = c.app.updateConversation(ctx, conv.ID, c.actor(), func(row *conversation) error {
		row.AssigneeID, row.AssigneeAgentBotID = nil, &bot.ID
		return nil
	})
	return map[string]any{"id": bot.ID, "name": bot.Name, "description": bot.Description, "thumbnail": "", "outgoing_url": bot.OutgoingURL, "bot_type": bot.BotType}, err
}
