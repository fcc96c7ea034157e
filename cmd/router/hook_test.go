package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"plantao/runtime/postgres/postgrestest"
)

func TestHookRefusesBadInput(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.c.Hooks.MaxBodyBytes = 4096
	r := b.serveReady()
	path := "/hooks/evolution/" + testChannel
	good := map[string]string{"Content-Type": "application/json", "X-Plantao-Secret": testHookSecret}
	with := func(k, v string) map[string]string {
		h := map[string]string{k: v}
		for key, value := range good {
			if key != k {
				h[key] = value
			}
		}
		return h
	}
	for _, c := range []struct {
		name, method, path, body string
		header                   map[string]string
		status                   int
		code                     string
	}{
		{"unknown channel", "POST", "/hooks/evolution/nobody", "{}", good, 404, "unknown_channel"},
		{"unknown path", "POST", "/hooks/other", "{}", good, 404, "not_found"},
		{"channel no text can hold", "POST", "/hooks/evolution/%00", "{}", good, 404, "unknown_channel"},
		{"channel not UTF-8", "POST", "/hooks/evolution/%ff", "{}", good, 404, "unknown_channel"},
		{"no secret", "POST", path, "{}", map[string]string{"Content-Type": "application/json"}, 401, "wrong_secret"},
		{"wrong secret", "POST", path, "{}", with("X-Plantao-Secret", "x"), 401, "wrong_secret"},
		{"empty secret", "POST", path, "{}", with("X-Plantao-Secret", ""), 401, "wrong_secret"},
		{"wrong method", "GET", path, "", good, 405, "method"},
		{"too large", "POST", path, `{"event":"` + strings.Repeat("x", 5000) + `"}`, good, 413, "too_large"},
		{"no content type", "POST", path, "{}", map[string]string{"X-Plantao-Secret": testHookSecret}, 415, "not_json"},
		{"form", "POST", path, "a=b", with("Content-Type", "application/x-www-form-urlencoded"), 415, "not_json"},
		{"broken json", "POST", path, `{"event":`, good, 400, "malformed"},
		{"list", "POST", path, `[]`, good, 400, "malformed"},
		{"empty body", "POST", path, ``, good, 400, "malformed"},
		{"no event", "POST", path, `{"data":{}}`, good, 400, "malformed"},
		{"event of another type", "POST", path, `{"event":7}`, good, 400, "malformed"},
		{"not UTF-8", "POST", path, "{\"event\":\"a\xff\"}", good, 400, "malformed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := r.request(c.method, c.path, c.body, c.header)
			require.Equal(t, c.status, a.status, a.body)
			var body struct{ Code, Message string }
			require.NoError(t, json.Unmarshal([]byte(a.body), &body))
			assert.Equal(t, c.code, body.Code)
			assert.NotEmpty(t, body.Message)
		})
	}
	require.Zero(t, b.count("select count(*) from inbox"))
	require.Zero(t, b.count("select count(*) from inbox_key"))
}

func TestHookStoresWhatNobodyAnswers(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.serveReady()
	message := func(id, jid string, fromMe bool, content map[string]any) string {
		return event("messages.upsert", map[string]any{
			"key": map[string]any{"remoteJid": jid, "fromMe": fromMe, "id": id}, "message": content,
		})
	}
	text := map[string]any{"conversation": "x"}
	for _, c := range []struct{ name, body, kind, reason string }{
		{"unknown event", `{"event":"moon.phase","data":{}}`, "unknown", "unknown_event"},
		{"no key", event("messages.upsert", map[string]any{}), "unknown", "unusable_key"},
		{"data is a list", event("messages.upsert", []int{1}), "unknown", "unreadable_data"},
		{"id of a megabyte", message(strings.Repeat("x", 1<<20), testCustomer, false, text), "unknown", "unusable_key"},
		{"group", message("G1", "12036302@g.us", false, text), "message", "group"},
		{"status", message("S1", "status@broadcast", false, text), "message", "status_broadcast"},
		{"newsletter", message("N1", "1203@newsletter", false, text), "message", "newsletter"},
		{"typed on the phone", message("F1", testCustomer, true, text), "message", "from_me"},
		{"sent by another client", event("send.message", map[string]any{"key": map[string]any{"remoteJid": testCustomer, "id": "F2"}}), "sent", "from_me"},
		{"debug trigger", message("D1", testCustomer, false, map[string]any{"conversation": "requestPlaceholder"}), "message", "debug_trigger"},
		{"other debug trigger", message("D2", testCustomer, false, map[string]any{"conversation": "onDemandHistSync"}), "message", "debug_trigger"},
		{"revocation", message("P1", testCustomer, false, map[string]any{"protocolMessage": map[string]any{"type": 0}}), "message", "protocol"},
		{"delivery", event("messages.update", map[string]any{"keyId": "X", "status": "READ"}), "status", "delivery_status"},
		{"connection", event("connection.update", map[string]any{"state": "open"}), "connection", "connection"},
		{"another instance", strings.Replace(message("I1", testCustomer, false, text), `"principal"`, `"other"`, 1), "message", "instance_mismatch"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, duplicate := range []bool{false, true} {
				a := r.post(c.body)
				require.Equal(t, http.StatusOK, a.status, a.body)
				require.Contains(t, a.body, fmt.Sprintf(`"duplicate":%v`, duplicate))
			}
			reasons := []string{"ignored " + c.kind + " " + c.reason}
			if c.reason == "from_me" { // until it is known who wrote it, which may be at once
				reasons = append(reasons, "ignored "+c.kind+" foreign_sender", "ignored "+c.kind+" human_on_phone")
			}
			require.Contains(t, reasons, b.text("select concat_ws(' ', state, kind, reason) from inbox order by id desc limit 1"))
		})
	}
	require.Equal(t, 1, b.count("select count(*) from conversation where debounce_until is null"), "what the phone writes to somebody new")
	require.Equal(t, 1, b.count("select count(*) from conversation"))
	require.Empty(t, b.flow.requests())
}

