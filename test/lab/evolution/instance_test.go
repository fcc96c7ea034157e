package main

import (
	"bytes"
	"encoding/base64"
	"image/png"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCreateIsRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	for _, tt := range []struct {
		name, body string
		message    any
	}{
		{"no name", `{"integration":"EVOLUTION"}`, message(message(`instance requires property "instanceName"`))},
		{"empty name", `{"instanceName":"","integration":"EVOLUTION"}`, message(message(`The "instanceName" cannot be empty`))},
		{"no integration", `{"instanceName":"a"}`, message("Invalid integration")},
		{"unknown integration", `{"instanceName":"a","integration":"TELEGRAM"}`, message("Invalid integration")},
		{"business without token", `{"instanceName":"a","integration":"WHATSAPP-BUSINESS"}`, message("token is required")},
		{"number with letters", `{"instanceName":"a","integration":"EVOLUTION","number":"x"}`, message(message(`number does not match pattern "^\\d+[\\.@\\w-]+"`))},
		{"number as a number", `{"instanceName":"a","integration":"EVOLUTION","number":5511}`, message(message("number is not of a type(s) string"))},
		{"flag as text", `{"instanceName":"a","integration":"EVOLUTION","rejectCall":"no"}`, message(message("rejectCall is not of a type(s) boolean"))},
		{"webhook without events", `{"instanceName":"a","integration":"EVOLUTION","webhook":{"url":"http://x"}}`, message("Cannot read properties of undefined (reading 'length')")},
		{"webhook without url", `{"instanceName":"a","integration":"EVOLUTION","webhook":{"events":[]}}`, message("Argument `url` is missing.")},
		{"chatwoot bridge", `{"instanceName":"a","integration":"EVOLUTION","chatwootUrl":"http://c"}`, message("Chatwoot is not enabled")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, got := l.do("POST", "/instance/create", tt.body)
			refused(t, 400, tt.message, status, got)
			status, got = l.do("GET", "/instance/fetchInstances", "")
			assert.Equal(t, http.StatusOK, status)
			assert.Empty(t, got, "nothing half-made")
		})
	}
}

func TestCreateEvolutionChannel(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	got := l.must(201, "POST", "/instance/create", `{"instanceName":"principal","integration":"EVOLUTION","number":"5511900000000","token":"mine","groupsIgnore":true,
		"webhook":{"enabled":false,"url":"`+l.hook.url+`","byEvents":true,"events":["INSTANCE_CREATE"]}}`)
	id := got["instance"].(map[string]any)["instanceId"]
	_, err := uuid.Parse(id.(string))
	require.NoError(t, err)
	assert.Equal(t, map[string]any{
		"instance": map[string]any{
			"instanceName": "principal", "instanceId": id, "integration": "EVOLUTION", "webhookWaBusiness": nil, "accessTokenWaBusiness": "", "status": "open",
		},
		"hash":      "mine",
		"webhook":   map[string]any{"webhookUrl": l.hook.url, "webhookByEvents": true},
		"websocket": map[string]any{}, "rabbitmq": map[string]any{}, "nats": map[string]any{}, "sqs": map[string]any{},
		"settings": map[string]any{
			"rejectCall": false, "msgCall": "", "groupsIgnore": true, "alwaysOnline": false, "readMessages": false, "readStatus": false,
			"syncFullHistory": false, "wavoipToken": "",
		},
	}, got)
	event := l.hook.next("instance.create")
	assert.Equal(t, "/hooks/evolution/principal/instance-create", event.path, "the webhook is enabled whatever was said")
	assert.Equal(t, map[string]any{"instanceName": "principal", "instanceId": id}, event.body["data"])

	state := map[string]any{"instance": map[string]any{"instanceName": "principal", "state": "open"}}
	assert.Equal(t, state, l.must(200, "GET", "/instance/connectionState/principal", ""))
	assert.Equal(t, state, l.must(200, "GET", "/instance/connect/principal", ""))
	assert.Equal(t, state, l.must(200, "POST", "/instance/restart/principal", `{}`))
	assert.Empty(t, l.waited())
}

