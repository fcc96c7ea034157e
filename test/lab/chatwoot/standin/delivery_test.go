package standin

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWorkerDeliversAndWebDoesNot(t *testing.T) {
	l := ready(t, nil)
	hook := newReceiver(t, 200)
	in, conv := l.customer(hook.URL + "/hooks/chatwoot/principal")
	m := l.must("POST", conv+"/messages", object{"content": "Bom dia", "message_type": "incoming", "source_id": "WAID:9"})
	waiting, err := l.app.redis.LLen(t.Context(), "queue:critical").Result()
	require.NoError(t, err)
	require.Positive(t, waiting, "the web process only queues")
	require.Empty(t, hook.events("message_created"))

	l.work()
	got := hook.await(t, "message_created", 1)[0]
	assert.Equal(t, m["id"], got.body["id"])
	assert.Equal(t, "incoming", got.body["message_type"], "a word in the message itself")
	assert.Equal(t, "Bom dia", got.body["content"])
	assert.NotContains(t, got.body, "status")
	assert.NotContains(t, got.body, "echo_id")
	assert.Equal(t, object{"id": 1.0, "name": accountName}, got.body["account"])
	assert.Equal(t, object{"id": in["id"], "name": "WhatsApp"}, got.body["inbox"])
	sender := got.body["sender"].(object)
	assert.NotContains(t, sender, "type", "a contact as sender has none")
	assert.Equal(t, "+5511987654321", sender["phone_number"])
	nested := got.body["conversation"].(object)
	assert.EqualValues(t, 1, nested["id"], "the display id")
	assert.Equal(t, channelAPI, nested["channel"])
	assert.Equal(t, "5511987654321", nested["contact_inbox"].(object)["source_id"])
	assert.EqualValues(t, 0, nested["messages"].([]any)[0].(object)["message_type"], "a number in the conversation")

	// The signature covers timestamp, a dot and the raw body.
	stamp := got.header.Get("X-Chatwoot-Timestamp")
	mac := hmac.New(sha256.New, []byte(in["secret"].(string)))
	mac.Write([]byte(stamp + "." + string(got.raw)))
	assert.Equal(t, "sha256="+hex.EncodeToString(mac.Sum(nil)), got.header.Get("X-Chatwoot-Signature"))
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	require.NoError(t, err)
	assert.WithinDuration(t, time.Now(), time.Unix(seconds, 0), time.Minute)
	assert.Len(t, got.header.Get("X-Chatwoot-Delivery"), 36)
	hook.await(t, "conversation_created", 1)
	require.Eventually(t, func() bool {
		n, err := l.app.redis.SCard(t.Context(), processesKey).Result()
		return err == nil && n == 1
	}, 10*time.Second, 20*time.Millisecond, "the worker beats")
}

