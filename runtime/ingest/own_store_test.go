package ingest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
	"plantao/runtime/postgres"
	"plantao/runtime/postgres/postgrestest"
)

// side is the router's own side: a database, a process that sends, and one that finds out who writes.
type side struct {
	t       *testing.T
	db      *postgrestest.Database
	store   *postgres.Store
	pg      *pgx.Conn
	me      conversation.Process
	own     *Own
	judged  tally
	changed int
	log     bytes.Buffer
}

// tally counts verdicts.
type tally struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *tally) OwnJudged(verdict string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[string]int{}
	}
	c.n[verdict]++
}

func newSide(t *testing.T) *side {
	t.Helper()
	s := &side{t: t, db: postgrestest.New(t)}
	s.store, s.pg = s.db.Store(t), s.db.Conn(t)
	_, err := s.store.UpsertChannel(t.Context(), postgres.ChannelRow{Integration: "EVOLUTION", Number: "5511900000000",
		Channel: conversation.Channel{Name: "p", Tenant: "default", Flow: "f", HookSecretSHA256: sha256.Sum256(nil)}})
	require.NoError(t, err)
	s.me = conversation.Process{Instance: "router-1", Boot: uuid.NewString()}
	require.NoError(t, s.store.Boot(t.Context(), s.me))
	s.own = s.newOwn(s.store)
	return s
}

func (s *side) newOwn(store OwnStore) *Own {
	return NewOwn(OwnConfig{Store: store, Policy: policy, Every: time.Second, Changed: func() { s.changed++ }, Observer: &s.judged,
		Logger: slog.New(slog.NewTextHandler(&s.log, nil))})
}

// receive is what a webhook does, as ingest judges it.
func (s *side) receive(kind conversation.EventKind, id, jid, text string, fromMe bool) conversation.Receipt {
	s.t.Helper()
	e := conversation.Event{Tenant: "default", Channel: "p", Kind: kind, WAID: id, ChatJID: jid, Type: "text", Text: text, FromMe: fromMe, Body: []byte(`{}`)}
	judge(&e)
	receipts, err := s.store.Receive(s.t.Context(), []conversation.Event{e}, conversation.Window{})
	require.NoError(s.t, err)
	return receipts[0]
}

// talk is a conversation an AI has had for ten minutes, with a message that waits.
func (s *side) talk(jid string) conversation.ID {
	s.t.Helper()
	id := s.receive(conversation.KindMessage, uuid.NewString(), jid, "oi", false).Conversation
	s.do(conversation.Command{Verb: conversation.VerbClaim, Conversation: id, Actor: conversation.Router,
		To: conversation.Owner{Kind: conversation.OwnedByAI, ID: "f"}})
	s.exec("update conversation set session_at = session_at - interval '10 minutes' where id = $1", id)
	return id
}

func (s *side) typed(jid, text string) conversation.ID {
	s.t.Helper()
	r := s.receive(conversation.KindMessage, uuid.NewString(), jid, text, true)
	require.Equal(s.t, ReasonFromMe, r.Reason)
	return r.Conversation
}

func (s *side) do(c conversation.Command) {
	s.t.Helper()
	c.Tenant, c.IfEpoch = "default", s.find(c.Conversation).Epoch
	_, err := s.store.Do(s.t.Context(), c)
	require.NoError(s.t, err)
}

func (s *side) find(id conversation.ID) conversation.Conversation {
	s.t.Helper()
	c, err := s.store.Find(s.t.Context(), "default", id)
	require.NoError(s.t, err)
	return c
}

func (s *side) stands(id conversation.ID, want string) {
	s.t.Helper()
	c := s.find(id)
	require.Equal(s.t, want, fmt.Sprintf("%s %s %d", c.State, c.Owner, c.Epoch))
}

func (s *side) exec(sql string, args ...any) {
	s.t.Helper()
	_, err := s.pg.Exec(s.t.Context(), sql, args...)
	require.NoError(s.t, err)
}

// reasons are those of what was written on our own side, in order of arrival.
func (s *side) reasons() string {
	s.t.Helper()
	var all *string
	require.NoError(s.t, s.pg.QueryRow(s.t.Context(), "select string_agg(reason, ' ' order by id) from inbox where from_me").Scan(&all))
	return *all
}

// look looks once, and finds the invariants kept.
func (s *side) look() {
	s.t.Helper()
	s.own.look(s.t.Context())
	s.verify()
}

func (s *side) verify() {
	s.t.Helper()
	report, err := postgres.Check(s.t.Context(), postgres.Config{URL: s.db.URL}, postgres.CheckOptions{Skip: nil})
	require.NoError(s.t, err)
	for _, f := range report.Violated() {
		require.Equal(s.t, "I-RYW", string(f.ID), "%+v", f) // the tests' server may lose commits
	}
}

