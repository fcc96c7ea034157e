package standin

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestHealthAndAPI(t *testing.T) {
	l := ready(t, nil)
	status, out := l.do("", "GET", "/health", nil)
	assert.Equal(t, 200, status)
	assert.Equal(t, object{"status": "woot"}, out)
	status, out = l.do("", "GET", "/api", nil)
	assert.Equal(t, 200, status)
	assert.Equal(t, "ok", out.(object)["queue_services"])
	assert.Equal(t, "ok", out.(object)["data_services"])
	assert.Equal(t, Version, out.(object)["version"])
	require.NoError(t, l.app.redis.Close())
	_, out = l.do("", "GET", "/api", nil)
	assert.Equal(t, "failing", out.(object)["queue_services"])
	status, _ = l.do("", "GET", "/api/v1/nothing", nil)
	assert.Equal(t, 404, status)
}

// session calls with the devise headers instead of an access token.
func (l *lab) session(method, path string, header http.Header) int {
	l.Helper()
	req, err := http.NewRequestWithContext(l.Context(), method, l.url+path, nil)
	require.NoError(l, err)
	req.Header = header
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(l, err)
	require.NoError(l, resp.Body.Close())
	return resp.StatusCode
}

func (l *lab) signIn(email, password string, header http.Header) (int, http.Header) {
	l.Helper()
	req, err := http.NewRequestWithContext(l.Context(), "POST", l.url+"/auth/sign_in", strings.NewReader(fmt.Sprintf(`{"email":%q,"password":%q}`, email, password)))
	require.NoError(l, err)
	req.Header = header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(l, err)
	require.NoError(l, resp.Body.Close())
	return resp.StatusCode, resp.Header
}

func TestSignIn(t *testing.T) {
	l := ready(t, nil)
	for _, c := range [][2]string{{adminEmail, "Wrong-1234"}, {"nobody@example.com", adminPassword}, {"", ""}} {
		status, h := l.signIn(c[0], c[1], nil)
		assert.Equal(t, 401, status)
		assert.Empty(t, h.Get("access-token"))
	}
	status, h := l.signIn(strings.ToUpper(adminEmail), adminPassword, nil)
	require.Equal(t, 200, status)
	headers := http.Header{}
	for _, name := range []string{"access-token", "client", "uid"} {
		require.NotEmpty(t, h.Get(name))
		headers.Set(name, h.Get(name))
	}
	assert.Equal(t, "Bearer", h.Get("token-type"))
	assert.Equal(t, 200, l.session("GET", "/api/v1/profile", headers))
	assert.Equal(t, 200, l.session("GET", "/auth/validate_token", headers))
	assert.Equal(t, 200, l.session("GET", "/api/v1/accounts/1/inboxes", headers))
	broken := headers.Clone()
	broken.Set("access-token", "x")
	assert.Equal(t, 401, l.session("GET", "/api/v1/profile", broken))
	assert.Equal(t, 401, l.session("GET", "/api/v1/profile", http.Header{}))
	assert.Equal(t, 200, l.session("DELETE", "/auth/sign_out", headers))
	assert.Equal(t, 401, l.session("GET", "/api/v1/profile", headers))
	assert.Equal(t, 404, l.session("DELETE", "/auth/sign_out", headers))

	_, err := l.app.db.Exec(t.Context(), `UPDATE users SET confirmed_at = NULL`)
	require.NoError(t, err)
	status, _ = l.signIn(adminEmail, adminPassword, nil)
	assert.Equal(t, 401, status, "not confirmed")
}

func TestSessionsAreLimited(t *testing.T) {
	l := ready(t, nil)
	for range maxSessions + 3 {
		status, _ := l.signIn(adminEmail, adminPassword, nil)
		require.Equal(t, 200, status)
	}
	u, err := one[user](t.Context(), l.app.db, userQuery)
	require.NoError(t, err)
	assert.Len(t, u.Tokens, maxSessions)
}

