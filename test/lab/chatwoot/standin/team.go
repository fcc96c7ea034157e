package standin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	goredis "github.com/redis/go-redis/v9"
	"golang.org/x/crypto/bcrypt"
)

var availabilities = []string{"online", "offline", "busy"}

// presenceTime is how long a browser's last sign of life counts (OnlineStatusTracker::PRESENCE_DURATION).
const presenceTime = 60 * time.Second

// Redis::Alfred's keys of who is there, and as what.
func presenceKey(account int64) string {
	return fmt.Sprintf("alfred:ONLINE_PRESENCE::%d::USERS", account)
}
func statusKey(account int64) string { return fmt.Sprintf("alfred:ONLINE_STATUS::%d", account) }

// updatePresence is OnlineStatusTracker.update_presence, which upstream's websocket calls while a user's browser is open.
func (a *App) updatePresence(ctx context.Context, account, user int64) error {
	err := a.redis.ZAdd(ctx, presenceKey(account), goredis.Z{Score: float64(time.Now().Unix()), Member: strconv.FormatInt(user, 10)}).Err()
	if err != nil {
		return fmt.Errorf("update presence: %w", err)
	}
	return nil
}

// availability is what a user is shown as: offline unless a browser was there lately, then what they chose.
func (a *App) availability(ctx context.Context, account, user int64) (string, error) {
	id := strconv.FormatInt(user, 10)
	seen, err := a.redis.ZScore(ctx, presenceKey(account), id).Result()
	switch {
	case errors.Is(err, goredis.Nil), err == nil && seen <= float64(time.Now().Add(-presenceTime).Unix()):
		return "offline", nil
	case err != nil:
		return "", fmt.Errorf("read presence: %w", err)
	}
	chosen, err := a.redis.HGet(ctx, statusKey(account), id).Result()
	if errors.Is(err, goredis.Nil) {
		return "online", nil
	}
	if err != nil {
		return "", fmt.Errorf("read status: %w", err)
	}
	return chosen, nil
}

// createAgent invites a user: one who has no account yet gets a password nobody knows.
func createAgent(ctx context.Context, c *call) (any, error) {
	email := strings.ToLower(strings.TrimSpace(c.text("email")))
	if err := validateEmail(email); err != nil {
		return nil, invalid("email", err.Error())
	}
	role := c.text("role")
	if role == "" {
		role = "agent"
	}
	if role != "agent" && role != "administrator" {
		return nil, fmt.Errorf("'%s' is not a valid role (ArgumentError)", role)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(token()), passwordCost)
	if err != nil {
		return nil, fmt.Errorf("hash password: %w", err)
	}
	var id int64
	err = c.app.inTx(ctx, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `SELECT id FROM users WHERE email = $1`, email).Scan(&id)
		if errors.Is(err, pgx.ErrNoRows) {
			id, err = createUser(ctx, tx, email, c.text("name"), string(hash), "", false)
		}
		if err != nil {
			return err
		}
		if c.isMember(ctx, id) {
			return invalid("user_id", "User has already been taken")
		}
		return addToAccount(ctx, tx, c.account, id, role)
	})
	if err != nil {
		return nil, err
	}
	return c.changeAgent(ctx, id)
}

func updateAgent(ctx context.Context, c *call) (any, error) {
	id := c.id("id")
	if !c.isMember(ctx, id) {
		return nil, errNotFound
	}
	return c.changeAgent(ctx, id)
}

// changeAgent writes what was given of a member and shows them.
func (c *call) changeAgent(ctx context.Context, id int64) (any, error) {
	if chosen := c.text("availability"); chosen != "" {
		if !slices.Contains(availabilities, chosen) {
			return nil, fmt.Errorf("'%s' is not a valid availability (ArgumentError)", chosen)
		}
		if _, err := c.app.db.Exec(ctx, `UPDATE account_users SET availability = $3 WHERE account_id = $1 AND user_id = $2`, c.account, id, chosen); err != nil {
			return nil, fmt.Errorf("write availability: %w", err)
		}
		if err := c.app.redis.HSet(ctx, statusKey(c.account), strconv.FormatInt(id, 10), chosen).Err(); err != nil {
			return nil, fmt.Errorf("write status: %w", err)
		}
	}
	list, err := c.agentList(ctx, "AND u.id = $2", id)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return list[0], nil
}

type team struct {
	ID, AccountID   int64
	Name            string
	Description     *string
	AllowAutoAssign bool
}