// passed is a turn of which this part is on the wire.
func (s *side) passed(texts ...string) conversation.PartRef {
	s.t.Helper()
	t, err := s.store.ClaimTurn(s.t.Context(), conversation.TurnTerms{Holder: s.me, Lease: time.Minute, Deadline: time.Hour,
		Sign: func(t conversation.TurnRef) string { return fmt.Sprint(t.Conversation, t.No, t.Gen) }})
	require.NoError(s.t, err)
	var parts []conversation.Part
	for _, text := range texts {
		parts = append(parts, conversation.Part{Text: text})
	}
	require.NoError(s.t, s.store.Reply(s.t.Context(), t.TurnRef, t.Token, parts))
	p := conversation.PartRef{TurnRef: t.TurnRef, Part: 1, Attempt: 1}
	s.pass(p)
	return p
}

func (s *side) pass(p conversation.PartRef) {
	s.t.Helper()
	ok, err := s.store.Pass(s.t.Context(), p, s.me, time.Minute)
	require.NoError(s.t, err)
	require.True(s.t, ok)
}

func (s *side) sent(p conversation.PartRef, id string) {
	s.t.Helper()
	ok, err := s.store.Sent(s.t.Context(), p, conversation.Delivery{MessageID: id})
	require.NoError(s.t, err)
	require.True(s.t, ok)
}

func TestAnEchoByItsID(t *testing.T) {
	t.Parallel()
	s := newSide(t)
	id := s.talk("1@lid")
	s.sent(s.passed("um"), "OUT1")
	for _, kind := range []conversation.EventKind{conversation.KindSent, conversation.KindMessage} {
		require.Equal(t, conversation.OwnEcho, s.receive(kind, "OUT1", "1@lid", "um", true).Reason)
	}
	s.look()
	require.Empty(t, s.judged.n)
	s.stands(id, "AI_ACTIVE ai:f 1")
}

func TestAnEchoThatComesBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	s := newSide(t)
	id := s.talk("1@lid")
	part := s.passed("um", "dois")
	require.Equal(t, ReasonFromMe, s.receive(conversation.KindSent, "OUT1", "1@lid", "um", true).Reason)
	require.Equal(t, ReasonFromMe, s.receive(conversation.KindMessage, "OUT1", "other@lid", "um", true).Reason, "under another id of the contact's")
	s.look()
	require.Equal(t, "from_me from_me", s.reasons(), "nobody can say yet")
	s.sent(part, "OUT1")
	s.look()
	require.Equal(t, "own_echo own_echo", s.reasons())
	s.stands(id, "AI_ACTIVE ai:f 1")

	// Neither saw the other: the echo was committed while the part's row was being written.
	s.exec("update inbox set reason = 'from_me' where reason = 'own_echo'")
	s.exec("update outbox set confirmed_at = null")
	s.look()
	require.Equal(t, "own_echo own_echo", s.reasons())
	require.Equal(t, map[string]int{conversation.OwnEcho: 2}, s.judged.n)
	var confirmed bool
	require.NoError(t, s.pg.QueryRow(t.Context(), "select confirmed_at is not null from outbox where part = 1").Scan(&confirmed))
	require.True(t, confirmed)
	s.stands(id, "AI_ACTIVE ai:f 1")
}

func TestSomebodyTypesWhileAPartIsOnTheWire(t *testing.T) {
	t.Parallel()
	s := newSide(t)
	id := s.talk("1@lid")
	part := s.passed("um", "dois", "três")
	s.typed("1@lid", "deixa comigo")
	s.look()
	s.stands(id, "AI_ACTIVE ai:f 1")
	s.sent(part, "OUT1")
	part.Part = 2
	s.pass(part) // it left after the message came, and cannot be it
	s.look()
	require.Equal(t, "human_on_phone", s.reasons())
	s.stands(id, "HUMAN_ACTIVE human:phone 2")
	s.sent(part, "OUT2")
	part.Part = 3
	ok, err := s.store.Pass(t.Context(), part, s.me, time.Minute)
	require.NoError(t, err)
	require.False(t, ok, "the part on the wire was the last")
	s.verify()
}