func TestConversationEvents(t *testing.T) {
	l := ready(t, nil)
	hook := newReceiver(t, 200)
	account := newReceiver(t, 200)
	_, conv := l.customer(hook.URL)
	l.must("POST", "/webhooks", object{"url": account.URL, "subscriptions": []string{"conversation_status_changed", "contact_updated"}})
	l.work()
	l.must("POST", conv+"/toggle_status", object{"status": "resolved"})
	got := hook.await(t, "conversation_status_changed", 1)[0].body
	assert.Equal(t, "resolved", got["status"])
	assert.Equal(t, []any{object{"status": object{"previous_value": "open", "current_value": "resolved"}}}, got["changed_attributes"])
	account.await(t, "conversation_status_changed", 1)
	keys := map[string]bool{}
	for _, c := range hook.await(t, "conversation_updated", 1)[0].body["changed_attributes"].([]any) {
		for k := range c.(object) {
			keys[k] = true
		}
	}
	assert.Equal(t, map[string]bool{"status": true, "waiting_since": true}, keys)

	l.must("POST", conv+"/assignments", object{"assignee_id": 1})
	updated := hook.await(t, "conversation_updated", 2)[1].body
	assert.Equal(t, "assignee_id", firstKey(updated["changed_attributes"]))
	assert.Equal(t, "User", updated["meta"].(object)["assignee_type"])
	l.must("POST", conv+"/labels", object{"labels": []string{"vip"}})
	hook.await(t, "conversation_updated", 3)
	l.must("POST", conv+"/labels", object{"labels": []string{"vip"}})
	l.must("POST", conv+"/toggle_typing_status", object{"typing_status": "on"})
	typing := hook.await(t, "conversation_typing_on", 1)[0].body
	assert.Equal(t, "user", typing["user"].(object)["type"])
	assert.EqualValues(t, 1, typing["conversation"].(object)["id"])
	assert.Len(t, hook.events("conversation_updated"), 3, "a change that changes nothing is no event")
	assert.Empty(t, hook.events("conversation_resolved"), "only bots get that one")

	l.must("PUT", "/contacts/1", object{"name": "José Silva"})
	contact := account.await(t, "contact_updated", 1)[0].body
	assert.Equal(t, "name", firstKey(contact["changed_attributes"]))
	require.Eventually(t, func() bool {
		var n int
		err := l.app.db.QueryRow(t.Context(), `SELECT count(*) FROM messages WHERE message_type = 2`).Scan(&n)
		return err == nil && n == 2
	}, 10*time.Second, 20*time.Millisecond, "notes about status and assignee")
	assert.Empty(t, hook.events("message_created"), "which are sent nowhere")
}

func firstKey(list any) string {
	entries, _ := list.([]any)
	if len(entries) == 0 {
		return ""
	}
	for k := range entries[0].(object) {
		return k
	}
	return ""
}

func TestFailedInboxHookMarksTheMessage(t *testing.T) {
	l := ready(t, nil)
	hook := newReceiver(t, 503)
	_, conv := l.customer(hook.URL)
	l.work()
	m := l.must("POST", conv+"/messages", object{"content": "x"})
	// The failure changes the message, which is an update of its own; that fails the same way and changes nothing more.
	hook.await(t, "message_updated", 1)
	l.idle()
	assert.Len(t, hook.events("message_created"), 1, "no retry")
	assert.Len(t, hook.events("message_updated"), 1)
	got := l.must("GET", conv+"/messages", nil)["payload"].([]any)[0].(object)
	assert.Equal(t, m["id"], got["id"])
	assert.Equal(t, "failed", got["status"])
	assert.Equal(t, "503 Service Unavailable", got["content_attributes"].(object)["external_error"])
}

func TestFailedAccountHookChangesNothing(t *testing.T) {
	l := ready(t, nil)
	hook := newReceiver(t, 500)
	_, conv := l.customer("")
	l.must("POST", "/webhooks", object{"url": hook.URL, "subscriptions": []string{"message_created"}})
	l.work()
	l.must("POST", conv+"/messages", object{"content": "x", "private": true})
	hook.await(t, "message_created", 1)
	l.idle()
	assert.Len(t, hook.events("message_created"), 1)
	assert.Equal(t, "sent", l.must("GET", conv+"/messages", nil)["payload"].([]any)[0].(object)["status"])
}

