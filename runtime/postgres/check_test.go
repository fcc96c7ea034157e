package postgres_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"plantao/runtime/audit"
	"plantao/runtime/conversation"
	"plantao/runtime/invariant"
	"plantao/runtime/postgres"
)

// check asserts the invariants as on a live database; that the tests' server is allowed to lose commits is not its fault.
func (w *world) check(o postgres.CheckOptions) invariant.Report {
	w.t.Helper()
	o.Skip = append(o.Skip, invariant.Ryw)
	report, err := postgres.Check(w.t.Context(), postgres.Config{URL: w.db.URL, AppName: "check"}, o)
	require.NoError(w.t, err)
	require.Len(w.t, report.Findings, 17)
	return report
}

// violated lists the invariants that a report says are violated.
func violated(r invariant.Report) []invariant.ID {
	ids := []invariant.ID{}
	for _, f := range r.Violated() {
		ids = append(ids, f.ID)
	}
	return ids
}

func (w *world) do(c conversation.Command) conversation.Conversation {
	w.t.Helper()
	c.Tenant, c.Key = "default", uuid.NewString()
	if c.IfEpoch == 0 {
		c.IfEpoch = w.find(c.Conversation).Epoch
	}
	r, err := w.store.Do(w.t.Context(), c)
	require.NoError(w.t, err)
	return r.Conversation
}

func (w *world) find(id conversation.ID) conversation.Conversation {
	w.t.Helper()
	c, err := w.store.Find(w.t.Context(), "default", id)
	require.NoError(w.t, err)
	return c
}

var (
	ana      = conversation.Actor{Kind: conversation.ActorHuman, ID: "ana"}
	operator = conversation.Actor{Kind: conversation.ActorOperator, ID: "op"}
	humanAna = conversation.Owner{Kind: conversation.OwnedByHuman, ID: "ana"}
)

// say receives a message of a contact, with a text nobody may keep after an erasure.
func (w *world) say(jid, id string) conversation.ID {
	w.t.Helper()
	e := message(id, jid)
	e.ContactName, e.Text, e.Body = "Maria", "segredo", []byte(`{"text": "segredo"}`)
	return w.receive(e).Conversation
}

// answer claims the turn of the only conversation that is due and sends an answer of these parts.
func (w *world) answer(parts ...string) conversation.Turn {
	w.t.Helper()
	w.route()
	t, err := w.store.ClaimTurn(w.t.Context(), w.terms(w.me))
	require.NoError(w.t, err)
	var list []conversation.Part
	for _, p := range parts {
		list = append(list, conversation.Part{Text: p})
	}
	require.NoError(w.t, w.store.Reply(w.t.Context(), t.TurnRef, t.Token, list))
	for i := range parts {
		require.True(w.t, w.pass(t.TurnRef, i+1))
		ok, err := w.store.Sent(w.t.Context(), conversation.PartRef{TurnRef: t.TurnRef, Part: i + 1},
			conversation.Delivery{MessageID: fmt.Sprintf("OUT-%s-%d-%d", t.Conversation, t.No, i+1)})
		require.NoError(w.t, err)
		require.True(w.t, ok)
	}
	return t
}

// The conversations of a busy database, by what happened to them last.
type busy struct {
	answered conversation.ID // two turns of an AI's, the first in two parts
	taken    conversation.ID // an AI's answer of two parts, a take, a message the human has
	back     conversation.ID // taken and handed back: a human stretch, a handover with a context
	failed   conversation.ID // a dead letter
	unknown  conversation.ID // a part of unknown fate
	offered  conversation.ID
	running  conversation.ID
	settled  conversation.ID
	waiting  conversation.ID // an AI's, with a message whose window is open
	into     conversation.ID // a human's, with what waited in gone
	promised conversation.ID // in the human queue, with promises that are not due
	gone     conversation.ID // merged: a turn of an AI's, a human stretch, and a message that moved on
}