func TestThrottle(t *testing.T) {
	l := ready(t, map[string]string{"RACK_ATTACK_LIMIT": "20", "RACK_ATTACK_ALLOWED_IPS": "198.51.100.9"})
	from := func(ip string) http.Header { return http.Header{"X-Forwarded-For": {ip}} }
	statuses := map[int]int{}
	for range 11 { // the window may turn once in between
		status, _ := l.signIn(adminEmail, adminPassword, from("203.0.113.7"))
		statuses[status]++
	}
	assert.NotZero(t, statuses[429], "more than 5 sign-ins of an address in 5 minutes")
	assert.GreaterOrEqual(t, statuses[200], 5)
	for range 12 {
		status, _ := l.signIn("x@example.com", "x", from("198.51.100.9"))
		assert.Equal(t, 401, status, "an allowed address is not limited")
	}
	limited := false
	for range 41 {
		limited = limited || l.session("GET", "/health", from("203.0.113.8")) == 429
	}
	assert.True(t, limited)
	assert.Equal(t, 200, l.session("GET", "/health", http.Header{}), "loopback is exempt")
	off := ready2(t, l, map[string]string{"ENABLE_RACK_ATTACK": "false"})
	for range 7 {
		status, _ := off.signIn(adminEmail, adminPassword, from("203.0.113.7"))
		assert.Equal(t, 200, status)
	}
}

// ready2 is a second web process of the same installation with other variables.
func ready2(t *testing.T, l *lab, overrides map[string]string) *lab {
	t.Helper()
	vars := map[string]string{}
	for k, v := range l.vars {
		vars[k] = v
	}
	for k, v := range overrides {
		vars[k] = v
	}
	other := &lab{T: t, vars: vars, tok: l.tok}
	other.app = other.open()
	other.serve()
	return other
}

func TestForceSSLRedirectsHealthToo(t *testing.T) {
	l := ready(t, map[string]string{"FORCE_SSL": "true"})
	assert.Equal(t, 301, l.session("GET", "/health", http.Header{}))
	assert.Equal(t, 200, l.session("GET", "/health", http.Header{"X-Forwarded-Proto": {"https"}}))
}

func TestSignUp(t *testing.T) {
	closed := ready(t, nil)
	body := object{"account_name": "Outra", "user_full_name": "Ana", "email": "ana@example.com", "password": "Senha-9876"}
	status, _ := closed.do("", "POST", "/api/v1/accounts", body)
	assert.Equal(t, 404, status)
	open := ready2(t, closed, map[string]string{"ENABLE_ACCOUNT_SIGNUP": "true"})
	status, _ = open.do("", "POST", "/api/v1/accounts", body)
	assert.Equal(t, 200, status)
	status, _ = open.do("", "POST", "/api/v1/accounts", body)
	assert.Equal(t, 403, status, "the address is taken")
	body["email"], body["password"] = "eva@example.com", "weak"
	status, _ = open.do("", "POST", "/api/v1/accounts", body)
	assert.Equal(t, 422, status)
}

func TestTokens(t *testing.T) {
	l := ready(t, nil)
	for _, name := range []string{"api_access_token", "api-access-token", "Api-Access-Token"} {
		assert.Equal(t, 200, l.session("GET", "/api/v1/profile", http.Header{name: {l.tok}}), name)
	}
	assert.Equal(t, 401, l.session("GET", "/api/v1/profile", http.Header{"api_access_token": {"wrong"}}))
	status, _ := l.do(l.tok, "GET", "/api/v1/accounts/99/inboxes", nil)
	assert.Equal(t, 404, status)
	status, _ = l.do(l.tok, "GET", "/api/v1/accounts/x/inboxes", nil)
	assert.Equal(t, 404, status)
	other, err := createAccount(t.Context(), l.app.db, "Alheia")
	require.NoError(t, err)
	status, _ = l.do(l.tok, "GET", fmt.Sprintf("/api/v1/accounts/%d/inboxes", other), nil)
	assert.Equal(t, 401, status)
	assert.Contains(t, l.refused(400, "POST", "/inboxes", `{"name":`), "Bad Request")
}

// agent makes a user with the role agent and returns its access token.
func (l *lab) agent(email string) (id int64, token string) {
	l.Helper()
	ctx := context.Background()
	id, err := createUser(ctx, l.app.db, email, "Beto", "x", "", true)
	require.NoError(l, err)
	require.NoError(l, addToAccount(ctx, l.app.db, 1, id, "agent"))
	require.NoError(l, l.app.db.QueryRow(ctx, `SELECT token FROM access_tokens WHERE owner_type = 'User' AND owner_id = $1`, id).Scan(&token))
	return id, token
}

