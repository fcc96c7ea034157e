package standin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/crypto/bcrypt"
)

const (
	sessionLifetime = 60 * 24 * time.Hour // upstream: two months
	maxSessions     = 25
)

var errSignInFirst = &apiError{http.StatusUnauthorized, map[string]any{"errors": []string{"You need to sign in or sign up before continuing."}}}

func unauthorized(message string) error {
	return &apiError{http.StatusUnauthorized, map[string]any{"error": message}}
}

// accessToken finds the header under both spellings: Rack maps api_access_token and api-access-token to one key.
func accessToken(r *http.Request) string {
	for name, values := range r.Header {
		if strings.EqualFold(strings.ReplaceAll(name, "_", "-"), "api-access-token") && len(values) > 0 && values[0] != "" {
			return values[0]
		}
	}
	return ""
}

// authenticate finds who calls: by access token when that header is there, else by a device token.
func (a *App) authenticate(ctx context.Context, r *http.Request) (*user, *agentBot, error) {
	value := accessToken(r)
	if value == "" {
		u, err := a.bySession(ctx, r)
		return u, nil, err
	}
	var ownerType string
	var ownerID int64
	err := a.db.QueryRow(ctx, `SELECT owner_type, owner_id FROM access_tokens WHERE token = $1`, value).Scan(&ownerType, &ownerID)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil, unauthorized("Invalid Access Token")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("look for access token: %w", err)
	}
	if ownerType == "AgentBot" {
		b, err := one[agentBot](ctx, a.db, `SELECT `+botColumns+` FROM agent_bots b WHERE b.id = $1`, ownerID)
		return nil, &b, err
	}
	u, err := one[user](ctx, a.db, userQuery+`WHERE u.id = $1`, ownerID)
	return &u, nil, err
}

