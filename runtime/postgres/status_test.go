package postgres_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

var deliveryStatuses = []string{"ERROR", "PENDING", "SERVER_ACK", "DELIVERY_ACK", "READ", "PLAYED"}

// told is a messages.update: by the message's id, whatever chat it names.
func told(id, status, jid string) conversation.Event {
	return conversation.Event{Tenant: "default", Channel: "p", Kind: conversation.KindStatus, WAID: id + "/" + status, Ref: id, Text: status,
		ChatJID: jid, Body: []byte(`{}`), State: conversation.Ignored, Reason: "delivery_status"}
}

// said is a turn of a human's or an AI's with one part on the wire.
func (w *world) said(kind conversation.TurnKind) conversation.PartRef {
	w.t.Helper()
	if kind == conversation.TurnOfAI {
		t := w.replied("um")
		require.True(w.t, w.pass(t.TurnRef, 1))
		return conversation.PartRef{TurnRef: t.TurnRef, Part: 1}
	}
	id := w.receive(message(uuid.NewString(), "1@lid")).Conversation
	_, _, err := w.store.Say(w.t.Context(), conversation.Said{Tenant: "default", Conversation: id, Kind: kind, By: "ana",
		Parts: []conversation.Part{{Text: "um"}}, Within: time.Hour})
	require.NoError(w.t, err)
	t, err := w.store.ReclaimTurn(w.t.Context(), w.terms(w.me))
	require.NoError(w.t, err)
	require.True(w.t, w.pass(t.TurnRef, 1))
	return conversation.PartRef{TurnRef: t.TurnRef, Part: 1}
}

func (w *world) sentAs(p conversation.PartRef, id string) {
	w.t.Helper()
	ok, err := w.store.Sent(w.t.Context(), p, conversation.Delivery{MessageID: id})
	require.NoError(w.t, err)
	require.True(w.t, ok)
}

// Statuses come in any order, again, together, and before Evolution has answered whoever sent the message. The furthest counts.
func TestTheFurthestStatusCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, kind := range []conversation.TurnKind{conversation.TurnOfAI, conversation.SaidByHuman} {
		for round := range 25 {
			id := uuid.NewString()
			part := w.said(kind)
			var events []conversation.Event
			furthest := 0
			for range 1 + rand.IntN(8) {
				at := rand.IntN(len(deliveryStatuses))
				furthest = max(furthest, at)
				events = append(events, told(id, deliveryStatuses[at], []string{"1@lid", "5511988887777@s.whatsapp.net", "5511988887777", "2@lid"}[rand.IntN(4)]))
			}
			answered := rand.IntN(len(events) + 1) // how many come before Evolution's answer
			for len(events) > 0 {
				if answered <= 0 && part.No != 0 {
					w.sentAs(part, id)
					part.No = 0
				}
				n := 1 + rand.IntN(len(events))
				_, err := w.store.Receive(t.Context(), events[:n], conversation.Window{})
				require.NoError(t, err)
				events, answered = events[n:], answered-n
			}
			if part.No != 0 {
				w.sentAs(part, id)
			}
			require.Equal(t, deliveryStatuses[furthest], w.text("select status from outbox where wa_msg_id = $1", id), "round %d of %s", round, kind)
		}
	}
	require.Equal(t, "0", w.text("select count(*)::text from inbox where kind = 'status' and state <> 'ignored'"))
}

// A status is of the message with its id on its channel, and of no other.
func TestAStatusIsOfOneMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sentAs(w.said(conversation.TurnOfAI), "OUT1")
	w.sentAs(w.said(conversation.SaidByHuman), "OUT2")
	for _, e := range []conversation.Event{told("OUT1", "READ", "1@lid"), told("OUT", "PLAYED", "1@lid"), told("OUT2", "NONSENSE", "1@lid")} {
		w.receive(e)
	}
	other := told("OUT2", "READ", "1@lid")
	other.Channel = "q"
	w.receive(other)
	require.Equal(t, "OUT1 READ, OUT2 ", w.text("select string_agg(wa_msg_id || ' ' || status, ', ' order by wa_msg_id) from outbox"))
	require.Equal(t, conversation.Receipt{Duplicate: true}, w.receive(told("OUT1", "READ", "1@lid")))
}

// What Chatwoot was shown is shown again when a message has come further, and not otherwise.
func TestAStatusIsShownWhenItIsNews(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sentAs(w.said(conversation.TurnOfAI), "OUT1")
	w.receive(told("OUT1", "DELIVERY_ACK", "1@lid"))
	w.exec("update outbox set mirror = 'done'")
	w.receive(told("OUT1", "SERVER_ACK", "1@lid"))
	require.Equal(t, "done DELIVERY_ACK", w.text("select mirror || ' ' || status from outbox"))
	w.receive(told("OUT1", "READ", "1@lid"))
	require.Equal(t, "wanted READ", w.text("select mirror || ' ' || status from outbox"))
}
