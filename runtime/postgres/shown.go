package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"plantao/runtime/conversation"
)

var (
	gatherShownSQL    = query("gather_shown")
	nextShownSQL      = query("next_shown")
	saveShownSQL      = query("save_shown")
	endShownSQL       = query("end_shown")
	hideShownSQL      = query("hide_shown")
	toShowSQL         = query("to_show")
	undecidedShownSQL = query("undecided_shown")
	postedSQL         = query("posted")
	heardSQL          = query("heard")
	spokenSQL         = query("spoken")
	showSpokenSQL     = query("show_spoken")
)

// GatherShown implements conversation.Mirror.
func (s *Store) GatherShown(ctx context.Context, after conversation.ID) (next conversation.ID, err error) {
	err = again(ctx, func() error { return s.pool.QueryRow(ctx, gatherShownSQL, after).Scan(&next) })
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return after, fmt.Errorf("gather what is to be shown: %w", err)
	}
	return next, nil
}

// NextShown implements conversation.Mirror. Two that reach for the same conversation at once: the second tries another.
func (s *Store) NextShown(ctx context.Context, lease time.Duration) (conversation.Shown, error) {
	for try := range 4 {
		var (
			c                        conversation.Shown
			nextStatus, nextAssignee *string
			age                      float64
		)
		err := again(ctx, func() error {
			return s.pool.QueryRow(ctx, nextShownSQL, lease, try%2 == 0).Scan(&c.Conversation, &c.Gen, &c.Tenant, &c.Channel, &c.Contact.JID,
				&c.Contact.Name, &c.Phones, &c.Attempts, &c.ContactID, &c.SourceID, &c.Display, &c.Status, &c.Assignee, &nextStatus, &nextAssignee,
				&c.Accepted, &c.LastMessage, &c.Noted, &c.Posting, &age, &c.Labels)
		})
		switch {
		case err == nil:
			if nextStatus != nil {
				c.Next = &conversation.DeskState{Status: *nextStatus, Assignee: value(nextAssignee)}
			}
			c.PostingAge = time.Duration(age * float64(time.Second))
			return c, nil
		case !errors.Is(err, pgx.ErrNoRows):
			return c, fmt.Errorf("take a conversation in hand: %w", err)
		}
	}
	return conversation.Shown{}, conversation.ErrNothingDue
}

// owned runs a statement that changes nothing unless the conversation is in the caller's hands.
func (s *Store) owned(ctx context.Context, what string, id conversation.ID, sql string, args ...any) error {
	err := again(ctx, func() error {
		tag, err := s.pool.Exec(ctx, sql, args...)
		if err == nil && tag.RowsAffected() == 0 {
			err = conversation.ErrSuperseded
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("%s of conversation %s: %w", what, id, err)
	}
	return nil
}

// SaveShown implements conversation.Mirror.
func (s *Store) SaveShown(ctx context.Context, c conversation.Shown, lease time.Duration) error {
	var nextStatus, nextAssignee *string
	if c.Next != nil {
		nextStatus, nextAssignee = &c.Next.Status, &c.Next.Assignee
	}
	return s.owned(ctx, "save display", c.Conversation, saveShownSQL, c.Conversation, c.Gen, lease, c.ContactID, c.SourceID, c.Display, c.Status,
		c.Assignee, nextStatus, nextAssignee, c.Accepted, c.LastMessage, c.Noted, c.Posting, append([]string{}, c.Labels...))
}

// EndShown implements conversation.Mirror.
func (s *Store) EndShown(ctx context.Context, c conversation.Shown, e conversation.ShowEnd) error {
	err := again(ctx, func() error {
		_, err := s.pool.Exec(ctx, endShownSQL, c.Conversation, c.Gen, e.Failed, e.After, e.Reason, e.Waits)
		return err
	})
	if err != nil {
		return fmt.Errorf("give back conversation %s: %w", c.Conversation, err)
	}
	return nil
}

// ToShow implements conversation.Mirror.
func (s *Store) ToShow(ctx context.Context, c conversation.Shown, through int64, t conversation.ShowTerms) (list []conversation.ToShow, later time.Duration, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		list, later = nil, 0
		if _, err := tx.Exec(ctx, hideShownSQL, c.Conversation); err != nil {
			return err
		}
		var undecided bool
		if err := tx.QueryRow(ctx, undecidedShownSQL, c.Conversation, t.FromMe).Scan(&undecided); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, toShowSQL, c.Conversation, c.Noted, through, t.Limit, t.Media, t.FromMe)
		if err != nil {
			return err
		}
		found, err := pgx.CollectRows(rows, scanToShow)
		if err != nil {
			return err
		}
		for _, x := range found {
			if x.waits {
				undecided = true
				break
			}
			list = append(list, x.ToShow)
		}
		if undecided {
			later = t.Between
		}
		return nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("list what to show of conversation %s: %w", c.Conversation, err)
	}
	return list, later, nil
}

// showsPromise is what to_show.sql says instead of a message's kind.
const showsPromise conversation.EventKind = "promise"

type toShow struct {
	conversation.ToShow
	waits bool
}

