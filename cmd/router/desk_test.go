package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"plantao/runtime/postgres/postgrestest"
	"plantao/runtime/redis/redistest"
	"plantao/test/lab/chatwoot/standin"
)

// desks is a Chatwoot with its web process and its worker.
type desks struct {
	t   *testing.T
	url string
	db  *pgx.Conn
}

func newDesks(t *testing.T) *desks {
	t.Helper()
	redis := redistest.New(t)
	redis.Do("CONFIG", "SET", "requirepass", "servers1Test")
	vars := map[string]string{
		"RAILS_ENV": "production", "SECRET_KEY_BASE": strings.Repeat("a1B2", 16), "FRONTEND_URL": "http://chat.example.com", "ENABLE_ACCOUNT_SIGNUP": "false",
		"ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY": "primaryprimary", "ACTIVE_RECORD_ENCRYPTION_DETERMINISTIC_KEY": "deterministic",
		"ACTIVE_RECORD_ENCRYPTION_KEY_DERIVATION_SALT": "saltsaltsalt", "REDIS_PASSWORD": "servers1Test",
		"DATABASE_URL": postgrestest.NewEmpty(t).URL, "REDIS_URL": redis.URL, "SAFE_FETCH_ALLOW_PRIVATE_NETWORK": "true", "SIDEKIQ_CONCURRENCY": "3",
		"PLANTAO_ACCOUNT_NAME": "Padaria", "PLANTAO_ADMIN_NAME": "Dona", "PLANTAO_ADMIN_EMAIL": "dona@example.com", "PLANTAO_ADMIN_PASSWORD": "Senha-1234",
	}
	get := func(name string) string { return vars[name] }
	env, err := standin.ReadEnvironment(get)
	require.NoError(t, err)
	app, err := standin.Open(t.Context(), env, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(app.Close)
	require.NoError(t, app.Prepare(t.Context(), io.Discard))
	require.NoError(t, app.RunScriptFile(t.Context(), "../../templates/chatwoot/bootstrap.rb", get))
	server := httptest.NewServer(app.Handler())
	t.Cleanup(server.Close)
	working, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- app.Work(working) }()
	t.Cleanup(func() {
		stop()
		<-done
	})
	db, err := pgx.Connect(t.Context(), vars["DATABASE_URL"])
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close(context.Background()) })
	return &desks{t: t, url: server.URL, db: db}
}

func (d *desks) text(sql string, args ...any) (s string) {
	d.t.Helper()
	err := d.db.QueryRow(context.Background(), sql, args...).Scan(&s)
	require.NoError(d.t, err)
	return s
}

func (d *desks) exec(sql string) {
	d.t.Helper()
	_, err := d.db.Exec(context.Background(), sql)
	require.NoError(d.t, err)
}

