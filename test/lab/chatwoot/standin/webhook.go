package standin

import (
	"context"
	"fmt"
	"slices"
)

var webhookEvents = []string{"conversation_status_changed", "conversation_updated", "conversation_created", "contact_created",
	"contact_updated", "message_created", "message_updated", "webwidget_triggered", "inbox_created", "inbox_updated",
	"conversation_typing_on", "conversation_typing_off"}

func (h webhook) json(ctx context.Context, c *call) (map[string]any, error) {
	out := map[string]any{"id": h.ID, "name": h.Name, "url": h.URL, "account_id": h.AccountID, "subscriptions": h.Subscriptions, "secret": h.Secret}
	if h.InboxID != nil {
		in, err := findInbox(ctx, c.app.db, *h.InboxID)
		if err != nil {
			return nil, err
		}
		out["inbox"] = map[string]any{"id": in.ID, "name": in.Name, "channel_type": channelAPI}
	}
	return out, nil
}

func (h webhook) answer(ctx context.Context, c *call) (any, error) {
	body, err := h.json(ctx, c)
	return map[string]any{"payload": map[string]any{"webhook": body}}, err
}

func listWebhooks(ctx context.Context, c *call) (any, error) {
	hooks, err := collect[webhook](ctx, c.app.db, `SELECT * FROM webhooks WHERE account_id = $1 ORDER BY id`, c.account)
	if err != nil {
		return nil, err
	}
	list := make([]any, len(hooks))
	for i, h := range hooks {
		if list[i], err = h.json(ctx, c); err != nil {
			return nil, err
		}
	}
	return map[string]any{"payload": map[string]any{"webhooks": list}}, nil
}

// webhookParams: Rails wraps a bare JSON body, so both shapes are accepted.
func (c *call) webhookParams() params {
	if p := c.object("webhook"); p != nil {
		return p
	}
	return c.params
}

func (h *webhook) fill(ctx context.Context, c *call) error {
	p := c.webhookParams()
	if p.has("name") {
		h.Name = p.optional("name")
	}
	if p.has("url") || h.ID == 0 {
		u := p.text("url")
		if u == "" {
			return invalid("url", "Url is invalid")
		}
		if err := validateWebhookURL("url", &u); err != nil {
			return err
		}
		h.URL = u
	}
	if p.has("inbox_id") && p.number("inbox_id") != 0 {
		in, err := c.findInbox(ctx, p.number("inbox_id"))
		if err != nil {
			return err
		}
		h.InboxID = &in.ID
	}
	if p.has("subscriptions") {
		h.Subscriptions = p.strings("subscriptions")
	}
	if len(h.Subscriptions) == 0 {
		return invalid("subscriptions", "Subscriptions Invalid events")
	}
	for _, s := range h.Subscriptions {
		if !slices.Contains(webhookEvents, s) {
			return invalid("subscriptions", "Subscriptions Invalid events")
		}
	}
	return nil
}

func createWebhook(ctx context.Context, c *call) (any, error) {
	h := webhook{AccountID: c.account, Secret: token() + token(),
		Subscriptions: []string{"conversation_status_changed", "conversation_updated", "conversation_created", "contact_created", "contact_updated", "message_created", "message_updated", "webwidget_triggered"}}
	if err := h.fill(ctx, c); err != nil {
		return nil, err
	}
	err := c.app.db.QueryRow(ctx, `INSERT INTO webhooks (account_id, inbox_id, name, url, subscriptions, secret) VALUES ($1, $2, $3, $4, $5, $6) RETURNING id`,
		h.AccountID, h.InboxID, h.Name, h.URL, h.Subscriptions, h.Secret).Scan(&h.ID)
	if err := webhookSaved(err); err != nil {
		return nil, err
	}
	return h.answer(ctx, c)
}

func webhookSaved(err error) error {
	if isUnique(err) {
		return invalid("url", "Url has already been taken")
	}
	if err != nil {
		return fmt.Errorf("save webhook: %w", err)
	}
	return nil
}

func (c *call) findWebhook(ctx context.Context) (webhook, error) {
	return one[webhook](ctx, c.app.db, `SELECT * FROM webhooks WHERE account_id = $1 AND id = $2`, c.account, c.id("id"))
}

func updateWebhook(ctx context.Context, c *call) (any, error) {
	h, err := c.findWebhook(ctx)
	if err != nil {
		return nil, err
	}
	if err := h.fill(ctx, c); err != nil {
		return nil, err
	}
	_, err = c.app.db.Exec(ctx, `UPDATE webhooks SET inbox_id = $2, name = $3, url = $4, subscriptions = $5 WHERE id = $1`, h.ID, h.InboxID, h.Name, h.URL, h.Subscriptions)
	if err := webhookSaved(err); err != nil {
		return nil, err
	}
	return h.answer(ctx, c)
}

func deleteWebhook(ctx context.Context, c *call) (any, error) {
	h, err := c.findWebhook(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := c.app.db.Exec(ctx, `DELETE FROM webhooks WHERE id = $1`, h.ID); err != nil {
		return nil, fmt.Errorf("delete webhook: %w", err)
	}
	return headOK{}, nil
}
