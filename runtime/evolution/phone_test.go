package evolution

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

// database answers findMessages as Evolution does: pages, the newest first.
type database struct {
	records []map[string]any // newest first
	asked   int
	plain   bool   // a version without pages
	blind   bool   // a version that does not apply the filter by time
	arrives func() // called before each page
}

func (d *database) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Where  struct{ MessageTimestamp struct{ GTE, LTE time.Time } }
		Page   int
		Offset int
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil || q.Where.MessageTimestamp.LTE.IsZero() {
		http.Error(w, "{}", http.StatusBadRequest)
		return
	}
	d.asked++
	if d.arrives != nil {
		d.arrives()
	}
	list := slices.DeleteFunc(slices.Clone(d.records), func(m map[string]any) bool {
		return !d.blind && m["messageTimestamp"].(int64) < q.Where.MessageTimestamp.GTE.Unix()
	})
	if d.plain {
		_ = json.NewEncoder(w).Encode(list)
		return
	}
	from, to := min((q.Page-1)*q.Offset, len(list)), min(q.Page*q.Offset, len(list))
	_ = json.NewEncoder(w).Encode(map[string]any{"messages": map[string]any{
		"total": len(list), "pages": (len(list) + q.Offset - 1) / q.Offset, "currentPage": q.Page, "records": list[from:to],
	}})
}

func found(id string, at int64, more ...func(map[string]any)) map[string]any {
	m := map[string]any{
		"id": "db" + id, "key": map[string]any{"id": id, "remoteJid": jid, "fromMe": false}, "pushName": "Maria", "messageType": "conversation",
		"message": map[string]any{"conversation": "oi"}, "messageTimestamp": at, "MessageUpdate": []any{},
	}
	for _, change := range more {
		change(m)
	}
	return m
}

func idsOf(list []conversation.Record) (ids []string) {
	for _, r := range list {
		ids = append(ids, r.ID)
	}
	return ids
}

func TestHistory(t *testing.T) {
	t.Parallel()
	const start = 1_700_000_000
	make := func(n int) (list []map[string]any, want []string) {
		for i := range n {
			list = append(list, found(fmt.Sprintf("%03d", i), start+int64(i/2)))
		}
		for i := range 60 {
			list = append(list, found(fmt.Sprintf("old%d", i), start-1-int64(i)))
		}
		slices.SortStableFunc(list, func(a, b map[string]any) int {
			return int(b["messageTimestamp"].(int64) - a["messageTimestamp"].(int64))
		})
		for i := range n {
			want = append(want, fmt.Sprintf("%03d", i))
		}
		return list, want
	}
	for name, change := range map[string]func(*database){
		"as it is": func(*database) {}, "without pages": func(d *database) { d.plain = true }, "filter not applied": func(d *database) { d.blind = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := &database{}
			list, want := make(70)
			d.records = list
			change(d)
			c := newServer(t, d.ServeHTTP)
			got, more, err := c.History(t.Context(), "p", time.Unix(start, 0), 1000)
			require.NoError(t, err)
			assert.False(t, more)
			assert.Equal(t, want, idsOf(got), "oldest first, and nothing from before")
			assert.LessOrEqual(t, d.asked, 70/historyPage+1, "no page is read in vain")
			got, more, err = c.History(t.Context(), "p", time.Unix(start, 0), 30)
			require.NoError(t, err)
			assert.True(t, more)
			assert.Equal(t, want[:30], idsOf(got), "the oldest, whatever else there is")
		})
	}
	t.Run("messages come in meanwhile", func(t *testing.T) {
		t.Parallel()
		d := &database{}
		var want []string
		d.records, want = make(70)
		d.arrives = func() {
			d.records = append([]map[string]any{found(fmt.Sprint("new", d.asked), start+1000+int64(d.asked))}, d.records...)
		}
		got, _, err := newServer(t, d.ServeHTTP).History(t.Context(), "p", time.Unix(start, 0), 1000)
		require.NoError(t, err)
		assert.Equal(t, want, idsOf(got)[:70], "each once, none missed")
	})
}

