package desk_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
	"plantao/runtime/desk"
)

func TestWhatIsShown(t *testing.T) {
	l := newLab(t)
	d, _ := l.desk(nil)
	l.writes("M1", "oi")
	l.writes("M2", "tem pão?")
	l.gives()
	require.Equal(t, conversation.OutcomeDone, l.phone.answers("Temos.", "Quantos?"))
	l.settle(d)
	require.Equal(t, []string{"incoming oi", "incoming tem pão?", "outgoing Temos.", "outgoing Quantos?"}, l.shown())

	l.arrives(conversation.Event{Kind: conversation.KindEdit, WAID: "E1", Ref: "M1", Text: "olá", Begins: true, State: conversation.Ignored, Reason: "late"})
	l.arrives(conversation.Event{Kind: conversation.KindRevoke, WAID: "R1", Ref: "M2", State: conversation.Ignored, Reason: "revoked"})
	l.arrives(conversation.Event{WAID: "M3", Type: "reaction", Text: "👍", Ref: "OUT1", Begins: true, State: conversation.Pending})
	l.arrives(conversation.Event{WAID: "M4", Type: "sticker", Begins: true, State: conversation.Pending})
	l.do(conversation.Command{Verb: conversation.VerbPass, Actor: conversation.Actor{Kind: conversation.ActorAI, ID: flow},
		To: conversation.Owner{Kind: conversation.OwnedByQueue}, Reason: "wants_a_human", Context: []byte(`{"order":12}`)})
	l.settle(d)
	got := l.shown()[4:]
	require.Len(t, got, 5)
	require.Equal(t, []string{"note The customer corrected a message. It says now:\nolá", "note The customer deleted a message.",
		"incoming Reacted with 👍", "incoming [message of type sticker: look at the phone]"}, got[:4])
	require.Equal(t, "note Passed on: the queue has this conversation now (by the AI atendimento).\nReason: wants_a_human\n"+
		"What the one before says:\n{\n  \"order\": 12\n}", got[4])
	require.Equal(t, "open", l.status())

	// The second look finds nothing to do.
	before := len(l.shown())
	l.look(d)
	require.Len(t, l.shown(), before)
	require.Zero(t, l.number(`select count(*) from inbox where mirror = 'wanted'`))
}

func TestWhatThePhoneWrites(t *testing.T) {
	l := newLab(t)
	d, _ := l.desk(nil)
	l.writes("M1", "oi")
	sent := time.Now().Add(-time.Hour).Truncate(time.Second)
	l.arrives(conversation.Event{WAID: "P1", Type: "text", Text: "já vou", FromMe: true, Begins: true, State: conversation.Ignored, Reason: "from_me", SentAt: sent})
	l.settle(d)
	require.Equal(t, []string{"incoming oi"}, l.shown(), "it may still be an echo")
	l.exec(`update inbox set reason = 'human_device' where wa_id = 'P1'`)
	l.exec(`update conversation set mirror_due = now()`)
	l.settle(d)
	require.Equal(t, []string{"incoming oi", "outgoing já vou"}, l.shown())
	var at float64
	var sender string
	require.NoError(t, l.cw.QueryRow(t.Context(), `select (content_attributes ->> 'external_created_at')::float8, sender_type from messages
		where message_type = 1`).Scan(&at, &sender))
	require.EqualValues(t, sent.Unix(), at)
	require.Equal(t, "User", sender)
	l.look(d)
	require.Empty(t, l.phone.sends(), "what was mirrored is nobody's new message")
	require.Equal(t, conversation.Idle, l.now().State)

	l.arrives(conversation.Event{WAID: "P2", Type: "text", Text: "eco", FromMe: true, Begins: true, State: conversation.Ignored, Reason: "own_echo"})
	l.settle(d)
	require.Len(t, l.shown(), 2)
}