func TestInboxes(t *testing.T) {
	l := ready(t, nil)
	in := l.must("POST", "/inboxes", object{"name": "WhatsApp", "channel": object{"type": "api", "webhook_url": "http://router:8080/h"}})
	assert.Equal(t, channelAPI, in["channel_type"])
	assert.NotEmpty(t, in["inbox_identifier"])
	assert.NotEmpty(t, in["secret"])
	path := fmt.Sprintf("/inboxes/%v", in["id"])
	assert.Equal(t, in, l.must("GET", path, nil))
	changed := l.must("PATCH", path, object{"channel": object{"webhook_url": "http://other/h"}})
	assert.Equal(t, "http://other/h", changed["webhook_url"])
	assert.Equal(t, in["secret"], changed["secret"])
	assert.NotEqual(t, in["secret"], l.must("POST", path+"/reset_secret", nil)["secret"])

	assert.Contains(t, l.refused(422, "POST", "/inboxes", object{"channel": object{"type": "api"}}), "Name can't be blank")
	assert.Contains(t, l.refused(422, "POST", "/inboxes", object{"name": "x", "channel": object{"type": "api", "webhook_url": "ftp://x"}}), "Webhook url is invalid")
	l.refused(422, "POST", "/inboxes", object{"name": "x", "channel": object{"type": "api", "additional_attributes": object{"agent_reply_time_window": 0}}})
	l.refused(422, "POST", "/inboxes", object{"name": "x", "channel": object{"type": "web_widget"}})
	l.refused(404, "GET", "/inboxes/999", nil)

	agentID, token := l.agent("beto@example.com")
	status, _ := l.do(token, "GET", "/api/v1/accounts/1"+path, nil)
	assert.Equal(t, 401, status, "not a member")
	status, _ = l.do(token, "POST", "/api/v1/accounts/1/inboxes", object{"name": "x", "channel": object{"type": "api"}})
	assert.Equal(t, 401, status, "agents make no inboxes")
	members := l.must("POST", "/inbox_members", object{"inbox_id": in["id"], "user_ids": []any{agentID}})
	assert.Len(t, members["payload"], 1)
	l.refused(422, "POST", "/inbox_members", object{"inbox_id": in["id"], "user_ids": []any{999}})
	status, seen := l.do(token, "GET", "/api/v1/accounts/1"+path, nil)
	assert.Equal(t, 200, status)
	assert.NotContains(t, seen, "secret", "only administrators see it")
	assert.NotContains(t, seen, "hmac_token")
	assert.Len(t, l.must("GET", "/inboxes", nil)["payload"], 1)
	l.must("DELETE", path, nil)
	l.refused(404, "GET", path, nil)
}

func TestAgentBots(t *testing.T) {
	l := ready(t, nil)
	in, conv := l.customer("")
	bot := l.must("POST", "/agent_bots", object{"name": "Plantão", "outgoing_url": "http://router:8080/bot"})
	path := fmt.Sprintf("/agent_bots/%v", bot["id"])
	assert.NotEmpty(t, bot["secret"])
	token := bot["access_token"].(string)
	l.refused(422, "POST", "/agent_bots", object{"name": " "})
	l.refused(500, "POST", "/agent_bots", object{"name": "x", "bot_type": "csml"})
	assert.Equal(t, "outro", l.must("PATCH", path, object{"description": "outro"})["description"])

	inboxPath := fmt.Sprintf("/inboxes/%v", in["id"])
	assert.Empty(t, l.must("GET", inboxPath+"/agent_bot", nil)["agent_bot"])
	l.must("POST", inboxPath+"/set_agent_bot", object{"agent_bot": bot["id"]})
	assert.Equal(t, bot["id"], l.must("GET", inboxPath+"/agent_bot", nil)["agent_bot"].(object)["id"])
	l.refused(404, "POST", inboxPath+"/set_agent_bot", object{"agent_bot": 999})

	asBot := func(method, path string, body any) int {
		status, _ := l.do(token, method, "/api/v1/accounts/1"+path, body)
		return status
	}
	for _, c := range []struct {
		want         int
		method, path string
		body         any
	}{
		{200, "GET", conv, nil}, {200, "POST", conv + "/toggle_status", object{"status": "pending"}}, {200, "POST", conv + "/toggle_priority", object{"priority": "high"}},
		{200, "POST", conv + "/toggle_typing_status", object{"typing_status": "on"}}, {200, "POST", conv + "/custom_attributes", object{"custom_attributes": object{"a": 1}}},
		{200, "POST", conv + "/messages", object{"content": "oi"}}, {200, "POST", conv + "/assignments", object{"assignee_id": 1}},
		{200, "GET", conv + "/labels", nil}, {200, "POST", conv + "/labels", object{"labels": []string{"vip"}}}, {200, "PATCH", conv, object{"priority": "low"}},
		{401, "GET", conv + "/messages", nil}, {401, "PATCH", conv + "/messages/1", object{"status": "read"}}, {401, "GET", "/contacts/1", nil},
		{401, "POST", "/contacts", object{"name": "x"}}, {401, "GET", "/conversations", nil}, {401, "GET", "/inboxes", nil}, {401, "GET", "/agent_bots", nil},
	} {
		assert.Equal(t, c.want, asBot(c.method, c.path, c.body), "%s %s", c.method, c.path)
	}
	assert.Equal(t, 401, l.session("GET", "/api/v1/profile", http.Header{"api_access_token": {token}}))
	other, err := createAccount(t.Context(), l.app.db, "Alheia")
	require.NoError(t, err)
	status, _ := l.do(token, "GET", fmt.Sprintf("/api/v1/accounts/%d/conversations/1", other), nil)
	assert.Equal(t, 401, status)

	assert.NotEqual(t, token, l.must("POST", path+"/reset_access_token", nil)["access_token"])
	assert.Equal(t, 401, asBot("GET", conv, nil), "the old token is dead")
	assert.NotEqual(t, bot["secret"], l.must("POST", path+"/reset_secret", nil)["secret"])
	l.must("POST", inboxPath+"/set_agent_bot", object{"agent_bot": nil})
	assert.Empty(t, l.must("GET", inboxPath+"/agent_bot", nil)["agent_bot"])
	l.must("DELETE", path, nil)
	l.refused(404, "GET", path, nil)
}

