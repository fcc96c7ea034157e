package evolution

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

// noise is content whose base64 has padding and does not end with a buffer's end.
func noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7)
	}
	return b
}

func TestSendMediaWritesBase64(t *testing.T) {
	t.Parallel()
	content := noise(100_000)
	var got struct{ Number, Mediatype, Mimetype, FileName, Caption, Media string }
	c := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "/message/sendMedia/p%2F1", r.URL.EscapedPath())
		assert.Equal(t, "application/json", r.Header.Get("Content-Type"))
		body, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		assert.EqualValues(t, len(body), r.ContentLength)
		assert.NoError(t, json.Unmarshal(body, &got))
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"key":{"id":"ID","remoteJid":"1@lid"}}`)
	})
	m := conversation.Content{Mimetype: "application/pdf", Bytes: content}
	d, err := c.SendMedia(t.Context(), "p/1", jid, m, conversation.MediaDocument, "um <b>", inAMinute())
	require.NoError(t, err)
	assert.Equal(t, conversation.Delivery{MessageID: "ID", ChatJID: "1@lid"}, d)
	assert.Equal(t, base64.StdEncoding.EncodeToString(content), got.Media)
	got.Media = ""
	assert.Equal(t, struct{ Number, Mediatype, Mimetype, FileName, Caption, Media string }{
		"5511988887777", "document", "application/pdf", "document.pdf", "um <b>", ""}, got)
}

func TestSendMediaUploadsVoiceNotes(t *testing.T) {
	t.Parallel()
	content := noise(70_000)
	c := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "/message/sendWhatsAppAudio/p", r.URL.Path)
		assert.Positive(t, r.ContentLength)
		assert.NoError(t, r.ParseMultipartForm(1<<20))
		assert.Equal(t, map[string][]string{"number": {"5511988887777"}}, r.MultipartForm.Value, "a form's other fields would be texts")
		f, _, err := r.FormFile("file")
		if assert.NoError(t, err) {
			got, _ := io.ReadAll(f)
			assert.True(t, bytes.Equal(content, got))
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"key":{"id":"ID"}}`)
	})
	m := conversation.Content{Mimetype: "audio/ogg; codecs=opus", Bytes: content}
	_, err := c.SendMedia(t.Context(), "p", jid, m, conversation.MediaAudio, "", inAMinute())
	require.NoError(t, err)
}

func TestSendMediaOutcomes(t *testing.T) {
	t.Parallel()
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	image := conversation.Content{Mimetype: "image/png", Bytes: noise(50_000)}
	late, soon := time.Now(), inAMinute()
	for _, c := range []struct {
		name     string
		handler  http.HandlerFunc
		content  conversation.Content
		kind     conversation.MediaKind
		caption  string
		notAfter time.Time
		want     conversation.SendOutcome
	}{
		{"too late", answer(201, `{}`), image, conversation.MediaImage, "", late, conversation.SendNothing},
		{"not connected", answer(400, `{"response":{"message":["Error: Connection Closed"]}}`), image, conversation.MediaImage, "", soon, conversation.SendNothing},
		{"no such method", answer(400, `{"response":{"message":["Method not available on Evolution Channel"]}}`), image, conversation.MediaImage, "", soon, conversation.SendRefused},
		{"evolution fails", answer(500, `{}`), image, conversation.MediaImage, "", soon, conversation.SendUnknown},
		{"hang up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, image, conversation.MediaVideo, "", soon, conversation.SendUnknown},
		{"nothing to send", answer(201, `{}`), conversation.Content{}, conversation.MediaImage, "", soon, conversation.SendRefused},
		{"no kind", answer(201, `{}`), image, "sticker", "", soon, conversation.SendRefused},
		{"captioned voice note", answer(201, `{}`), image, conversation.MediaAudio, "x", soon, conversation.SendRefused},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := newServer(t, c.handler).SendMedia(t.Context(), "p", jid, c.content, c.kind, c.caption, c.notAfter)
			assert.Equal(t, c.want, outcomeOf(t, err), "%v", err)
		})
	}
}