func TestAgentBotHook(t *testing.T) {
	for name, c := range map[string]struct {
		status, deliveries int
		keep               bool
		want               string
	}{
		"ok":                 {200, 1, false, "pending"},
		"500 is retried":     {500, 3, false, "open"},
		"429 is retried":     {429, 3, false, "open"},
		"503 is not":         {503, 1, false, "open"},
		"404 is not":         {404, 1, false, "open"},
		"account keeps them": {503, 1, true, "pending"},
	} {
		t.Run(name, func(t *testing.T) {
			l := ready(t, nil)
			hook := newReceiver(t, c.status)
			in, _ := l.customer("")
			bot := l.must("POST", "/agent_bots", object{"name": "Bot", "outgoing_url": hook.URL})
			l.must("POST", fmt.Sprintf("/inboxes/%v/set_agent_bot", in["id"]), object{"agent_bot": bot["id"]})
			_, err := l.app.db.Exec(t.Context(), `UPDATE accounts SET keep_pending_on_bot_failure = $1`, c.keep)
			require.NoError(t, err)
			conv := fmt.Sprintf("/conversations/%v", l.must("POST", "/conversations", object{"source_id": "5511987654321"})["id"])
			l.work()
			l.must("POST", conv+"/messages", object{"content": "oi", "message_type": "incoming"})
			got := hook.await(t, "message_created", c.deliveries)
			for _, g := range got {
				assert.Equal(t, got[0].header.Get("X-Chatwoot-Delivery"), g.header.Get("X-Chatwoot-Delivery"), "the same in every attempt")
			}
			require.Eventually(t, func() bool { return l.must("GET", conv, nil)["status"] == c.want }, 10*time.Second, 20*time.Millisecond)
			l.idle()
			assert.Len(t, hook.events("message_created"), c.deliveries)
			if c.want == "open" {
				hook.await(t, "conversation_opened", 1)
			}
		})
	}
}

func TestPrivateAddressesAreRefused(t *testing.T) {
	l := ready(t, map[string]string{"SAFE_FETCH_ALLOW_PRIVATE_NETWORK": ""})
	hook := newReceiver(t, 200)
	_, conv := l.customer(hook.URL)
	l.work()
	l.must("POST", conv+"/messages", object{"content": "x"})
	var failed object
	require.Eventually(t, func() bool {
		failed = l.must("GET", conv+"/messages", nil)["payload"].([]any)[0].(object)
		return failed["status"] == "failed"
	}, 10*time.Second, 20*time.Millisecond)
	assert.Equal(t, "Hostname '127.0.0.1' has no public ip addresses", failed["content_attributes"].(object)["external_error"])
	assert.Empty(t, hook.events("message_created"))
}

func TestRedirectsArePostedAgain(t *testing.T) {
	l := ready(t, nil)
	hook := newReceiver(t, 200)
	redirect := httptest.NewServer(http.RedirectHandler(hook.URL, http.StatusFound))
	t.Cleanup(redirect.Close)
	_, conv := l.customer(redirect.URL)
	l.work()
	l.must("POST", conv+"/messages", object{"content": "x"})
	assert.NotEmpty(t, hook.await(t, "message_created", 1)[0].raw)

	loop := httptest.NewServer(http.RedirectHandler("/", http.StatusFound))
	t.Cleanup(loop.Close)
	require.ErrorContains(t, l.app.post(t.Context(), delivery{URL: loop.URL, Payload: []byte(`{}`)}), "10 redirects")
	require.ErrorContains(t, l.app.post(t.Context(), delivery{URL: "ftp://x"}), "http or https")
	require.Error(t, l.app.post(t.Context(), delivery{URL: "http://127.0.0.1:1", Payload: []byte(`{}`)}))
}

func TestSlowReceiverTimesOut(t *testing.T) {
	l := ready(t, nil)
	release := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(slow.Close)
	t.Cleanup(func() { close(release) })
	begin := time.Now()
	err := l.app.post(t.Context(), delivery{URL: slow.URL, Payload: []byte(`{}`)})
	require.ErrorContains(t, err, "timed out")
	assert.InDelta(t, webhookTimeout.Seconds(), time.Since(begin).Seconds(), 1.5)
}

func TestUnknownJobsDoNotStopTheWorker(t *testing.T) {
	l := ready(t, nil)
	hook := newReceiver(t, 200)
	_, conv := l.customer(hook.URL)
	require.NoError(t, l.app.redis.LPush(t.Context(), "queue:critical", "not json", `{"class":"OddJob","args":{}}`, `{"class":"EventDispatcherJob","args":[]}`,
		`{"class":"EventDispatcherJob","args":{"name":"message_created","message_id":999}}`).Err())
	l.work()
	l.must("POST", conv+"/messages", object{"content": "x"})
	hook.await(t, "message_created", 1)
}
