package main

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSendTextIsRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.channel("principal", "EVOLUTION", "5511900000000")
	for _, tt := range []struct {
		name, body string
		message    any
	}{
		{"nothing", `{}`, message(message(`instance requires property "number"`, `instance requires property "text"`))},
		{"number as a number", `{"number":5511987654321,"text":"oi"}`, message(message("Invalid format"))},
		{"text as a number", `{"number":"5511987654321","text":1}`, message(message("text is not of a type(s) string"))},
		{"text missing", `{"number":"5511987654321"}`, message(message(`instance requires property "text"`))},
		{"old form", `{"number":"5511987654321","textMessage":{"text":"oi"}}`, message(message(`instance requires property "text"`))},
		{"empty text", `{"number":"5511987654321","text":""}`, message("Text is required")},
		{"blank text", `{"number":"5511987654321","text":" \n"}`, message("Text is required")},
		{"delay as text", `{"number":"5511987654321","text":"oi","delay":"1000"}`, message(message("Enter a value in milliseconds"))},
		{"delay with a fraction", `{"number":"5511987654321","text":"oi","delay":1.5}`, message(message("Enter a value in milliseconds"))},
		{"linkPreview as text", `{"number":"5511987654321","text":"oi","linkPreview":"no"}`, message(message("linkPreview is not of a type(s) boolean"))},
		{"nobody mentioned", `{"number":"5511987654321","text":"oi","mentioned":[]}`, message(message("mentioned does not meet minimum length of 1"))},
		{"mention of a name", `{"number":"5511987654321","text":"oi","mentioned":["ana"]}`, message(message(`"mentioned" must be an array of numeric strings`))},
		{"quote without id", `{"number":"5511987654321","text":"oi","quoted":{"key":{}}}`, message(message(`quoted.key requires property "id"`))},
		{"quote without key", `{"number":"5511987654321","text":"oi","quoted":{"message":{}}}`, message("Message not found")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, got := l.do("POST", "/message/sendText/principal", tt.body)
			refused(t, 400, tt.message, status, got)
		})
	}
	assert.Empty(t, l.lab("GET", "/sent", "")["messages"], "nothing left")
}

func TestSendTextOnEvolution(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	token := l.channel("principal", "EVOLUTION", "5511900000000")
	status, v := l.doAs(token, "POST", "/message/sendText/principal",
		`{"number":"5531987654321","text":"olá <b> & ção","delay":1200,"quoted":{"key":{"id":"ABC","n":12345678901234567890}}}`)
	require.Equal(t, http.StatusCreated, status)
	sent := v.(map[string]any)
	key := sent["key"].(map[string]any)
	_, err := uuid.Parse(key["id"].(string))
	require.NoError(t, err)
	assert.Equal(t, map[string]any{"fromMe": true, "id": key["id"], "remoteJid": "5531987654321"}, key, "the number as sent")
	assert.Equal(t, "conversation", sent["messageType"])
	assert.Equal(t, "olá <b> & ção", sent["message"].(map[string]any)["conversation"])
	assert.Equal(t, "ABC", sent["message"].(map[string]any)["quoted"].(map[string]any)["id"])
	assert.NotContains(t, sent, "status")
	assert.Equal(t, []time.Duration{1200 * time.Millisecond}, l.waited(), "the call lasts as long as its delay")

	event := l.hook.next("send.message")
	assert.Equal(t, sent, event.body["data"], "the answer and the event are the same")
	assert.Equal(t, "hook", event.header.Get("X-Plantao-Secret"))
	assert.Nil(t, event.body["apikey"])

	found := l.must(200, "POST", "/chat/findMessages/principal", `{"where":{"key":{"id":"`+key["id"].(string)+`"}}}`)["messages"].(map[string]any)
	assert.InDelta(t, 1, found["total"], 0)
	record := found["records"].([]any)[0].(map[string]any)
	assert.Equal(t, sent["message"], record["message"])
	assert.Equal(t, []any{}, record["MessageUpdate"], "no status follows on this channel")
}