func TestWebhooks(t *testing.T) {
	l := ready(t, nil)
	made := l.must("POST", "/webhooks", object{"webhook": object{"url": "http://router:8080/h", "subscriptions": []string{"message_created"}}})
	hook := made["payload"].(object)["webhook"].(object)
	assert.NotEmpty(t, hook["secret"])
	assert.Contains(t, l.refused(422, "POST", "/webhooks", object{"url": "http://router:8080/h"}), "already been taken")
	l.refused(422, "POST", "/webhooks", object{"url": "router"})
	l.refused(422, "POST", "/webhooks", object{"url": "http://b", "subscriptions": []string{"all"}})
	l.refused(422, "POST", "/webhooks", object{"url": "http://b", "subscriptions": []string{}})
	path := fmt.Sprintf("/webhooks/%v", hook["id"])
	l.must("PATCH", path, object{"webhook": object{"url": "http://c"}})
	list := l.must("GET", "/webhooks", nil)["payload"].(object)["webhooks"].([]any)
	require.Len(t, list, 1)
	assert.Equal(t, "http://c", list[0].(object)["url"])
	_, agent := l.agent("beto@example.com")
	status, _ := l.do(agent, "GET", "/api/v1/accounts/1/webhooks", nil)
	assert.Equal(t, 401, status)
	l.must("DELETE", path, nil)
	l.refused(404, "DELETE", path, nil)
}

