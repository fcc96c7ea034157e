package main

import (
	"encoding/base64"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const receive = `{"instance":"zap","remoteJid":"5511987654321@s.whatsapp.net","pushName":"Ana",`

func TestMessagesReachWhatsApp(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.channel("zap", "WHATSAPP-BAILEYS", "5511900000000")

	id := l.lab("POST", "/receive", receive+`"text":"offline","at":1700000000}`)["id"]
	l.lab("POST", "/pair", `{"instance":"zap","number":"5511900000000"}`)
	got := l.hook.next("messages.upsert", "connection.update")
	assert.Equal(t, id, got.data()["key"].(map[string]any)["id"])
	assert.InDelta(t, 1700000000, got.data()["messageTimestamp"], 0, "what WhatsApp kept comes with the time it was written")

	content := base64.StdEncoding.EncodeToString([]byte("a picture"))
	id = l.lab("POST", "/receive", receive+`"mediaType":"image","mimetype":"image/png","caption":"veja","base64":"`+content+`"}`)["id"]
	got = l.hook.next("messages.upsert")
	image := got.data()["message"].(map[string]any)["imageMessage"].(map[string]any)
	assert.Equal(t, "9", image["fileLength"])
	assert.Contains(t, image["url"], ".enc", "what the url leads to is encrypted")
	assert.NotContains(t, got.data()["message"], "base64", "the webhook is not asked for it")
	fetched := l.must(http.StatusCreated, "POST", "/chat/getBase64FromMediaMessage/zap", `{"message":{"key":{"id":"`+id.(string)+`"}}}`)
	assert.Equal(t, content, fetched["base64"])
	assert.Equal(t, "image/png", fetched["mimetype"])

	status, refusal := l.do("POST", "/chat/getBase64FromMediaMessage/zap", `{"message":{"key":{"id":"nobody's"}}}`)
	refused(t, 400, message("Message not found"), status, refusal)
	text := l.lab("POST", "/receive", receive+`"text":"oi"}`)["id"].(string)
	l.hook.next("messages.upsert")
	status, refusal = l.do("POST", "/chat/getBase64FromMediaMessage/zap", `{"message":{"key":{"id":"`+text+`"}}}`)
	refused(t, 400, message("The message is not of the media type"), status, refusal)

	l.lab("POST", "/receive", `{"instance":"zap","remoteJid":"1@lid","remoteJidAlt":"5511987654321@s.whatsapp.net","text":"oi"}`)
	got = l.hook.next("messages.upsert")
	assert.Equal(t, "5511987654321@s.whatsapp.net", got.data()["key"].(map[string]any)["remoteJid"])
}

func TestWebhookWithContent(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.channel("zap", "WHATSAPP-BAILEYS", "5511900000000")
	l.must(http.StatusCreated, "POST", "/webhook/set/zap", `{"webhook":{"enabled":true,"url":"`+l.hook.url+`","base64":true,"events":[]}}`)
	l.lab("POST", "/pair", `{"instance":"zap","number":"5511900000000"}`)
	l.lab("POST", "/receive", receive+`"mediaType":"audio","mimetype":"audio/ogg","base64":"T2dnUw=="}`)
	got := l.hook.next("messages.upsert", "connection.update")
	assert.Equal(t, "T2dnUw==", got.data()["message"].(map[string]any)["base64"])
	found := l.must(http.StatusOK, "POST", "/chat/findMessages/zap", `{}`)["messages"].(map[string]any)["records"].([]any)
	assert.NotContains(t, found[0].(map[string]any)["message"], "base64", "the database does not keep it")
}

func TestConnectionsEnd(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.channel("zap", "WHATSAPP-BAILEYS", "5511900000000")
	l.lab("POST", "/pair", `{"instance":"zap","number":"5511900000000"}`)
	l.hook.next("connection.update")
	state := func() any {
		return l.must(http.StatusOK, "GET", "/instance/connectionState/zap", "")["instance"].(map[string]any)["state"]
	}
	l.lab("POST", "/disconnect", `{"instance":"zap","silent":true}`)
	assert.Equal(t, "connecting", state())
	status, got := l.do("POST", "/message/sendText/zap", text("5511987654321", "oi"))
	refused(t, 400, message("Error: Connection Closed"), status, got)
	l.lab("POST", "/pair", `{"instance":"zap","number":"5511900000000"}`)
	l.hook.next("connection.update") // of the drop itself nobody was told

	l.lab("POST", "/disconnect", `{"instance":"zap"}`)
	assert.Equal(t, "close", state())
	l.hook.next("connection.update", "status.instance", "logout.instance")
}

func TestReadMarksOfLIDsAreDropped(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.channel("zap", "WHATSAPP-BAILEYS", "5511900000000")
	l.lab("POST", "/pair", `{"instance":"zap","number":"5511900000000"}`)
	got := l.must(http.StatusCreated, "POST", "/chat/markMessageAsRead/zap", `{"readMessages":[{"id":"A","fromMe":false,"remoteJid":"1@lid"},
		{"id":"B","fromMe":false,"remoteJid":"5511987654321@s.whatsapp.net"}]}`)
	require.Equal(t, "success", got["read"])
	assert.Equal(t, []any{map[string]any{"instance": "zap", "id": "B", "remoteJid": "5511987654321@s.whatsapp.net"}}, l.lab("GET", "/shown", "")["marks"])
}
