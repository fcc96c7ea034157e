package desk_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"plantao/runtime/chatwoot"
	"plantao/runtime/conversation"
	"plantao/runtime/desk"
	"plantao/runtime/gate"
	"plantao/runtime/postgres"
	"plantao/runtime/postgres/postgrestest"
	"plantao/runtime/redis/redistest"
	"plantao/runtime/seal"
	"plantao/test/lab/chatwoot/standin"
)

const (
	channel  = "principal"
	customer = "5511988887777@s.whatsapp.net"
	flow     = "atendimento"
	public   = "http://chat.example.com"
)

// lab is a Chatwoot, a router's store, and a desk between them that moves only when a test says so.
type lab struct {
	*testing.T
	app    *standin.App
	front  *front
	url    string
	db     *postgrestest.Database
	pg     *pgx.Conn
	cw     *pgx.Conn // Chatwoot's own database
	store  *postgres.Store
	sealer *seal.Sealer
	inbox  chatwoot.Inbox
	admin  string // token
	phone  *phone
	who    string // the customer
	talk   conversation.ID
	said   atomic.Int64
}

// front stands before Chatwoot, for tests that break the line.
type front struct {
	next http.Handler
	mu   sync.Mutex
	// before may answer itself (true); after is called when the answer was made and may drop it (true).
	before func(w http.ResponseWriter, r *http.Request) bool
	after  func(r *http.Request) bool
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	before, after := f.before, f.after
	f.mu.Unlock()
	if before != nil && before(w, r) {
		return
	}
	rec := httptest.NewRecorder()
	f.next.ServeHTTP(rec, r)
	if after != nil && after(r) {
		hang(w)
		return
	}
	for k, v := range rec.Header() {
		w.Header()[k] = v
	}
	w.WriteHeader(rec.Code)
	_, _ = w.Write(rec.Body.Bytes())
}

// hang closes the connection without an answer.
func hang(w http.ResponseWriter) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}

func (f *front) set(before func(http.ResponseWriter, *http.Request) bool, after func(*http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before, f.after = before, after
}

func newLab(t *testing.T) *lab {
	t.Helper()
	t.Parallel()
	redis := redistest.New(t)
	redis.Do("CONFIG", "SET", "requirepass", "servers1Test")
	vars := map[string]string{
		"RAILS_ENV": "production", "SECRET_KEY_BASE": strings.Repeat("a1B2", 16), "FRONTEND_URL": public, "ENABLE_ACCOUNT_SIGNUP": "false",
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
	l := &lab{T: t, who: customer, app: app, front: &front{next: app.Handler()}, db: postgrestest.New(t)}
	server := httptest.NewServer(l.front)
	t.Cleanup(server.Close)
	l.url = server.URL
	l.pg, l.store = l.db.Conn(t), l.db.Store(t)
	l.cw, err = pgx.Connect(t.Context(), vars["DATABASE_URL"])
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.cw.Close(context.Background()) })
	l.sealer, err = seal.New(bytes.Repeat([]byte{7}, 32), desk.SealPurpose)
	require.NoError(t, err)
	_, err = l.store.UpsertChannel(t.Context(), postgres.ChannelRow{Channel: conversation.Channel{Name: channel, Tenant: conversation.DefaultTenant,
		Flow: flow, HookSecretSHA256: sha256.Sum256([]byte("x"))}, Integration: "EVOLUTION", Number: "5511900000000"})
	require.NoError(t, err)
	l.wire("http://127.0.0.1:1/hook", "http://127.0.0.1:1/bot")
	l.phone = newPhone(l)
	return l
}

// wire sets Chatwoot up as `router wire` does.
func (l *lab) wire(hook, bot string) {
	l.Helper()
	var err error
	l.inbox, err = chatwoot.EnsureInbox(l.Context(), chatwoot.InboxConfig{URL: l.url, Email: "dona@example.com", Password: "Senha-1234",
		AccountName: "Padaria", InboxName: channel, WebhookURL: hook, BotURL: bot})
	require.NoError(l, err)
	row := conversation.Desk{Channel: channel, Tenant: conversation.DefaultTenant, Account: l.inbox.AccountID, Inbox: l.inbox.ID, Bot: l.inbox.Bot.ID}
	require.NoError(l, desk.Secrets{HookSecret: l.inbox.Secret, BotSecret: l.inbox.Bot.Secret, BotToken: l.inbox.Bot.Token,
		UserToken: l.inbox.UserToken}.Seal(l.sealer, &row))
	_, err = l.store.PutDesk(l.Context(), row)
	require.NoError(l, err)
	l.admin = string(l.inbox.UserToken)
}

// counts are what a desk did.
type counts struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *counts) add(what string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[string]int{}
	}
	c.n[what] += n
}

func (c *counts) of(what string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[what]
}

func (c *counts) DeskLooked(outcome string, _ time.Duration) { c.add("looked "+outcome, 1) }
func (c *counts) DeskShowed(outcome string)                  { c.add("showed "+outcome, 1) }
func (c *counts) DeskHeard(what string)                      { c.add("heard "+what, 1) }
func (c *counts) DeskMissed(n int)                           { c.add("missed", n) }