func TestWhatsAppInstanceKeepsConnecting(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	created := l.must(201, "POST", "/instance/create", `{"instanceName":"zap","integration":"WHATSAPP-BAILEYS","qrcode":true,
		"webhook":{"url":"`+l.hook.url+`","events":["QRCODE_UPDATED","CONNECTION_UPDATE","STATUS_INSTANCE","LOGOUT_INSTANCE"]}}`)
	assert.Equal(t, []time.Duration{5 * time.Second}, l.waited())
	assert.Equal(t, "connecting", created["instance"].(map[string]any)["status"])
	assert.Regexp(t, `^[0-9A-F-]{36}$`, created["hash"])
	qr := created["qrcode"].(map[string]any)
	assert.True(t, strings.HasPrefix(qr["code"].(string), "2@"))
	assert.Nil(t, qr["pairingCode"])
	picture, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(qr["base64"].(string), "data:image/png;base64,"))
	require.NoError(t, err)
	img, err := png.Decode(bytes.NewReader(picture))
	require.NoError(t, err)
	assert.Greater(t, img.Bounds().Dx(), 200)

	updated := l.hook.next("qrcode.updated", "connection.update")
	assert.Equal(t, qr["code"], updated.data()["qrcode"].(map[string]any)["code"])
	assert.NotContains(t, updated.body, "sender")

	assert.Equal(t, qr, l.must(200, "GET", "/instance/connect/zap", ""), "the same code while connecting")
	assert.Equal(t, "connecting", l.must(200, "GET", "/instance/connectionState/zap", "")["instance"].(map[string]any)["state"])

	assert.Equal(t, "SUCCESS", l.must(200, "DELETE", "/instance/logout/zap", "")["status"])
	closed := l.hook.next("status.instance", "logout.instance", "connection.update")
	assert.Equal(t, "closed", closed.data()["status"])
	assert.InDelta(t, 401, closed.data()["disconnectionReasonCode"], 0)

	status, got := l.do("DELETE", "/instance/logout/zap", "")
	refused(t, 400, message(`The "zap" instance is not connected`), status, got)
	assert.Equal(t, map[string]any{"error": true, "message": "[object Object]"}, l.must(200, "POST", "/instance/restart/zap", `{}`))

	again := l.must(200, "GET", "/instance/connect/zap?number=5511987654321", "")
	assert.Regexp(t, `^[1-9A-HJ-NP-Z]{8}$`, again["pairingCode"])
	assert.NotEqual(t, qr["code"], again["code"])
	assert.Equal(t, []time.Duration{5 * time.Second, 2 * time.Second}, l.waited())
}

func TestFetchInstances(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	token := l.channel("a", "EVOLUTION", "5511900000001")
	l.channel("b", "EVOLUTION", "5511900000002")
	names := func(key, query string) (out []string) {
		status, got := l.doAs(key, "GET", "/instance/fetchInstances"+query, "")
		require.Equal(t, http.StatusOK, status, "%v", got)
		for _, i := range got.([]any) {
			assert.NotContains(t, i, "token", "not exposed")
			out = append(out, i.(map[string]any)["name"].(string))
		}
		return out
	}
	assert.Equal(t, []string{"a", "b"}, names(globalKey, ""))
	assert.Equal(t, []string{"b"}, names(globalKey, "?instanceName=b"))
	assert.Equal(t, []string{"b"}, names(globalKey, "?number=5511900000002"))
	assert.Equal(t, []string{"a"}, names(token, ""), "a token shows its own")

	status, got := l.do("GET", "/instance/fetchInstances?instanceName=c", "")
	refused(t, 404, message(`Instance "c" not found`), status, got)
	status, got = l.doAs(token, "GET", "/instance/fetchInstances?instanceName=b", "")
	refused(t, 401, "Unauthorized", status, got)

	_, got = l.do("GET", "/instance/fetchInstances?instanceName=a", "")
	info := got.([]any)[0].(map[string]any)
	assert.Equal(t, "open", info["connectionStatus"])
	assert.Equal(t, "plantao", info["clientName"])
	assert.Equal(t, map[string]any{"Message": 0.0, "Contact": 0.0, "Chat": 0.0}, info["_count"])
	assert.Equal(t, false, info["Setting"].(map[string]any)["rejectCall"])
}

func TestTokensAreExposedOnRequest(t *testing.T) {
	t.Parallel()
	l := newLab(t, map[string]string{"AUTHENTICATION_EXPOSE_IN_FETCH_INSTANCES": "true"})
	token := l.channel("a", "EVOLUTION", "5511900000001")
	_, got := l.do("GET", "/instance/fetchInstances", "")
	assert.Equal(t, token, got.([]any)[0].(map[string]any)["token"])
	l.must(200, "POST", "/webhook/evolution", `{"numberId":"5511900000001","key":{"remoteJid":"55@s.whatsapp.net","fromMe":false},"message":{"conversation":"oi"},"messageType":"conversation"}`)
	assert.Equal(t, token, l.hook.next("messages.upsert", "contacts.upsert", "chats.upsert").body["apikey"])
}