func TestContacts(t *testing.T) {
	l := ready(t, nil)
	in, _ := l.customer("")
	made := l.must("POST", "/contacts", object{"inbox_id": in["id"], "name": "Ana", "phone_number": "+5521999990000", "email": "ANA@example.com",
		"identifier": "ana", "source_id": "ana-1", "custom_attributes": object{"plan": "gold", "n": 1}})
	who := made["payload"].(object)["contact"].(object)
	assert.Equal(t, "ana@example.com", who["email"])
	assert.Equal(t, "ana-1", made["payload"].(object)["contact_inbox"].(object)["source_id"])
	path := fmt.Sprintf("/contacts/%v", who["id"])

	for _, c := range []struct {
		body object
		want string
	}{
		{object{"phone_number": "+5521999990000"}, "Phone number has already been taken"},
		{object{"email": "ana@EXAMPLE.com"}, "Email has already been taken"},
		{object{"identifier": "ana"}, "Identifier has already been taken"},
		{object{"phone_number": "21999990000"}, "e164"},
		{object{"email": "nope"}, "Invalid email"},
		{object{"name": "Other", "inbox_id": in["id"], "source_id": "ana-1"}, "source_id should be unique"},
	} {
		assert.Contains(t, l.refused(422, "POST", "/contacts", c.body), c.want)
	}
	var n int
	require.NoError(t, l.app.db.QueryRow(t.Context(), `SELECT count(*) FROM contacts WHERE name = 'Other'`).Scan(&n))
	assert.Zero(t, n, "a refused contact inbox keeps no contact")

	updated := l.must("PUT", path, object{"custom_attributes": object{"city": "Rio"}})["payload"].(object)
	assert.Equal(t, object{"plan": "gold", "n": 1.0, "city": "Rio"}, updated["custom_attributes"], "merged, not replaced")
	l.must("POST", path+"/contact_inboxes", object{"inbox_id": in["id"], "source_id": "ana-2"})
	l.refused(422, "POST", path+"/contact_inboxes", object{"inbox_id": in["id"], "source_id": "5511987654321"})
	assert.Len(t, l.must("GET", path, nil)["payload"].(object)["contact_inboxes"], 2)

	for q, want := range map[string]int{"ana": 1, "ANA@": 1, "5521999990000": 1, "nobody": 0} {
		assert.Len(t, l.must("GET", "/contacts/search?q="+q, nil)["payload"], want, q)
	}
	l.refused(422, "GET", "/contacts/search", nil)
	l.refused(404, "GET", "/contacts/999", nil)
	assert.Len(t, l.must("GET", "/contacts", nil)["payload"], 2)
	assert.Empty(t, l.must("GET", path+"/conversations", nil)["payload"])
	l.must("DELETE", path, nil)
	l.refused(404, "GET", path, nil)
}

func TestConversations(t *testing.T) {
	l := ready(t, nil)
	in, first := l.customer("")
	assert.Equal(t, "/conversations/1", first, "display ids count per account")
	second := l.must("POST", "/conversations", object{"source_id": "5511987654321", "status": "pending", "message": object{"content": "oi", "message_type": "incoming"}})
	assert.EqualValues(t, 2, second["id"])
	assert.Equal(t, "pending", second["status"])
	assert.Len(t, second["messages"], 1)
	l.refused(404, "POST", "/conversations", object{"source_id": "unknown"})
	l.refused(422, "POST", "/conversations", object{"inbox_id": in["id"], "contact_id": l.otherContact(), "source_id": "5511987654321"})
	l.refused(500, "POST", "/conversations", object{"source_id": "5511987654321", "status": "odd"})
	l.refused(404, "GET", "/conversations/99", nil)

	data := l.must("GET", "/conversations", nil)["data"].(object)
	assert.Len(t, data["payload"], 1, "open only, unless asked")
	data = l.must("GET", fmt.Sprintf("/conversations?status=all&assignee_type=unassigned&inbox_id=%v", in["id"]), nil)["data"].(object)
	assert.Len(t, data["payload"], 2)
	assert.EqualValues(t, 2, data["meta"].(object)["all_count"])
	l.refused(500, "GET", "/conversations?status=odd", nil)

	state := func(body object) any {
		return l.must("POST", first+"/toggle_status", body)["payload"].(object)["current_status"]
	}
	assert.Equal(t, "resolved", state(object{}))
	assert.Equal(t, "open", state(object{}))
	assert.Equal(t, "snoozed", state(object{"status": "snoozed", "snoozed_until": 4102444800}))
	assert.NotNil(t, l.must("GET", first, nil)["snoozed_until"])
	assert.Equal(t, "open", state(object{"status": "open"}))
	assert.Nil(t, l.must("GET", first, nil)["snoozed_until"])
	l.refused(500, "POST", first+"/toggle_status", object{"status": "odd"})

	assert.EqualValues(t, 1, l.must("POST", first+"/assignments", object{"assignee_id": 1})["id"])
	assert.EqualValues(t, 1, l.must("GET", first, nil)["meta"].(object)["assignee"].(object)["id"])
	bot := l.must("POST", "/agent_bots", object{"name": "Bot"})
	l.must("POST", first+"/assignments", object{"assignee_id": bot["id"], "assignee_type": "AgentBot"})
	assert.Equal(t, "AgentBot", l.must("GET", first, nil)["meta"].(object)["assignee_type"])
	l.must("POST", first+"/assignments", object{"assignee_id": 0})
	assert.NotContains(t, l.must("GET", first, nil)["meta"], "assignee")

	l.must("POST", first+"/labels", object{"labels": []string{"VIP", "b"}})
	assert.Equal(t, []any{"c"}, l.must("POST", first+"/labels", object{"labels": []string{"c"}})["payload"], "replaced")
	l.must("POST", first+"/custom_attributes", object{"custom_attributes": object{"a": 1}})
	assert.Equal(t, object{"b": 2.0}, l.must("POST", first+"/custom_attributes", object{"custom_attributes": object{"b": 2}})["custom_attributes"], "replaced")
	assert.Equal(t, "urgent", l.must("PATCH", first, object{"priority": "urgent"})["priority"])
	l.must("POST", first+"/toggle_priority", object{})
	assert.Nil(t, l.must("GET", first, nil)["priority"])
	assert.EqualValues(t, 1, l.must("GET", "/conversations/2", nil)["unread_count"])
	l.must("POST", "/conversations/2/update_last_seen", nil)
	assert.EqualValues(t, 0, l.must("GET", "/conversations/2", nil)["unread_count"])
}