func (c *call) findTeam(ctx context.Context) (team, error) {
	return one[team](ctx, c.app.db, `SELECT * FROM teams WHERE account_id = $1 AND id = $2`, c.account, c.id("id"))
}

func (c *call) teamJSON(ctx context.Context, t team) (map[string]any, error) {
	var member bool
	err := c.app.db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM team_members WHERE team_id = $1 AND user_id = $2)`, t.ID, c.user.ID).Scan(&member)
	return map[string]any{"id": t.ID, "name": t.Name, "description": t.Description, "allow_auto_assign": t.AllowAutoAssign,
		"account_id": t.AccountID, "is_member": member}, err
}

func listTeams(ctx context.Context, c *call) (any, error) {
	found, err := collect[team](ctx, c.app.db, `SELECT * FROM teams WHERE account_id = $1 ORDER BY id`, c.account)
	if err != nil {
		return nil, err
	}
	list := make([]any, len(found))
	for i, t := range found {
		if list[i], err = c.teamJSON(ctx, t); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func createTeam(ctx context.Context, c *call) (any, error) {
	name := strings.ToLower(c.text("name"))
	if strings.TrimSpace(name) == "" {
		return nil, invalid("name", "Name must not be blank")
	}
	assign := !c.has("allow_auto_assign") || c.text("allow_auto_assign") == "true"
	var description *string
	if c.has("description") {
		text := c.text("description")
		description = &text
	}
	made, err := one[team](ctx, c.app.db, `INSERT INTO teams (account_id, name, description, allow_auto_assign) VALUES ($1, $2, $3, $4) RETURNING *`,
		c.account, name, description, assign)
	if isUnique(err) {
		return nil, invalid("name", "Name has already been taken")
	}
	if err != nil {
		return nil, err
	}
	return c.teamJSON(ctx, made)
}

func showTeam(ctx context.Context, c *call) (any, error) {
	t, err := c.findTeam(ctx)
	if err != nil {
		return nil, err
	}
	return c.teamJSON(ctx, t)
}

func deleteTeam(ctx context.Context, c *call) (any, error) {
	t, err := c.findTeam(ctx)
	if err == nil {
		_, err = c.app.db.Exec(ctx, `DELETE FROM teams WHERE id = $1`, t.ID)
	}
	return headOK{}, err
}

func listTeamMembers(ctx context.Context, c *call) (any, error) {
	t, err := c.findTeam(ctx)
	if err != nil {
		return nil, err
	}
	return c.agentList(ctx, "AND u.id IN (SELECT user_id FROM team_members WHERE team_id = $2)", t.ID)
}

// addTeamMembers adds users, replaceTeamMembers has no others beside them.
func addTeamMembers(ctx context.Context, c *call) (any, error) { return c.putTeamMembers(ctx, false) }

func replaceTeamMembers(ctx context.Context, c *call) (any, error) {
	return c.putTeamMembers(ctx, true)
}

func (c *call) putTeamMembers(ctx context.Context, only bool) (any, error) {
	t, err := c.findTeam(ctx)
	if err != nil {
		return nil, err
	}
	err = c.app.inTx(ctx, func(tx pgx.Tx) error {
		if only {
			if _, err := tx.Exec(ctx, `DELETE FROM team_members WHERE team_id = $1`, t.ID); err != nil {
				return fmt.Errorf("clear team: %w", err)
			}
		}
		for _, raw := range c.strings("user_ids") {
			id := params{"id": raw}.number("id")
			if !c.isMember(ctx, id) {
				return &apiError{401, map[string]any{"error": "Invalid User IDs"}}
			}
			if _, err := tx.Exec(ctx, `INSERT INTO team_members VALUES ($1, $2) ON CONFLICT DO NOTHING`, t.ID, id); err != nil {
				return fmt.Errorf("add team member: %w", err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return listTeamMembers(ctx, c)
}

func removeTeamMembers(ctx context.Context, c *call) (any, error) {
	t, err := c.findTeam(ctx)
	if err != nil {
		return nil, err
	}
	for _, raw := range c.strings("user_ids") {
		if _, err := c.app.db.Exec(ctx, `DELETE FROM team_members WHERE team_id = $1 AND user_id = $2`, t.ID, params{"id": raw}.number("id")); err != nil {
			return nil, fmt.Errorf("remove team member: %w", err)
		}
	}
	return headOK{}, nil
}