// bySession checks the devise-token-auth headers uid, client and access-token.
func (a *App) bySession(ctx context.Context, r *http.Request) (*user, error) {
	uid, client, value := r.Header.Get("uid"), r.Header.Get("client"), r.Header.Get("access-token")
	if uid == "" || client == "" || value == "" {
		return nil, errSignInFirst
	}
	u, err := maybe[user](ctx, a.db, userQuery+`WHERE u.email = $1`, strings.ToLower(uid))
	if err != nil {
		return nil, err
	}
	if u == nil {
		return nil, errSignInFirst
	}
	s, ok := u.Tokens[client]
	if !ok || s.Expiry < time.Now().Unix() || subtle.ConstantTimeCompare([]byte(s.Token), []byte(digest(value))) != 1 {
		return nil, errSignInFirst
	}
	return u, nil
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// authorize is every account route's gate: who, of which account, in which role.
func (a *App) authorize(w http.ResponseWriter, r *http.Request, need access) (*call, error) {
	ctx := r.Context()
	u, bot, err := a.authenticate(ctx, r)
	if err != nil {
		return nil, err
	}
	if bot != nil && need != andBots {
		return nil, unauthorized("Access to this endpoint is not authorized for bots")
	}
	c := &call{app: a, req: r, user: u, bot: bot}
	if c.account, err = a.findAccount(ctx, r.PathValue("account")); err != nil {
		return nil, err
	}
	if bot != nil {
		err = a.botMayUse(ctx, bot, c.account)
	} else {
		err = a.db.QueryRow(ctx, `SELECT role FROM account_users WHERE account_id = $1 AND user_id = $2`, c.account, u.ID).Scan(&c.role)
		if errors.Is(err, pgx.ErrNoRows) {
			err = errNoAccount
		}
	}
	if err != nil {
		return nil, err
	}
	if need == admins && !c.admin() {
		return nil, errNotPermitted
	}
	c.params, err = readParams(w, r)
	return c, err
}

func (a *App) findAccount(ctx context.Context, raw string) (int64, error) {
	id, err := strconv.ParseInt(raw, 10, 64)
	if err != nil {
		return 0, errNotFound
	}
	err = a.db.QueryRow(ctx, `SELECT id FROM accounts WHERE id = $1`, id).Scan(&id)
	if err != nil {
		return 0, fmt.Errorf("look for account: %w", err)
	}
	return id, nil
}

func (a *App) botMayUse(ctx context.Context, bot *agentBot, account int64) error {
	if bot.AccountID != nil && *bot.AccountID == account {
		return nil
	}
	var connected bool
	err := a.db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM agent_bot_inboxes WHERE agent_bot_id = $1 AND account_id = $2)`, bot.ID, account).Scan(&connected)
	if err != nil {
		return fmt.Errorf("look for bot inbox: %w", err)
	}
	if !connected {
		return unauthorized("Bot is not authorized to access this account")
	}
	return nil
}

// signIn answers 401 for every wrong combination, so that it does not tell which addresses exist.
func (a *App) signIn(w http.ResponseWriter, r *http.Request) {
	p, err := readParams(w, r)
	if err != nil {
		a.writeError(w, r, err)
		return
	}
	if a.loginThrottled(w, r, p.text("email")) {
		return
	}
	refuse := func(message string) {
		writeJSON(w, http.StatusUnauthorized, map[string]any{"success": false, "errors": []string{message}})
	}
	u, err := maybe[user](r.Context(), a.db, userQuery+`WHERE u.email = $1`, strings.ToLower(strings.TrimSpace(p.text("email"))))
	if err != nil {
		a.writeError(w, r, err)
		return
	}
	if u == nil || bcrypt.CompareHashAndPassword([]byte(u.EncryptedPassword), []byte(p.text("password"))) != nil {
		refuse("Invalid login credentials. Please try again.")
		return
	}
	if u.ConfirmedAt == nil {
		refuse("A confirmation email was sent to your account at '" + u.Email + "'. You must follow the instructions in the email before your account can be activated")
		return
	}
	if err := a.openSession(r.Context(), w, u); err != nil {
		a.writeError(w, r, err)
		return
	}
	a.writeUser(w, r, u, func(body map[string]any) any { return map[string]any{"data": body} })
}

// openSession makes a device token and sets the headers; the oldest token goes when there are too many.
func (a *App) openSession(ctx context.Context, w http.ResponseWriter, u *user) error {
	value, client := token(), token()[:22]
	expiry := time.Now().Add(sessionLifetime).Unix()
	err := a.inTx(ctx, func(tx pgx.Tx) error {
		var raw []byte
		if err := tx.QueryRow(ctx, `SELECT tokens FROM users WHERE id = $1 FOR UPDATE`, u.ID).Scan(&raw); err != nil {
			return fmt.Errorf("read sessions: %w", err)
		}
		tokens := map[string]session{}
		if err := json.Unmarshal(raw, &tokens); err != nil {
			return fmt.Errorf("decode sessions: %w", err)
		}
		for len(tokens) >= maxSessions {
			delete(tokens, oldest(tokens))
		}
		tokens[client] = session{Token: digest(value), Expiry: expiry}
		_, err := tx.Exec(ctx, `UPDATE users SET tokens = $2 WHERE id = $1`, u.ID, tokens)
		return err
	})
	if err != nil {
		return fmt.Errorf("open session: %w", err)
	}
	h := w.Header()
	h.Set("access-token", value)
	h.Set("token-type", "Bearer")
	h.Set("client", client)
	h.Set("expiry", strconv.FormatInt(expiry, 10))
	h.Set("uid", u.Email)
	return nil
}

func oldest(tokens map[string]session) string {
	name, expiry := "", int64(0)
	for n, s := range tokens {
		if name == "" || s.Expiry < expiry {
			name, expiry = n, s.Expiry
		}
	}
	return name
}

func (a *App) signOut(w http.ResponseWriter, r *http.Request) {
	u, err := a.bySession(r.Context(), r)
	if err != nil {
		writeJSON(w, http.StatusNotFound, map[string]any{"success": false, "errors": []string{"User was not found or was not logged in."}})
		return
	}
	if _, err := a.db.Exec(r.Context(), `UPDATE users SET tokens = tokens - $2::text WHERE id = $1`, u.ID, r.Header.Get("client")); err != nil {
		a.writeError(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"success": true})
}

func (a *App) validateToken(w http.ResponseWriter, r *http.Request) {
	u, err := a.bySession(r.Context(), r)
	if err != nil {
		writeJSON(w, http.StatusUnauthorized, map[string]any{"success": false, "errors": []string{"Invalid login credentials"}})
		return
	}
	a.writeUser(w, r, u, func(body map[string]any) any {
		return map[string]any{"payload": map[string]any{"success": true, "data": body}}
	})
}

// profile refuses bots, as every route outside their list.
func (a *App) profile(w http.ResponseWriter, r *http.Request) {
	u, bot, err := a.authenticate(r.Context(), r)
	if err == nil && bot != nil {
		err = unauthorized("Access to this endpoint is not authorized for bots")
	}
	if err != nil {
		a.writeError(w, r, err)
		return
	}
	a.writeUser(w, r, u, func(body map[string]any) any { return body })
}

func (a *App) writeUser(w http.ResponseWriter, r *http.Request, u *user, wrap func(map[string]any) any) {
	body, err := a.userJSON(r.Context(), u)
	if err != nil {
		a.writeError(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, wrap(body))
}

func (a *App) userJSON(ctx context.Context, u *user) (map[string]any, error) {
	type membership struct {
		ID     int64
		Name   string
		Status string
		Role   string
	}
	members, err := collect[membership](ctx, a.db, `SELECT a.id, a.name, a.status, m.role FROM account_users m
		JOIN accounts a ON a.id = m.account_id WHERE m.user_id = $1 ORDER BY a.id`, u.ID)
	if err != nil {
		return nil, err
	}
	accounts := []map[string]any{}
	var first, role any
	for _, m := range members {
		if first == nil {
			first, role = m.ID, m.Role
		}
		accounts = append(accounts, map[string]any{"id": m.ID, "name": m.Name, "status": m.Status, "active_at": nil,
			"role": m.Role, "permissions": []string{m.Role}, "availability": "online", "availability_status": "offline", "auto_offline": true})
	}
	return map[string]any{
		"access_token": u.AccessToken, "account_id": first, "available_name": u.Name, "avatar_url": "", "confirmed": u.ConfirmedAt != nil,
		"display_name": nil, "message_signature": nil, "email": u.Email, "id": u.ID, "inviter_id": nil, "name": u.Name, "provider": "email",
		"pubsub_token": u.PubsubToken, "role": role, "ui_settings": map[string]any{}, "uid": u.Email, "type": u.Type, "accounts": accounts,
	}, nil
}
