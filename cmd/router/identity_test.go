package main

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"plantao/runtime/api"
	"plantao/runtime/client"
	"plantao/runtime/conversation"
)

// own is the webhook of a text written on the channel's own side, so long after now by WhatsApp's clock.
func own(id, jid, text string, later time.Duration) string {
	return event("messages.upsert", map[string]any{
		"key": map[string]any{"remoteJid": jid, "fromMe": true, "id": id}, "pushName": "Você", "messageType": "conversation",
		"message": map[string]any{"conversation": text}, "messageTimestamp": time.Now().Add(later).Unix(), "source": "android",
	})
}

func (b *bench) stands() string {
	b.t.Helper()
	return b.text("select coalesce((select concat_ws(' ', state, owner_kind, owner_id) from conversation), '')")
}

// Somebody answers on the phone while the AI thinks, the AI is silent, and goes on when the phone has been silent.
func TestWhoeverTypesOnThePhoneSilencesTheAI(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.c.Human.PhoneSilence = 3 * time.Second
	asked, gone := make(chan struct{}, 1), make(chan struct{})
	b.flow.answer = func(w http.ResponseWriter, req *http.Request, q flowRequest, attempt int) {
		if attempt > 1 {
			reply(w, "eco: "+q.Messages[len(q.Messages)-1].Text)
			return
		}
		asked <- struct{}{}
		<-req.Context().Done() // the router hangs up
		close(gone)
	}
	r := b.serveReady()
	require.Equal(t, http.StatusOK, r.post(upsert("A", testCustomer, "oi")).status)
	<-asked
	require.Equal(t, http.StatusOK, r.post(own("H", testCustomer, "deixa comigo", 10*time.Second)).status)
	<-gone
	require.Equal(t, "HUMAN_ACTIVE human phone", b.stands())
	require.Equal(t, http.StatusOK, r.post(upsert("B", testCustomer, "obrigada")).status)
	b.eventually("the phone is silent, the AI has it back", func() bool { return b.stands() == "AI_ACTIVE ai "+testFlow })
	require.Empty(t, b.evo.words(), "the AI said nothing")
	require.Equal(t, "human human", b.text("select string_agg(state, ' ' order by seq) from inbox where seq is not null"))
	require.Equal(t, "human_on_phone", b.text("select reason from inbox where wa_id = 'H'"))
	require.Equal(t, http.StatusOK, r.post(upsert("C", testCustomer, "e agora?")).status)
	b.settled()
	require.Equal(t, []string{"eco: e agora?"}, b.evo.words())
	require.Contains(t, r.get("/metrics").body, `router_own_messages_total{verdict="human_on_phone"} 1`)
}

func TestAGreetingOfThePhonesOwnSilencesNobody(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.c.Human.Greetings = []string{"Estamos fora do horário."}
	r := b.serveReady()
	require.Equal(t, http.StatusOK, r.post(upsert("A", testCustomer, "oi")).status)
	require.Equal(t, http.StatusOK, r.post(own("G1", testCustomer, "Bem-vindo à loja!", time.Second)).status)
	b.settled()
	require.Equal(t, http.StatusOK, r.post(own("G2", testCustomer, "estamos fora do horário.", time.Minute)).status)
	b.eventually("both known as greetings", func() bool { return b.count("select count(*) from inbox where reason = 'auto_greeting'") == 2 })
	require.Equal(t, http.StatusOK, r.post(upsert("B", testCustomer, "alguém?")).status)
	b.settled()
	require.Equal(t, []string{"eco: oi", "eco: alguém?"}, b.evo.words())
	require.Equal(t, "AI_ACTIVE ai "+testFlow, b.stands())
}

// looked waits, on a connection of its own, until a message of our own side is judged.
func (b *bench) looked(id string) {
	pg := b.db.Conn(b.t)
	deadline := time.Now().Add(patience)
	for reason := "from_me"; reason == "from_me"; {
		if err := pg.QueryRow(context.Background(), "select reason from inbox where wa_id = $1", id).Scan(&reason); err != nil || time.Now().After(deadline) {
			b.t.Errorf("message %s not judged: %v", id, err)
			return
		}
	}
}

