package postgres

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"plantao/runtime/conversation"
)

var (
	agentsSQL       = query("agents")
	putAgentSQL     = query("put_agent")
	putPolicySQL    = query("put_policy")
	presentSQL      = query("present")
	authenticateSQL = query("authenticate")
	putTokenSQL     = query("put_token")
	revokeTokenSQL  = query("revoke_token")
	tokensSQL       = query("tokens")
)

// Agents implements conversation.Agents.
func (s *Store) Agents(ctx context.Context, tenant string) ([]conversation.Agent, error) {
	return collect(ctx, s, "list agents", func(row pgx.CollectableRow) (conversation.Agent, error) {
		a := conversation.Agent{Tenant: tenant}
		err := row.Scan(&a.Owner.Kind, &a.Owner.ID, &a.Name, &a.Capacity, &a.Presence, &a.Given, &a.Active, &a.MidTurn, &a.Holding, &a.Email, &a.Teams)
		return a, err
	}, agentsSQL, tenant)
}

// PutAgent implements conversation.Agents.
func (s *Store) PutAgent(ctx context.Context, a conversation.Agent) error {
	return s.exec(ctx, "write agent "+a.Owner.String(), putAgentSQL, a.Tenant, a.Owner.Kind, a.Owner.ID, a.Name, a.Capacity,
		cmp.Or(a.MidTurn, conversation.MidTurnQueue), a.Holding)
}

// PutPolicy writes an AI's policies and nothing else of it, and says what it did: "created", "updated" or "unchanged".
func (s *Store) PutPolicy(ctx context.Context, tenant, flow string, m conversation.MidTurn, holding string) (string, error) {
	var created bool
	err := again(ctx, func() error {
		return s.pool.QueryRow(ctx, putPolicySQL, tenant, flow, cmp.Or(m, conversation.MidTurnQueue), holding).Scan(&created)
	})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return "unchanged", nil
	case err != nil:
		return "", fmt.Errorf("write policies of flow %q: %w", flow, err)
	case created:
		return "created", nil
	}
	return "updated", nil
}

// Present implements conversation.Agents.
func (s *Store) Present(ctx context.Context, tenant string, o conversation.Owner, p conversation.Presence, wait time.Duration) error {
	return s.exec(ctx, "record presence of "+o.String(), presentSQL, tenant, o.Kind, o.ID, p, wait)
}

func (s *Store) exec(ctx context.Context, what, sql string, args ...any) error {
	err := again(ctx, func() error {
		_, err := s.pool.Exec(ctx, sql, args...)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// Authenticate implements conversation.Agents.
func (s *Store) Authenticate(ctx context.Context, secretSHA256 [32]byte) (conversation.Principal, error) {
	var (
		p     conversation.Principal
		until *time.Time
	)
	err := again(ctx, func() error {
		return s.pool.QueryRow(ctx, authenticateSQL, secretSHA256[:]).
			Scan(&p.Tenant, &p.Token, &p.Actor.Kind, &p.Actor.ID, &p.Scopes, &until)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		err = conversation.ErrBadToken
	}
	if err != nil {
		return conversation.Principal{}, fmt.Errorf("find token: %w", err)
	}
	p.Until = value(until)
	return p, nil
}

// TokenRow is a token as it is listed. Its secret is nowhere.
type TokenRow struct {
	conversation.Principal
	Created time.Time
	Revoked time.Time // zero: it is not
}

// PutToken writes a token; one with the same name is replaced, its secret included.
func (s *Store) PutToken(ctx context.Context, p conversation.Principal, secret string) error {
	sum := sha256.Sum256([]byte(secret))
	return s.exec(ctx, fmt.Sprintf("write token %q", p.Token), putTokenSQL,
		p.Tenant, p.Token, p.Actor.Kind, p.Actor.ID, p.Scopes, sum[:], orNull(p.Until))
}

// RevokeToken ends a token; false if there is none that could be ended.
func (s *Store) RevokeToken(ctx context.Context, tenant, name string) (bool, error) {
	ok, err := s.one(ctx, revokeTokenSQL, tenant, name)
	if err != nil {
		return false, fmt.Errorf("revoke token %q: %w", name, err)
	}
	return ok, nil
}

// Tokens lists a tenant's tokens by name.
func (s *Store) Tokens(ctx context.Context, tenant string) ([]TokenRow, error) {
	return collect(ctx, s, "list tokens", func(row pgx.CollectableRow) (TokenRow, error) {
		var (
			t              TokenRow
			until, revoked *time.Time
		)
		err := row.Scan(&t.Token, &t.Actor.Kind, &t.Actor.ID, &t.Scopes, &t.Created, &until, &revoked)
		t.Tenant, t.Until, t.Revoked = tenant, value(until), value(revoked)
		return t, err
	}, tokensSQL, tenant)
}