func TestAPartThatStaysOnTheWireHoldsAMessageForAWhileOnly(t *testing.T) {
	t.Parallel()
	s := newSide(t)
	id := s.talk("1@lid")
	s.passed("um")
	s.typed("1@lid", "deixa comigo")
	s.look()
	require.Equal(t, "from_me", s.reasons())
	s.exec("update inbox set received_at = received_at - $1::interval, wa_ts = received_at - $1::interval", policy.Flight)
	s.exec("update outbox set intent_at = intent_at - $1::interval", policy.Flight)
	s.own.look(t.Context())
	require.Equal(t, "human_on_phone", s.reasons())
	s.stands(id, "HUMAN_ACTIVE human:phone 2")
}

func TestWhatSaysTheSameAsAnAmbiguousPart(t *testing.T) {
	t.Parallel()
	s := newSide(t)
	id := s.talk("1@lid")
	part := s.passed("um")
	ok, err := s.store.Unknown(t.Context(), part, "timeout")
	require.NoError(t, err)
	require.True(t, ok)
	s.receive(conversation.KindMessage, "OUT1", "1@lid", "um", true)
	s.exec("update inbox set received_at = received_at + interval '1 millisecond'")
	s.look()
	require.Equal(t, "from_me", s.reasons())
	proved, err := s.store.Prove(t.Context(), conversation.AmbiguousPart{Tenant: "default", Conversation: id, No: part.No, Part: 1},
		conversation.Delivery{MessageID: "OUT1"})
	require.NoError(t, err)
	require.True(t, proved)
	s.look()
	require.Equal(t, "own_echo", s.reasons())
	s.stands(id, "AI_ACTIVE ai:f 1")

	// Settled by a human, the part has no id; what it says tells.
	s.receive(conversation.KindMessage, uuid.NewString(), "1@lid", "e então?", false)
	part = s.passed("dois")
	_, err = s.store.Unknown(t.Context(), part, "timeout")
	require.NoError(t, err)
	s.receive(conversation.KindMessage, "OUT2", "1@lid", "dois", true)
	s.look()
	require.Equal(t, "own_echo from_me", s.reasons())
	require.NoError(t, s.store.Settle(t.Context(), conversation.Settlement{Tenant: "default", Conversation: id, No: part.No, Part: 1, Sent: true,
		Actor: conversation.Actor{Kind: conversation.ActorOperator, ID: "op"}}))
	s.look()
	require.Equal(t, "own_echo own_echo", s.reasons())
	s.stands(id, "AI_ACTIVE ai:f 1")

	// What says something else is somebody else's, as soon as the sender has said that it writes no more.
	s.receive(conversation.KindMessage, uuid.NewString(), "1@lid", "e?", false)
	part = s.passed("três")
	_, err = s.store.Unknown(t.Context(), part, "timeout")
	require.NoError(t, err)
	s.typed("1@lid", "deixa comigo")
	s.look()
	require.Equal(t, "own_echo own_echo human_on_phone", s.reasons())
	s.stands(id, "HUMAN_ACTIVE human:phone 2")
}

func TestSomebodyTypesWhileTheFlowThinks(t *testing.T) {
	t.Parallel()
	s := newSide(t)
	id := s.talk("1@lid")
	turn, err := s.store.ClaimTurn(t.Context(), conversation.TurnTerms{Holder: s.me, Lease: time.Minute, Deadline: time.Hour,
		Sign: func(conversation.TurnRef) string { return "token" }})
	require.NoError(t, err)
	s.typed("1@lid", "deixa comigo")
	s.look()
	s.stands(id, "HUMAN_ACTIVE human:phone 2")
	require.Nil(t, s.find(id).Turn)
	require.ErrorIs(t, s.store.Reply(t.Context(), turn.TurnRef, turn.Token, []conversation.Part{{Text: "tarde"}}), conversation.ErrStaleEpoch)
	require.Equal(t, 1, s.changed, "the replica that asks the flow is told")
	s.verify()
}

