package postgres_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"plantao/runtime/audit"
	"plantao/runtime/conversation"
	"plantao/runtime/postgres"
	"plantao/runtime/postgres/postgrestest"
)

const lease = time.Minute

// world is a database with one channel, and the router's process in it.
type world struct {
	t     *testing.T
	db    *postgrestest.Database
	store *postgres.Store
	pg    *pgx.Conn
	me    conversation.Process
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOn(t, postgrestest.New(t))
}

func newWorldOn(t *testing.T, db *postgrestest.Database) *world {
	t.Helper()
	w := &world{t: t, db: db, store: db.Store(t), pg: db.Conn(t)}
	_, err := w.store.UpsertChannel(t.Context(), postgres.ChannelRow{
		Channel:     conversation.Channel{Name: "p", Tenant: "default", Flow: "f", HookSecretSHA256: sha256.Sum256(nil)},
		Integration: "EVOLUTION", Number: "5511900000000",
	})
	require.NoError(t, err)
	w.me = w.boot("router-1")
	return w
}

func (w *world) boot(instance string) conversation.Process {
	w.t.Helper()
	p := conversation.Process{Instance: instance, Boot: uuid.NewString()}
	require.NoError(w.t, w.store.Boot(w.t.Context(), p))
	return p
}

func (w *world) terms(p conversation.Process) conversation.TurnTerms {
	return conversation.TurnTerms{Holder: p, Lease: lease, Deadline: time.Minute,
		Sign: func(t conversation.TurnRef) string { return fmt.Sprint(t.Conversation, t.No, t.Gen) }}
}

func message(id, jid string) conversation.Event {
	return conversation.Event{
		Tenant: "default", Channel: "p", Kind: conversation.KindMessage, WAID: id, ChatJID: jid, Type: "text", Text: id,
		Body: []byte(`{}`), State: conversation.Pending, Begins: true,
	}
}

func (w *world) receive(e conversation.Event) conversation.Receipt {
	w.t.Helper()
	receipts, err := w.store.Receive(w.t.Context(), []conversation.Event{e}, conversation.Window{})
	require.NoError(w.t, err)
	return receipts[0]
}

// route gives every unrouted conversation to the AI.
func (w *world) route() {
	w.t.Helper()
	list, err := w.store.Unrouted(w.t.Context(), 100)
	require.NoError(w.t, err)
	for _, u := range list {
		_, err := w.store.Do(w.t.Context(), conversation.Command{
			Verb: conversation.VerbClaim, Tenant: u.Tenant, Conversation: u.Conversation, IfEpoch: u.Epoch,
			To: conversation.Owner{Kind: conversation.OwnedByAI, ID: u.Flow}, Actor: conversation.Router, Reason: "test",
		})
		require.NoError(w.t, err)
	}
}

// turn receives a message and claims its turn.
func (w *world) turn() conversation.Turn {
	w.t.Helper()
	w.receive(message(uuid.NewString(), "1@lid"))
	w.route()
	t, err := w.store.ClaimTurn(w.t.Context(), w.terms(w.me))
	require.NoError(w.t, err)
	return t
}

// replied is a turn with parts waiting at the gate.
func (w *world) replied(parts ...string) conversation.Turn {
	w.t.Helper()
	t := w.turn()
	var list []conversation.Part
	for _, p := range parts {
		list = append(list, conversation.Part{Text: p})
	}
	require.NoError(w.t, w.store.Reply(w.t.Context(), t.TurnRef, t.Token, list))
	return t
}

func (w *world) pass(t conversation.TurnRef, part int) bool {
	w.t.Helper()
	ok, err := w.store.Pass(w.t.Context(), conversation.PartRef{TurnRef: t, Part: part}, w.me, lease)
	require.NoError(w.t, err)
	return ok
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	_, err := w.pg.Exec(w.t.Context(), sql, args...)
	require.NoError(w.t, err)
}

func (w *world) text(sql string, args ...any) string {
	w.t.Helper()
	var s string
	require.NoError(w.t, w.pg.QueryRow(w.t.Context(), sql, args...).Scan(&s))
	return s
}

const takeSQL = `update conversation set state = 'HUMAN_ACTIVE', owner_kind = 'human', owner_id = 'ana', epoch = epoch + 1 where id = $1`

func TestReceiveAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var all sync.WaitGroup
	var fresh atomic.Int32
	for i := range 60 { // 20 messages, three copies each, under two ids of one contact, in both orders
		all.Go(func() {
			e := message(fmt.Sprint(i%20), "1@s.whatsapp.net")
			e.AltJID = "9@lid"
			if i%2 == 0 {
				e.ChatJID, e.AltJID = e.AltJID, e.ChatJID
			}
			receipts, err := w.store.Receive(context.Background(), []conversation.Event{e}, conversation.Window{})
			if assert.NoError(t, err) && !receipts[0].Duplicate {
				fresh.Add(1)
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 20, fresh.Load())
	require.Equal(t, "20 20", w.text("select concat_ws(' ', (select count(*) from inbox), (select count(*) from inbox_key))"))
	require.Equal(t, w.text("select count(*)::text from inbox"), w.text("select sum(last_seq)::text from conversation"))
	first := w.receive(message("later", "1@s.whatsapp.net"))
	other := w.receive(message("later still", "9@lid"))
	require.NotZero(t, first.Conversation)
	_ = other
	require.Equal(t, "t", w.text(`select (count(*) = count(distinct (conversation_id, seq)))::text::char from inbox`))
}

func TestOtherIDOfAContactFindsItsConversation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := message("a", "1@s.whatsapp.net")
	first := w.receive(e)
	e = message("b", "1@s.whatsapp.net")
	e.AltJID = "9@lid"
	require.Equal(t, first.Conversation, w.receive(e).Conversation)
	require.Equal(t, first.Conversation, w.receive(message("c", "9@lid")).Conversation)
	own := message("d", "9@lid")
	own.FromMe, own.State, own.Reason, own.Begins = true, conversation.Ignored, "from_me", false
	require.Equal(t, first.Conversation, w.receive(own).Conversation)
	own.WAID, own.ChatJID = "e", "nobody@lid"
	require.Zero(t, w.receive(own).Conversation, "an ignored event makes no conversation")
}

func TestWindow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	window := conversation.Window{Quiet: time.Hour, Cap: 90 * time.Minute}
	for _, id := range []string{"a", "b"} {
		_, err := w.store.Receive(t.Context(), []conversation.Event{message(id, "1@lid")}, window)
		require.NoError(t, err)
		w.exec("update conversation set debounce_cap = now() + interval '10 minutes' where last_seq = 1")
	}
	w.route()
	_, err := w.store.ClaimTurn(t.Context(), w.terms(w.me))
	require.ErrorIs(t, err, conversation.ErrNothingDue)
	due, any, err := w.store.NextDue(t.Context())
	require.NoError(t, err)
	require.True(t, any)
	require.InDelta(t, 10*time.Minute, due, float64(time.Minute), "the cap of the first message bounds the quiet of the second")
}

func TestOneTurnUnderConcurrency(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 5 {
		w.receive(message(fmt.Sprint(i), fmt.Sprint(i%2, "@lid")))
	}
	w.route()
	var all sync.WaitGroup
	var claimed atomic.Int32
	for range 12 {
		all.Go(func() {
			_, err := w.store.ClaimTurn(context.Background(), w.terms(w.me))
			if err == nil {
				claimed.Add(1)
			} else {
				assert.ErrorIs(t, err, conversation.ErrNothingDue)
			}
		})
	}
	all.Wait()
	// A claim that found the other conversation's row locked may have left one for the next look.
	for range 2 {
		if _, err := w.store.ClaimTurn(t.Context(), w.terms(w.me)); err == nil {
			claimed.Add(1)
		}
	}
	require.EqualValues(t, 2, claimed.Load())
	require.Equal(t, "5", w.text("select count(*)::text from inbox where state = 'taken'"))
	for _, state := range []string{"running", "replied", "sending", "ambiguous"} {
		w.exec("update turn set state = $1", state)
		_, err := w.pg.Exec(t.Context(), `insert into turn (conversation_id, no, epoch, agent, state, holder_instance, holder_boot, lease_until, deadline)
			select conversation_id, 99, 1, 'f', 'running', 'x', gen_random_uuid(), now(), now() from turn limit 1`)
		require.ErrorContains(t, err, "one_turn", state)
	}
}

func TestGateRefusesStaleEpochAndGeneration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	turn := w.replied("um", "dois")
	older := turn.TurnRef
	older.Gen--
	require.False(t, w.pass(older, 1), "another generation")
	require.False(t, w.pass(turn.TurnRef, 2), "out of order")
	require.True(t, w.pass(turn.TurnRef, 1))
	require.False(t, w.pass(turn.TurnRef, 1), "twice")
	ok, err := w.store.Sent(t.Context(), conversation.PartRef{TurnRef: turn.TurnRef, Part: 1}, conversation.Delivery{MessageID: "X"})
	require.NoError(t, err)
	require.True(t, ok)

	w.exec(takeSQL, turn.Conversation)
	require.False(t, w.pass(turn.TurnRef, 2), "after a take")
	// Back to the AI: the owner fits again, the epoch does not (ABA).
	w.exec("update conversation set owner_kind = 'ai', state = 'AI_ACTIVE', epoch = epoch + 1")
	require.False(t, w.pass(turn.TurnRef, 2), "after a take and a hand-back")
	require.NoError(t, w.store.Cancel(t.Context(), turn.TurnRef, "owner_changed"))
	require.Equal(t, "sent, dropped", w.text("select string_agg(state, ', ' order by part) from outbox"))
}