func TestHookKeepsWhatJSONBCannotHold(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.serveReady()
	body := strings.Replace(upsert("NUL", testCustomer, "a?b"), "a?b", `a\u0000b`, 1)
	require.Equal(t, http.StatusOK, r.post(body).status)
	b.settled()
	require.Equal(t, []string{"eco: ab"}, b.evo.words())
	require.Equal(t, body, b.text("select convert_from(decode(body ->> 'base64', 'base64'), 'UTF8') from inbox"))
}

func TestTwentyCopiesGiveOneAnswer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.serveReady()
	body := upsert("DUP", testCustomer, "oi")
	var all sync.WaitGroup
	answers := make(chan answer, 20)
	for range 20 {
		all.Go(func() { answers <- r.post(body) })
	}
	all.Wait()
	close(answers)
	fresh := 0
	for a := range answers {
		require.Equal(t, http.StatusOK, a.status, a.body)
		if strings.Contains(a.body, `"duplicate":false`) {
			fresh++
		}
	}
	require.Equal(t, 1, fresh)
	b.settled()
	require.Equal(t, http.StatusOK, r.post(body).status)
	b.settled()
	require.Equal(t, []string{"eco: oi"}, b.evo.words())
	require.Equal(t, 1, b.count("select count(*) from inbox"))
	require.Equal(t, 1, b.count("select count(*) from turn"))
	require.Equal(t, 1, b.count("select count(*) from conversation"))
}

func TestManyCustomersAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.serveReady()
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			jid := fmt.Sprintf("551198888%04d@s.whatsapp.net", i%10)
			assert.Equal(t, http.StatusOK, r.post(upsert(fmt.Sprintf("M%d", i), jid, fmt.Sprint(i))).status)
		})
	}
	all.Wait()
	b.settled()
	require.Equal(t, 10, b.count("select count(*) from conversation"))
	require.Equal(t, 40, b.count("select count(*) from inbox where state = 'done'"))
	seen := 0
	for _, q := range b.flow.requests() {
		seen += len(q.Messages)
	}
	require.Equal(t, 40, seen, "each message in exactly one turn")
	require.Equal(t, b.count("select count(*) from turn"), len(b.evo.texts()))
}

func TestDatabaseDownGives503(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	proxy := b.db.NewProxy(t)
	b.c.Database.URL = proxy.URL
	r := b.serveReady()
	require.Equal(t, http.StatusOK, r.post(upsert("A", testCustomer, "um")).status)
	b.settled()

	proxy.Cut()
	a := r.post(upsert("B", testCustomer, "dois"))
	require.Equal(t, http.StatusServiceUnavailable, a.status, a.body)
	require.NotEmpty(t, a.header.Get("Retry-After"))
	require.Equal(t, http.StatusOK, r.get("/healthz").status)
	ready := r.get("/readyz")
	require.Equal(t, http.StatusServiceUnavailable, ready.status)
	require.Contains(t, ready.body, `"name":"database","ok":false`)
	require.Contains(t, r.get("/metrics").body, "router_store_up 0")
	require.Equal(t, 1, b.count("select count(*) from inbox"))
	require.Equal(t, 1, b.count("select count(*) from inbox_key"))

	proxy.Mend()
	r.awaitReady()
	require.Equal(t, http.StatusOK, r.post(upsert("B", testCustomer, "dois")).status)
	b.settled()
	require.Equal(t, []string{"eco: um", "eco: dois"}, b.evo.words())
}

func TestDatabaseDownAtStart(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	proxy := b.db.NewProxy(t)
	proxy.Cut()
	b.c.Database.URL = proxy.URL
	r := b.serve()
	b.eventually("alive without a database", func() bool { return r.get("/healthz").status == http.StatusOK })
	require.Equal(t, http.StatusServiceUnavailable, r.post(upsert("A", testCustomer, "um")).status)
	require.Contains(t, r.get("/readyz").body, "waiting for the database")
	proxy.Mend()
	r.awaitReady()
	require.Equal(t, http.StatusOK, r.post(upsert("A", testCustomer, "um")).status)
	b.settled()
	require.Equal(t, []string{"eco: um"}, b.evo.words())
}

func TestServeRefusesAnotherSchema(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.exec("insert into goose_db_version (version_id, is_applied) values (999, true)")
	require.ErrorContains(t, b.serve().ended(), "start the newer router")
	b.c.Database.URL = postgrestest.NewEmpty(t).URL
	require.ErrorContains(t, b.serve().ended(), "run `router migrate`")
}