func TestGreetings(t *testing.T) {
	t.Parallel()
	s := newSide(t)
	known := s.talk("1@lid")
	s.typed("1@lid", "olá! JÁ respondemos.")
	began := s.receive(conversation.KindMessage, uuid.NewString(), "2@lid", "oi", false).Conversation
	s.typed("2@lid", "Bem-vindo!")
	s.look()
	require.Equal(t, "auto_greeting auto_greeting", s.reasons())
	s.stands(known, "AI_ACTIVE ai:f 1")
	s.stands(began, "IDLE none 0")

	// Out of order: the greeting is here, the message it answers is not yet.
	early := s.typed("3@lid", "Bem-vindo!")
	s.look()
	require.Equal(t, "auto_greeting auto_greeting from_me", s.reasons())
	require.Equal(t, early, s.receive(conversation.KindMessage, uuid.NewString(), "3@lid", "oi", false).Conversation)
	s.look()
	require.Equal(t, "auto_greeting auto_greeting auto_greeting", s.reasons())

	// The second session of a conversation begins with a greeting too; what comes later is typed.
	s.do(conversation.Command{Verb: conversation.VerbClose, Conversation: known, Actor: conversation.Router})
	s.receive(conversation.KindMessage, uuid.NewString(), "1@lid", "de novo", false)
	s.receive(conversation.KindMessage, uuid.NewString(), "1@lid", "eu", false)
	s.typed("1@lid", "Bem-vindo de volta!")
	s.look()
	require.True(t, strings.HasSuffix(s.reasons(), " auto_greeting"))
	s.stands(known, "CLOSED none 2")
	s.exec("update conversation set session_at = session_at - interval '4 seconds'")
	s.typed("1@lid", "Bem-vindo de volta!")
	s.look()
	require.True(t, strings.HasSuffix(s.reasons(), " human_on_phone"))
	s.stands(known, "HUMAN_ACTIVE human:phone 3")
}

func TestForeignSenders(t *testing.T) {
	t.Parallel()
	s := newSide(t)
	id := s.talk("1@lid")
	for range 3 {
		s.receive(conversation.KindSent, uuid.NewString(), "1@lid", "promoção", true)
	}
	s.receive(conversation.KindSent, uuid.NewString(), "nobody@lid", "promoção", true)
	s.look()
	require.Equal(t, "foreign_sender foreign_sender foreign_sender foreign_sender_alone", s.reasons())
	s.stands(id, "HUMAN_ACTIVE human:phone 2")
	require.Equal(t, map[string]int{conversation.ForeignSender: 3, conversation.ForeignNoTalk: 1}, s.judged.n)
	require.Equal(t, 2, strings.Count(s.log.String(), "level=ERROR"), "once for each conversation")
	require.NotContains(t, s.log.String(), "promoção")
	require.NotContains(t, s.log.String(), "@lid")

	quiet := s.talk("2@lid")
	s.own.c.Policy.ForeignIsHuman = false
	s.receive(conversation.KindSent, uuid.NewString(), "2@lid", "promoção", true)
	s.look()
	s.stands(quiet, "AI_ACTIVE ai:f 1")
	require.Equal(t, 4, s.judged.n[conversation.ForeignSender])
}

func TestThePhoneHasItUntilItIsSilent(t *testing.T) {
	t.Parallel()
	s := newSide(t)
	id := s.talk("1@lid")
	s.do(conversation.Command{Verb: conversation.VerbClose, Conversation: id, Actor: conversation.Router})
	s.typed("1@lid", "ainda precisa?")
	s.look()
	s.stands(id, "CLOSED none 2")
	s.exec("update inbox set received_at = received_at - interval '4 seconds', wa_ts = received_at where from_me") // nobody answers so fast
	s.look()
	s.stands(id, "HUMAN_ACTIVE human:phone 3")

	until := func() time.Time { return s.find(id).SilenceUntil }
	s.exec("update conversation set silence_until = silence_until - interval '30 minutes'")
	before := until()
	s.typed("1@lid", "oi?")
	s.look()
	require.Greater(t, until().Sub(before), 29*time.Minute, "a later message extends it")
	s.stands(id, "HUMAN_ACTIVE human:phone 3")
	s.exec("update conversation set silence_until = now() - interval '1 second'")
	overdue, err := s.store.Overdue(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, overdue, 1)
	_, err = s.store.Do(t.Context(), overdue[0])
	require.NoError(t, err)
	s.stands(id, "AI_ACTIVE ai:f 4")
}

// dying is a store whose process is killed when it is to file a verdict.
type dying struct{ OwnStore }

var errKilled = errors.New("killed")

func (dying) JudgeOwn(context.Context, int64, string) (bool, error) { return false, errKilled }

func TestAKillBetweenTheTakeAndTheVerdict(t *testing.T) {
	t.Parallel()
	s := newSide(t)
	id := s.talk("1@lid")
	s.typed("1@lid", "deixa comigo")
	s.newOwn(dying{s.store}).look(t.Context())
	s.stands(id, "HUMAN_ACTIVE human:phone 2")
	require.Equal(t, "from_me", s.reasons())
	// Before the router is back the human is through, and says so.
	s.do(conversation.Command{Verb: conversation.VerbHandback, Conversation: id, Actor: conversation.Actor{Kind: conversation.ActorOperator, ID: "op"}})
	s.look()
	s.stands(id, "AI_ACTIVE ai:f 3")
	require.Equal(t, "human_on_phone", s.reasons())
	require.Equal(t, map[string]int{conversation.HumanOnPhone: 1}, s.judged.n)

	// The same, and the policy was changed meanwhile.
	s.typed("1@lid", "de novo eu")
	s.newOwn(dying{s.store}).look(t.Context())
	s.own.c.Policy.Silence = 2 * time.Hour
	s.look()
	s.stands(id, "HUMAN_ACTIVE human:phone 4")
	require.Equal(t, "human_on_phone human_on_phone", s.reasons())
}

