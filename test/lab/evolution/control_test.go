package main

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const send = "/message/sendText/principal"

func text(number, words string) string { return `{"number":"` + number + `","text":"` + words + `"}` }

func (l *lab) sentTexts(query string) (out []string) {
	for _, m := range l.lab("GET", "/sent"+query, "")["messages"].([]any) {
		out = append(out, m.(map[string]any)["text"].(string))
	}
	return out
}

func TestSentList(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.channel("principal", "EVOLUTION", "5511900000000")
	for _, words := range []string{"um", "dois", "três"} {
		l.must(201, "POST", send, text("5511987654321@s.whatsapp.net", words))
	}
	l.must(201, "POST", send, text("5521987654321", "outro"))
	assert.Equal(t, []string{"um", "dois", "três", "outro"}, l.sentTexts(""))
	assert.Equal(t, []string{"um", "dois", "três"}, l.sentTexts("?number=%2B55+11+98765-4321"))
	assert.Empty(t, l.sentTexts("?instance=other"))
	l.lab("DELETE", "/sent", "")
	assert.Empty(t, l.sentTexts(""))
}

func TestFaultStatus(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.channel("principal", "EVOLUTION", "5511900000000")
	l.lab("POST", "/faults", `{"action":"status","status":400,"count":2,"number":"5511987654321","message":[{"exists":false}]}`)
	l.must(201, "POST", send, text("5521987654321", "not bound"))
	for range 2 {
		status, got := l.do("POST", send, text("5511987654321", "x"))
		refused(t, 400, message(map[string]any{"exists": false}), status, got)
	}
	l.must(201, "POST", send, text("5511987654321", "ok"))
	assert.Equal(t, []string{"not bound", "ok"}, l.sentTexts(""))

	l.lab("POST", "/faults", `{"action":"status","status":503,"after":true}`)
	status, got := l.do("POST", send, text("5511987654321", "sent all the same"))
	refused(t, 503, message("Service Unavailable"), status, got)
	assert.Equal(t, []string{"ok", "sent all the same"}, l.sentTexts("?number=5511987654321"))
	l.hook.next("send.message", "send.message", "send.message")
}

func TestFaultClose(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.channel("principal", "EVOLUTION", "5511900000000")
	broken := func(words string) error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, l.api+send, strings.NewReader(text("55", words)))
		require.NoError(t, err)
		req.Header.Set("apikey", globalKey)
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			res.Body.Close()
		}
		return err
	}
	l.lab("POST", "/faults", `{"action":"close"}`)
	require.Error(t, broken("before"))
	assert.Empty(t, l.sentTexts(""))

	l.lab("POST", "/faults", `{"action":"close","after":true}`)
	require.Error(t, broken("after"))
	assert.Equal(t, []string{"after"}, l.sentTexts(""))
	l.hook.next("send.message")
	require.NoError(t, broken("ok"))
}

func TestFaultHoldAndDelay(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.channel("principal", "EVOLUTION", "5511900000000")
	l.lab("POST", "/faults", `{"action":"delay","delay_ms":700}`)
	l.must(201, "POST", send, text("55", "late"))
	assert.Equal(t, []time.Duration{700 * time.Millisecond}, l.waited())

	l.lab("POST", "/faults", `{"action":"hold"}`)
	held := make(chan int, 1)
	go func() {
		status, _ := l.do("POST", send, text("55", "held"))
		held <- status
	}()
	eventually(t, "a held send", func() bool { return l.lab("GET", "/faults", "")["holding"] == 1.0 })
	l.must(201, "POST", send, text("55", "overtakes"))
	assert.InDelta(t, 1, l.lab("POST", "/release", "")["released"], 0)
	assert.Equal(t, http.StatusCreated, <-held)
	assert.Equal(t, []string{"late", "overtakes", "held"}, l.sentTexts(""))
}

// A caller that gives up does not stop the send: the outcome of a timeout is unknown to it.
func TestSendGoesOnWithoutItsCaller(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.channel("principal", "EVOLUTION", "5511900000000")
	l.lab("POST", "/faults", `{"action":"hold"}`)
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.api+send, strings.NewReader(text("55", "late")))
		if err == nil {
			req.Header.Set("apikey", globalKey)
			req.Header.Set("Content-Type", "application/json")
			var res *http.Response
			if res, err = http.DefaultClient.Do(req); err == nil {
				res.Body.Close()
			}
		}
		gone <- err
	}()
	eventually(t, "a held send", func() bool { return l.lab("GET", "/faults", "")["holding"] == 1.0 })
	cancel()
	require.ErrorIs(t, <-gone, context.Canceled)
	l.lab("POST", "/release", "")
	l.hook.next("send.message")
	eventually(t, "the send", func() bool { return len(l.sentTexts("")) == 1 })
}

func TestBadFaultsAreRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	for _, body := range []string{
		`{"action":"explode"}`, `{"action":"delay"}`, `{"action":"status","status":200}`, `{"action":"hold","cuont":1}`, `{`,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, l.control+"/lab/faults", strings.NewReader(body))
		require.NoError(t, err)
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		assert.Equal(t, http.StatusBadRequest, res.StatusCode, body)
		assert.Equal(t, "evolution", res.Header.Get("X-Lab-Stand-In"))
		require.NoError(t, res.Body.Close())
	}
}

func TestWebhooksCanBeDroppedAndReplayed(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.channel("principal", "EVOLUTION", "5511900000000")
	l.lab("POST", "/webhooks/drop", `{"event":"messages.upsert","count":1}`)
	l.must(200, "POST", "/webhook/evolution", say(ana, "lost"))
	l.hook.next("contacts.upsert", "chats.upsert")
	l.must(200, "POST", "/webhook/evolution", say(ana, "told"))
	told := l.hook.next("messages.upsert", "contacts.upsert", "chats.update", "chats.upsert")
	assert.Equal(t, "told", told.data()["message"].(map[string]any)["conversation"])

	// The receiver answers before the sender notes the try.
	eventually(t, "the deliveries to end", func() bool { return l.lab("GET", "/webhooks", "")["pending"] == 0.0 })
	replayed := l.lab("POST", "/webhooks/replay", `{"event":"messages.upsert","times":20}`)
	assert.Len(t, replayed["statuses"], 20)
	for range 20 {
		assert.Equal(t, told.body, l.hook.next("messages.upsert").body)
	}

	l.lab("POST", "/webhooks/drop", `{"event":"","count":-1}`)
	l.must(201, "POST", send, text("55", "untold"))
	l.lab("POST", "/webhooks/drop", `{"event":"","count":0}`)
	l.must(201, "POST", send, text("55", "told"))
	assert.Equal(t, "told", l.hook.next("send.message").data()["message"].(map[string]any)["conversation"])
}

func TestAnyEventCanBeEmitted(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.channel("principal", "EVOLUTION", "5511900000000")
	l.lab("POST", "/emit", `{"instance":"principal","event":"messages.update","data":{"keyId":"A","status":"READ"}}`)
	assert.Equal(t, map[string]any{"keyId": "A", "status": "READ"}, l.hook.next("messages.update").body["data"])
	tries := l.lab("GET", "/webhooks", "")["tries"].([]any)
	assert.NotEmpty(t, tries)
}
