//go:build e2e

package fault

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// collect reads what the database says of a round's conversations.
func (r *round) collect(ctx context.Context) (*evidence, error) {
	e := &evidence{
		Inbox: map[string]inboxRow{}, Turns: map[turnRef]turnRow{}, Audit: map[string][]auditRow{},
		Asked: r.c.flow.requests(r.fromAsked), Receipts: r.c.phone.receipts(r.fromReceipt), Takes: r.desk.takes,
	}
	for _, u := range r.customers {
		e.Acked = append(e.Acked, u.acked()...)
	}
	for _, read := range []func(context.Context, *evidence) error{r.readInbox, r.readTurns, r.readParts, r.readAudit} {
		if err := read(ctx, e); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// each calls scan for every row of a statement over the round's conversations: $1 are their customers.
func (r *round) each(ctx context.Context, sql string, into []any, row func() error) error {
	rows, err := r.c.pool.Query(ctx, sql, r.jids())
	if err == nil {
		_, err = pgx.ForEachRow(rows, into, row)
	}
	if err != nil {
		return fmt.Errorf("collect evidence: %w", err)
	}
	return nil
}

const ofRound = ` (select id from conversation where chat_jid = any($1)) `

func (r *round) readInbox(ctx context.Context, e *evidence) error {
	var (
		id  string
		row inboxRow
	)
	return r.each(ctx, `select wa_id, conversation_id::text, state, reason, coalesce(turn_no, 0) from inbox
		where kind = 'message' and conversation_id in`+ofRound,
		[]any{&id, &row.Conversation, &row.State, &row.Reason, &row.Turn}, func() error {
			e.Inbox[id] = row
			return nil
		})
}

func (r *round) readTurns(ctx context.Context, e *evidence) error {
	var (
		t   turnRef
		row turnRow
	)
	return r.each(ctx, `select conversation_id::text, no, epoch, state from turn where conversation_id in`+ofRound,
		[]any{&t.Conversation, &t.No, &row.Epoch, &row.State}, func() error {
			e.Turns[t] = row
			return nil
		})
}

func (r *round) readParts(ctx context.Context, e *evidence) error {
	var (
		p      partRow
		intent pgtype.Timestamptz
	)
	return r.each(ctx, `select conversation_id::text, no, part, state, body ->> 'text', intent_at from outbox
		where conversation_id in`+ofRound+`order by conversation_id, no, part`,
		[]any{&p.Conversation, &p.No, &p.Part, &p.State, &p.Text, &intent}, func() error {
			p.Intent = intent.Time
			e.Parts = append(e.Parts, p)
			return nil
		})
}

func (r *round) readAudit(ctx context.Context, e *evidence) error {
	var (
		id string
		a  auditRow
	)
	return r.each(ctx, `select conversation_id::text, seq, at, verb, epoch_from, epoch_to from audit
		where conversation_id in`+ofRound+`order by conversation_id, seq`,
		[]any{&id, &a.Seq, &a.At, &a.Verb, &a.EpochFrom, &a.EpochTo}, func() error {
			e.Audit[id] = append(e.Audit[id], a)
			return nil
		})
}

// dump is everything the database has of a conversation, for a person.
func (r *round) dump(ctx context.Context, conversation string) string {
	out := "conversation " + conversation + "\n"
	for _, table := range []string{"conversation", "audit", "inbox", "turn", "outbox", "human_stretch", "dead_letter"} {
		key, sql := "conversation_id", "to_jsonb(x) - 'body' - 'prev' - 'hash' - 'last_hash' - 'token_hash' || jsonb_build_object('said', to_jsonb(x) -> 'body' ->> 'text')"
		if table == "conversation" {
			key = "id"
		}
		rows, err := r.c.pool.Query(ctx, "select ("+sql+")::text from "+table+" x where "+key+"::text = $1", conversation)
		if err != nil {
			out += err.Error() + "\n"
			continue
		}
		lines, _ := pgx.CollectRows(rows, pgx.RowTo[string])
		for _, line := range lines {
			out += table + " " + line + "\n"
		}
	}
	for _, s := range r.c.phone.receipts(r.fromReceipt) {
		if said, err := parseSaid(s.Text); err == nil && said.Conversation == conversation {
			out += fmt.Sprintf("read %q as %s at %s\n", s.Text, s.ID, s.At.Format(time.RFC3339Nano))
		}
	}
	for _, t := range r.desk.takes {
		if t.Conversation == conversation {
			out += fmt.Sprintf("take acknowledged: entry %d, epoch %d at %s\n", t.Seq, t.Epoch, t.At.Format(time.RFC3339Nano))
		}
	}
	return out
}