func TestFindMessages(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.channel("principal", "EVOLUTION", "5511900000000")
	for _, number := range []string{"551", "552", "551"} {
		l.must(201, "POST", "/message/sendText/principal", `{"number":"`+number+`","text":"oi"}`)
	}
	page := func(body string) map[string]any {
		return l.must(200, "POST", "/chat/findMessages/principal", body)["messages"].(map[string]any)
	}
	assert.InDelta(t, 3, page(`{}`)["total"], 0)
	assert.InDelta(t, 2, page(`{"where":{"key":{"remoteJid":"551"}}}`)["total"], 0)
	assert.InDelta(t, 3, page(`{"where":{"key":{"fromMe":true}}}`)["total"], 0)
	assert.InDelta(t, 0, page(`{"where":{"messageTimestamp":{"gte":"2020-01-01T00:00:00Z","lte":"2020-01-02T00:00:00Z"}}}`)["total"], 0)
	second := page(`{"page":2,"offset":2}`)
	assert.InDelta(t, 2, second["pages"], 0)
	assert.Len(t, second["records"], 1)

	status, got := l.do("POST", "/chat/findMessages/principal", `{"where":{"key":{"id":7}}}`)
	refused(t, 400, message(message("where.key.id is not of a type(s) string")), status, got)
	status, got = l.do("POST", "/chat/findMessages/principal", `{"where":{"messageTimestamp":{"gte":"ontem","lte":"hoje"}}}`)
	refused(t, 500, "Invalid Date", status, got)
}

func TestEvolutionChannelLacksMethods(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.channel("principal", "EVOLUTION", "5511900000000")
	for _, tt := range []struct{ path, body string }{
		{"/instance/setPresence/", `{"presence":"available"}`},
		{"/chat/sendPresence/", `{"number":"5511987654321","presence":"composing","delay":1000}`},
		{"/chat/markMessageAsRead/", `{"readMessages":[{"id":"A","fromMe":false,"remoteJid":"5511987654321@s.whatsapp.net"}]}`},
		{"/message/sendReaction/", `{}`},
		{"/chat/getBase64FromMediaMessage/", `{}`},
	} {
		status, got := l.do("POST", tt.path+"principal", tt.body)
		refused(t, 400, message("Method not available on Evolution Channel"), status, got)
	}
	status, got := l.do("POST", "/chat/whatsappNumbers/principal", `{"numbers":["5511987654321"]}`)
	assert.Equal(t, http.StatusBadRequest, status)
	assert.Equal(t, map[string]any{"status": 400.0, "error": "Bad Request", "message": message("Method not available on Evolution Channel")}, got, "this route's errors have no response")
}

func TestChatValidation(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.channel("principal", "EVOLUTION", "5511900000000")
	for _, tt := range []struct {
		path, body string
		message    any
	}{
		{"/chat/sendPresence/", `{"number":"55"}`, message(message(`instance requires property "presence"`, `instance requires property "delay"`))},
		{"/chat/sendPresence/", `{"number":"55","presence":"typing","delay":1}`, message(message("presence is not one of enum values: unavailable,available,composing,recording,paused"))},
		{"/chat/markMessageAsRead/", `{}`, message(message(`instance requires property "readMessages"`))},
		{"/chat/markMessageAsRead/", `{"readMessages":[]}`, message(message("readMessages does not meet minimum length of 1"))},
		{"/chat/markMessageAsRead/", `{"readMessages":[{"id":"A"}]}`, message(message(`readMessages[0] requires property "fromMe"`, `readMessages[0] requires property "remoteJid"`))},
		{"/instance/setPresence/", `{}`, message(message(`instance requires property "presence"`))},
		{"/message/sendMedia/", `{"number":"55"}`, message(message(`instance requires property "mediatype"`))},
		{"/message/sendMedia/", `{"number":"55","mediatype":"sticker"}`, message(message("mediatype is not one of enum values: image,document,video,audio"))},
		{"/message/sendWhatsAppAudio/", `{}`, message(message(`instance requires property "number"`))},
		{"/message/sendButtons/", `{"number":"55","buttons":[{}]}`, message(message(`buttons[0] requires property "type"`))},
	} {
		status, got := l.do("POST", tt.path+"principal", tt.body)
		refused(t, 400, tt.message, status, got)
	}
}