func (l *lab) otherContact() any {
	l.Helper()
	return l.must("POST", "/contacts", object{"name": "Other"})["payload"].(object)["contact"].(object)["id"]
}

func TestConversationStatesWithABot(t *testing.T) {
	l := ready(t, nil)
	in, first := l.customer("")
	bot := l.must("POST", "/agent_bots", object{"name": "Bot"})
	l.must("POST", fmt.Sprintf("/inboxes/%v/set_agent_bot", in["id"]), object{"agent_bot": bot["id"]})
	assert.Equal(t, "pending", l.must("POST", "/conversations", object{"source_id": "5511987654321", "status": "open"})["status"])
	l.must("POST", first+"/toggle_status", object{"status": "resolved"})
	assert.Zero(t, l.must("GET", first, nil)["waiting_since"])
	l.must("POST", first+"/messages", object{"content": "oi", "message_type": "incoming"})
	assert.Equal(t, "pending", l.must("GET", first, nil)["status"], "resolved and written to again: the bot's")
	l.must("POST", first+"/messages", object{"content": "eu atendo"})
	got := l.must("GET", first, nil)
	assert.Equal(t, "pending", got["status"], "a human's answer alone opens nothing")
	assert.Zero(t, got["waiting_since"])
	assert.NotZero(t, got["first_reply_created_at"])
	status, _ := l.do(bot["access_token"].(string), "POST", "/api/v1/accounts/1"+first+"/toggle_status", object{"status": "open"})
	require.Equal(t, 200, status)
	got = l.must("GET", first, nil)
	assert.Equal(t, "open", got["status"])
	assert.NotZero(t, got["waiting_since"], "the hand-off starts the waiting")

	agentID, token := l.agent("beto@example.com")
	l.must("POST", "/inbox_members", object{"inbox_id": in["id"], "user_ids": []any{agentID}})
	l.must("POST", first+"/toggle_status", object{"status": "pending"})
	status, _ = l.do(token, "POST", "/api/v1/accounts/1"+first+"/toggle_status", object{"status": "open"})
	require.Equal(t, 200, status)
	assert.EqualValues(t, agentID, l.must("GET", first, nil)["meta"].(object)["assignee"].(object)["id"], "an agent who opens gets it")
}

func TestLockToSingleConversation(t *testing.T) {
	l := ready(t, nil)
	in, first := l.customer("")
	l.must("PATCH", fmt.Sprintf("/inboxes/%v", in["id"]), object{"lock_to_single_conversation": true})
	again := l.must("POST", "/conversations", object{"source_id": "5511987654321"})
	assert.Equal(t, first, fmt.Sprintf("/conversations/%v", again["id"]))
}

func TestReplyWindow(t *testing.T) {
	l := ready(t, nil)
	in, conv := l.customer("")
	l.must("PATCH", fmt.Sprintf("/inboxes/%v", in["id"]), object{"channel": object{"additional_attributes": object{"agent_reply_time_window": 24}}})
	assert.Equal(t, false, l.must("GET", conv, nil)["can_reply"])
	l.must("POST", conv+"/messages", object{"content": "oi", "message_type": "incoming"})
	assert.Equal(t, true, l.must("GET", conv, nil)["can_reply"])
	_, err := l.app.db.Exec(t.Context(), `UPDATE messages SET created_at = now() - interval '25 hours'`)
	require.NoError(t, err)
	assert.Equal(t, false, l.must("GET", conv, nil)["can_reply"])
}