func TestPartsThatWereNotSent(t *testing.T) {
	l := newLab(t)
	d, _ := l.desk(nil)
	l.writes("M1", "oi")
	l.gives()
	l.phone.err = &conversation.SendError{Outcome: conversation.SendRefused, Status: 400, Err: fmt.Errorf("no")}
	require.Equal(t, conversation.OutcomeFailed, l.phone.answers("Bom dia", "Pois não?"))
	l.settle(d)
	require.Equal(t, "note The customer did not get this answer:\nBom dia", l.shown()[1])
	require.Equal(t, "open", l.status(), "a human has to go on")
	require.Zero(t, l.number(`select count(*) from outbox where mirror = 'wanted'`))
}

func TestStatesBothWays(t *testing.T) {
	l := newLab(t)
	d, seen := l.desk(nil)
	l.writes("M1", "oi")
	l.gives()
	l.settle(d)
	agent := func(path string, body object) { l.api(l.admin, "POST", l.display()+path, body) }

	agent("/toggle_status", object{"status": "open"})
	l.look(d)
	require.Equal(t, conversation.HumanQueued, l.now().State)
	agent("/assignments", object{"assignee_id": 1})
	l.look(d)
	require.Equal(t, conversation.Owner{Kind: conversation.OwnedByHuman, ID: "1"}, l.now().Owner)
	require.Equal(t, 10*time.Minute, l.now().Silence)
	agent("/toggle_status", object{"status": "pending"})
	l.look(d)
	require.Equal(t, conversation.Owner{Kind: conversation.OwnedByAI, ID: flow}, l.now().Owner)
	require.Equal(t, "pending", l.status(), "nobody is assigned to what an AI has")
	agent("/toggle_status", object{"status": "resolved"})
	l.look(d)
	require.Equal(t, conversation.Closed, l.now().State)
	agent("/toggle_status", object{"status": "open"})
	l.look(d)
	require.Equal(t, conversation.HumanQueued, l.now().State)

	// What the router decides shows there, and is not taken for people's doing.
	l.do(conversation.Command{Verb: conversation.VerbTake, Actor: conversation.Actor{Kind: conversation.ActorHuman, ID: "phone"}})
	l.settle(d)
	require.Equal(t, "open", l.status())
	l.do(conversation.Command{Verb: conversation.VerbTake, Actor: conversation.Actor{Kind: conversation.ActorHuman, ID: "99"}})
	l.look(d)
	l.look(d)
	require.Equal(t, "open", l.status(), "99 is none of the account's")
	require.Equal(t, "99", l.now().Owner.ID)
	l.do(conversation.Command{Verb: conversation.VerbClose, Actor: conversation.Router})
	l.look(d)
	require.Equal(t, "resolved", l.status())
	heard := seen.of("heard take") + seen.of("heard pass") + seen.of("heard handback") + seen.of("heard close") + seen.of("heard claim")
	require.Equal(t, 5, heard)

	// A message wakes it up, as the router does.
	l.writes("M2", "mais uma coisa")
	l.settle(d)
	require.Equal(t, "pending", l.status())
	l.look(d)
	require.Equal(t, heard, seen.of("heard take")+seen.of("heard pass")+seen.of("heard handback")+seen.of("heard close")+seen.of("heard claim"))
}

// TestLabelsAndPriorityAreLeftAlone, and labels are known to the rules.
func TestLabelsAndPriorityAreLeftAlone(t *testing.T) {
	l := newLab(t)
	d, _ := l.desk(nil)
	l.writes("M1", "oi")
	l.gives()
	l.settle(d)
	l.api(l.admin, "POST", l.display()+"/labels", object{"labels": []string{"vip"}})
	l.api(l.admin, "POST", l.display()+"/toggle_priority", object{"priority": "high"})
	epoch := l.now().Epoch
	l.look(d)
	l.do(conversation.Command{Verb: conversation.VerbPass, Actor: conversation.Router, To: conversation.Owner{Kind: conversation.OwnedByQueue}})
	l.settle(d)
	require.Equal(t, epoch+1, l.now().Epoch)
	var labels []string
	var priority int
	require.NoError(t, l.cw.QueryRow(t.Context(), `select labels, priority from conversations`).Scan(&labels, &priority))
	require.Equal(t, []string{"vip"}, labels)
	require.Equal(t, 2, priority)

	_, err := l.store.PutRules(t.Context(), conversation.Rulebook{Tenant: conversation.DefaultTenant, Version: "v", Text: "r", By: "operator:op"})
	require.NoError(t, err)
	l.do(conversation.Command{Verb: conversation.VerbRelease, Actor: conversation.Router})
	l.writes("M2", "oi")
	unrouted, err := l.store.Unrouted(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, []string{"vip"}, unrouted[0].Facts.Labels)
}