// desk makes one that gives up waiting soon.
func (l *lab) desk(change func(*desk.Config)) (*desk.Desk, *counts) {
	l.Helper()
	client, err := chatwoot.NewClient(chatwoot.ClientConfig{URL: l.url, PublicURL: public})
	require.NoError(l, err)
	l.Cleanup(client.Close)
	seen := &counts{}
	c := desk.Config{Store: l.store, Client: client, Sealer: l.sealer, Unsure: time.Millisecond, Poll: 20 * time.Millisecond, Language: "en",
		Sweep: 50 * time.Millisecond, Lease: 30 * time.Second, Changed: func() {}, Spoke: func() { l.said.Add(1) }, Observer: seen,
		Logger: slog.New(slog.NewTextHandler(l.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))}
	if change != nil {
		change(&c)
	}
	return desk.New(c), seen
}

// settle has the desk look until nothing is due, and through what it waits for.
func (l *lab) settle(d *desk.Desk) {
	l.Helper()
	if l.rests(d) {
		return
	}
	l.Fatalf("the desk does not come to rest: %s", l.text(`select coalesce(max(problem), '') from chatwoot_conversation`))
}

// rests is settle; false if the desk died of it.
func (l *lab) rests(d *desk.Desk) bool {
	l.Helper()
	for range 200 {
		_, err := l.store.GatherShown(l.Context(), 0)
		require.NoError(l, err)
		found, err := d.Once(l.Context())
		if errors.Is(err, errDead) {
			return false
		}
		require.NoError(l, err)
		if found {
			continue
		}
		if l.number(`select count(*) from chatwoot_conversation where look and retry_at > now()`) == 0 {
			return true
		}
		l.exec(`update chatwoot_conversation set retry_at = now() where retry_at > now()`)
	}
	return false
}

// look has the desk see what happened in Chatwoot, as a webhook would.
func (l *lab) look(d *desk.Desk) {
	l.Helper()
	l.exec(`update chatwoot_conversation set look = true`)
	l.settle(d)
}

func (l *lab) exec(sql string, args ...any) {
	l.Helper()
	_, err := l.pg.Exec(context.Background(), sql, args...)
	require.NoError(l, err)
}

func (l *lab) number(sql string, args ...any) (n int64) {
	l.Helper()
	require.NoError(l, l.pg.QueryRow(context.Background(), sql, args...).Scan(&n))
	return n
}

func (l *lab) text(sql string, args ...any) (s string) {
	l.Helper()
	require.NoError(l, l.pg.QueryRow(context.Background(), sql, args...).Scan(&s))
	return s
}

// writes is a message of the customer's.
func (l *lab) writes(id, text string) conversation.ID {
	l.Helper()
	return l.arrives(conversation.Event{WAID: id, Type: "text", Text: text, Begins: true, State: conversation.Pending})
}

func (l *lab) arrives(e conversation.Event) conversation.ID {
	l.Helper()
	e.Tenant, e.Channel, e.ChatJID, e.ContactName, e.Body, e.Mirror = conversation.DefaultTenant, channel, l.who, "Maria", []byte(`{}`), true
	if e.Kind == "" {
		e.Kind = conversation.KindMessage
	}
	if e.SentAt.IsZero() {
		e.SentAt = time.Now()
	}
	r, err := l.store.Receive(l.Context(), []conversation.Event{e}, conversation.Window{})
	require.NoError(l, err)
	l.talk = r[0].Conversation
	return r[0].Conversation
}

// gives has the router give the conversation to the AI.
func (l *lab) gives() {
	l.Helper()
	l.do(conversation.Command{Verb: conversation.VerbClaim, Actor: conversation.Router, To: conversation.Owner{Kind: conversation.OwnedByAI, ID: flow}})
}

func (l *lab) do(c conversation.Command) conversation.Conversation {
	l.Helper()
	c.Tenant, c.Conversation = conversation.DefaultTenant, l.talk
	if c.Verb != conversation.VerbTake {
		c.IfEpoch = l.now().Epoch
	} else {
		c.IfEpoch = conversation.AnyEpoch
	}
	r, err := l.store.Do(l.Context(), c)
	require.NoError(l, err)
	return r.Conversation
}

func (l *lab) now() conversation.Conversation {
	l.Helper()
	c, err := l.store.Find(l.Context(), conversation.DefaultTenant, l.talk)
	require.NoError(l, err)
	return c
}

type object = map[string]any