func scanToShow(row pgx.CollectableRow) (toShow, error) {
	var (
		x                         toShow
		sent                      *time.Time
		media, handed             []byte
		mediaID                   *int64
		verb, actor, owner, cause *string
		n                         int64
		undecided                 bool
	)
	err := row.Scan(&x.Source, &x.At, &x.Kind, &x.FromMe, &x.Type, &x.Text, &sent, &media, &mediaID, &x.Part, &x.Unsent, &x.PartKind,
		&verb, &actor, &owner, &cause, &handed, &x.waits, &n, &undecided)
	if err != nil {
		return x, err
	}
	x.SentAt, x.MediaID = value(sent), value(mediaID)
	if x.Kind == showsPromise {
		x.Broken = &conversation.Promise{Kind: conversation.PromiseKind(x.Type), Name: x.Text, Due: x.SentAt}
		x.Kind, x.Type, x.Text, x.SentAt = "", "", "", time.Time{}
	}
	if media != nil {
		x.Media = &conversation.Media{}
		if err := json.Unmarshal(media, x.Media); err != nil {
			return x, fmt.Errorf("read attachment: %w", err)
		}
	}
	if verb != nil {
		x.Note = &conversation.HandoverNote{Verb: conversation.Verb(*verb), Actor: value(actor), Owner: value(owner), Reason: value(cause), Context: handed}
	}
	return x, nil
}

// Posted implements conversation.Mirror. Notes have no row of their own: SaveShown moves their mark.
func (s *Store) Posted(ctx context.Context, c conversation.Shown, source string, id int64) error {
	inbox, turn, part := parseSource(source)
	var n int64
	err := again(ctx, func() error {
		return s.pool.QueryRow(ctx, postedSQL, c.Conversation, c.Gen, inbox, turn, part, id, source).Scan(&n)
	})
	if err == nil && n == 0 {
		err = conversation.ErrSuperseded
	}
	if err != nil {
		return fmt.Errorf("note what is shown of conversation %s: %w", c.Conversation, err)
	}
	return nil
}

// parseSource reads the source_id that to_show.sql makes. Zeros where it is none of a row's.
func parseSource(source string) (inbox int64, turn, part int) {
	if rest, ok := strings.CutPrefix(source, "plantao:in:"); ok {
		inbox, _ = strconv.ParseInt(rest, 10, 64)
		return inbox, 0, 0
	}
	rest, _ := strings.CutPrefix(source, "plantao:out:")
	if fields := strings.Split(rest, "/"); len(fields) == 3 {
		turn, _ = strconv.Atoi(fields[1])
		part, _ = strconv.Atoi(fields[2])
	}
	return 0, turn, part
}

// Echoed implements conversation.Mirror.
func (s *Store) Echoed(ctx context.Context, c conversation.Shown, ids map[string]int64) error {
	for source, id := range ids {
		if err := s.Posted(ctx, c, source, id); err != nil {
			return err
		}
	}
	return nil
}

// Heard implements conversation.Mirror.
func (s *Store) Heard(ctx context.Context, tenant string, sources []string) (map[string]bool, error) {
	heard := map[string]bool{}
	if len(sources) == 0 {
		return heard, nil
	}
	err := again(ctx, func() error {
		rows, err := s.pool.Query(ctx, heardSQL, tenant, sources)
		if err != nil {
			return err
		}
		var source string
		_, err = pgx.ForEachRow(rows, []any{&source}, func() error {
			heard[source] = true
			return nil
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for what was said: %w", err)
	}
	return heard, nil
}

// Spoken implements conversation.Mirror.
func (s *Store) Spoken(ctx context.Context, c conversation.Shown) (list []conversation.Spoken, err error) {
	err = again(ctx, func() error {
		rows, err := s.pool.Query(ctx, spokenSQL, c.Conversation)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, scanSpoken)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list what was said in conversation %s: %w", c.Conversation, err)
	}
	return list, nil
}

func scanSpoken(row pgx.CollectableRow) (conversation.Spoken, error) {
	var (
		t                conversation.Spoken
		unsent           []byte
		parts            []int32
		states, statuses []string
		bodies           []partBody
	)
	err := row.Scan(&t.No, &t.Source, &t.Part, &t.Message, &t.Shown, &t.Result, &t.Reason, &unsent, &t.By, &parts, &states, &statuses)
	if err != nil {
		return t, err
	}
	if err := json.Unmarshal(unsent, &bodies); err != nil {
		return t, fmt.Errorf("read parts: %w", err)
	}
	for _, b := range bodies {
		t.Unsent = append(t.Unsent, conversation.Part{Text: b.Text, Media: b.Media})
	}
	for i := range parts {
		t.Parts = append(t.Parts, conversation.SpokenPart{Part: int(parts[i]), State: states[i], Status: statuses[i]})
	}
	return t, nil
}

// ShowSpoken implements conversation.Mirror.
func (s *Store) ShowSpoken(ctx context.Context, c conversation.Shown, t conversation.Spoken, shown string, final bool) error {
	var (
		parts            = make([]int32, len(t.Parts))
		states, statuses = make([]string, len(t.Parts)), make([]string, len(t.Parts))
	)
	for i, p := range t.Parts {
		parts[i], states[i], statuses[i] = int32(p.Part), p.State, p.Status
	}
	err := again(ctx, func() error {
		_, err := s.pool.Exec(ctx, showSpokenSQL, c.Conversation, c.Gen, t.No, shown, final, parts, states, statuses)
		return err
	})
	if err != nil {
		return fmt.Errorf("note what chatwoot was told of conversation %s: %w", c.Conversation, err)
	}
	return nil
}