// makeBusy makes one conversation of each kind, the way routers do.
func (w *world) makeBusy() busy {
	w.t.Helper()
	var b busy
	ctx := w.t.Context()
	b.answered = w.say("1@lid", "a1")
	w.answer("um", "dois")
	w.say("1@lid", "a2")
	w.answer("três")
	echo := message(fmt.Sprintf("OUT-%s-2-1", b.answered), "1@lid")
	echo.FromMe, echo.State, echo.Reason = true, conversation.Ignored, "from_me"
	w.receive(echo)

	b.taken = w.say("2@lid", "b1")
	w.answer("um", "dois")
	w.do(conversation.Command{Verb: conversation.VerbTake, Conversation: b.taken, Actor: ana, IfEpoch: conversation.AnyEpoch})
	w.say("2@lid", "b2")

	b.back = w.say("3@lid", "c1")
	w.answer("um")
	w.do(conversation.Command{Verb: conversation.VerbTake, Conversation: b.back, Actor: ana, IfEpoch: conversation.AnyEpoch})
	w.say("3@lid", "c2")
	w.do(conversation.Command{Verb: conversation.VerbHandback, Conversation: b.back, Actor: ana, Context: json.RawMessage(`{"a": "segredo"}`)})

	b.failed = w.say("4@lid", "d1")
	w.route()
	t, err := w.store.ClaimTurn(ctx, w.terms(w.me))
	require.NoError(w.t, err)
	require.NoError(w.t, w.store.Fail(ctx, t.TurnRef, conversation.Failure{Reason: "flow_refused"}))

	b.unknown, b.settled = w.lost("5@lid"), w.lost("6@lid")
	require.NoError(w.t, w.store.Settle(ctx, conversation.Settlement{Tenant: "default", Conversation: b.settled, No: 1, Part: 1, Sent: true, Actor: ana}))

	b.offered = w.say("7@lid", "g1")
	w.answer()
	w.do(conversation.Command{Verb: conversation.VerbOffer, Conversation: b.offered, Actor: operator, To: humanAna, Wait: time.Hour})
	w.do(conversation.Command{Verb: conversation.VerbRequest, Conversation: b.offered, Actor: ana, Wait: time.Hour})

	b.running = w.say("8@lid", "h1")
	w.route()
	_, err = w.store.ClaimTurn(ctx, w.terms(w.me))
	require.NoError(w.t, err)

	b.into = w.say("10@lid", "j1")
	w.do(conversation.Command{Verb: conversation.VerbTake, Conversation: b.into, Actor: ana, IfEpoch: conversation.AnyEpoch})
	b.gone = w.say("11@lid", "k1")
	w.answer("um")
	w.do(conversation.Command{Verb: conversation.VerbTake, Conversation: b.gone, Actor: ana, IfEpoch: conversation.AnyEpoch})
	w.say("11@lid", "k2")
	w.do(conversation.Command{Verb: conversation.VerbHandback, Conversation: b.gone, Actor: ana})
	w.say("11@lid", "k3")
	joined, err := w.store.Merge(ctx, "default", b.gone, b.into)
	require.NoError(w.t, err)
	require.Equal(w.t, conversation.Joined{Stays: b.into, Goes: b.gone, Epoch: 4, Moved: 1}, joined)

	b.promised = w.say("12@lid", "l1")
	since := time.Now()
	w.do(conversation.Command{Verb: conversation.VerbClaim, Conversation: b.promised, Actor: conversation.Router,
		To: conversation.Owner{Kind: conversation.OwnedByQueue}, Promises: []conversation.Promise{
			{Kind: conversation.FirstResponse, Name: "vip", Since: since.Add(-time.Hour), Due: since.Add(time.Hour)},
		}})

	b.waiting = w.say("9@lid", "i1")
	w.route()
	return b
}

// lost is a conversation with a part whose sender does not know what became of it.
func (w *world) lost(jid string) conversation.ID {
	w.t.Helper()
	id := w.say(jid, "lost "+jid)
	w.route()
	t, err := w.store.ClaimTurn(w.t.Context(), w.terms(w.me))
	require.NoError(w.t, err)
	require.NoError(w.t, w.store.Reply(w.t.Context(), t.TurnRef, t.Token, []conversation.Part{{Text: "um"}, {Text: "dois"}}))
	require.True(w.t, w.pass(t.TurnRef, 1))
	ok, err := w.store.Unknown(w.t.Context(), conversation.PartRef{TurnRef: t.TurnRef, Part: 1}, "outcome_unknown")
	require.NoError(w.t, err)
	require.True(w.t, ok)
	return id
}

