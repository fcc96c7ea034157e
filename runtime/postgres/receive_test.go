package postgres_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

var oneMinute = conversation.Window{Quiet: time.Minute, Cap: time.Hour, Media: time.Minute}

// take receives events in one call.
func (w *world) take(events ...conversation.Event) []conversation.Receipt {
	w.t.Helper()
	receipts, err := w.store.Receive(w.t.Context(), events, oneMinute)
	require.NoError(w.t, err)
	require.Len(w.t, receipts, len(events))
	return receipts
}

// lines are the rows of a query, columns joined by spaces.
func (w *world) lines(sql string, args ...any) []string {
	w.t.Helper()
	rows, err := w.pg.Query(w.t.Context(), sql, args...)
	require.NoError(w.t, err)
	lines, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		values, err := row.Values()
		return strings.TrimSuffix(fmt.Sprintln(values...), "\n"), err
	})
	require.NoError(w.t, err)
	return lines
}

func (w *world) inbox() []string {
	w.t.Helper()
	return w.lines("select wa_id, coalesce(seq, 0), state, reason, text from inbox order by id")
}

func about(kind conversation.EventKind, id, ref, jid, text string) conversation.Event {
	e := message(id, jid)
	e.Kind, e.Ref, e.Text = kind, ref, text
	if kind == conversation.KindRevoke {
		e.State, e.Reason, e.Begins = conversation.Ignored, "revoked", false
	}
	return e
}

func ignored(e conversation.Event, reason string) conversation.Event {
	e.State, e.Reason, e.Begins = conversation.Ignored, reason, false
	return e
}

func TestReceiveManyInOneCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.take(message("old", "1@lid"))[0]
	receipts := w.take(
		message("a", "1@lid"), message("new1", "2@lid"), message("a", "1@lid"), ignored(message("b", "1@lid"), "because"), message("old", "1@lid"),
		message("c", "1@lid"), message("new2", "2@lid"),
	)
	var got []string
	for _, r := range receipts {
		got = append(got, fmt.Sprint(r.Duplicate, " ", r.State, " ", r.Conversation == first.Conversation, r.Conversation != 0))
	}
	require.Equal(t, []string{
		"false pending true true", "false pending false true", "true  false false", "false ignored true true", "true  false false",
		"false pending true true", "false pending false true",
	}, got)
	require.Equal(t, receipts[1].Conversation, receipts[6].Conversation, "two first messages of one contact")
	require.Equal(t, []string{
		"old 1 pending  old", "a 2 pending  a", "new1 1 pending  new1", "b 0 ignored because b", "c 3 pending  c", "new2 2 pending  new2",
	}, w.inbox(), "in the order they came, arrival numbers without gaps")
	require.Equal(t, []string{"3 true", "2 true"}, w.lines("select last_seq, debounce_until is not null from conversation order by id"))
	require.Equal(t, w.lines("select inbox_id from inbox_key order by inbox_id"), w.lines("select id from inbox order by id"))
}

func TestReceiveFindsAContactByAnyName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	named := func(id, jid, alt, form string) conversation.Event {
		e := message(id, jid)
		e.AltJID, e.FormJID = alt, form
		return e
	}
	known := w.take(named("a", "5511988887777@s.whatsapp.net", "", "551188887777@s.whatsapp.net"))[0].Conversation
	receipts := w.take(named("b", "551188887777@s.whatsapp.net", "", "5511988887777@s.whatsapp.net"), named("c", "9@lid", "5511988887777@s.whatsapp.net", ""))
	require.Equal(t, known, receipts[0].Conversation)
	require.Equal(t, known, receipts[1].Conversation)
	require.Equal(t, known, w.take(message("d", "9@lid"))[0].Conversation, "the new name is kept")
	other := w.take(message("e", "7@lid"))[0].Conversation
	require.Empty(t, w.lines("select * from alias_conflict"))
	joined := w.take(named("f", "7@lid", "9@lid", ""), named("g", "9@lid", "7@lid", ""))
	require.Equal(t, other, joined[0].Conversation, "its first name decides")
	require.Equal(t, known, joined[1].Conversation)
	require.Equal(t, []string{fmt.Sprint(known, other)}, w.lines("select conversation_a, conversation_b from alias_conflict"))
	require.Zero(t, w.take(ignored(named("h", "8@lid", "6@lid", "5@lid"), "group"))[0].Conversation, "nothing begins with it")
	require.Equal(t, []string{"2"}, w.lines("select count(*) from conversation"))
}