func TestBrokenSLAsAreShownOnce(t *testing.T) {
	l := newLab(t)
	d, _ := l.desk(nil)
	l.writes("M1", "oi")
	since := time.Now().Add(-time.Hour)
	due := since.Add(time.Minute)
	l.do(conversation.Command{Verb: conversation.VerbClaim, Actor: conversation.Router, To: conversation.Owner{Kind: conversation.OwnedByQueue},
		Promises: []conversation.Promise{
			{Kind: conversation.FirstResponse, Name: "vip", Since: since, Due: due}, {Kind: conversation.Resolution, Name: "vip", Since: since, Due: due.Add(time.Second)},
		}})
	l.settle(d)
	require.Equal(t, []string{"incoming oi"}, l.shown())
	judged, err := l.store.JudgePromises(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, judged, 2)
	l.settle(d)
	require.ElementsMatch(t, []string{"incoming oi", "note SLA vip is broken: the customer was not answered in time.", "note SLA vip is broken: the conversation was not closed in time."}, l.shown())

	// The note of a post that was lost is found, and not made again.
	l.exec(`update promise set mirror = 'wanted', chatwoot_id = null`)
	l.exec(`update chatwoot_conversation set last_message = 0`)
	l.exec(`update conversation set mirror_due = now()`)
	l.settle(d)
	require.Len(t, l.shown(), 3)
	require.Zero(t, l.number(`select count(*) from promise where mirror <> 'done' or chatwoot_id is null`))
}

func TestPrivateNotesStayInside(t *testing.T) {
	l := newLab(t)
	d, _ := l.desk(nil)
	l.writes("M1", "oi")
	l.gives()
	l.settle(d)
	l.api(l.admin, "POST", l.display()+"/messages", object{"content": "cliente difícil", "private": true})
	deleted := l.replies("ops")
	l.api(l.admin, "DELETE", fmt.Sprintf("%s/messages/%d", l.display(), deleted), nil)
	l.api(string(l.inbox.Bot.Token), "POST", l.display()+"/messages", object{"content": "de outro robô"})
	l.look(d)
	require.Equal(t, conversation.AIActive, l.now().State)
	require.Empty(t, l.phone.sends())
}

func TestEachWordBeginsTheSilenceAnew(t *testing.T) {
	l := newLab(t)
	d, seen := l.desk(func(c *desk.Config) { c.Silence = time.Hour })
	l.writes("M1", "oi")
	l.gives()
	l.settle(d)
	l.replies("um")
	l.look(d)
	first := l.now()
	l.replies("dois")
	l.look(d)
	second := l.now()
	require.Equal(t, first.Epoch, second.Epoch)
	require.True(t, second.SilenceUntil.After(first.SilenceUntil))
	require.Equal(t, 2, seen.of("heard said"))
	l.phone.sends()
	require.Equal(t, []string{"um", "dois"}, l.phone.texts())
	// Read again and again until they are old: neither is said twice, and the silence is what it was.
	l.look(d)
	require.Equal(t, second.SilenceUntil, l.now().SilenceUntil)
	require.Empty(t, l.phone.sends())
}