func TestMessages(t *testing.T) {
	l := ready(t, map[string]string{"CONVERSATION_MESSAGE_PER_MINUTE_LIMIT": "40"})
	_, conv := l.customer("")
	m := l.must("POST", conv+"/messages", object{"content": "Olá, ação!", "source_id": "WAID:1", "echo_id": "e1", "content_attributes": object{"in_reply_to": 3}})
	assert.EqualValues(t, 1, m["message_type"])
	assert.Equal(t, "e1", m["echo_id"])
	assert.Equal(t, "sent", m["status"])
	assert.Equal(t, "user", m["sender"].(object)["type"])
	again := l.must("POST", conv+"/messages", object{"content": "Olá", "source_id": "WAID:1"})
	assert.NotEqual(t, m["id"], again["id"], "source_id is not unique")
	assert.Equal(t, "contact", l.must("POST", conv+"/messages", object{"content": "x", "message_type": "incoming"})["sender"].(object)["type"])

	assert.Contains(t, l.refused(422, "POST", conv+"/messages", object{"content": strings.Repeat("á", maxContent+1)}), "too long")
	l.must("POST", conv+"/messages", object{"content": strings.Repeat("á", maxContent)})
	assert.Contains(t, l.refused(422, "POST", conv+"/messages", object{"content": "x", "message_type": "odd"}), "not a valid message_type")
	assert.Contains(t, l.refused(422, "POST", conv+"/messages", object{"content": "x", "content_type": "odd"}), "not a valid content_type")

	path := fmt.Sprintf("%s/messages/%v", conv, m["id"])
	for _, step := range [][2]string{{"read", "read"}, {"delivered", "read"}, {"sent", "sent"}, {"failed", "failed"}, {"odd", "failed"}, {"delivered", "delivered"}} {
		got := l.must("PATCH", path, object{"status": step[0], "external_error": "no number"})
		assert.Equal(t, step[1], got["status"], "after %s", step[0])
		_, has := got["content_attributes"].(object)["external_error"]
		assert.Equal(t, step[1] == "failed", has)
	}
	l.must("PATCH", path, object{"status": "failed", "external_error": "no number"})
	retried := l.must("POST", path+"/retry", nil)
	assert.Equal(t, "sent", retried["status"])
	assert.Empty(t, retried["content_attributes"])
	deleted := l.must("DELETE", path, nil)
	assert.Equal(t, object{"deleted": true}, deleted["content_attributes"])
	assert.NotContains(t, deleted["content"], "Olá")
	l.refused(404, "PATCH", conv+"/messages/999", object{"status": "read"})
}

func TestMessageFlood(t *testing.T) {
	l := ready(t, map[string]string{"CONVERSATION_MESSAGE_PER_MINUTE_LIMIT": "5"})
	_, conv := l.customer("")
	for range 5 {
		l.must("POST", conv+"/messages", object{"content": "x"})
	}
	assert.Contains(t, l.refused(422, "POST", conv+"/messages", object{"content": "x"}), "Too many messages")
}

func TestMessageList(t *testing.T) {
	l := ready(t, map[string]string{"CONVERSATION_MESSAGE_PER_MINUTE_LIMIT": "1000"})
	_, conv := l.customer("")
	var ids []float64
	for i := range 130 {
		ids = append(ids, l.must("POST", conv+"/messages", object{"content": fmt.Sprint(i), "private": i == 129})["id"].(float64))
	}
	list := func(query string) []float64 {
		var got []float64
		for _, m := range l.must("GET", conv+"/messages"+query, nil)["payload"].([]any) {
			got = append(got, m.(object)["id"].(float64))
		}
		return got
	}
	assert.Equal(t, ids[110:], list(""), "newest 20, oldest first")
	assert.Equal(t, ids[90:110], list(fmt.Sprintf("?before=%v", ids[110])))
	assert.Equal(t, ids[1:101], list(fmt.Sprintf("?after=%v", ids[0])), "up to 100 newer")
	assert.Equal(t, ids[3:7], list(fmt.Sprintf("?after=%v&before=%v", ids[3], ids[7])))
	assert.Equal(t, ids[109:129], list("?filter_internal_messages=true"), "the private note is left out")
}

