package evolution

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

func decoded(t *testing.T, body string) conversation.Event {
	t.Helper()
	e, err := Decode([]byte(body))
	require.NoError(t, err)
	return e
}

func withMessage(message string) string {
	return `{"event":"messages.upsert","instance":"p","data":{"key":{"remoteJid":"55119@s.whatsapp.net","id":"X"},"pushName":"Zé","message":` +
		message + `,"messageTimestamp":1700000000}}`
}

func TestDecodeContent(t *testing.T) {
	t.Parallel()
	nested := `{"conversation":"fundo"}`
	for range maxWrappers + 1 {
		nested = `{"ephemeralMessage":{"message":` + nested + `}}`
	}
	for _, c := range []struct{ name, message, kind, text string }{
		{"conversation", `{"conversation":"oi"}`, "text", "oi"},
		{"extended", `{"extendedTextMessage":{"text":"oi"},"messageContextInfo":{}}`, "text", "oi"},
		{"ephemeral", `{"ephemeralMessage":{"message":{"extendedTextMessage":{"text":"oi"}}}}`, "text", "oi"},
		{"view once", `{"viewOnceMessageV2":{"message":{"imageMessage":{"caption":"c"}}}}`, "image", "c"},
		{"document with caption", `{"documentWithCaptionMessage":{"message":{"documentMessage":{}}}}`, "document", ""},
		{"voice", `{"audioMessage":{"ptt":true}}`, "audio", ""},
		{"video note", `{"ptvMessage":{}}`, "video", ""},
		{"reaction", `{"reactionMessage":{"text":"x"}}`, "reaction", "x"},
		{"list answer", `{"listResponseMessage":{}}`, "choice", ""},
		{"revocation", `{"protocolMessage":{"type":0}}`, "protocol", ""},
		{"side field only", `{"messageContextInfo":{}}`, "unknown", ""},
		{"null", `null`, "unknown", ""},
		{"text of another type", `{"conversation":7}`, "unknown", ""},
		{"wrapped too deep", nested, "unknown", ""},
		{"nul", `{"conversation":"a\u0000b"}`, "text", "ab"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := decoded(t, withMessage(c.message))
			assert.Equal(t, conversation.KindMessage, e.Kind)
			assert.Equal(t, c.kind, e.Type)
			assert.Equal(t, c.text, e.Text)
			assert.Equal(t, time.Unix(1700000000, 0).UTC(), e.SentAt)
			assert.Equal(t, "Zé", e.ContactName)
		})
	}
}

func TestDecodeKeys(t *testing.T) {
	t.Parallel()
	status := func(s string) string {
		return `{"event":"messages.update","data":{"keyId":"X","status":"` + s + `"}}`
	}
	assert.Equal(t, "X/READ", decoded(t, status("READ")).WAID)
	assert.NotEqual(t, decoded(t, status("READ")).WAID, decoded(t, status("PLAYED")).WAID)
	assert.Equal(t, conversation.KindMessage, decoded(t, strings.Replace(withMessage(`{}`), "messages.upsert", "MESSAGES_UPSERT", 1)).Kind)
	e := decoded(t, `{"event":"send.message","data":{"key":{"remoteJid":"1@lid","remoteJidAlt":"2@s.whatsapp.net","id":"Y"},"pushName":"Loja"}}`)
	assert.True(t, e.FromMe)
	assert.Empty(t, e.ContactName, "our own name is not the contact's")
	assert.Equal(t, "2@s.whatsapp.net", e.AltJID)
	one, two := decoded(t, `{"event":"x","a":1}`), decoded(t, `{"event":"x","a":2}`)
	assert.Equal(t, conversation.KindUnknown, one.Kind)
	assert.NotEqual(t, one.WAID, two.WAID)
}
