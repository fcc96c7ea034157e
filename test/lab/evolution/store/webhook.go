package store

import (
	"context"
	"fmt"
	"time"
)

// Webhook is a row of "Webhook", as upstream answers it.
type Webhook struct {
	ID         string         `json:"id"`
	URL        string         `json:"url"`
	Headers    map[string]any `json:"headers"`
	Enabled    *bool          `json:"enabled"`
	Events     []string       `json:"events"`
	ByEvents   *bool          `json:"webhookByEvents"`
	Base64     *bool          `json:"webhookBase64"`
	CreatedAt  *time.Time     `json:"createdAt"`
	UpdatedAt  time.Time      `json:"updatedAt"`
	InstanceID string         `json:"instanceId"`
}

// SaveWebhook inserts or updates the webhook of w.InstanceID and returns the row. A nil ByEvents, Base64 or Headers leaves the
// column as it is (false, or NULL, in a new row), because upstream passes undefined to its database layer.
func (s *Store) SaveWebhook(ctx context.Context, w Webhook) (Webhook, error) {
	events, err := jsonParam(w.Events)
	if err != nil {
		return Webhook{}, err
	}
	var headers any
	if w.Headers != nil {
		if headers, err = jsonParam(w.Headers); err != nil {
			return Webhook{}, err
		}
	}
	_, err = s.pool.Exec(ctx, `INSERT INTO "Webhook" AS w ("id", "url", "headers", "enabled", "events", "webhookByEvents", "webhookBase64", "instanceId")
		VALUES ($1, $2, $3, $4, $5, COALESCE($6, false), COALESCE($7, false), $8)
		ON CONFLICT ("instanceId") DO UPDATE SET "url" = EXCLUDED."url", "headers" = COALESCE($3, w."headers"), "enabled" = EXCLUDED."enabled",
			"events" = EXCLUDED."events", "webhookByEvents" = COALESCE($6, w."webhookByEvents"),
			"webhookBase64" = COALESCE($7, w."webhookBase64"), "updatedAt" = now() AT TIME ZONE 'utc'`,
		newID(), w.URL, headers, w.Enabled, events, w.ByEvents, w.Base64, w.InstanceID)
	if err != nil {
		return Webhook{}, fmt.Errorf("save webhook of instance %s: %w", w.InstanceID, err)
	}
	return s.Webhook(ctx, w.InstanceID)
}

// Webhook returns ErrNotFound when none was set.
func (s *Store) Webhook(ctx context.Context, instanceID string) (Webhook, error) {
	var w Webhook
	err := s.pool.QueryRow(ctx, `SELECT "id", "url", "headers", "enabled", "events", "webhookByEvents", "webhookBase64", "createdAt", "updatedAt", "instanceId"
		FROM "Webhook" WHERE "instanceId" = $1`, instanceID).
		Scan(&w.ID, &w.URL, &w.Headers, &w.Enabled, &w.Events, &w.ByEvents, &w.Base64, &w.CreatedAt, &w.UpdatedAt, &w.InstanceID)
	if err != nil {
		return Webhook{}, fmt.Errorf("read webhook of instance %s: %w", instanceID, notFound(err))
	}
	return w, nil
}

// Settings are the options of an instance, as the routes carry them.
type Settings struct {
	RejectCall      bool   `json:"rejectCall"`
	MsgCall         string `json:"msgCall,omitempty"`
	GroupsIgnore    bool   `json:"groupsIgnore"`
	AlwaysOnline    bool   `json:"alwaysOnline"`
	ReadMessages    bool   `json:"readMessages"`
	ReadStatus      bool   `json:"readStatus"`
	SyncFullHistory bool   `json:"syncFullHistory"`
	WavoipToken     string `json:"wavoipToken,omitempty"`
}

// SaveSettings inserts or updates the settings of an instance. Empty texts leave the column as it is.
func (s *Store) SaveSettings(ctx context.Context, instanceID string, v Settings) error {
	_, err := s.pool.Exec(ctx, `INSERT INTO "Setting" AS s ("id", "rejectCall", "msgCall", "groupsIgnore", "alwaysOnline", "readMessages", "readStatus",
			"syncFullHistory", "wavoipToken", "instanceId") VALUES ($1, $2, NULLIF($3, ''), $4, $5, $6, $7, $8, NULLIF($9, ''), $10)
		ON CONFLICT ("instanceId") DO UPDATE SET "rejectCall" = $2, "msgCall" = COALESCE(NULLIF($3, ''), s."msgCall"), "groupsIgnore" = $4,
			"alwaysOnline" = $5, "readMessages" = $6, "readStatus" = $7, "syncFullHistory" = $8,
			"wavoipToken" = COALESCE(NULLIF($9, ''), s."wavoipToken"), "updatedAt" = now() AT TIME ZONE 'utc'`,
		newID(), v.RejectCall, v.MsgCall, v.GroupsIgnore, v.AlwaysOnline, v.ReadMessages, v.ReadStatus, v.SyncFullHistory, v.WavoipToken, instanceID)
	if err != nil {
		return fmt.Errorf("save settings of instance %s: %w", instanceID, err)
	}
	return nil
}

// Settings returns ErrNotFound when none were saved.
func (s *Store) Settings(ctx context.Context, instanceID string) (Settings, error) {
	var v Settings
	err := s.pool.QueryRow(ctx, `SELECT "rejectCall", COALESCE("msgCall", ''), "groupsIgnore", "alwaysOnline", "readMessages", "readStatus", "syncFullHistory",
		COALESCE("wavoipToken", '') FROM "Setting" WHERE "instanceId" = $1`, instanceID).
		Scan(&v.RejectCall, &v.MsgCall, &v.GroupsIgnore, &v.AlwaysOnline, &v.ReadMessages, &v.ReadStatus, &v.SyncFullHistory, &v.WavoipToken)
	if err != nil {
		return v, fmt.Errorf("read settings of instance %s: %w", instanceID, notFound(err))
	}
	return v, nil
}