func TestMultipartAndForms(t *testing.T) {
	l := ready(t, nil)
	_, conv := l.customer("")
	post := func(kind, body string) int {
		req, err := http.NewRequestWithContext(t.Context(), "POST", l.url+"/api/v1/accounts/1"+conv+"/messages", strings.NewReader(body))
		require.NoError(t, err)
		req.Header.Set("Content-Type", kind)
		req.Header.Set("api_access_token", l.tok)
		resp, err := http.DefaultTransport.RoundTrip(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode
	}
	part := func(name, rest string) string {
		return "--b\r\nContent-Disposition: form-data; name=\"" + name + "\"" + rest + "\r\n"
	}
	assert.Equal(t, 200, post("application/x-www-form-urlencoded", "content=oi&content_attributes[in_reply_to]=1"))
	assert.Equal(t, 200, post("multipart/form-data; boundary=b", part("content", "\r\n\r\noi")+part("content_attributes", "\r\n\r\n{\"in_reply_to\":1}")+"--b--\r\n"))
	assert.Equal(t, 501, post("application/json", `{"attachments":["a signed id of a direct upload"]}`))
	assert.Equal(t, 400, post("multipart/form-data; boundary=b", "nonsense"))
	got := l.must("GET", conv+"/messages", nil)["payload"].([]any)
	require.Len(t, got, 2)
	assert.Contains(t, got[1].(object)["content_attributes"], "in_reply_to")
}

func TestAttachments(t *testing.T) {
	l := ready(t, nil)
	_, conv := l.customer("")
	file := "--b\r\nContent-Disposition: form-data; name=\"attachments[]\"; filename=\"a ç.png\"\r\nContent-Type: image/png\r\n\r\nPNG\r\n"
	post := func(body string) int {
		req, err := http.NewRequestWithContext(t.Context(), "POST", l.url+"/api/v1/accounts/1"+conv+"/messages", strings.NewReader(body))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "multipart/form-data; boundary=b")
		req.Header.Set("api_access_token", l.tok)
		resp, err := http.DefaultTransport.RoundTrip(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode
	}
	require.Equal(t, 200, post(file+"--b--\r\n"))
	assert.Equal(t, 422, post(strings.Repeat(file, 16)+"--b--\r\n"), "fifteen at most")
	got := l.must("GET", conv+"/messages", nil)["payload"].([]any)[0].(object)
	at := got["attachments"].([]any)[0].(object)
	assert.Equal(t, "image", at["file_type"])
	assert.Equal(t, "png", at["extension"])
	assert.EqualValues(t, 3, at["file_size"])
	front := l.get("FRONTEND_URL")
	fetch := func(address string) *http.Response {
		require.True(t, strings.HasPrefix(address, front+"/"), address)
		req, err := http.NewRequestWithContext(t.Context(), "GET", l.url+strings.TrimPrefix(address, front), nil)
		require.NoError(t, err)
		resp, err := http.DefaultTransport.RoundTrip(req)
		require.NoError(t, err)
		t.Cleanup(func() { _ = resp.Body.Close() })
		return resp
	}
	first := fetch(at["data_url"].(string))
	require.Equal(t, 302, first.StatusCode)
	second := fetch(first.Header.Get("Location"))
	require.Equal(t, "image/png", second.Header.Get("Content-Type"))
	raw, err := io.ReadAll(second.Body)
	require.NoError(t, err)
	assert.Equal(t, "PNG", string(raw))

	gone := l.must("DELETE", fmt.Sprintf("%s/messages/%v", conv, got["id"]), nil)
	assert.NotContains(t, gone, "attachments")
	assert.Equal(t, 404, fetch(first.Header.Get("Location")).StatusCode)
}

func TestListedConversations(t *testing.T) {
	l := ready(t, nil)
	in, first := l.customer("")
	l.must("POST", "/conversations", object{"source_id": "5511987654321", "inbox_id": in["id"]})
	ids := func(query string) (list []string) {
		t.Helper()
		data := l.must("GET", "/conversations?status=all"+query, nil)["data"].(object)
		for _, c := range data["payload"].([]any) {
			list = append(list, fmt.Sprintf("/conversations/%v", c.(object)["id"]))
		}
		return list
	}
	l.must("POST", first+"/messages", object{"content": "oi"})
	assert.Equal(t, first, ids("")[0], "newest activity first")
	assert.Equal(t, first, ids("&sort_by=last_activity_at_asc")[1])
	assert.Equal(t, first, ids("&sort_by=whatever")[0])
	assert.Empty(t, ids("&page=2"))
	assert.Len(t, ids("&page=2&updated_within=60"), 2, "with updated_within there are no pages")
}
