package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"plantao/runtime/conversation"
)

var (
	wantedMediaSQL = query("wanted_media")
	lockTalkSQL    = query("lock_talk")
	keepMediaSQL   = query("keep_media")
	keepInlineSQL  = query("keep_inline")
	missMediaSQL   = query("miss_media")
)

// WantedMedia implements conversation.Attachments.
func (s *Store) WantedMedia(ctx context.Context, limit int, lease time.Duration) ([]conversation.WantedMedia, error) {
	return collect(ctx, s, "list attachments to fetch", func(row pgx.CollectableRow) (conversation.WantedMedia, error) {
		var w conversation.WantedMedia
		err := row.Scan(&w.Inbox, &w.Tenant, &w.Channel, &w.Conversation, &w.MessageID, &w.Media, &w.Try)
		return w, err
	}, wantedMediaSQL, limit, lease)
}

// KeepInline implements conversation.Attachments.
func (s *Store) KeepInline(ctx context.Context, w conversation.WantedMedia, maxBytes int64) (bool, error) {
	kept, err := s.keep(ctx, w, func(tx *pipe) *pgx.QueuedQuery { return tx.queue(keepInlineSQL, w.Inbox, w.Try, maxBytes) })
	if unstorable(err) { // what stands there is no base64
		return false, nil
	}
	return kept, mediaError("keep", w, err)
}

// KeepMedia implements conversation.Attachments.
func (s *Store) KeepMedia(ctx context.Context, w conversation.WantedMedia, c conversation.Content) (bool, error) {
	kept, err := s.keep(ctx, w, func(tx *pipe) *pgx.QueuedQuery {
		return tx.queue(putMediaSQL, w.Tenant, w.Conversation, c.Mimetype, c.FileName, c.Bytes)
	})
	return kept, mediaError("keep", w, err)
}

// keep commits content and the row that names it together, or neither. The content is written before the conversation is locked, so
// that a large one keeps nobody waiting.
func (s *Store) keep(ctx context.Context, w conversation.WantedMedia, content func(*pipe) *pgx.QueuedQuery) (bool, error) {
	kept := false
	err := s.transact(ctx, func(tx *pipe) error {
		kept = false
		var id, ignored int64
		content(tx).QueryRow(func(r pgx.Row) error { return r.Scan(&id) })
		if err := tx.flush(ctx); err != nil {
			return err
		}
		tx.queue(lockTalkSQL, w.Conversation)
		tx.queue(keepMediaSQL, w.Inbox, w.Try, id).QueryRow(func(r pgx.Row) error { return r.Scan(&ignored) })
		if err := tx.flush(ctx); err != nil {
			return err
		}
		if err := tx.commit(ctx); err != nil {
			return err
		}
		kept = true
		return nil
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	return kept, err
}

// MissMedia implements conversation.Attachments.
func (s *Store) MissMedia(ctx context.Context, w conversation.WantedMedia, wait time.Duration) error {
	var next *time.Duration
	if wait > 0 {
		next = &wait
	}
	err := s.transact(ctx, func(tx *pipe) error {
		tx.queue(lockTalkSQL, w.Conversation)
		tx.queue(missMediaSQL, w.Inbox, w.Try, next)
		return tx.commit(ctx)
	})
	return mediaError("put off", w, err)
}

func mediaError(verb string, w conversation.WantedMedia, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s attachment of inbox row %d: %w", verb, w.Inbox, err)
}
