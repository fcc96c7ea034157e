package postgres_test

import (
	"encoding/base64"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

// attached receives a message with an attachment; body is its webhook.
func (w *world) attached(id, body string) {
	w.t.Helper()
	e := message(id, "1@lid")
	e.Media, e.Body = &conversation.Media{Mimetype: "image/png", FileName: "a.png"}, []byte(body)
	w.receive(e)
}

func (w *world) wanted(lease time.Duration) []conversation.WantedMedia {
	w.t.Helper()
	list, err := w.store.WantedMedia(w.t.Context(), 10, lease)
	require.NoError(w.t, err)
	return list
}

func TestAttachmentIsFetchedByOneAndTakenOverWhenItsLeaseEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.attached("A", `{}`)
	first := w.wanted(time.Hour)
	require.Len(t, first, 1)
	require.Equal(t, conversation.WantedMedia{Inbox: first[0].Inbox, Tenant: "default", Channel: "p", Conversation: first[0].Conversation,
		MessageID: "A", Media: conversation.Media{Mimetype: "image/png", FileName: "a.png"}, Try: 1}, first[0])
	require.Empty(t, w.wanted(time.Hour), "the other replica is given something else")

	_, err := w.pg.Exec(t.Context(), "update inbox set media_after = now()") // as when the lease has run out
	require.NoError(t, err)
	second := w.wanted(time.Hour)
	require.Len(t, second, 1)
	require.Equal(t, 2, second[0].Try)

	c := conversation.Content{Mimetype: "image/jpeg", FileName: "b.jpg", Bytes: []byte("content")}
	kept, err := w.store.KeepMedia(t.Context(), first[0], c)
	require.NoError(t, err)
	require.False(t, kept, "whoever lost the lease keeps nothing")
	require.NoError(t, w.store.MissMedia(t.Context(), first[0], 0))
	kept, err = w.store.KeepMedia(t.Context(), second[0], c)
	require.NoError(t, err)
	require.True(t, kept)
	kept, err = w.store.KeepMedia(t.Context(), second[0], c)
	require.NoError(t, err)
	require.False(t, kept)

	var media, id int64
	var state string
	require.NoError(t, w.pg.QueryRow(t.Context(), "select (select count(*) from media), media_id, media_state from inbox").Scan(&media, &id, &state))
	require.EqualValues(t, 1, media, "what was refused left nothing behind")
	require.Equal(t, "ready", state)
	got, err := w.store.Media(t.Context(), "default", id)
	require.NoError(t, err)
	require.Equal(t, conversation.Content{ID: id, Conversation: first[0].Conversation, Mimetype: "image/jpeg", FileName: "b.jpg", Bytes: []byte("content")}, got)
}

func TestInlineAttachmentMovesOutOfTheWebhook(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	body := func(content string) string {
		return `{"data":{"message":{"base64":"` + content + `","imageMessage":{}}}}`
	}
	content := base64.StdEncoding.EncodeToString([]byte("content"))
	for _, c := range []struct {
		id, body string
		max      int64
		kept     bool
	}{
		{"fits", body(content), 7, true},
		{"too large", body(content), 5, false},
		{"no base64", body("???not base64???"), 100, false},
		{"not there", `{}`, 100, false},
	} {
		w.attached(c.id, c.body)
		list := w.wanted(time.Hour)
		require.Len(t, list, 1)
		kept, err := w.store.KeepInline(t.Context(), list[0], c.max)
		require.NoError(t, err, c.id)
		require.Equal(t, c.kept, kept, c.id)
		var stripped bool
		require.NoError(t, w.pg.QueryRow(t.Context(), "select body #> '{data,message,base64}' is null from inbox where wa_id = $1", c.id).Scan(&stripped))
		require.Equal(t, c.kept || c.id == "not there", stripped, c.id)
	}
	var media string
	require.NoError(t, w.pg.QueryRow(t.Context(), "select string_agg(convert_from(content, 'UTF8'), ' ') from media").Scan(&media))
	require.Equal(t, "content", media)
}

func TestAttachmentThatIsGivenUpIsNotAskedForAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.attached("A", `{}`)
	list := w.wanted(time.Hour)
	require.NoError(t, w.store.MissMedia(t.Context(), list[0], time.Hour))
	require.Empty(t, w.wanted(time.Hour))
	_, err := w.pg.Exec(t.Context(), "update inbox set media_after = now()")
	require.NoError(t, err)
	list = w.wanted(time.Hour)
	require.NoError(t, w.store.MissMedia(t.Context(), list[0], 0))
	_, err = w.pg.Exec(t.Context(), "update inbox set media_after = now()")
	require.NoError(t, err)
	require.Empty(t, w.wanted(time.Hour))
	var state string
	require.NoError(t, w.pg.QueryRow(t.Context(), "select media_state from inbox").Scan(&state))
	require.Equal(t, "failed", state)
}