func TestGateWaitsForATakeThatHasNotCommitted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	turn := w.replied("um")
	tx, err := w.db.Conn(t).Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), takeSQL, turn.Conversation)
	require.NoError(t, err)
	passed := make(chan bool, 1)
	go func() {
		ok, err := w.store.Pass(context.Background(), conversation.PartRef{TurnRef: turn.TurnRef, Part: 1}, w.me, lease)
		assert.NoError(t, err)
		passed <- ok
	}()
	require.Eventually(t, func() bool {
		return w.text("select count(*)::text from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'") == "1"
	}, 10*time.Second, 5*time.Millisecond, "the gate waits for the row")
	require.NoError(t, tx.Commit(t.Context()))
	require.False(t, <-passed)
	require.Equal(t, "replied", w.text("select state from turn"))
}

func TestReplyIsAcceptedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	turn := w.turn()
	parts := []conversation.Part{{Text: "um"}}
	require.ErrorIs(t, w.store.Reply(t.Context(), turn.TurnRef, "forged", parts), conversation.ErrTurnClosed)
	next := turn.TurnRef
	next.Gen++
	require.ErrorIs(t, w.store.Reply(t.Context(), next, turn.Token, parts), conversation.ErrTurnClosed)
	require.NoError(t, w.store.Reply(t.Context(), turn.TurnRef, turn.Token, parts))
	require.ErrorIs(t, w.store.Reply(t.Context(), turn.TurnRef, turn.Token, parts), conversation.ErrTurnClosed)
	require.Equal(t, "1", w.text("select count(*)::text from outbox"))
}

func TestLateReplyIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	turn := w.turn()
	w.exec("update turn set deadline = now() - interval '1 second'")
	require.ErrorIs(t, w.store.Reply(t.Context(), turn.TurnRef, turn.Token, nil), conversation.ErrTurnClosed)
	w.exec("update turn set deadline = now() + interval '1 minute'")
	w.exec(takeSQL, turn.Conversation)
	require.ErrorIs(t, w.store.Reply(t.Context(), turn.TurnRef, turn.Token, nil), conversation.ErrStaleEpoch)
}

func TestReclaimShutsTheOldHolderOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	turn := w.turn()
	other := w.boot("router-2")
	_, err := w.store.ReclaimTurn(t.Context(), w.terms(other))
	require.ErrorIs(t, err, conversation.ErrNothingDue, "the holder is alive")

	w.me = w.boot("router-1") // the first process is gone, its slot boots anew
	again, err := w.store.ReclaimTurn(t.Context(), w.terms(other))
	require.NoError(t, err)
	require.Equal(t, turn.Gen+1, again.Gen)
	require.Equal(t, turn.Messages, again.Messages)
	require.ErrorIs(t, w.store.Reply(t.Context(), turn.TurnRef, turn.Token, nil), conversation.ErrTurnClosed)
	kept, err := w.store.Renew(t.Context(), lease, []conversation.TurnRef{turn.TurnRef, again.TurnRef})
	require.NoError(t, err)
	require.Len(t, kept, 1)
	require.Equal(t, again.TurnRef, kept[0].TurnRef)
	require.ErrorIs(t, w.store.Fail(t.Context(), turn.TurnRef, conversation.Failure{Reason: "x"}), conversation.ErrTurnClosed)
	require.NoError(t, w.store.Reply(t.Context(), again.TurnRef, again.Token, []conversation.Part{{Text: "um"}}))

	w.exec("update turn set lease_until = now() - interval '1 second'")
	third, err := w.store.ReclaimTurn(t.Context(), w.terms(w.me))
	require.NoError(t, err)
	require.Equal(t, conversation.TurnReplied, third.State)
	require.Empty(t, third.Messages, "the flow has answered")
	require.False(t, w.pass(again.TurnRef, 1))
	require.True(t, w.pass(third.TurnRef, 1))
}

