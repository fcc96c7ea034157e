package main

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// say makes the inlet's body for a customer's text.
func say(key, text string) string {
	return fmt.Sprintf(`{"numberId":"5511900000000","key":%s,"pushName":"Ana","profilePicUrl":"https://example.com/a.png","message":{"conversation":%q},"messageType":"conversation"}`, key, text)
}

const ana = `{"id":"3A0001","remoteJid":"5511987654321@s.whatsapp.net","fromMe":false}`

func TestChainFromInletToAnswer(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.channel("principal", "EVOLUTION", "5511900000000")

	status, got := l.doAs("", "POST", "/webhook/evolution", say(ana, "bom dia"))
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, map[string]any{"status": "success"}, got)
	in := l.hook.next("messages.upsert", "contacts.upsert", "chats.upsert")
	assert.Equal(t, "/hooks/evolution/principal", in.path)
	assert.Equal(t, "hook", in.header.Get("X-Plantao-Secret"))
	assert.Equal(t, "principal", in.body["instance"])
	assert.Equal(t, l.hook.url, in.body["destination"])
	assert.Equal(t, "http://evolution:8080", in.body["server_url"])
	data := in.data()
	assert.Equal(t, map[string]any{
		"id": "3A0001", "remoteJid": "5511987654321@s.whatsapp.net", "fromMe": false, "profilePicUrl": "https://example.com/a.png",
	}, data["key"])
	assert.Equal(t, "Ana", data["pushName"])
	assert.Equal(t, map[string]any{"conversation": "bom dia"}, data["message"])
	assert.Equal(t, "conversation", data["messageType"])
	assert.Equal(t, "unknown", data["source"])
	assert.Greater(t, data["messageTimestamp"], 1.7e9)
	assert.NotContains(t, data, "status")

	remote := data["key"].(map[string]any)["remoteJid"].(string)
	answer := l.must(201, "POST", "/message/sendText/principal", `{"number":"`+remote+`","text":"olá, Ana"}`)
	out := l.hook.next("send.message")
	assert.Equal(t, answer["key"], out.data()["key"])
	assert.Equal(t, remote, out.data()["key"].(map[string]any)["remoteJid"])

	messages := l.lab("GET", "/sent?number=5511987654321", "")["messages"].([]any)
	require.Len(t, messages, 1)
	assert.Equal(t, "olá, Ana", messages[0].(map[string]any)["text"])
	chat := l.must(200, "POST", "/chat/findMessages/principal", `{"where":{"key":{"remoteJid":"`+remote+`"}}}`)
	assert.InDelta(t, 2, chat["messages"].(map[string]any)["total"], 0)
}

func TestInletDropsWhatItCannotPlace(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.channel("principal", "EVOLUTION", "5511900000000")
	for _, tt := range []struct {
		name, body string
		want       any
	}{
		{"no numberId", `{"key":` + ana + `,"message":{"conversation":"oi"}}`, nil},
		{"number of nobody", `{"numberId":"1","key":` + ana + `,"message":{"conversation":"oi"}}`, nil},
		{"no message", `{"numberId":"5511900000000","key":` + ana + `}`, map[string]any{"status": "success"}},
		{"no key", `{"numberId":"5511900000000","message":{"conversation":"oi"}}`, map[string]any{"status": "success"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, got := l.doAs("", "POST", "/webhook/evolution", tt.body)
			assert.Equal(t, http.StatusOK, status)
			assert.Equal(t, tt.want, got)
		})
	}
	status, got := l.doAs("", "POST", "/webhook/evolution", `{"numberId":5511900000000}`)
	refused(t, 500, "Invalid value provided. Expected String for numberId", status, got)
	assert.InDelta(t, 0, l.must(200, "POST", "/chat/findMessages/principal", `{}`)["messages"].(map[string]any)["total"], 0)

	l.must(200, "POST", "/webhook/evolution", `{"numberId":"5511900000000","key":{"remoteJid":"55@s.whatsapp.net"},"message":{"conversation":"oi"}}`)
	told := l.hook.next("messages.upsert")
	_, err := uuid.Parse(told.data()["key"].(map[string]any)["id"].(string))
	require.NoError(t, err, "a missing id is made up")
	assert.InDelta(t, 0, l.must(200, "POST", "/chat/findMessages/principal", `{}`)["messages"].(map[string]any)["total"], 0,
		"without a messageType it is told and not kept")
}

func TestDuplicatesAreToldTwice(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.channel("principal", "EVOLUTION", "5511900000000")
	l.must(200, "POST", "/webhook/evolution", say(ana, "oi"))
	l.hook.next("messages.upsert", "contacts.upsert", "chats.upsert")
	l.must(200, "POST", "/webhook/evolution", say(ana, "oi"))
	l.hook.next("messages.upsert", "contacts.upsert", "chats.update", "chats.upsert")
	found := l.must(200, "POST", "/chat/findMessages/principal", `{"where":{"key":{"id":"3A0001"}}}`)["messages"].(map[string]any)
	assert.InDelta(t, 2, found["total"], 0, "no unique key on the WhatsApp id")
}

func TestLIDIsRewrittenInTheWebhookOnly(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.channel("principal", "EVOLUTION", "5511900000000")
	both := `{"id":"L1","remoteJid":"777@lid","remoteJidAlt":"5511987654321@s.whatsapp.net","fromMe":false,"addressingMode":"lid"}`
	l.must(200, "POST", "/webhook/evolution", say(both, "oi"))
	key := l.hook.next("messages.upsert", "contacts.upsert", "chats.upsert").data()["key"].(map[string]any)
	assert.Equal(t, "5511987654321@s.whatsapp.net", key["remoteJid"])
	assert.Equal(t, "lid", key["addressingMode"])
	found := l.must(200, "POST", "/chat/findMessages/principal", `{"where":{"key":{"remoteJid":"777@lid"}}}`)["messages"].(map[string]any)
	assert.InDelta(t, 1, found["total"], 0, "the database keeps the @lid")

	l.must(200, "POST", "/webhook/evolution", say(`{"id":"L2","remoteJid":"778@lid","fromMe":false}`, "oi"))
	key = l.hook.next("messages.upsert", "contacts.upsert", "chats.upsert").data()["key"].(map[string]any)
	assert.Equal(t, "778@lid", key["remoteJid"], "no phone number known")
}

func TestDebugTriggers(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.channel("principal", "EVOLUTION", "5511900000000")
	l.must(200, "POST", "/webhook/evolution", say(ana, "requestPlaceholder"))
	l.hook.next("messages.upsert", "messages.upsert", "contacts.upsert", "chats.upsert")

	l.must(200, "POST", "/webhook/evolution", say(`{"id":"3A0002","remoteJid":"5511987654321@s.whatsapp.net","fromMe":false}`, "onDemandHistSync"))
	set := l.hook.next("messages.set", "messages.upsert", "contacts.upsert", "chats.update", "chats.upsert")
	assert.Len(t, set.body["data"], 2)
	assert.Equal(t, false, set.body["isLatest"])
	assert.InDelta(t, 100, set.body["progress"], 0)
}
