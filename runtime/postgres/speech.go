package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"plantao/runtime/conversation"
)

var (
	saySQL         = query("say")
	saidSQL        = query("said")
	putMediaSQL    = query("put_media")
	mediaSQL       = query("media")
	attachmentsSQL = query("attachments")
)

// partBody is what a part says, as it is kept.
type partBody struct {
	Text  string                  `json:"text"`
	Media *conversation.PartMedia `json:"media,omitempty"`
}

// partColumns are parts as the arrays of reply.sql and say.sql.
func partColumns(parts []conversation.Part) (bodies []string, delays []time.Duration, err error) {
	bodies, delays = make([]string, 0, len(parts)), make([]time.Duration, 0, len(parts))
	for _, p := range parts {
		body, err := json.Marshal(partBody{Text: p.Text, Media: p.Media})
		if err != nil {
			return nil, nil, fmt.Errorf("write part: %w", err)
		}
		bodies, delays = append(bodies, string(body)), append(delays, p.Delay)
	}
	return bodies, delays, nil
}

// Say implements conversation.Speech.
func (s *Store) Say(ctx context.Context, said conversation.Said) (no int, first bool, err error) {
	fail := func(err error) (int, bool, error) {
		return 0, false, fmt.Errorf("say something in conversation %s: %w", said.Conversation, err)
	}
	bodies, delays, err := partColumns(said.Parts)
	if err != nil {
		return fail(err)
	}
	var source *string
	if said.Source != "" {
		source = &said.Source
	}
	err = again(ctx, func() error {
		return s.pool.QueryRow(ctx, saySQL, said.Conversation, said.Tenant, said.Kind, said.By, source, said.IfEpoch, bodies, delays,
			said.Within, s.cluster.Load()).Scan(&no)
	})
	if err == nil {
		return no, true, nil
	}
	if !errors.Is(err, pgx.ErrNoRows) && !violates(err, "turn_source") {
		return fail(err)
	}
	if source != nil {
		err = again(ctx, func() error { return s.pool.QueryRow(ctx, saidSQL, said.Tenant, *source).Scan(&no) })
		switch {
		case err == nil:
			return no, false, nil
		case !errors.Is(err, pgx.ErrNoRows):
			return fail(err)
		}
	}
	now, err := s.Find(ctx, said.Tenant, said.Conversation)
	if err != nil {
		return fail(err)
	}
	why := conversation.ErrStaleEpoch
	if now.MergedInto != 0 {
		why = conversation.ErrMerged
	}
	return fail(&conversation.RefusedError{Err: why, Now: now})
}

// say queues something to be said with what the transaction does. What was said before is not said again.
func (p *pipe) say(said conversation.Said, cluster int64) error {
	bodies, delays, err := partColumns(said.Parts)
	if err != nil {
		return err
	}
	p.queue(saySQL, said.Conversation, said.Tenant, said.Kind, said.By, said.Source, said.IfEpoch, bodies, delays, said.Within, cluster)
	return nil
}

// ownMedia returns the parts with every attachment's kind, and refuses one that is another conversation's: its content is some other
// customer's.
func (s *Store) ownMedia(ctx context.Context, id conversation.ID, parts []conversation.Part) ([]conversation.Part, error) {
	var ids []int64
	for i, p := range parts {
		if p.Content != nil {
			return nil, fmt.Errorf("part %d has content that is not kept yet: %w", i+1, conversation.ErrInvalid)
		}
		if p.Media != nil {
			ids = append(ids, p.Media.ID)
		}
	}
	if len(ids) == 0 {
		return parts, nil
	}
	own := map[int64]string{}
	_, err := collect(ctx, s, "find attachments", func(row pgx.CollectableRow) (struct{}, error) {
		var (
			media    int64
			mimetype string
		)
		err := row.Scan(&media, &mimetype)
		own[media] = mimetype
		return struct{}{}, err
	}, attachmentsSQL, id, ids)
	if err != nil {
		return nil, err
	}
	parts = slices.Clone(parts)
	for i, p := range parts {
		if p.Media == nil {
			continue
		}
		mimetype, ours := own[p.Media.ID]
		if !ours {
			return nil, fmt.Errorf("part %d: attachment %d is not one of this conversation: %w", i+1, p.Media.ID, conversation.ErrInvalid)
		}
		if p.Media.Kind == "" {
			parts[i].Media = &conversation.PartMedia{ID: p.Media.ID, Kind: conversation.MediaKindOf(mimetype)}
		}
	}
	return parts, nil
}

// PutMedia implements conversation.Speech.
func (s *Store) PutMedia(ctx context.Context, tenant string, id conversation.ID, c conversation.Content) (int64, error) {
	var media int64
	err := again(ctx, func() error {
		return s.pool.QueryRow(ctx, putMediaSQL, tenant, id, c.Mimetype, c.FileName, c.Bytes).Scan(&media)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		err = conversation.ErrNotFound
	}
	if err != nil {
		return 0, fmt.Errorf("keep attachment of conversation %s: %w", id, err)
	}
	return media, nil
}

// Media implements conversation.Speech.
func (s *Store) Media(ctx context.Context, tenant string, id int64) (conversation.Content, error) {
	c := conversation.Content{ID: id}
	err := again(ctx, func() error {
		return s.pool.QueryRow(ctx, mediaSQL, tenant, id).Scan(&c.Mimetype, &c.FileName, &c.Bytes, &c.Conversation)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		err = conversation.ErrNotFound
	}
	if err != nil {
		return conversation.Content{}, fmt.Errorf("read attachment %d: %w", id, err)
	}
	return c, nil
}