func TestLostSenderIsAmbiguousUntilProof(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	turn := w.replied("um", "dois")
	require.True(t, w.pass(turn.TurnRef, 1))
	part := conversation.PartRef{TurnRef: turn.TurnRef, Part: 1}
	other := w.boot("router-2")

	w.exec("update turn set lease_until = now() - interval '1 second'")
	_, err := w.store.ReclaimTurn(t.Context(), w.terms(other))
	require.ErrorIs(t, err, conversation.ErrNothingDue)
	require.Equal(t, "ambiguous ambiguous", w.text("select concat_ws(' ', t.state, o.state) from turn t, outbox o where part = 1"))
	w.receive(message("next", "1@lid"))
	_, err = w.store.ClaimTurn(t.Context(), w.terms(other))
	require.ErrorIs(t, err, conversation.ErrNothingDue, "the AI is silent")

	list, err := w.store.CheckAmbiguous(t.Context(), 10)
	require.NoError(t, err)
	require.Empty(t, list, "the sender is alive and may still write: nothing would be proved")
	w.me = w.boot("router-1")
	list, err = w.store.CheckAmbiguous(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, "um", list[0].Text)
	again, err := w.store.CheckAmbiguous(t.Context(), 10)
	require.NoError(t, err)
	require.Empty(t, again, "the next check is planned")

	ok, err := w.store.Prove(t.Context(), list[0], conversation.Delivery{MessageID: "X"})
	require.NoError(t, err)
	require.True(t, ok)
	late, err := w.store.Sent(t.Context(), part, conversation.Delivery{MessageID: "Y"})
	require.NoError(t, err)
	require.False(t, late)
	rest, err := w.store.ReclaimTurn(t.Context(), w.terms(other))
	require.NoError(t, err)
	require.True(t, w.pass(rest.TurnRef, 2))
	ok, err = w.store.Unknown(t.Context(), conversation.PartRef{TurnRef: rest.TurnRef, Part: 2}, "outcome_unknown")
	require.NoError(t, err)
	require.True(t, ok)
	list, err = w.store.CheckAmbiguous(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, list, 1, "the sender itself said that it is through")
	ok, err = w.store.Prove(t.Context(), list[0], conversation.Delivery{MessageID: "X"})
	require.NoError(t, err)
	require.False(t, ok, "the message is the first part's proof")
}

func TestSenderSettlesAPartThatLostItsLease(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		settle func(*world, conversation.PartRef) error
		want   string
	}{
		{"nothing was written", func(w *world, p conversation.PartRef) error {
			ok, err := w.store.Unsent(t.Context(), p)
			require.True(t, ok)
			return err
		}, "replied queued AI_ACTIVE"},
		{"refused", func(w *world, p conversation.PartRef) error {
			return w.store.Fail(t.Context(), p.TurnRef, conversation.Failure{Reason: "send_refused"})
		}, "failed failed HUMAN_QUEUED"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			turn := w.replied("um", "dois")
			require.True(t, w.pass(turn.TurnRef, 1))
			w.exec("update turn set lease_until = now() - interval '1 second'")
			_, err := w.store.ReclaimTurn(t.Context(), w.terms(w.boot("router-2")))
			require.ErrorIs(t, err, conversation.ErrNothingDue)
			state := `select concat_ws(' ', t.state, o.state, c.state) from turn t, outbox o, conversation c where part = 1`
			require.Equal(t, "ambiguous ambiguous AI_ACTIVE", w.text(state))

			part := conversation.PartRef{TurnRef: turn.TurnRef, Part: 1}
			older, other := part, part
			older.Gen--
			other.Part = 2
			for _, p := range []conversation.PartRef{older, other} {
				ok, err := w.store.Unsent(t.Context(), p)
				require.NoError(t, err)
				require.False(t, ok, "neither another holding nor another part")
			}
			require.NoError(t, c.settle(w, part))
			require.Equal(t, c.want, w.text(state))
		})
	}
}

func TestALateUndoingDoesNotUndoTheNextAttempt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	turn := w.replied("um")
	try := func(attempt int) conversation.PartRef {
		return conversation.PartRef{TurnRef: turn.TurnRef, Part: 1, Attempt: attempt}
	}
	unsent := func(attempt int) bool {
		ok, err := w.store.Unsent(t.Context(), try(attempt))
		require.NoError(t, err)
		return ok
	}
	pass := func(attempt int) bool {
		ok, err := w.store.Pass(t.Context(), try(attempt), w.me, lease)
		require.NoError(t, err)
		return ok
	}
	require.True(t, pass(1))
	require.True(t, unsent(1))
	require.True(t, pass(2))
	require.False(t, unsent(1), "the first undoing, sent twice, commits late: the part is on the wire by now")
	require.Equal(t, "sending", w.text("select state from outbox"))
	require.True(t, unsent(3), "an attempt undoes those before it whose answer it did not hear")
}

