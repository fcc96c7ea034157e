package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/jackc/pgx/v5"

	"plantao/runtime/conversation"
)

var _ conversation.Mirror = (*Store)(nil)

var (
	deskSQL         = query("desk")
	putDeskSQL      = query("put_desk")
	hearDeskSQL     = query("hear_desk")
	dueDeskSweepSQL = query("due_desk_sweep")
	deskSweptSQL    = query("desk_swept")
)

func scanDesk(row pgx.Row, more ...any) (conversation.Desk, error) {
	var d conversation.Desk
	err := row.Scan(append([]any{&d.Channel, &d.Tenant, &d.Account, &d.Inbox, &d.Bot, &d.HookSecret, &d.BotSecret, &d.BotToken,
		&d.UserToken}, more...)...)
	return d, err
}

// Desk implements conversation.Mirror.
func (s *Store) Desk(ctx context.Context, channel string) (d conversation.Desk, err error) {
	err = again(ctx, func() error {
		d, err = scanDesk(s.pool.QueryRow(ctx, deskSQL, channel))
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) || unstorable(err) {
		return d, fmt.Errorf("desk of channel %q: %w", channel, conversation.ErrUnknownChannel)
	}
	if err != nil {
		return d, fmt.Errorf("find desk of channel %q: %w: %w", channel, conversation.ErrUnavailable, err)
	}
	return d, nil
}

// PutDesk implements conversation.Mirror. The secrets are compared as they are: whoever seals what has not changed anew writes it
// anew.
func (s *Store) PutDesk(ctx context.Context, d conversation.Desk) (string, error) {
	had, err := s.Desk(ctx, d.Channel)
	done := "updated"
	switch {
	case errors.Is(err, conversation.ErrUnknownChannel):
		done = "created"
	case err != nil:
		return "", err
	case reflect.DeepEqual(had, d):
		ch, err := s.Channel(ctx, d.Channel)
		if err != nil {
			return "", err
		}
		if ch.Mirror {
			return "unchanged", nil
		}
	}
	err = again(ctx, func() error {
		_, err := s.pool.Exec(ctx, putDeskSQL, d.Channel, d.Tenant, d.Account, d.Inbox, d.Bot, d.HookSecret, d.BotSecret, d.BotToken, d.UserToken)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("write desk of channel %q: %w", d.Channel, err)
	}
	return done, nil
}

// HearDesk implements conversation.Mirror.
func (s *Store) HearDesk(ctx context.Context, e conversation.DeskEvent) (duplicate bool, err error) {
	body := string(e.Body)
	hear := func() error {
		return again(ctx, func() error {
			tag, err := s.pool.Exec(ctx, hearDeskSQL, e.Tenant, e.Channel, e.Delivery, e.Name, e.Account, e.Display, e.Look, body)
			duplicate = tag.RowsAffected() == 0
			return err
		})
	}
	if err = hear(); err != nil && unstorable(err) {
		wrapped, err := json.Marshal(map[string][]byte{"base64": e.Body}) // as Receive does
		if err != nil {
			return false, fmt.Errorf("wrap body: %w", err)
		}
		body = string(wrapped)
		if err = hear(); err != nil {
			return false, fmt.Errorf("store event of chatwoot: %w: %w", conversation.ErrUnavailable, err)
		}
		return duplicate, nil
	}
	if err != nil {
		return false, fmt.Errorf("store event of chatwoot: %w: %w", conversation.ErrUnavailable, err)
	}
	return duplicate, nil
}

// DueDeskSweep implements conversation.Mirror.
func (s *Store) DueDeskSweep(ctx context.Context, every time.Duration) (d conversation.Desk, swept time.Time, err error) {
	err = again(ctx, func() error {
		d, err = scanDesk(s.pool.QueryRow(ctx, dueDeskSweepSQL, every), &swept)
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		err = conversation.ErrNothingDue
	}
	if err != nil {
		return d, swept, fmt.Errorf("take sweep: %w", err)
	}
	return d, swept, nil
}

// Swept implements conversation.Mirror.
func (s *Store) DeskSwept(ctx context.Context, d conversation.Desk, seen []conversation.Glimpse, to time.Time) (missed int, err error) {
	var (
		ids, newest         = make([]int64, len(seen)), make([]int64, len(seen))
		statuses, assignees = make([]string, len(seen)), make([]string, len(seen))
	)
	for i, g := range seen {
		ids[i], newest[i], statuses[i], assignees[i] = g.Display, g.LastMessage, g.Status, g.Assignee
	}
	err = again(ctx, func() error {
		return s.pool.QueryRow(ctx, deskSweptSQL, d.Channel, d.Account, ids, statuses, assignees, newest, to).Scan(&missed)
	})
	if err != nil {
		return 0, fmt.Errorf("note sweep of channel %q: %w", d.Channel, err)
	}
	return missed, nil
}