// api calls Chatwoot as somebody; it expects 200.
func (l *lab) api(token, method, path string, body any) object {
	l.Helper()
	raw, err := json.Marshal(body)
	require.NoError(l, err)
	req, err := http.NewRequestWithContext(l.Context(), method, l.url+"/api/v1/accounts/1"+path, bytes.NewReader(raw))
	require.NoError(l, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Api-Access-Token", token)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(l, err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	require.NoError(l, err)
	require.Equal(l, 200, resp.StatusCode, "%s %s: %s", method, path, got)
	var out object
	_ = json.Unmarshal(got, &out)
	return out
}

// replies is a message an agent writes; it returns its id.
func (l *lab) replies(text string) int64 {
	l.Helper()
	got := l.api(l.admin, "POST", l.display()+"/messages", object{"content": text})
	return int64(got["id"].(float64))
}

func (l *lab) display() string {
	l.Helper()
	return fmt.Sprintf("/conversations/%d", l.number(`select display_id from chatwoot_conversation where conversation_id = $1`, l.talk))
}

// shown is what Chatwoot has: kind, and content.
func (l *lab) shown() []string {
	l.Helper()
	rows, err := l.cw.Query(context.Background(), `select case when private then 'note' else (array['incoming', 'outgoing', 'activity'])[message_type + 1] end
		|| ' ' || coalesce(content, '') from messages m join conversations c on c.id = m.conversation_id
		where message_type <> 2 and c.additional_attributes ->> 'plantao_conversation' = $1 order by m.id`, l.talk.String())
	require.NoError(l, err)
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(l, err)
	return list
}

// status is who has it, as Chatwoot shows it.
func (l *lab) status() string {
	l.Helper()
	var status int
	var user *int64
	require.NoError(l, l.cw.QueryRow(context.Background(), `select status, assignee_id from conversations
		where additional_attributes ->> 'plantao_conversation' = $1`, l.talk.String()).Scan(&status, &user))
	s := []string{"open", "resolved", "pending", "snoozed"}[status]
	if user != nil {
		s += fmt.Sprintf(" user:%d", *user)
	}
	return s
}

// messageStatus is how Chatwoot shows a message, with the reason if it failed.
func (l *lab) messageStatus(id int64) (status, reason string) {
	l.Helper()
	require.NoError(l, l.cw.QueryRow(context.Background(), `select (array['sent', 'delivered', 'read', 'failed'])[status + 1],
		coalesce(content_attributes ->> 'external_error', '') from messages where id = $1`, id).Scan(&status, &reason))
	return status, reason
}

// phone is WhatsApp: it gets what passes the gate.
type phone struct {
	l    *lab
	gate *gate.Gate
	me   conversation.Process
	mu   sync.Mutex
	got  []string
	to   []string
	err  error // what the next sends come to
	n    int
}

func newPhone(l *lab) *phone {
	p := &phone{l: l, me: conversation.Process{Instance: "router-1", Boot: uuid.NewString()}}
	require.NoError(l, l.store.Boot(l.Context(), p.me))
	p.gate = gate.New(gate.Config{Store: l.store, Sender: p, Process: p.me, Lease: 10 * time.Second, Observer: p, Logger: slog.New(slog.DiscardHandler)})
	return p
}

func (*phone) PartTried(string, time.Duration) {}

func (p *phone) SendText(_ context.Context, _, jid, text string, _ time.Time) (conversation.Delivery, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return conversation.Delivery{}, p.err
	}
	p.n++
	p.got, p.to = append(p.got, text), append(p.to, jid)
	return conversation.Delivery{MessageID: fmt.Sprintf("OUT%d", p.n), ChatJID: jid, SentAt: time.Now()}, nil
}

func (p *phone) SendMedia(ctx context.Context, channel, jid string, m conversation.Content, kind conversation.MediaKind, caption string, notAfter time.Time) (conversation.Delivery, error) {
	return p.SendText(ctx, channel, jid, fmt.Sprintf("%s %s %s", kind, m.FileName, caption), notAfter)
}

func (*phone) SentSince(context.Context, string, string, time.Time) ([]conversation.Delivery, error) {
	return nil, nil
}

// sends lets pass what was said, and says how each turn ended.
func (p *phone) sends() (outcomes []conversation.Outcome) {
	p.l.Helper()
	for {
		t, err := p.l.store.ReclaimTurn(p.l.Context(), conversation.TurnTerms{Holder: p.me, Lease: 10 * time.Second, Deadline: time.Minute,
			Sign: func(conversation.TurnRef) string { return "token" }})
		if errors.Is(err, conversation.ErrNothingDue) {
			return outcomes
		}
		require.NoError(p.l, err)
		outcomes = append(outcomes, p.gate.Send(p.l.Context(), t))
	}
}

// answers has the AI answer what waits, and sends it.
func (p *phone) answers(texts ...string) conversation.Outcome {
	p.l.Helper()
	t, err := p.l.store.ClaimTurn(p.l.Context(), conversation.TurnTerms{Holder: p.me, Lease: 10 * time.Second, Deadline: time.Minute,
		Sign: func(conversation.TurnRef) string { return "token" }})
	require.NoError(p.l, err)
	var parts []conversation.Part
	for _, text := range texts {
		parts = append(parts, conversation.Part{Text: text})
	}
	require.NoError(p.l, p.l.store.Reply(p.l.Context(), t.TurnRef, t.Token, parts))
	return p.gate.Send(p.l.Context(), t)
}

func (p *phone) texts() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	got := []string{}
	for i, text := range p.got {
		if p.to[i] == p.l.who {
			got = append(got, text)
		}
	}
	return got
}

// readBody reads a request's body and puts it back.
func readBody(r *http.Request) string {
	raw, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(raw))
	return string(raw)
}