// entry appends an audit entry as a router would, with a whole chain, after change has spoilt it.
func (w *world) entry(id conversation.ID, verb string, change func(e *audit.Entry)) {
	w.t.Helper()
	e := audit.Entry{
		Tenant: "default", Conversation: int64(id), At: time.Now().UTC().Truncate(time.Microsecond), Actor: "human:ana", Verb: verb,
		Detail: map[string]string{},
	}
	// By the connection that spoils, which sees what it has spoilt.
	var owner string
	require.NoError(w.t, w.pg.QueryRow(w.t.Context(), `select audit_seq + 1, last_hash, state, epoch,
		owner_kind || case when owner_id = '' then '' else ':' || owner_id end from conversation where id = $1`, id).
		Scan(&e.Seq, &e.Prev, &e.StateFrom, &e.EpochFrom, &owner))
	e.StateTo, e.EpochTo, e.Detail["owner"] = e.StateFrom, e.EpochFrom, owner
	change(&e)
	e.Hash = e.Sum()
	w.exec(`insert into audit (conversation_id, seq, tenant, at, actor, verb, state_from, state_to, epoch_from, epoch_to, reason,
		detail, prev, hash) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, '', $11, $12, $13)`, e.Conversation, e.Seq, e.Tenant, e.At,
		e.Actor, e.Verb, e.StateFrom, e.StateTo, e.EpochFrom, e.EpochTo, e.Detail, e.Prev, e.Hash)
	w.exec(`update conversation set version = $2, audit_seq = $2, last_hash = $3, state = $4, epoch = greatest(epoch, $5) where id = $1`,
		id, e.Seq, e.Hash, e.StateTo, e.EpochTo)
}

// unguarded runs statements while a table's triggers and the constraints of its rows are off.
func (w *world) unguarded(table string, sql string, args ...any) {
	w.t.Helper()
	w.exec("alter table " + table + " disable trigger user")
	w.exec(sql, args...)
	w.exec("alter table " + table + " enable trigger user")
}

func TestABusyDatabaseViolatesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.Empty(t, w.check(postgres.CheckOptions{}).Violated(), "an empty one")
	w.makeBusy()
	report := w.check(postgres.CheckOptions{})
	require.Empty(t, report.Violated())
	require.EqualValues(t, 12, report.Conversations)
	require.Empty(t, w.check(postgres.CheckOptions{Since: time.Hour}).Violated())
}

// One database, made wrong in one transaction after the other, and each rolled back.
func TestEachViolationIsReportedAsWhatItIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.makeBusy()
	for _, p := range plants {
		t.Run(p.name, func(t *testing.T) {
			tx, err := w.pg.Begin(t.Context())
			require.NoError(t, err)
			defer func() { require.NoError(t, tx.Rollback(t.Context())) }()
			p.spoil(w, b)
			check := func(since time.Duration) invariant.Report {
				report, err := postgres.CheckIn(t.Context(), tx, postgres.CheckOptions{Since: since, Skip: []invariant.ID{invariant.Ryw}})
				require.NoError(t, err)
				return report
			}
			report := check(0)
			require.Equal(t, []invariant.ID{p.want}, violated(report), "%+v", report.Violated())
			for _, v := range report.Violated()[0].Found {
				require.NotEmpty(t, v.What)
				require.NotContains(t, v.What, "segredo")
			}
			if !p.whole {
				recent := check(time.Hour)
				require.Equal(t, []invariant.ID{p.want}, violated(recent), "%+v", recent.Violated())
			}
		})
	}
	require.Empty(t, w.check(postgres.CheckOptions{}).Violated(), "nothing was left behind")
}

func TestEveryInvariantHasAControl(t *testing.T) {
	t.Parallel()
	controlled := map[invariant.ID]bool{invariant.Ryw: true} // TestDurability
	for _, p := range plants {
		controlled[p.want] = true
	}
	for _, id := range invariant.IDs() {
		require.True(t, controlled[id], id)
	}
}

func TestDurability(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	whats := func() []string {
		report, err := postgres.Check(t.Context(), postgres.Config{URL: w.db.URL}, postgres.CheckOptions{})
		require.NoError(t, err)
		require.Equal(t, []invariant.ID{invariant.Ryw}, violated(report))
		var list []string
		for _, v := range report.Violated()[0].Found {
			list = append(list, v.What)
		}
		return list
	}
	lost := " is off: a crash loses what was confirmed"
	require.Equal(t, []string{"fsync" + lost}, whats(), "the tests' server")
	w.exec("alter database " + w.db.Name + " set synchronous_commit = off")
	require.Equal(t, []string{"fsync" + lost, "synchronous_commit" + lost}, whats())
}

func TestSinceLooksOnlyAtWhatChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.makeBusy()
	w.exec("update conversation set owner_id = 'eve' where id = $1", b.taken)
	w.exec("update conversation set offer_until = now() - interval '1 hour' where id = $1", b.offered)
	w.exec("update conversation set updated_at = now() - interval '2 hours'")
	w.exec("update inbox set received_at = now() - interval '2 hours', turn_no = 9 where state = 'human'")
	require.Equal(t, []invariant.ID{invariant.Own, invariant.Part, invariant.Live}, violated(w.check(postgres.CheckOptions{})))
	report := w.check(postgres.CheckOptions{Since: time.Hour})
	require.Zero(t, report.Conversations)
	require.Equal(t, []invariant.ID{invariant.Live}, violated(report), "what is stranded is not updated")
	day := 24 * time.Hour
	require.Empty(t, w.check(postgres.CheckOptions{Since: time.Hour, Grace: &day}).Violated())
}

func TestFloorFindsTheFirstRecentEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`insert into inbox (tenant, channel, kind, wa_id, state, reason, body, received_at)
		select 'default', 'p', 'status', 's' || n, 'ignored', 'delivery_status', '{}', now() - (5000 - n) * interval '1 minute'
		  from generate_series(1, 5000) n`)
	count := func(since time.Duration) int64 {
		for _, f := range w.check(postgres.CheckOptions{Since: since}).Findings {
			if f.ID == invariant.Ack {
				return f.Count
			}
		}
		return -1
	}
	require.EqualValues(t, 5000, count(10000*time.Minute))
	require.EqualValues(t, 5000, count(0))
	for _, minutes := range []int64{1, 999, 1000, 1500, 4999} {
		require.EqualValues(t, minutes, count(time.Duration(minutes)*time.Minute), "one a minute, the newest this moment")
	}
}

// Entries of before migration 2 name no owner; nothing is concluded from that.
func TestEntriesThatNameNoOwnerAreNotJudged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.say("1@lid", "a")
	old := func(verb, state string, grows int64) {
		w.entry(id, verb, func(e *audit.Entry) { e.Detail, e.StateTo, e.EpochTo = map[string]string{}, state, e.EpochTo+grows })
	}
	w.exec("alter table conversation drop constraint conversation_owner_state")
	old("inbound", "ROUTING", 0)
	old("claim", "AI_ACTIVE", 1)
	w.exec("update conversation set owner_kind = 'ai', owner_id = 'f' where id = $1", id)
	w.answer("um")
	w.exec("update outbox set intent_at = now() - interval '1 hour'") // neither is this end of an epoch
	old("queue", "HUMAN_QUEUED", 1)
	w.exec("update conversation set owner_kind = 'queue', owner_id = '' where id = $1", id)
	w.exec("update outbox set intent_at = now() + interval '1 hour'")
	require.Empty(t, w.check(postgres.CheckOptions{}).Violated())
	w.do(conversation.Command{Verb: conversation.VerbTake, Conversation: id, Actor: ana, IfEpoch: conversation.AnyEpoch})
	require.Empty(t, w.check(postgres.CheckOptions{}).Violated(), "the first that names one follows one that does not")
}

func TestCheckRefusesAnotherSchema(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec("delete from goose_db_version where version_id > 1")
	_, err := postgres.Check(t.Context(), postgres.Config{URL: w.db.URL}, postgres.CheckOptions{})
	require.ErrorIs(t, err, postgres.ErrSchema)
	w.exec("drop table goose_db_version")
	_, err = postgres.Check(t.Context(), postgres.Config{URL: w.db.URL}, postgres.CheckOptions{})
	require.ErrorIs(t, err, postgres.ErrSchema)
}

func TestManyViolationsAreCountedAndNotAllShown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 130 {
		w.say(fmt.Sprint(i, "@lid"), fmt.Sprint(i))
	}
	w.exec("update conversation set owner_kind = 'ai', owner_id = 'f', state = 'AI_ACTIVE', version = 1")
	report := w.check(postgres.CheckOptions{})
	require.Equal(t, []invariant.ID{invariant.Own, invariant.Aud}, violated(report))
	for _, f := range report.Violated() {
		require.EqualValues(t, 130, f.Count)
		require.Len(t, f.Found, invariant.Shown)
	}
}
