package standin

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// findBot finds a bot of the account; with system also one of the whole installation.
func (c *call) findBot(ctx context.Context, id int64, system bool) (agentBot, error) {
	return one[agentBot](ctx, c.app.db, `SELECT `+botColumns+` FROM agent_bots b WHERE b.id = $1 AND (b.account_id = $2 OR ($3 AND b.account_id IS NULL))`,
		id, c.account, system)
}

// json shows access_token and secret to administrators only.
func (b agentBot) json(c *call) map[string]any {
	out := map[string]any{"id": b.ID, "name": b.Name, "description": b.Description, "thumbnail": "", "outgoing_url": b.OutgoingURL,
		"bot_type": b.BotType, "bot_config": b.BotConfig, "account_id": b.AccountID, "system_bot": b.AccountID == nil}
	if c.admin() {
		out["access_token"], out["secret"] = b.AccessToken, b.Secret
	}
	return out
}

func listAgentBots(ctx context.Context, c *call) (any, error) {
	bots, err := collect[agentBot](ctx, c.app.db, `SELECT `+botColumns+` FROM agent_bots b WHERE b.account_id IS NULL OR b.account_id = $1 ORDER BY b.id`, c.account)
	if err != nil {
		return nil, err
	}
	list := make([]any, len(bots))
	for i, b := range bots {
		list[i] = b.json(c)
	}
	return list, nil
}

func showAgentBot(ctx context.Context, c *call) (any, error) {
	b, err := c.findBot(ctx, c.id("id"), true)
	if err != nil {
		return nil, err
	}
	return b.json(c), nil
}

func createAgentBot(ctx context.Context, c *call) (any, error) {
	b := agentBot{BotType: "webhook", BotConfig: map[string]any{}, Secret: token() + token()}
	if err := c.fillBot(&b); err != nil {
		return nil, err
	}
	err := c.app.inTx(ctx, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `INSERT INTO agent_bots (account_id, name, description, outgoing_url, bot_type, bot_config, secret)
			VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id`, c.account, b.Name, b.Description, b.OutgoingURL, b.BotType, b.BotConfig, b.Secret).Scan(&b.ID)
		if err != nil {
			return fmt.Errorf("create agent bot: %w", err)
		}
		return createAccessToken(ctx, tx, "AgentBot", b.ID)
	})
	if err != nil {
		return nil, err
	}
	b, err = c.findBot(ctx, b.ID, false)
	return b.json(c), err
}

// fillBot takes over the given parameters and validates.
func (c *call) fillBot(b *agentBot) error {
	if c.has("name") || b.ID == 0 {
		b.Name = strings.TrimSpace(c.text("name"))
	}
	if b.Name == "" {
		return invalid("name", "Name can't be blank")
	}
	if c.has("description") {
		b.Description = c.optional("description")
	}
	if c.has("outgoing_url") {
		b.OutgoingURL = c.optional("outgoing_url")
		if b.OutgoingURL != nil && len(*b.OutgoingURL) > 2048 {
			return invalid("outgoing_url", "Outgoing url is too long (maximum is 2048 characters)")
		}
	}
	if c.has("bot_type") {
		if kind := c.text("bot_type"); kind != "webhook" {
			return fmt.Errorf("'%s' is not a valid bot_type (ArgumentError)", kind)
		}
	}
	if config := c.attributes("bot_config"); config != nil {
		b.BotConfig = config
	}
	return nil
}

func updateAgentBot(ctx context.Context, c *call) (any, error) {
	b, err := c.findBot(ctx, c.id("id"), false)
	if err != nil {
		return nil, err
	}
	if err := c.fillBot(&b); err != nil {
		return nil, err
	}
	_, err = c.app.db.Exec(ctx, `UPDATE agent_bots SET name = $2, description = $3, outgoing_url = $4, bot_config = $5 WHERE id = $1`,
		b.ID, b.Name, b.Description, b.OutgoingURL, b.BotConfig)
	if err != nil {
		return nil, fmt.Errorf("update agent bot: %w", err)
	}
	return b.json(c), nil
}

func deleteAgentBot(ctx context.Context, c *call) (any, error) {
	b, err := c.findBot(ctx, c.id("id"), false)
	if err != nil {
		return nil, err
	}
	err = c.app.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM access_tokens WHERE owner_type = 'AgentBot' AND owner_id = $1`, b.ID); err != nil {
			return fmt.Errorf("delete access token: %w", err)
		}
		if _, err := tx.Exec(ctx, `DELETE FROM agent_bots WHERE id = $1`, b.ID); err != nil {
			return fmt.Errorf("delete agent bot: %w", err)
		}
		return nil
	})
	return headOK{}, err
}

func resetBotToken(ctx context.Context, c *call) (any, error) {
	b, err := c.findBot(ctx, c.id("id"), false)
	if err != nil {
		return nil, err
	}
	if err := createAccessToken(ctx, c.app.db, "AgentBot", b.ID); err != nil {
		return nil, err
	}
	b, err = c.findBot(ctx, b.ID, false)
	return b.json(c), err
}

func resetBotSecret(ctx context.Context, c *call) (any, error) {
	b, err := c.findBot(ctx, c.id("id"), false)
	if err != nil {
		return nil, err
	}
	b.Secret = token() + token()
	if _, err := c.app.db.Exec(ctx, `UPDATE agent_bots SET secret = $2 WHERE id = $1`, b.ID, b.Secret); err != nil {
		return nil, fmt.Errorf("reset secret: %w", err)
	}
	return b.json(c), nil
}
