package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Instance is a row of "Instance". Fields that may be NULL are pointers.
type Instance struct {
	ID                      string         `json:"id" db:"id"`
	Name                    string         `json:"name" db:"name"`
	ConnectionStatus        string         `json:"connectionStatus" db:"connectionStatus"`
	OwnerJID                *string        `json:"ownerJid" db:"ownerJid"`
	ProfileName             *string        `json:"profileName" db:"profileName"`
	ProfilePicURL           *string        `json:"profilePicUrl" db:"profilePicUrl"`
	Integration             *string        `json:"integration" db:"integration"`
	Number                  *string        `json:"number" db:"number"`
	BusinessID              *string        `json:"businessId" db:"businessId"`
	Token                   *string        `json:"token,omitempty" db:"token"`
	ClientName              *string        `json:"clientName" db:"clientName"`
	DisconnectionReasonCode *int           `json:"disconnectionReasonCode" db:"disconnectionReasonCode"`
	DisconnectionObject     map[string]any `json:"disconnectionObject" db:"disconnectionObject"`
	DisconnectionAt         *time.Time     `json:"disconnectionAt" db:"disconnectionAt"`
	CreatedAt               *time.Time     `json:"createdAt" db:"createdAt"`
	UpdatedAt               *time.Time     `json:"updatedAt" db:"updatedAt"`
}

const instanceColumns = `"id", "name", "connectionStatus"::text, "ownerJid", "profileName", "profilePicUrl", "integration", "number", "businessId",
	"token", "clientName", "disconnectionReasonCode", "disconnectionObject", "disconnectionAt", "createdAt", "updatedAt"`

// CreateInstance inserts i. ID, Name and ConnectionStatus must be set.
func (s *Store) CreateInstance(ctx context.Context, i Instance) error {
	_, err := s.pool.Exec(ctx, `INSERT INTO "Instance" ("id", "name", "connectionStatus", "integration", "number", "businessId", "token", "clientName")
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, i.ID, i.Name, i.ConnectionStatus, i.Integration, i.Number, i.BusinessID, i.Token, i.ClientName)
	if err != nil {
		return fmt.Errorf("insert instance %q: %w", i.Name, err)
	}
	return nil
}

// InstanceByName returns ErrNotFound when there is none.
func (s *Store) InstanceByName(ctx context.Context, name string) (Instance, error) {
	return s.instance(ctx, `"name" = $1`, name)
}

// InstanceByNumber returns the first instance of that number, or ErrNotFound.
func (s *Store) InstanceByNumber(ctx context.Context, number string) (Instance, error) {
	return s.instance(ctx, `"number" = $1`, number)
}

// InstanceByID returns ErrNotFound when there is none.
func (s *Store) InstanceByID(ctx context.Context, id string) (Instance, error) {
	return s.instance(ctx, `"id" = $1`, id)
}

func (s *Store) instance(ctx context.Context, where string, arg any) (Instance, error) {
	list, err := s.instances(ctx, where, arg)
	if err != nil {
		return Instance{}, err
	}
	if len(list) == 0 {
		return Instance{}, ErrNotFound
	}
	return list[0], nil
}

// Instances lists the instances of one installation, oldest first.
func (s *Store) Instances(ctx context.Context, clientName string) ([]Instance, error) {
	return s.instances(ctx, `"clientName" = $1`, clientName)
}

// InstancesByToken lists the instances whose token is token.
func (s *Store) InstancesByToken(ctx context.Context, token string) ([]Instance, error) {
	return s.instances(ctx, `"token" = $1`, token)
}

func (s *Store) instances(ctx context.Context, where string, arg any) ([]Instance, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+instanceColumns+` FROM "Instance" WHERE `+where+` ORDER BY "createdAt", "id"`, arg)
	if err != nil {
		return nil, fmt.Errorf("query instances: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Instance])
	if err != nil {
		return nil, fmt.Errorf("read instances: %w", err)
	}
	return list, nil
}

// SetConnection records a new connection state, and who is connected while it is open.
func (s *Store) SetConnection(ctx context.Context, id, state string, ownerJID *string) error {
	_, err := s.pool.Exec(ctx, `UPDATE "Instance" SET "connectionStatus" = $2, "ownerJid" = COALESCE($3, "ownerJid"),
		"updatedAt" = now() AT TIME ZONE 'utc' WHERE "id" = $1`, id, state, ownerJID)
	if err != nil {
		return fmt.Errorf("set connection of instance %s to %s: %w", id, state, err)
	}
	return nil
}

// SetDisconnected records that the connection ended for good, and why.
func (s *Store) SetDisconnected(ctx context.Context, id string, code int) error {
	_, err := s.pool.Exec(ctx, `UPDATE "Instance" SET "connectionStatus" = 'close', "disconnectionReasonCode" = $2,
		"disconnectionAt" = now() AT TIME ZONE 'utc', "updatedAt" = now() AT TIME ZONE 'utc' WHERE "id" = $1`, id, code)
	if err != nil {
		return fmt.Errorf("record disconnection of instance %s: %w", id, err)
	}
	return nil
}

// DeleteInstance removes the instance and all its rows. A missing one is no error.
func (s *Store) DeleteInstance(ctx context.Context, name string) error {
	if _, err := s.pool.Exec(ctx, `DELETE FROM "Instance" WHERE "name" = $1`, name); err != nil {
		return fmt.Errorf("delete instance %q: %w", name, err)
	}
	return nil
}

// Counts are the numbers fetchInstances shows.
type Counts struct {
	Message int `json:"Message"`
	Contact int `json:"Contact"`
	Chat    int `json:"Chat"`
}

// Counts counts the rows of an instance.
func (s *Store) Counts(ctx context.Context, id string) (Counts, error) {
	var c Counts
	err := s.pool.QueryRow(ctx, `SELECT (SELECT count(*) FROM "Message" WHERE "instanceId" = $1),
		(SELECT count(*) FROM "Contact" WHERE "instanceId" = $1), (SELECT count(*) FROM "Chat" WHERE "instanceId" = $1)`, id).
		Scan(&c.Message, &c.Contact, &c.Chat)
	if err != nil {
		return c, fmt.Errorf("count rows of instance %s: %w", id, err)
	}
	return c, nil
}