func TestFatesOfWhatHumansSaid(t *testing.T) {
	l := newLab(t)
	d, seen := l.desk(nil)
	l.writes("M1", "oi")
	l.gives()
	l.settle(d)
	l.phone.err = &conversation.SendError{Outcome: conversation.SendRefused, Status: 400, Err: fmt.Errorf("no")}
	id := l.replies("bom dia")
	l.look(d)
	require.Equal(t, []conversation.Outcome{conversation.OutcomeFailed}, l.phone.sends())
	l.settle(d)
	status, why := l.messageStatus(id)
	require.Equal(t, "failed", status)
	require.Contains(t, why, "refused")
	require.Equal(t, conversation.HumanActive, l.now().State, "a human's failed message is no reason to queue")

	retry := func() { l.api(l.admin, "POST", fmt.Sprintf("%s/messages/%d/retry", l.display(), id), nil) }
	retry()
	l.look(d)
	l.look(d)
	require.Equal(t, 1, seen.of("heard retry"))
	require.Equal(t, []conversation.Outcome{conversation.OutcomeFailed}, l.phone.sends())
	l.settle(d)
	status, _ = l.messageStatus(id)
	require.Equal(t, "failed", status)

	l.phone.err = nil
	retry()
	l.look(d)
	require.Equal(t, []conversation.Outcome{conversation.OutcomeDone}, l.phone.sends())
	l.look(d)
	require.Equal(t, []string{"bom dia"}, l.phone.texts())
	require.EqualValues(t, 1, l.number(`select count(*) from turn where source like 'chatwoot:1:%:r2'`))
	status, why = l.messageStatus(id)
	require.Equal(t, "sent", status)
	require.Empty(t, why)

	for _, s := range []struct{ word, shown string }{{"READ", "read"}, {"DELIVERY_ACK", "read"}, {"SERVER_ACK", "read"}} {
		l.arrives(conversation.Event{Kind: conversation.KindStatus, WAID: "OUT1/" + s.word, Ref: "OUT1", Text: s.word, State: conversation.Ignored, Reason: "delivery_status"})
		l.settle(d)
		status, _ = l.messageStatus(id)
		require.Equal(t, s.shown, status, s.word)
	}
}

func TestUnknownFateIsTold(t *testing.T) {
	l := newLab(t)
	d, _ := l.desk(nil)
	l.writes("M1", "oi")
	l.gives()
	l.settle(d)
	l.phone.err = &conversation.SendError{Outcome: conversation.SendUnknown, Err: fmt.Errorf("timeout")}
	id := l.replies("bom dia")
	l.look(d)
	require.Equal(t, []conversation.Outcome{conversation.OutcomeAmbiguous}, l.phone.sends())
	l.settle(d)
	status, why := l.messageStatus(id)
	require.Equal(t, "failed", status)
	require.Contains(t, why, "not known whether")
	l.api(l.admin, "POST", fmt.Sprintf("%s/messages/%d/retry", l.display(), id), nil)
	l.look(d)
	require.Empty(t, l.phone.sends(), "what may have arrived is not said again by a button")

	proven, err := l.store.Prove(t.Context(), conversation.AmbiguousPart{Tenant: conversation.DefaultTenant, Conversation: l.talk,
		No: int(l.number(`select no from turn where kind = 'human'`)), Part: 1}, conversation.Delivery{MessageID: "X1", ChatJID: customer})
	require.NoError(t, err)
	require.True(t, proven)
	l.settle(d)
	status, _ = l.messageStatus(id)
	require.Equal(t, "sent", status)
}

func TestStatusesOfTheAIsParts(t *testing.T) {
	l := newLab(t)
	d, _ := l.desk(nil)
	l.writes("M1", "oi")
	l.gives()
	l.phone.answers("Bom dia")
	l.settle(d)
	l.arrives(conversation.Event{Kind: conversation.KindStatus, WAID: "OUT1/DELIVERY_ACK", Ref: "OUT1", Text: "DELIVERY_ACK", State: conversation.Ignored, Reason: "delivery_status"})
	l.settle(d)
	status, _ := l.messageStatus(l.number(`select chatwoot_id from outbox where part = 1`))
	require.Equal(t, "delivered", status)
}