func TestWhatWasWrittenToAMergedConversation(t *testing.T) {
	t.Parallel()
	s := newSide(t)
	phone, lid := s.talk("5511988887777@s.whatsapp.net"), s.receive(conversation.KindMessage, uuid.NewString(), "1@lid", "oi", false).Conversation
	s.typed("1@lid", "deixa comigo")
	joined, err := s.store.Merge(t.Context(), "default", phone, lid)
	require.NoError(t, err)
	require.Equal(t, phone, joined.Stays)
	s.look()
	s.stands(phone, "HUMAN_ACTIVE human:phone 3")
	require.Equal(t, "human_on_phone", s.reasons())
}

func TestTwoReplicasJudgeAtOnce(t *testing.T) {
	t.Parallel()
	s := newSide(t)
	var ids []conversation.ID
	for i := range 30 {
		jid := fmt.Sprint(i, "@lid")
		ids = append(ids, s.talk(jid))
		s.typed(jid, "deixa comigo")
	}
	var all sync.WaitGroup
	for range 2 {
		own := NewOwn(OwnConfig{Store: s.db.Store(t), Policy: policy, Every: time.Second, Changed: func() {}, Observer: &s.judged, Logger: slog.New(slog.DiscardHandler)})
		all.Go(func() { own.look(t.Context()) })
	}
	all.Wait()
	require.Equal(t, map[string]int{conversation.HumanOnPhone: 30}, s.judged.n, "each once")
	for _, id := range ids {
		s.stands(id, "HUMAN_ACTIVE human:phone 2")
		trail, err := s.store.Trail(t.Context(), "default", id, 0, 10)
		require.NoError(t, err)
		require.Len(t, trail, 3)
		require.Equal(t, []string{"human:phone", conversation.HumanOnPhone}, []string{trail[2].Actor, trail[2].Reason})
	}
	s.verify()
}

// What a sweep finds after a long time without a connection.
func TestASweepOfAThousand(t *testing.T) {
	t.Parallel()
	s := newSide(t)
	id := s.talk("talk@lid")
	var events []conversation.Event
	for i := range 1000 {
		e := conversation.Event{Tenant: "default", Channel: "p", Kind: conversation.KindMessage, WAID: fmt.Sprint(i), ChatJID: fmt.Sprint(i%100, "@lid"),
			Type: "text", Text: "oi", FromMe: true, Body: []byte(`{}`), SentAt: time.Now().Add(-2 * time.Hour)}
		if i >= 900 { // the last of each
			e.SentAt = time.Now().Add(-10 * time.Minute)
		}
		judge(&e)
		events = append(events, e)
	}
	_, err := s.store.Receive(t.Context(), events, conversation.Window{})
	require.NoError(t, err)
	s.exec("update inbox set received_at = received_at - interval '10 seconds'")
	s.look()
	require.Equal(t, map[string]int{conversation.HumanBefore: 900, conversation.HumanOnPhone: 100}, s.judged.n)
	list, err := s.store.List(t.Context(), conversation.Filter{Tenant: "default", Owner: conversation.Owner{Kind: conversation.OwnedByHuman}})
	require.NoError(t, err)
	require.Len(t, list, 100)
	for _, c := range list {
		require.EqualValues(t, 1, c.Epoch)
		require.Less(t, c.Silence, 51*time.Minute)
	}
	s.stands(id, "AI_ACTIVE ai:f 1")
}

func TestOwnRunsUntilItIsStopped(t *testing.T) {
	t.Parallel()
	s := newSide(t)
	id := s.talk("1@lid")
	ctx, cancel := context.WithCancel(t.Context())
	changed := make(chan struct{}, 1)
	own := NewOwn(OwnConfig{Store: s.store, Policy: policy, Every: time.Hour, Changed: func() { changed <- struct{}{} }, Observer: &s.judged, Logger: slog.New(slog.DiscardHandler)})
	done := make(chan struct{})
	go func() {
		own.Run(ctx)
		close(done)
	}()
	s.typed("1@lid", "deixa comigo")
	own.Wake()
	own.Wake() // never blocks
	<-changed
	s.stands(id, "HUMAN_ACTIVE human:phone 2")
	cancel()
	<-done
}