// writes is a message of the administrator's, as an agent.
func (d *desks) writes(conversation, text string) {
	d.t.Helper()
	body, err := json.Marshal(map[string]string{"content": text})
	require.NoError(d.t, err)
	req, err := http.NewRequestWithContext(d.t.Context(), http.MethodPost, d.url+"/api/v1/accounts/1/conversations/"+conversation+"/messages", bytes.NewReader(body))
	require.NoError(d.t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Api-Access-Token", d.text(`select token from access_tokens where owner_type = 'User'`))
	resp, err := http.DefaultClient.Do(req)
	require.NoError(d.t, err)
	require.NoError(d.t, resp.Body.Close())
	require.Equal(d.t, http.StatusOK, resp.StatusCode)
}

// wireDesk runs `router wire` with a Chatwoot and returns what it printed.
func wireDesk(t *testing.T, database, chatwoot, hooks, key string) string {
	t.Helper()
	evolution := httptest.NewServer(&instances{created: map[string]map[string]any{}, settings: map[string]map[string]any{}, webhook: map[string]map[string]any{}})
	t.Cleanup(evolution.Close)
	file := wireFile(t, database, evolution.URL)
	addLine(t, file, `turn: {key_file: "`+writeFile(t, "turn-key", key)+`"}`)
	addLine(t, file, `chatwoot: {url: "`+chatwoot+`", admin_email: dona@example.com, admin_password_file: "`+writeFile(t, "admin", "Senha-1234")+
		`", account_name: Padaria, webhook_url: "`+hooks+`"}`)
	var stdout, stderr bytes.Buffer
	require.Equal(t, exitOK, run(context.Background(), []string{"wire", "--config", file}, &stdout, &stderr), stderr.String())
	return stdout.String() + stderr.String()
}

func TestWireMakesTheDesk(t *testing.T) {
	t.Parallel()
	cw, db := newDesks(t), postgrestest.New(t)
	pg := db.Conn(t)
	row := func() (all string) {
		t.Helper()
		require.NoError(t, pg.QueryRow(t.Context(), `select (i.*)::text || c.mirror from chatwoot_inbox i join channel c on c.name = i.channel`).Scan(&all))
		return all
	}
	wire := func() string { return wireDesk(t, db.URL, cw.url, "http://router:8080/hooks/chatwoot/", testTurnKey) }
	secrets := func() []string {
		return []string{cw.text(`select secret from channel_api`), cw.text(`select secret from agent_bots`),
			cw.text(`select token from access_tokens where owner_type = 'AgentBot'`), cw.text(`select token from access_tokens where owner_type = 'User'`)}
	}
	out := wire()
	require.Contains(t, out, "inbox principal: changed\n")
	require.Equal(t, "http://router:8080/hooks/chatwoot/principal http://router:8080/hooks/chatwoot/principal/bot", cw.text(
		`select c.webhook_url || ' ' || b.outgoing_url from channel_api c, agent_bots b, agent_bot_inboxes i where i.agent_bot_id = b.id`))
	first := row()
	require.True(t, strings.HasSuffix(first, "true"), "the channel is mirrored")
	for _, s := range secrets() {
		require.NotContains(t, out+first, s)
		require.NotContains(t, first, fmt.Sprintf("%x", s), "sealed")
	}

	out = wire()
	require.Contains(t, out, "inbox principal: unchanged\n")
	require.Equal(t, first, row(), "the second run writes nothing")
	require.Equal(t, "1 1", cw.text(`select (select count(*) from inboxes) || ' ' || (select count(*) from agent_bots)`))

	// What was reset in Chatwoot is read back; what was changed by hand is put right.
	cw.exec(`update channel_api set secret = 'reset'; update agent_bots set outgoing_url = 'http://elsewhere'; delete from agent_bot_inboxes`)
	require.Contains(t, wire(), "inbox principal: changed\n")
	require.NotEqual(t, first, row())
	require.Equal(t, "http://router:8080/hooks/chatwoot/principal/bot", cw.text(`select outgoing_url from agent_bots b join agent_bot_inboxes i on i.agent_bot_id = b.id`))
	second := row()
	require.Contains(t, wire(), "inbox principal: unchanged\n")
	require.Equal(t, second, row())

	// Another key: what is sealed cannot be opened any more, and is sealed anew.
	require.Contains(t, wireDesk(t, db.URL, cw.url, "http://router:8080/hooks/chatwoot", strings.Repeat("k", 32)), "inbox principal: changed\n")

	cw.exec(`with b as (insert into agent_bots (account_id, name, secret) select account_id, name, 'x' from agent_bots returning id)
		insert into access_tokens (owner_type, owner_id, token) select 'AgentBot', id, 'x' from b`)
	var stderr bytes.Buffer
	file := wireFile(t, db.URL, "http://127.0.0.1:1")
	addLine(t, file, `turn: {key_file: "`+writeFile(t, "turn-key", testTurnKey)+`"}`)
	addLine(t, file, `chatwoot: {url: "`+cw.url+`", admin_email: dona@example.com, admin_password_file: "`+writeFile(t, "admin", "Senha-1234")+
		`", account_name: Padaria, webhook_url: "http://r/hooks/chatwoot"}`)
	require.Equal(t, exitError, run(context.Background(), []string{"wire", "--config", file}, io.Discard, &stderr))
	require.Contains(t, stderr.String(), "delete or rename")
}

// The whole way: WhatsApp's webhook, the flow, Chatwoot, a human there, WhatsApp.
func TestServeWithADesk(t *testing.T) {
	t.Parallel()
	cw, b := newDesks(t), newBench(t)
	b.c.Chatwoot.URL, b.c.Chatwoot.Sweep = cw.url, time.Hour
	b.c.Listen = freeAddress(t)
	b.fixed = true
	require.Contains(t, wireDesk(t, b.db.URL, cw.url, "http://"+b.c.Listen+"/hooks/chatwoot", testTurnKey), "inbox principal: changed")
	// The wiring has its own channel's flow; the bench's is the same.
	r := b.serveReady()
	require.Equal(t, http.StatusOK, r.post(upsert("A1", testCustomer, "oi")).status)
	shown := func() string {
		return cw.text(`select coalesce(string_agg(message_type || ' ' || content, ', ' order by id), '') from messages where message_type < 2 and not private`)
	}
	b.eventually("question and answer are shown", func() bool { return shown() == "0 oi, 1 eco: oi" })
	cw.writes("1", "aqui é a Dona")
	b.eventually("the human's words reach the customer", func() bool {
		words := b.evo.words()
		return len(words) == 2 && words[1] == "aqui é a Dona"
	})
	b.eventually("the conversation is hers there", func() bool {
		return cw.text(`select status || ' ' || coalesce(assignee_id, 0) from conversations`) == "0 1"
	})
	require.Equal(t, "HUMAN_ACTIVE", b.text(`select state from conversation`))
	require.Equal(t, http.StatusOK, r.post(upsert("A2", testCustomer, "obrigada")).status)
	b.eventually("what follows is shown", func() bool { return shown() == "0 oi, 1 eco: oi, 1 aqui é a Dona, 0 obrigada" })
	require.Len(t, b.flow.requests(), 1, "the AI is silent")
	for _, want := range []string{`router_desk_messages_total{outcome="posted"} 3`, `router_desk_heard_total{what="said"} 1`, "router_mirror_conversations"} {
		b.eventually(want, func() bool { return strings.Contains(r.get("/metrics").body, want) }) // counted after the answer
	}
	require.NotContains(t, b.logs.String(), "aqui é a Dona")
	require.NoError(t, r.stop())
}