func TestEditsAndRevocations(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.take(message("a", "1@lid"), message("b", "1@lid"), message("other", "2@lid"), message("c", "3@lid"), message("d", "3@lid"))
	for _, r := range w.take(about(conversation.KindEdit, "c/1", "c", "3@lid", "first"), about(conversation.KindEdit, "c/2", "c", "3@lid", "second"),
		about(conversation.KindRevoke, "d", "d", "3@lid", ""), about(conversation.KindEdit, "d/1", "d", "3@lid", "and yet")) {
		require.Equal(t, "applied", r.Reason)
	}
	require.Equal(t, []string{"c pending second", "d ignored d"},
		w.lines("select wa_id, state, text from inbox where kind = 'message' and wa_id in ('c', 'd') order by id"), "of several in one call the last, and what is taken back stays so")
	w.exec("delete from inbox where conversation_id = (select conversation_id from inbox where wa_id = 'c')")
	receipts := w.take(about(conversation.KindEdit, "a/1", "a", "1@lid", "better"), about(conversation.KindRevoke, "b", "b", "1@lid", ""),
		about(conversation.KindEdit, "x/1", "other", "1@lid", "not theirs"), about(conversation.KindRevoke, "y", "other", "1@lid", ""))
	require.Equal(t, "applied", receipts[0].Reason)
	require.Equal(t, "applied", receipts[1].Reason)
	require.Equal(t, conversation.Pending, receipts[2].State, "an edit of what nobody can find is a message")
	require.Equal(t, []string{
		"a 1 pending edited better", "b 2 ignored revoked b", "other 1 pending  other",
		"a/1 0 ignored applied better", "b 0 ignored applied ", "x/1 3 pending  not theirs", "y 0 ignored revoked ",
	}, w.inbox())

	w.route()
	w.exec("update conversation set debounce_until = now()")
	for range 2 {
		_, err := w.store.ClaimTurn(t.Context(), w.terms(w.me))
		require.NoError(t, err)
	}
	w.take(about(conversation.KindEdit, "a/2", "a", "1@lid", "too late"), about(conversation.KindRevoke, "other", "other", "2@lid", ""))
	require.Equal(t, []string{"a taken better", "other taken other", "a/2 pending too late", "other ignored "},
		w.lines("select wa_id, state, text from inbox where wa_id in ('a', 'a/2', 'other') order by id"), "what was taken up is left alone")
}

func TestOwnMessages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	own := message("phone", "1@lid")
	own.FromMe, own.State, own.Reason = true, conversation.Ignored, "from_me"
	r := w.take(own)[0]
	require.NotZero(t, r.Conversation, "what the phone writes to somebody new is a conversation")
	require.Equal(t, []string{"0 true true"}, w.lines("select last_seq, debounce_until is null, debounce_cap is null from conversation"), "and nobody's turn")
	revoked := about(conversation.KindRevoke, "phone", "phone", "1@lid", "")
	revoked.FromMe = true
	w.take(revoked)
	require.Equal(t, []string{"phone from_me", "phone revoked"}, w.lines("select wa_id, reason from inbox order by id"))
}

// sending is a part on its way, of which nobody knows the id yet.
func (w *world) sending() conversation.PartRef {
	w.t.Helper()
	w.receive(message("m", "1@lid"))
	w.route()
	turn := w.replied("oi")
	require.True(w.t, w.pass(turn.TurnRef, 1))
	return conversation.PartRef{TurnRef: turn.TurnRef, Part: 1}
}

func delivery(id, status string) conversation.Event {
	e := ignored(message(id+"/"+status, ""), "delivery_status")
	e.Kind, e.Ref, e.Text = conversation.KindStatus, id, status
	return e
}

func TestDeliveryStatusIsTheFurthest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	part := w.sending()
	status := func() string { return w.lines("select status from outbox")[0] }
	w.take(delivery("OUT", "DELIVERY_ACK"), delivery("OUT", "SERVER_ACK"))
	require.Empty(t, status(), "nobody knows yet whose it is")
	ok, err := w.store.Sent(t.Context(), part, conversation.Delivery{MessageID: "OUT", ChatJID: "1@lid"})
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "DELIVERY_ACK", status(), "the furthest of those that came first")
	r := w.take(delivery("OUT", "PENDING"), delivery("OUT", "READ"), delivery("OUT", "DELIVERY_ACK2"), delivery("OUT", "READ"), delivery("UNKNOWN", "READ"))
	require.Equal(t, "READ", status())
	require.Equal(t, part.Conversation, r[0].Conversation)
	require.True(t, r[3].Duplicate)
	require.Zero(t, r[4].Conversation)
	w.take(delivery("OUT", "ERROR"))
	require.Equal(t, "READ", status())
	w.take(delivery("OUT", "PLAYED"))
	require.Equal(t, "PLAYED", status())
}