func TestSendMedia(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.channel("principal", "EVOLUTION", "5511900000000")
	for _, tt := range []struct {
		name, body string
		status     int
		message    any
	}{
		{"a host without a top-level domain is no URL", `{"number":"55","mediatype":"image","media":"http://minio:9000/x"}`, 400, message("Owned media must be a url or base64")},
		{"no media", `{"number":"55","mediatype":"image"}`, 400, message("Owned media must be a url or base64")},
		{"base64 document without a name", `{"number":"55","mediatype":"document","media":"aGVsbG8="}`, 400, message("For base64 the file name must be informed.")},
		{"document URL without a file", `{"number":"55","mediatype":"document","media":"example.com/file"}`, 500, message("TypeError: Cannot read properties of null (reading '1')")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, got := l.do("POST", "/message/sendMedia/principal", tt.body)
			refused(t, tt.status, tt.message, status, got)
		})
	}
	byURL := l.must(201, "POST", "/message/sendMedia/principal", `{"number":"55","mediatype":"image","media":"https://example.com/a.png"}`)
	assert.Equal(t, "imageMessage", byURL["messageType"])
	assert.Equal(t, map[string]any{"mediaUrl": "https://example.com/a.png"}, byURL["message"])
	byText := l.must(201, "POST", "/message/sendMedia/principal", `{"number":"55","mediatype":"document","fileName":"a.pdf","media":"aGVsbG8="}`)
	assert.Equal(t, map[string]any{"mediaUrl": nil}, byText["message"], "base64 is not kept")
	l.hook.next("send.message", "send.message")
}

func TestSendAudioTakesOnlyFiles(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.channel("principal", "EVOLUTION", "5511900000000")
	status, got := l.do("POST", "/message/sendWhatsAppAudio/principal", `{"number":"55","audio":"aGVsbG8="}`)
	refused(t, 500, "File or buffer is undefined.", status, got)
	status, got = l.do("POST", "/message/sendWhatsAppAudio/principal", `{"number":"55","audio":"?"}`)
	refused(t, 400, message("Owned media must be a url, base64, or valid file with buffer"), status, got)

	upload := func(field, delay string) (int, any) {
		var b bytes.Buffer
		form := multipart.NewWriter(&b)
		require.NoError(t, form.WriteField("number", "55"))
		if delay != "" {
			require.NoError(t, form.WriteField("delay", delay))
		}
		part, err := form.CreateFormFile(field, "a.ogg")
		require.NoError(t, err)
		_, err = part.Write([]byte("OggS"))
		require.NoError(t, err)
		require.NoError(t, form.Close())
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, l.api+"/message/sendWhatsAppAudio/principal", &b)
		require.NoError(t, err)
		req.Header.Set("apikey", globalKey)
		req.Header.Set("Content-Type", form.FormDataContentType())
		return exchange(t, req)
	}
	status, got = upload("file", "")
	assert.Equal(t, http.StatusCreated, status)
	assert.Equal(t, "audioMessage", got.(map[string]any)["messageType"])
	l.hook.next("send.message")
	status, got = upload("audio", "")
	refused(t, 500, "Unexpected field", status, got)
	status, got = upload("file", "100")
	refused(t, 400, message(message("Enter a value in milliseconds")), status, got)
}

func TestSendButtons(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.channel("principal", "EVOLUTION", "5511900000000")
	sent := l.must(201, "POST", "/message/sendButtons/principal", `{"number":"55","title":"Escolha","buttons":[{"type":"reply","displayText":"Sim","id":"1"}]}`)
	assert.Equal(t, "buttonMessage", sent["messageType"])
	assert.Equal(t, "Escolha", sent["message"].(map[string]any)["title"])
	l.hook.next("send.message")
}