// Everything the router does in Chatwoot comes back as an event. None of it may make another.
func TestNoEchoLoop(t *testing.T) {
	l := newLab(t)
	d, seen := l.desk(nil)
	for i := range 100 {
		l.writes(fmt.Sprintf("M%d", i), fmt.Sprintf("mensagem %d", i))
	}
	l.gives()
	l.settle(d)
	require.Len(t, l.shown(), 100)
	turns := l.number(`select count(*) from turn`)
	var calls int
	var mu sync.Mutex
	l.front.set(func(_ http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if r.Method != http.MethodGet {
			calls++
		}
		return false
	}, nil)
	for range 5 {
		l.look(d)
	}
	require.Zero(t, calls, "a look at what is in order writes nothing")
	require.Len(t, l.shown(), 100)
	require.Equal(t, turns, l.number(`select count(*) from turn`))
	require.Zero(t, seen.of("heard said"))
	require.Equal(t, 100, seen.of("showed posted"))
}

func TestRefusedMessagesDoNotBlock(t *testing.T) {
	l := newLab(t)
	d, seen := l.desk(nil)
	l.front.set(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/messages") {
			return false
		}
		body := readBody(r)
		if !strings.Contains(body, "veneno") {
			return false
		}
		w.WriteHeader(http.StatusUnprocessableEntity)
		return true
	}, nil)
	l.writes("M1", "um")
	l.writes("M2", "veneno")
	l.writes("M3", "três")
	l.settle(d)
	require.Equal(t, []string{"incoming um", "incoming três"}, l.shown())
	require.Equal(t, "failed", l.text(`select mirror from inbox where wa_id = 'M2'`))
	require.Equal(t, 1, seen.of("showed refused"))
}

func TestRateLimitIsWaitedFor(t *testing.T) {
	l := newLab(t)
	d, seen := l.desk(nil)
	l.writes("M0", "antes")
	l.settle(d)
	// Chatwoot counts what is in the conversation, whoever wrote it.
	_, err := l.cw.Exec(t.Context(), `insert into messages (account_id, inbox_id, conversation_id, message_type, content, sender_type, sender_id)
		select account_id, inbox_id, conversation_id, 1, 'x', 'AgentBot', 1 from messages, generate_series(1, 199)`)
	require.NoError(t, err)
	l.writes("M1", "depois")
	_, err = d.Once(t.Context())
	require.NoError(t, err)
	require.Equal(t, "too_many_messages", l.text(`select problem from chatwoot_conversation`))
	require.Equal(t, "wanted", l.text(`select mirror from inbox where wa_id = 'M1'`))
	_, err = l.cw.Exec(t.Context(), `update messages set created_at = created_at - interval '2 minutes'`)
	require.NoError(t, err)
	l.settle(d)
	require.Equal(t, "done", l.text(`select mirror from inbox where wa_id = 'M1'`))
	require.Zero(t, seen.of("showed refused"))
}

func TestADeletedConversationIsMadeAnew(t *testing.T) {
	l := newLab(t)
	d, _ := l.desk(nil)
	l.writes("M1", "oi")
	l.settle(d)
	_, err := l.cw.Exec(t.Context(), `delete from contacts`)
	require.NoError(t, err)
	l.writes("M2", "alguém?")
	l.settle(d)
	require.Equal(t, []string{"incoming alguém?"}, l.shown())
}

func TestContactsAreFound(t *testing.T) {
	l := newLab(t)
	d, _ := l.desk(nil)
	l.api(l.admin, "POST", "/contacts", object{"name": "Maria da Silva", "phone_number": "+5511988887777"})
	l.writes("M1", "oi")
	l.settle(d)
	var n int
	var name, identifier, phone string
	require.NoError(t, l.cw.QueryRow(t.Context(), `select count(*) over (), name, identifier, phone_number from contacts`).Scan(&n, &name, &identifier, &phone))
	require.Equal(t, 1, n)
	require.Equal(t, "Maria da Silva", name, "what people wrote stays")
	require.Equal(t, customer, identifier)
	require.Equal(t, []string{"incoming oi"}, l.shown())
}