// Evolution tells of what it sends before it answers who asked it to.
func TestAnEchoBeforeTheAnswerSilencesNobody(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.c.Human.GreetingWindow = 0
	var r *running
	b.evo.before = func(_ http.ResponseWriter, _ *http.Request, s sentText, _ int) bool {
		jid := s.Number + "@s.whatsapp.net"
		if body := own(s.ID, jid, s.Text, time.Minute); r.post(body).status != http.StatusOK {
			t.Error("echo refused")
		}
		// Rows are judged in order: when a later one is, this one was looked at.
		if r.post(own("later "+s.ID, "5511977776666@s.whatsapp.net", "bom dia", time.Minute)).status != http.StatusOK {
			t.Error("message refused")
		}
		b.looked("later " + s.ID)
		return false
	}
	r = b.serveReady()
	for i := range 3 {
		require.Equal(t, http.StatusOK, r.post(upsert(fmt.Sprint("A", i), testCustomer, fmt.Sprint(i))).status)
		b.settled()
	}
	require.Equal(t, []string{"eco: 0", "eco: 1", "eco: 2"}, b.evo.words())
	b.eventually("all echoes known", func() bool { return b.count("select count(*) from inbox where reason = 'own_echo'") == 3 })
	require.Equal(t, "AI_ACTIVE", b.text("select state from conversation where chat_jid = $1", testCustomer))
	require.Equal(t, 0, b.count("select count(*) from outbox where confirmed_at is null"))
}

// A contact WhatsApp shows under two ids becomes one conversation when a message names both.
func TestAContactOfTwoIDsIsOneConversation(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.serveReady()
	for id, jid := range map[string]string{"A": testCustomer, "B": "77@lid"} {
		require.Equal(t, http.StatusOK, r.post(upsert(id, jid, "oi")).status)
		b.settled()
	}
	require.Equal(t, 2, b.count("select count(*) from conversation"))
	both := event("messages.upsert", map[string]any{
		"key":     map[string]any{"remoteJid": testCustomer, "remoteJidAlt": "77@lid", "fromMe": false, "id": "C"},
		"message": map[string]any{"conversation": "sou eu"}, "messageType": "conversation", "messageTimestamp": time.Now().Unix(),
	})
	require.Equal(t, http.StatusOK, r.post(both).status)
	b.eventually("merged", func() bool { return b.count("select count(*) from conversation where merged_into is not null") == 1 })
	require.Equal(t, http.StatusOK, r.post(upsert("D", "77@lid", "de novo")).status)
	b.settled()
	require.Equal(t, "AI_ACTIVE AI_ACTIVE", b.text(`select string_agg(c.state, ' ') from alias a join conversation c on c.id = a.conversation_id
		where a.jid in ('77@lid', $1)`, testCustomer))
	require.Equal(t, 4, len(b.evo.words())+b.count("select count(*) from inbox where seq is not null")-
		b.count("select count(distinct (conversation_id, turn_no)) from inbox where turn_no is not null"), "each message in one turn, each turn answered once")

	gone, into := b.text("select id::text from conversation where merged_into is not null"), b.text("select merged_into::text from conversation where merged_into is not null")
	ana := r.as("human:ana")
	now, err := ana.Get(t.Context(), gone)
	require.NoError(t, err)
	require.Equal(t, []string{"CLOSED", into}, []string{now.State, now.MergedInto})
	_, err = ana.Do(t.Context(), client.Verb{Verb: conversation.VerbTake, ID: gone, IfEpoch: conversation.AnyEpoch, Key: uuid.NewString()})
	require.ErrorIs(t, err, conversation.ErrMerged)
	var refused *client.Error
	require.ErrorAs(t, err, &refused)
	require.Equal(t, api.Standing{Conversation: gone, State: "CLOSED", Owner: "none", Epoch: now.Epoch, MergedInto: into}, *refused.Body.Now)
}