func TestSendTextOnWhatsApp(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.channel("zap", "WHATSAPP-BAILEYS", "5511900000000")
	const path = "/message/sendText/zap"
	body := `{"number":"+55 (31) 98765-4321","text":"oi","delay":300}`

	status, got := l.do("POST", path, body)
	refused(t, 400, message("Error: Connection Closed"), status, got)

	l.lab("POST", "/pair", `{"instance":"zap","number":"5511900000000"}`)
	opened := l.hook.next("connection.update")
	assert.Equal(t, "open", opened.data()["state"])
	assert.InDelta(t, 200, opened.data()["statusReason"], 0)
	assert.Equal(t, "5511900000000@s.whatsapp.net", opened.body["sender"])

	sent := l.must(201, "POST", path, body)
	key := sent["key"].(map[string]any)
	assert.Equal(t, "553187654321@s.whatsapp.net", key["remoteJid"], "the ninth digit is gone: the answered jid differs from the number")
	assert.Regexp(t, `^3EB0[0-9A-F]{18}$`, key["id"])
	assert.Equal(t, "PENDING", sent["status"])
	assert.Equal(t, []time.Duration{300 * time.Millisecond}, l.waited())

	update := l.hook.next("messages.update", "messages.update", "send.message")
	assert.Equal(t, key["id"], update.data()["keyId"])
	found := l.must(200, "POST", "/chat/findMessages/zap", `{"where":{"key":{"id":"`+key["id"].(string)+`"}}}`)["messages"].(map[string]any)
	assert.ElementsMatch(t, []any{map[string]any{"status": "SERVER_ACK"}, map[string]any{"status": "DELIVERY_ACK"}},
		found["records"].([]any)[0].(map[string]any)["MessageUpdate"])

	l.lab("POST", "/absent", `{"numbers":["5511911112222"]}`)
	status, got = l.do("POST", path, `{"number":"5511911112222","text":"oi"}`)
	refused(t, 400, message(map[string]any{"jid": "5511911112222@s.whatsapp.net", "exists": false, "number": "5511911112222"}), status, got)
	status, got = l.do("POST", path, `{"number":"12","text":"oi"}`)
	refused(t, 400, message(map[string]any{"jid": "12@s.whatsapp.net", "exists": false, "number": "12"}), status, got)

	lid := l.must(201, "POST", path, `{"number":"987654@lid","text":"oi"}`)
	assert.Equal(t, "987654@lid", lid["key"].(map[string]any)["remoteJid"], "taken without a check")
}

func TestChatOnWhatsApp(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.channel("zap", "WHATSAPP-BAILEYS", "5511900000000")
	presence := `{"number":"5511987654321","presence":"composing","delay":2500}`
	status, got := l.do("POST", "/chat/sendPresence/zap", presence)
	refused(t, 400, message("Error: Connection Closed"), status, got)

	l.lab("POST", "/pair", `{"instance":"zap","number":"5511900000000"}`)
	l.lab("POST", "/absent", `{"numbers":["5511911112222"]}`)
	assert.Equal(t, map[string]any{"presence": "composing"}, l.must(201, "POST", "/chat/sendPresence/zap", presence))
	assert.Equal(t, []time.Duration{2500 * time.Millisecond}, l.waited(), "the call blocks")
	assert.Equal(t, map[string]any{"presence": "available"}, l.must(201, "POST", "/instance/setPresence/zap", `{"presence":"available"}`))
	assert.Equal(t, "success", l.must(201, "POST", "/chat/markMessageAsRead/zap", `{"readMessages":[{"id":"A","fromMe":false,"remoteJid":"1@lid"}]}`)["read"])

	status, got = l.do("POST", "/chat/whatsappNumbers/zap", `{"numbers":["5581991234567","5511911112222"]}`)
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, []any{
		map[string]any{"jid": "558191234567@s.whatsapp.net", "exists": true, "number": "5581991234567"},
		map[string]any{"jid": "5511911112222@s.whatsapp.net", "exists": false, "number": "5511911112222"},
	}, got)
	status, _ = l.do("POST", "/chat/whatsappNumbers/zap", `{"numbers":[1]}`)
	assert.Equal(t, http.StatusBadRequest, status)
	status, _ = l.do("POST", "/message/sendReaction/zap", `{}`)
	assert.Equal(t, http.StatusNotImplemented, status)
}
