package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/api"
	"plantao/runtime/conversation"
)

// connection makes Evolution say how the channel stands.
func (b *bench) connection(state string) *atomic.Value {
	var now atomic.Value
	now.Store(state)
	b.evo.handle("GET /instance/connectionState/{instance}", func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"instance": map[string]any{"instanceName": r.PathValue("instance"), "state": now.Load()}})
	})
	return &now
}

func TestLostWebhooksAreRecovered(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.connection("open")
	at := time.Now().Unix()
	record := func(id string, at int64, text string) map[string]any {
		return map[string]any{
			"id": "db" + id, "key": map[string]any{"id": id, "remoteJid": testCustomer, "fromMe": false}, "pushName": "Maria",
			"message": map[string]any{"conversation": text}, "messageType": "conversation", "messageTimestamp": at, "source": "android", "MessageUpdate": []any{},
		}
	}
	b.evo.history = []any{record("B", at, "dois"), record("A", at-1, "um")} // newest first
	b.flow.answer = func(w http.ResponseWriter, _ *http.Request, q flowRequest, _ int) {
		for _, m := range q.Messages {
			reply(w, "eco: "+m.Text)
			return
		}
	}
	r := b.serveReady()
	b.eventually("both messages taken in", func() bool { return b.count("select count(*) from inbox where kind = 'message'") == 2 })
	b.settled()
	require.Equal(t, "A B", b.text("select string_agg(wa_id, ' ' order by seq) from inbox where kind = 'message'"))
	require.Equal(t, 2, b.count("select count(*) from inbox where kind = 'message' and (body ->> 'swept')::boolean and body -> 'data' ->> 'id' = 'db' || wa_id"))
	require.Contains(t, r.post(upsert("A", testCustomer, "um")).body, `"duplicate":true`, "the webhook that comes late")
	b.eventually("sweep recorded", func() bool {
		return b.count("select count(*) from channel where sweep_due > now() + interval '30 seconds'") == 1
	})
	require.Contains(t, b.logs.String(), "messages were recovered")
}

func TestAChannelThatIsNotConnectedKeepsItsParts(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	state := b.connection("close")
	r := b.serveReady()
	b.eventually("known to be closed", func() bool { return b.count("select count(*) from channel where connection = 'close'") == 1 })
	require.Contains(t, r.get("/metrics").body, `router_channel_connected{channel="principal"} 0`)
	require.Equal(t, http.StatusOK, r.post(upsert("A", testCustomer, "oi")).status)
	b.eventually("answer waits", func() bool { return b.count("select count(*) from turn where state = 'replied'") == 1 })

	state.Store("open")
	require.Equal(t, http.StatusOK, r.post(event("connection.update", map[string]any{"instance": testChannel, "state": "open", "statusReason": 200})).status)
	b.settled()
	require.Equal(t, []string{"eco: oi"}, b.evo.words())
	require.Equal(t, 1, b.evo.tries, "nothing was tried in vain")
	require.Equal(t, "open 200", b.text("select connection || ' ' || connection_reason from channel"))
	require.Contains(t, r.get("/metrics").body, `router_channel_connected{channel="principal"} 1`)
}

func TestTypingAndReadMarksAreShown(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.c.Gate.Typing.PerCharacter, b.c.Gate.Typing.Min = time.Millisecond, 20*time.Millisecond
	shown := make(chan string, 10)
	show := func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Number, Presence string
			ReadMessages     []struct{ ID, RemoteJID string }
		}
		_ = json.NewDecoder(r.Body).Decode(&q)
		shown <- fmt.Sprint(q.Number, q.Presence, q.ReadMessages)
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(`{}`))
	}
	b.evo.handle("POST /chat/sendPresence/{instance}", show)
	b.evo.handle("POST /chat/markMessageAsRead/{instance}", show)
	r := b.serveReady()
	require.Equal(t, http.StatusOK, r.post(upsert("A", testCustomer, "oi")).status)
	b.settled()
	require.ElementsMatch(t, []string{"5511988887777composing[]", "[{A " + testCustomer + "}]"}, []string{<-shown, <-shown})
}

func TestChannelsByTheAPI(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.connection("close")
	var loggedOut atomic.Bool
	b.evo.handle("GET /instance/connect/{instance}", func(w http.ResponseWriter, r *http.Request) {
		answer := map[string]any{"pairingCode": nil, "code": "2@THE-CODE", "base64": "data:image/png;base64,x", "count": 1}
		if r.URL.Query().Get("number") == "5511987654321" && loggedOut.Load() {
			answer["pairingCode"] = "ABCDEFGH"
		}
		_ = json.NewEncoder(w).Encode(answer)
	})
	b.evo.handle("DELETE /instance/logout/{instance}", func(w http.ResponseWriter, _ *http.Request) {
		loggedOut.Store(true)
		_, _ = w.Write([]byte(`{"status":"SUCCESS"}`))
	})
	r := b.serveReady()
	b.eventually("known to be closed", func() bool { return b.count("select count(*) from channel where connection = 'close'") == 1 })
	b.exec(`insert into channel (tenant, name, integration, hook_secret_sha256, flow)
		select 'another', 'theirs', integration, hook_secret_sha256, flow from channel`)

	operator, reader := r.as("operator:ana", conversation.ScopeOperate), r.as("operator:bia", conversation.ScopeRead)
	list, err := reader.Channels(t.Context())
	require.NoError(t, err)
	require.Len(t, list.Channels, 1, "another tenant's is not shown")
	require.Equal(t, "close", list.Channels[0].Connection)
	one, err := reader.Channel(t.Context(), testChannel)
	require.NoError(t, err)
	require.Equal(t, list.Channels[0], one)
	require.WithinDuration(t, time.Now(), *one.Since, time.Minute)
	_, err = reader.Channel(t.Context(), "theirs")
	require.ErrorIs(t, err, conversation.ErrUnknownChannel)

	_, err = reader.Connect(t.Context(), testChannel, api.ConnectRequest{})
	require.ErrorIs(t, err, conversation.ErrScope)
	p, err := operator.Connect(t.Context(), testChannel, api.ConnectRequest{})
	require.NoError(t, err)
	require.Equal(t, api.Pairing{Connection: "connecting", QR: "2@THE-CODE"}, p)
	require.False(t, loggedOut.Load())
	p, err = operator.Connect(t.Context(), testChannel, api.ConnectRequest{Number: "5511987654321"})
	require.NoError(t, err)
	require.Equal(t, api.Pairing{Connection: "connecting", QR: "2@THE-CODE", Code: "ABCDEFGH"}, p, "Evolution is made to begin anew, or it shows no code")
	_, err = operator.Connect(t.Context(), "theirs", api.ConnectRequest{})
	require.ErrorIs(t, err, conversation.ErrUnknownChannel)
	_, err = operator.Connect(t.Context(), testChannel, api.ConnectRequest{Number: "12"})
	require.ErrorIs(t, err, conversation.ErrInvalid)
	require.NotContains(t, b.logs.String(), "THE-CODE")
	require.NotContains(t, b.logs.String(), "ABCDEFGH")
	require.NotContains(t, b.logs.String(), "5511987654321")
}