func TestUndecidedPartsOfAnAI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	turn := w.replied("um")
	require.True(t, w.pass(turn.TurnRef, 1))
	w.exec("update turn set lease_until = now() - interval '1 second'")
	_, err := w.store.ReclaimTurn(t.Context(), w.terms(w.boot("router-2")))
	require.ErrorIs(t, err, conversation.ErrNothingDue)
	undecided := func() []conversation.AmbiguousPart {
		list, err := w.store.Undecided(t.Context(), time.Minute, 10)
		require.NoError(t, err)
		return list
	}
	require.Empty(t, undecided(), "proof may still come")
	w.exec("update outbox set intent_at = now() - interval '61 seconds'")
	list := undecided()
	require.Len(t, list, 1, "although the sender lives and may write: nothing is concluded about the part")
	require.Equal(t, turn.Epoch, list[0].Epoch)
	require.GreaterOrEqual(t, list[0].Age, time.Minute)
	w.exec(takeSQL, turn.Conversation)
	require.Empty(t, undecided(), "a human has it already")
}

func TestStatsCountOnlyMessagesThatWaitForTheRouter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 3 {
		w.receive(message(fmt.Sprint(i), fmt.Sprint(i, "@lid")))
	}
	pending := func() int64 {
		st, err := w.store.Stats(t.Context())
		require.NoError(t, err)
		return st.Pending
	}
	require.EqualValues(t, 3, pending(), "no owner yet")
	w.route()
	require.EqualValues(t, 3, pending(), "no turn yet")
	w.exec("update conversation set state = 'HUMAN_QUEUED', owner_kind = 'queue', epoch = epoch + 1 where chat_jid = '0@lid'")
	require.EqualValues(t, 2, pending())
	_, err := w.store.ClaimTurn(t.Context(), w.terms(w.me))
	require.NoError(t, err)
	require.EqualValues(t, 1, pending())
}

func TestChannelNameNoTextCanHold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"a\x00", "\xff"} {
		_, err := w.store.Channel(t.Context(), name)
		require.ErrorIs(t, err, conversation.ErrUnknownChannel)
	}
}

func TestClaimIsFencedAndAudited(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.receive(message("a", "1@lid")).Conversation
	claim := conversation.Command{Verb: conversation.VerbClaim, Tenant: "default", Conversation: id,
		To: conversation.Owner{Kind: conversation.OwnedByAI, ID: "f"}, Actor: conversation.Router, Reason: "test"}
	var all sync.WaitGroup
	var won atomic.Int32
	for range 8 {
		all.Go(func() {
			_, err := w.store.Do(context.Background(), claim)
			if err == nil {
				won.Add(1)
			} else {
				assert.ErrorIs(t, err, conversation.ErrStaleEpoch)
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 1, won.Load())
	turn, err := w.store.ClaimTurn(t.Context(), w.terms(w.me))
	require.NoError(t, err)
	require.NoError(t, w.store.Fail(t.Context(), turn.TurnRef, conversation.Failure{Reason: "deadline_passed"}))

	trail, err := w.store.AuditTrail(t.Context(), id)
	require.NoError(t, err)
	require.NoError(t, audit.Verify(trail))
	require.Len(t, trail, 3)
	require.Equal(t, "3 3 2", w.text("select concat_ws(' ', version, audit_seq, epoch) from conversation"))
	for _, sql := range []string{"update audit set reason = 'x'", "delete from audit", "update conversation set epoch = epoch - 1"} {
		_, err := w.pg.Exec(t.Context(), sql)
		require.Error(t, err, sql)
	}
}

func TestSuperseded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, w.store.Seen(t.Context(), w.me))
	w.boot(w.me.Instance)
	require.ErrorIs(t, w.store.Seen(t.Context(), w.me), conversation.ErrSuperseded)
}

func TestUpsertChannel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	row := postgres.ChannelRow{Channel: conversation.Channel{Name: "q", Tenant: "default", Flow: "f"}, Integration: "EVOLUTION"}
	for _, want := range []string{"created", "unchanged"} {
		got, err := w.store.UpsertChannel(t.Context(), row)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	row.Flow = "g"
	got, err := w.store.UpsertChannel(t.Context(), row)
	require.NoError(t, err)
	require.Equal(t, "updated", got)
	_, err = w.store.Channel(t.Context(), "nobody")
	require.True(t, errors.Is(err, conversation.ErrUnknownChannel))
}
