package main

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

// image is the webhook of an image without its content, as Evolution sends it.
func image(id, jid, caption string, more map[string]any) string {
	message := map[string]any{"imageMessage": map[string]any{
		"url": "https://mmg.whatsapp.net/x.enc", "mimetype": "image/png", "caption": caption, "fileLength": "7", "mediaKey": "k",
	}}
	for k, v := range more {
		message[k] = v
	}
	return event("messages.upsert", map[string]any{
		"key":      map[string]any{"remoteJid": jid, "fromMe": false, "id": id},
		"pushName": "Maria", "message": message, "messageType": "imageMessage", "messageTimestamp": time.Now().Unix(), "source": "android",
	})
}

func TestAttachmentsOfCustomersAreFetched(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	asked := make(chan string, 10)
	b.evo.handle("POST /chat/getBase64FromMediaMessage/{instance}", func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Message struct{ Key struct{ ID string } }
		}
		_ = json.NewDecoder(r.Body).Decode(&q)
		asked <- q.Message.Key.ID
		if len(asked) == 1 { // the message is told of before it is kept
			http.Error(w, `{"status":400,"response":{"message":["Message not found"]}}`, http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(map[string]any{"mediaType": "imageMessage", "fileName": "made-up.png", "size": map[string]any{"fileLength": "7"},
			"mimetype": "image/png", "base64": base64.StdEncoding.EncodeToString([]byte("content")), "buffer": nil})
	})
	r := b.serveReady()
	require.Equal(t, http.StatusOK, r.post(image("A", testCustomer, "veja", nil)).status)
	b.eventually("attachment kept", func() bool { return b.count("select count(*) from inbox where media_state = 'ready'") == 1 })
	require.Equal(t, "content image/png", b.text("select convert_from(m.content, 'UTF8') || ' ' || m.mimetype from inbox i join media m on m.id = i.media_id"))
	require.Len(t, asked, 2)
	require.Equal(t, 2, b.count("select media_tries from inbox where wa_id = 'A'"))

	inline := map[string]any{"base64": base64.StdEncoding.EncodeToString([]byte("inline!"))}
	require.Equal(t, http.StatusOK, r.post(image("B", testCustomer, "", inline)).status)
	b.eventually("attachment kept", func() bool { return b.count("select count(*) from inbox where media_state = 'ready'") == 2 })
	require.Equal(t, "inline!", b.text("select convert_from(m.content, 'UTF8') from inbox i join media m on m.id = i.media_id where i.wa_id = 'B'"))
	require.Len(t, asked, 2, "what stands in the webhook is not asked for")
	require.Zero(t, b.count("select count(*) from inbox where body -> 'data' -> 'message' ? 'base64'"), "and does not stand there twice")
	b.settled()
}

func TestAnAttachmentThatCannotBeHadIsGivenUp(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.c.Media.Tries = 1
	r := b.serveReady()
	require.Equal(t, http.StatusOK, r.post(image("A", testCustomer, "", nil)).status)
	b.eventually("given up", func() bool { return b.count("select count(*) from inbox where media_state = 'failed'") == 1 })
	require.Contains(t, r.get("/metrics").body, `router_media_duration_seconds_count{outcome="failed"} 1`)
	b.settled()
}

func TestPartsWithAttachmentsGoOut(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	type sent struct{ Number, Mediatype, Mimetype, FileName, Caption, Media string }
	got := make(chan sent, 1)
	b.evo.handle("POST /message/sendMedia/{instance}", func(w http.ResponseWriter, r *http.Request) {
		var s sent
		body, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(body, &s)
		got <- s
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"key":{"id":"MEDIA","remoteJid":"`+testCustomer+`","fromMe":true}}`)
	})
	voice := make(chan string, 1)
	b.evo.handle("POST /message/sendWhatsAppAudio/{instance}", func(w http.ResponseWriter, r *http.Request) {
		f, _, err := r.FormFile("file")
		if err != nil {
			http.Error(w, "{}", http.StatusInternalServerError)
			return
		}
		body, _ := io.ReadAll(f)
		voice <- string(body)
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"key":{"id":"VOICE","remoteJid":"`+testCustomer+`","fromMe":true}}`)
	})
	r := b.serveReady()
	require.Equal(t, http.StatusOK, r.post(upsert("A", testCustomer, "oi")).status)
	b.settled()

	store, id := b.db.Store(t), conversation.ID(b.count("select id from conversation"))
	content := strings.Repeat("png!", 50_000)
	image, err := store.PutMedia(t.Context(), "default", id, conversation.Content{Mimetype: "image/png", FileName: "a.png", Bytes: []byte(content)})
	require.NoError(t, err)
	audio, err := store.PutMedia(t.Context(), "default", id, conversation.Content{Mimetype: "audio/ogg", Bytes: []byte("OggS")})
	require.NoError(t, err)
	_, _, err = store.Say(t.Context(), conversation.Said{
		Tenant: "default", Conversation: id, Kind: conversation.SaidByHuman, By: "human:ana", Within: time.Minute,
		Parts: []conversation.Part{
			{Text: "segue a foto", Media: &conversation.PartMedia{ID: image, Kind: conversation.MediaImage}},
			{Media: &conversation.PartMedia{ID: audio, Kind: conversation.MediaAudio}},
		},
	})
	require.NoError(t, err)
	b.eventually("both parts sent", func() bool { return b.count("select count(*) from outbox where state = 'sent' and no = 2") == 2 })
	require.Equal(t, sent{"5511988887777", "image", "image/png", "a.png", "segue a foto", base64.StdEncoding.EncodeToString([]byte(content))}, <-got)
	require.Equal(t, "OggS", <-voice)
	require.Equal(t, "MEDIA", b.text("select wa_msg_id from outbox where no = 2 and part = 1"))
}
