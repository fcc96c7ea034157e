package main

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMessageGoesAllTheWayThrough(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.serveReady()

	require.Equal(t, http.StatusOK, r.post(upsert("IN1", testCustomer, "bom dia")).status)
	b.eventually("answer sent", func() bool { return len(b.evo.texts()) == 1 })
	b.settled()

	require.Equal(t, []string{"eco: bom dia"}, b.evo.words())
	require.Equal(t, "5511988887777", b.evo.texts()[0].Number)
	q := b.flow.requests()[0]
	require.Equal(t, q.Turn.Conversation+"/1", q.Key)
	require.Equal(t, testChannel, q.Channel)
	require.Equal(t, testCustomer, q.Contact.ID)
	require.Equal(t, "Maria", q.Contact.Name)
	require.Equal(t, "IN1", q.Messages[0].ID)
	require.Equal(t, "text", q.Messages[0].Type)
	require.EqualValues(t, 1, q.Turn.Epoch)
	require.NotEmpty(t, q.Turn.Token)
	require.Equal(t, "AI_ACTIVE ai atendimento 1 2",
		b.text("select concat_ws(' ', state, owner_kind, owner_id, epoch, version) from conversation"))
	require.Equal(t, "done", b.text("select state from turn"))
	require.Equal(t, "sent OUT1", b.text("select concat_ws(' ', state, wa_msg_id) from outbox"))
	require.Equal(t, "done", b.text("select state from inbox"))
	require.Equal(t, "inbound IDLE ROUTING 0 0, claim ROUTING AI_ACTIVE 0 1", b.text(
		`select string_agg(concat_ws(' ', verb, state_from, state_to, epoch_from, epoch_to), ', ' order by seq) from audit`))
	require.NoError(t, r.stop())
}