func TestSettings(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.channel("a", "EVOLUTION", "5511900000001")
	all := `"rejectCall":true,"groupsIgnore":true,"alwaysOnline":false,"readMessages":false,"readStatus":false,"syncFullHistory":false`
	got := l.must(201, "POST", "/settings/set/a", `{`+all+`,"msgCall":"não atendemos"}`)
	assert.Equal(t, "a", got["settings"].(map[string]any)["instanceName"])
	found := l.must(200, "GET", "/settings/find/a", "")
	assert.Equal(t, true, found["groupsIgnore"])
	assert.Equal(t, "não atendemos", found["msgCall"])

	status, refusal := l.do("POST", "/settings/set/a", `{"rejectCall":true}`)
	refused(t, 400, message(message(`instance requires property "groupsIgnore"`, `instance requires property "alwaysOnline"`,
		`instance requires property "readMessages"`, `instance requires property "readStatus"`, `instance requires property "syncFullHistory"`)), status, refusal)
	status, refusal = l.do("POST", "/settings/set/a", `{`+strings.Replace(all, "true", `"true"`, 1)+`}`)
	refused(t, 400, message(message("rejectCall is not of a type(s) boolean")), status, refusal)
}

func TestWebhookRoutes(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.must(201, "POST", "/instance/create", `{"instanceName":"a","integration":"EVOLUTION"}`)
	status, got := l.do("GET", "/webhook/find/a", "")
	assert.Equal(t, http.StatusOK, status)
	assert.Nil(t, got)

	set := l.must(201, "POST", "/webhook/set/a", `{"webhook":{"enabled":true,"url":"http://router/hook","headers":{"X-Plantao-Secret":"s"},"events":[]}}`)
	assert.Len(t, set["events"], 31, "none means all")
	assert.Equal(t, false, set["webhookByEvents"])
	assert.Equal(t, map[string]any{"X-Plantao-Secret": "s"}, set["headers"])
	assert.Equal(t, set, l.must(200, "GET", "/webhook/find/a", ""))

	off := l.must(201, "POST", "/webhook/set/a", `{"webhook":{"enabled":false,"url":"http://router/hook","events":["CALL"]}}`)
	assert.Empty(t, off["events"], "a disabled one keeps none")
	assert.Equal(t, set["id"], off["id"])

	for _, tt := range []struct {
		name, body string
		status     int
		message    any
	}{
		{"not nested", `{"enabled":true,"url":"http://x"}`, 400, message(message(`instance requires property "webhook"`))},
		{"no url", `{"webhook":{"enabled":true}}`, 400, message(message(`webhook requires property "url"`))},
		{"empty url", `{"webhook":{"enabled":true,"url":""}}`, 400, message(message(`The "url" cannot be empty`))},
		{"enabled as text", `{"webhook":{"enabled":"true","url":"http://x"}}`, 400, message(message("webhook.enabled is not of a type(s) boolean"))},
		{"lower-case event", `{"webhook":{"enabled":true,"url":"http://x","events":["messages.upsert"]}}`, 400, nil},
		{"enabled without events", `{"webhook":{"enabled":true,"url":"http://x"}}`, 500, "Cannot read properties of undefined (reading 'length')"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, got := l.do("POST", "/webhook/set/a", tt.body)
			if tt.message == nil {
				assert.Equal(t, tt.status, status)
				assert.Contains(t, got.(map[string]any)["response"].(map[string]any)["message"].([]any)[0].([]any)[0], "webhook.events[0] is not one of enum values")
				return
			}
			refused(t, tt.status, tt.message, status, got)
		})
	}
}

func TestDeleteRemovesEverything(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.channel("a", "EVOLUTION", "5511900000001")
	l.must(201, "POST", "/message/sendText/a", `{"number":"5511987654321","text":"oi"}`)
	l.hook.next("send.message")
	assert.Equal(t, map[string]any{"message": "Instance deleted"}, l.must(200, "DELETE", "/instance/delete/a", "")["response"])
	l.hook.next("instance.delete", "remove.instance")
	status, got := l.do("GET", "/instance/connectionState/a", "")
	refused(t, 404, message(`The "a" instance does not exist`), status, got)
	l.channel("a", "EVOLUTION", "5511900000001")
	found := l.must(200, "POST", "/chat/findMessages/a", `{}`)
	assert.InDelta(t, 0, found["messages"].(map[string]any)["total"], 0)
}

func TestLoggedOutEvolutionChannelStillSends(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.channel("a", "EVOLUTION", "5511900000001")
	l.must(200, "DELETE", "/instance/logout/a", "")
	assert.Equal(t, "close", l.must(200, "GET", "/instance/connectionState/a", "")["instance"].(map[string]any)["state"])
	assert.Empty(t, l.must(200, "GET", "/instance/connect/a", ""))
	l.must(201, "POST", "/message/sendText/a", `{"number":"5511987654321","text":"oi"}`)
	l.hook.next("send.message")
}