func TestHistoryRecordsAreWebhooks(t *testing.T) {
	t.Parallel()
	const at = 1_700_000_000
	d := &database{records: []map[string]any{
		found("OWN", at+3, func(m map[string]any) {
			m["key"].(map[string]any)["fromMe"] = true
			m["MessageUpdate"] = []any{map[string]any{"status": "READ"}, map[string]any{"status": "DELIVERY_ACK"}, map[string]any{"status": "?"}}
		}),
		found("TWICE", at+2), found("TWICE", at+2),
		found("", at+1), found("NO-JID", at+1, func(m map[string]any) { m["key"].(map[string]any)["remoteJid"] = nil }),
		found("LID", at, func(m map[string]any) {
			m["key"].(map[string]any)["remoteJid"], m["key"].(map[string]any)["remoteJidAlt"] = "1@lid", jid
			m["messageTimestamp"] = int64(at)
		}),
	}}
	list, _, err := newServer(t, d.ServeHTTP).History(t.Context(), "p", time.Unix(at, 0), 1000)
	require.NoError(t, err)
	require.Equal(t, []string{"LID", "TWICE", "OWN"}, idsOf(list))
	e := decoded(t, string(list[0].Body))
	assert.Equal(t, conversation.Event{Kind: conversation.KindMessage, WAID: "LID", Instance: "p", ChatJID: "1@lid", AltJID: jid, FormJID: "551188887777@s.whatsapp.net",
		ContactName: "Maria", Type: "text", Text: "oi", SentAt: time.Unix(at, 0).UTC(), Body: list[0].Body}, e)
	var marked struct{ Swept bool }
	require.NoError(t, json.Unmarshal(list[0].Body, &marked))
	assert.True(t, marked.Swept)
	assert.Empty(t, list[1].StatusBody)
	assert.Equal(t, "READ", list[2].Status)
	status := decoded(t, string(list[2].StatusBody))
	assert.Equal(t, conversation.KindStatus, status.Kind)
	assert.Equal(t, "OWN/READ", status.WAID)
}

func TestConnection(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		body   string
		want   conversation.Connection
		fails  bool
	}{
		{200, `{"instance":{"instanceName":"p","state":"open"}}`, conversation.Connection{State: "open"}, false},
		{200, `{"instance":{"instanceName":"p","state":"connecting"}}`, conversation.Connection{State: "connecting"}, false},
		{404, `{"status":404,"error":"Not Found","response":{"message":["The \"p\" instance does not exist"]}}`,
			conversation.Connection{State: "close", Reason: conversation.ReasonNoInstance}, false},
		{404, `404 page not found`, conversation.Connection{}, true},
		{200, `{"instance":{"state":"happy"}}`, conversation.Connection{}, true},
		{200, `[]`, conversation.Connection{}, true},
		{500, `{}`, conversation.Connection{}, true},
	} {
		client := newServer(t, func(w http.ResponseWriter, r *http.Request) {
			assert.Equal(t, "/instance/connectionState/p", r.URL.Path)
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.body)
		})
		got, err := client.Connection(t.Context(), "p")
		assert.Equal(t, c.fails, err != nil, c.body)
		assert.Equal(t, c.want, got, c.body)
	}
}

func TestMannersOnTheWire(t *testing.T) {
	t.Parallel()
	var got []string
	c := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, r.URL.Path+" "+string(body))
		w.WriteHeader(http.StatusCreated)
	})
	require.NoError(t, c.ShowTyping(t.Context(), "p", jid, false, 1500*time.Millisecond))
	require.NoError(t, c.ShowTyping(t.Context(), "p", "1@lid", true, time.Second))
	require.NoError(t, c.MarkRead(t.Context(), "p", jid, []string{"A", "B"}))
	require.NoError(t, c.MarkRead(t.Context(), "p", "1@lid", []string{"A"}))
	require.NoError(t, c.MarkRead(t.Context(), "p", "5511988887777", []string{"A"}))
	require.NoError(t, c.MarkRead(t.Context(), "p", jid, nil))
	assert.Equal(t, []string{
		`/chat/sendPresence/p {"number":"5511988887777","presence":"composing","delay":1500}`,
		`/chat/sendPresence/p {"number":"1@lid","presence":"recording","delay":1000}`,
		`/chat/markMessageAsRead/p {"readMessages":[{"id":"A","fromMe":false,"remoteJid":"` + jid + `"},{"id":"B","fromMe":false,"remoteJid":"` + jid + `"}]}`,
	}, got, "Evolution drops the marks of @lid chats")
}
