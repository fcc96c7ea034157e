package desk_test

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
	"plantao/runtime/desk"
)

// attaches is a message with files an agent sends.
func (l *lab) attaches(text string, files map[string]string) {
	l.Helper()
	body := &bytes.Buffer{}
	w := multipart.NewWriter(body)
	require.NoError(l, w.WriteField("content", text))
	for name, content := range files {
		head := textproto.MIMEHeader{}
		head.Set("Content-Disposition", multipart.FileContentDisposition("attachments[]", name))
		head.Set("Content-Type", map[bool]string{true: "image/png", false: "application/pdf"}[strings.HasSuffix(name, ".png")])
		part, err := w.CreatePart(head)
		require.NoError(l, err)
		_, err = part.Write([]byte(content))
		require.NoError(l, err)
	}
	require.NoError(l, w.Close())
	req, err := http.NewRequestWithContext(l.Context(), http.MethodPost, l.url+"/api/v1/accounts/1"+l.display()+"/messages", body)
	require.NoError(l, err)
	req.Header.Set("Content-Type", w.FormDataContentType())
	req.Header.Set("Api-Access-Token", l.admin)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(l, err)
	require.Equal(l, 200, resp.StatusCode)
	require.NoError(l, resp.Body.Close())
}

func TestAttachmentsOfHumans(t *testing.T) {
	l := newLab(t)
	d, _ := l.desk(nil)
	l.writes("M1", "oi")
	l.gives()
	l.settle(d)
	l.attaches("o cardápio", map[string]string{"menu ç.png": "PNG"})
	l.look(d)
	require.EqualValues(t, 1, l.number(`select count(*) from outbox`))
	require.Equal(t, "o cardápio image", l.text(`select (body ->> 'text') || ' ' || (body #>> '{media,kind}') from outbox`))
	content, err := l.store.Media(t.Context(), conversation.DefaultTenant, l.number(`select (body #>> '{media,id}')::bigint from outbox`))
	require.NoError(t, err)
	require.Equal(t, "image/png PNG menu ç.png", content.Mimetype+" "+string(content.Bytes)+" "+content.FileName)
	l.look(d)
	require.EqualValues(t, 1, l.number(`select count(*) from media`), "what was said is not fetched again")
}

func TestAttachmentsThatAreNotToBeHad(t *testing.T) {
	l := newLab(t)
	d, seen := l.desk(func(c *desk.Config) { c.MaxMediaBytes = 3 })
	l.writes("M1", "oi")
	l.gives()
	l.settle(d)
	l.attaches("grande demais", map[string]string{"a.pdf": "four"})
	l.look(d)
	status, why := l.messageStatus(l.count(`select max(id) from messages where message_type = 1`))
	require.Equal(t, "failed", status)
	require.Contains(t, why, "Send it again")
	require.Zero(t, l.number(`select count(*) from outbox`), "half of a message is none")
	require.Equal(t, conversation.HumanActive, l.now().State, "somebody is there all the same")

	// One that leads elsewhere is not followed.
	_, err := l.cw.Exec(t.Context(), `delete from messages where message_type = 1`)
	require.NoError(t, err)
	asked := false
	elsewhere := func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/rails/active_storage/blobs") {
			w.Header().Set("Location", "http://169.254.169.254/latest/meta-data")
			w.WriteHeader(http.StatusFound)
			asked = true
			return true
		}
		return false
	}
	l.front.set(elsewhere, nil)
	l.attaches("", map[string]string{"b.pdf": "b"})
	l.look(d)
	require.True(t, asked)
	status, _ = l.messageStatus(l.count(`select max(id) from messages where message_type = 1`))
	require.Equal(t, "failed", status)
	require.Zero(t, seen.of("heard said"))
	for range 3 {
		l.look(d)
	}
	require.Zero(t, l.number(`select count(*) from chatwoot_conversation where attempts > 0`))
}

func TestAttachmentsOfCustomers(t *testing.T) {
	l := newLab(t)
	d, _ := l.desk(nil)
	l.arrives(conversation.Event{WAID: "M1", Type: "image", Text: "veja", Begins: true, State: conversation.Pending, Media: &conversation.Media{Mimetype: "image/jpeg"}})
	l.writes("M2", "viu?")
	l.settle(d)
	require.Empty(t, l.shown(), "what follows waits with it")
	id, err := l.store.PutMedia(t.Context(), conversation.DefaultTenant, l.talk, conversation.Content{Mimetype: "image/jpeg", Bytes: []byte("JPEG")})
	require.NoError(t, err)
	l.exec(`update inbox set media_state = 'ready', media_id = $1 where wa_id = 'M1'`, id)
	l.exec(`update conversation set mirror_due = now()`)
	l.settle(d)
	require.Equal(t, []string{"incoming veja", "incoming viu?"}, l.shown())
	var name, kind, content string
	require.NoError(t, l.cw.QueryRow(t.Context(), `select file_name, content_type, convert_from(content, 'UTF8') from attachments`).Scan(&name, &kind, &content))
	require.Equal(t, "image.jpeg image/jpeg JPEG", name+" "+kind+" "+content)

	l.arrives(conversation.Event{WAID: "M3", Type: "video", Begins: true, State: conversation.Pending, Media: &conversation.Media{Mimetype: "video/mp4"}})
	l.exec(`update inbox set media_state = 'failed' where wa_id = 'M3'`)
	l.settle(d)
	require.Equal(t, "incoming [attachment of type video not available: look at the phone]", l.shown()[2])
}