func TestEchoOfAPart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	part := w.sending()
	ok, err := w.store.Sent(t.Context(), part, conversation.Delivery{MessageID: "OUT", ChatJID: "1@lid"})
	require.NoError(t, err)
	require.True(t, ok)
	echo := message("OUT", "1@lid")
	echo.FromMe, echo.State, echo.Reason, echo.Media, echo.Mirror = true, conversation.Ignored, "from_me", &conversation.Media{Mimetype: "image/png"}, true
	sent := echo
	sent.Kind = conversation.KindSent
	for _, r := range w.take(echo, sent, message("later", "1@lid")) {
		require.Equal(t, part.Conversation, r.Conversation)
	}
	require.Equal(t, []string{"message own_echo none no", "sent own_echo none no"},
		w.lines("select kind, reason, media_state, mirror from inbox where wa_id = 'OUT' order by id"), "nobody fetches or shows what we sent")
	require.Equal(t, []string{"true"}, w.lines("select confirmed_at is not null from outbox"))
}

func TestAttachmentsAreWanted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	image := message("a", "1@lid")
	image.Media = &conversation.Media{Mimetype: "image/jpeg", FileName: "ç.jpg", Bytes: 7}
	w.take(image, message("b", "1@lid"))
	require.Equal(t, []string{"a wanted true true ç.jpg", "b none false false "}, w.lines(`select wa_id, media_state,
		coalesce(media_until > now() + interval '50 s', false), media_after is not null, coalesce(media->>'file_name', '') from inbox order by id`))
}

func TestMirroredChannel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	shown := func(e conversation.Event) conversation.Event { e.Mirror = true; return e }
	w.take(shown(message("a", "1@lid")), shown(ignored(message("g", "1@g.us"), "group")), shown(about(conversation.KindRevoke, "a", "a", "1@lid", "")))
	require.Equal(t, []string{"message wanted", "message no", "revoke wanted"}, w.lines("select kind, mirror from inbox order by id"))
	require.Equal(t, []string{"true true"}, w.lines("select mirror, mirror_due is not null from conversation"))
}

// Concurrent calls with the same keys in any order: none breaks off another for good, and each key is one row.
func TestReceiveUnderConcurrency(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.take(message("known", "0@lid"))
	var all sync.WaitGroup
	for caller := range 20 {
		all.Go(func() {
			for round := range 5 {
				var events []conversation.Event
				for i := range 20 { // of 30 contacts, of which most are new in the first round
					n := (caller*7 + i) % 30
					e := message(fmt.Sprint("m", round, "/", n), fmt.Sprint(n, "@lid"))
					e.AltJID = fmt.Sprint(n, "@s.whatsapp.net")
					if caller%3 == 0 {
						e.ChatJID, e.AltJID = e.AltJID, e.ChatJID
					}
					events = append(events, e)
				}
				if caller%2 == 0 {
					slices.Reverse(events)
				}
				_, err := w.store.Receive(context.Background(), events, oneMinute)
				assert.NoError(t, err)
			}
		})
	}
	all.Wait()
	require.Equal(t, []string{"151 151"}, w.lines("select (select count(*) from inbox), (select count(*) from inbox_key)"))
	require.Empty(t, w.lines("select id from conversation c where last_seq <> (select count(*) from inbox i where i.conversation_id = c.id)"))
	require.Empty(t, w.lines("select conversation_id, seq from inbox group by 1, 2 having count(*) > 1"))
}

func TestOneUnstorableBodyAmongMany(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bodies := map[int]string{7: `{"a": "\u0000"}`, 23: `{"a": "\ud800"}`, 41: strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000), 42: "[1e999999999]"}
	var events []conversation.Event
	for i := range 50 {
		e := message(fmt.Sprint(i), fmt.Sprint(i%9, "@lid"))
		if body, bad := bodies[i]; bad {
			e.Body = []byte(body)
		}
		events = append(events, e)
	}
	for _, r := range w.take(events...) {
		require.Equal(t, conversation.Pending, r.State)
	}
	var kept []string
	for _, i := range []int{7, 23, 41, 42} {
		kept = append(kept, fmt.Sprint(i, " ", bodies[i]))
	}
	require.Equal(t, kept, w.lines("select wa_id, convert_from(decode(body->>'base64', 'base64'), 'utf8') from inbox where body ? 'base64' order by id"))
	require.Equal(t, []string{"46"}, w.lines("select count(*) from inbox where body = '{}'"), "the others are as they came")
	for _, r := range w.take(events...) {
		require.True(t, r.Duplicate)
	}
}
