package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
	"plantao/runtime/postgres"
	"plantao/runtime/postgres/postgrestest"
)

const (
	testChannel    = "principal"
	testFlow       = "atendimento"
	testHookSecret = "hook-secret-of-the-tests"
	testAPIKey     = "api-key-of-the-tests"
	testFlowToken  = "flow-token-of-the-tests"
	testTurnKey    = "0123456789abcdef0123456789abcdef"
	testCustomer   = "5511988887777@s.whatsapp.net"
	patience       = 20 * time.Second
)

// binary is the real router, built once as it is shipped.
var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(buildDir, "router")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X main.version=test", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build router: %w: %s", err, out)
	}
	return path, nil
})

var buildDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "plantao-router-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	buildDir = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// fakeFlow is n8n: it answers each turn by answer, or "eco: " and the last text.
type fakeFlow struct {
	*httptest.Server
	mu     sync.Mutex
	asked  []flowRequest
	answer func(w http.ResponseWriter, r *http.Request, q flowRequest, attempt int)
}

type flowRequest struct {
	Turn struct {
		Conversation string
		No           int
		Epoch        int64
		Gen          int
		Token        string
		Deadline     time.Time
	}
	Channel  string
	Contact  struct{ ID, Name string }
	Messages []conversation.Message
	Key      string `json:"-"`
}

func newFakeFlow(t *testing.T) *fakeFlow {
	f := &fakeFlow{}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *fakeFlow) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q flowRequest
	err := json.NewDecoder(r.Body).Decode(&q)
	if r.URL.Path != "/webhook/"+testFlow || r.Header.Get("X-Plantao-Token") != testFlowToken ||
		r.Header.Get("Traceparent") == "" || err != nil {
		http.Error(w, "bad request of the router", http.StatusTeapot)
		return
	}
	q.Key = r.Header.Get("Idempotency-Key")
	f.mu.Lock()
	f.asked = append(f.asked, q)
	n, answer := len(f.asked), f.answer
	f.mu.Unlock()
	if answer != nil {
		answer(w, r, q, n)
		return
	}
	reply(w, "eco: "+q.Messages[len(q.Messages)-1].Text)
}

func reply(w http.ResponseWriter, texts ...string) {
	parts := []map[string]string{}
	for _, t := range texts {
		parts = append(parts, map[string]string{"text": t})
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"parts": parts})
}

func (f *fakeFlow) requests() []flowRequest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]flowRequest(nil), f.asked...)
}

// fakeEvolution takes sendText, remembers and shows it by findMessages.
type fakeEvolution struct {
	*httptest.Server
	mu   sync.Mutex
	sent []sentText
	// before is called with each send before it is recorded; true means that it answered the request itself.
	before func(w http.ResponseWriter, r *http.Request, s sentText, attempt int) bool
	tries  int
	handle func(pattern string, h http.HandlerFunc) // adds a route

	history []any // what findMessages shows of all chats
}

type sentText struct {
	Number, Text, ID string
	At               time.Time
}

func newFakeEvolution(t *testing.T) *fakeEvolution {
	e := &fakeEvolution{}
	mux := http.NewServeMux()
	e.handle = func(pattern string, h http.HandlerFunc) { mux.HandleFunc(pattern, h) }
	mux.HandleFunc("POST /message/sendText/{instance}", e.sendText)
	mux.HandleFunc("POST /chat/findMessages/{instance}", e.findMessages)
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("apikey") != testAPIKey {
			http.Error(w, "{}", http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(e.Close)
	return e
}

func (e *fakeEvolution) sendText(w http.ResponseWriter, r *http.Request) {
	var s sentText
	if err := json.NewDecoder(r.Body).Decode(&s); err != nil || s.Number == "" || s.Text == "" {
		http.Error(w, "{}", http.StatusBadRequest)
		return
	}
	e.mu.Lock()
	e.tries++
	n, before := e.tries, e.before
	e.mu.Unlock()
	s.ID, s.At = fmt.Sprintf("OUT%d", n), time.Now()
	if before != nil && before(w, r, s, n) {
		return
	}
	e.record(s)
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(s.message())
}

func (s sentText) message() map[string]any {
	return map[string]any{
		"key":              map[string]any{"id": s.ID, "remoteJid": s.Number + "@s.whatsapp.net", "fromMe": true},
		"message":          map[string]any{"conversation": s.Text},
		"messageTimestamp": s.At.Unix(), "status": "PENDING",
	}
}

func (e *fakeEvolution) record(s sentText) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sent = append(e.sent, s)
}

func (e *fakeEvolution) findMessages(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Where struct {
			Key struct {
				RemoteJID string `json:"remoteJid"`
			}
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		http.Error(w, "{}", http.StatusBadRequest)
		return
	}
	records := []any{}
	if q.Where.Key.RemoteJID == "" {
		e.mu.Lock()
		records = append(records, e.history...)
		e.mu.Unlock()
	}
	for _, s := range e.texts() {
		if s.Number+"@s.whatsapp.net" == q.Where.Key.RemoteJID {
			records = append(records, s.message())
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"messages": map[string]any{"records": records}})
}

func (e *fakeEvolution) texts() []sentText {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]sentText(nil), e.sent...)
}

func (e *fakeEvolution) words() []string {
	words := []string{}
	for _, s := range e.texts() {
		words = append(words, s.Text)
	}
	return words
}

// bench is one router with its neighbours.
type bench struct {
	t    *testing.T
	db   *postgrestest.Database
	pg   *pgx.Conn
	flow *fakeFlow
	evo  *fakeEvolution
	c    serveConfig
	logs *syncBuffer
	// fixed: it listens where c says, because somebody was told.
	fixed bool
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, db: postgrestest.New(t), flow: newFakeFlow(t), evo: newFakeEvolution(t), logs: &syncBuffer{}}
	b.pg = b.db.Conn(t)
	c := defaultServeConfig()
	c.InstanceName = "router-1"
	c.LogLevel = "debug"
	c.Database.URL = b.db.URL
	c.Evolution.URL, c.Evolution.APIKey = b.evo.URL, NewSecret(testAPIKey)
	c.N8N.URL, c.N8N.Token = b.flow.URL, NewSecret(testFlowToken)
	c.Turn.Key = NewSecret(testTurnKey)
	c.Turn.Quiet, c.Turn.Cap, c.Turn.Poll = 30*time.Millisecond, 300*time.Millisecond, 100*time.Millisecond
	c.Turn.Lease, c.Turn.Deadline = time.Second, 10*time.Second
	c.ShutdownGrace = 5 * time.Second
	b.c = c
	b.channel(testFlow)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of the router:\n%s", b.logs)
		}
	})
	return b
}

func (b *bench) channel(flow string) {
	b.t.Helper()
	_, err := b.db.Store(b.t).UpsertChannel(context.Background(), postgres.ChannelRow{
		Channel: conversation.Channel{
			Name: testChannel, Tenant: conversation.DefaultTenant, Flow: flow, HookSecretSHA256: sha256.Sum256([]byte(testHookSecret)),
		},
		Integration: "EVOLUTION", Number: "5511900000000",
	})
	require.NoError(b.t, err)
}

// running is a router that serves.
type running struct {
	b     *bench
	url   string
	ended func() error // waits for a router that ends by itself
	stop  func() error
}

// serve runs the router in this process until stop, or the end of the test.
func (b *bench) serve() *running {
	b.t.Helper()
	c := b.c
	if !b.fixed {
		c.Listen = freeAddress(b.t)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- serve(ctx, c, slog.New(slog.NewJSONHandler(b.logs, &slog.HandlerOptions{Level: slog.LevelDebug})))
	}()
	r := &running{b: b, url: "http://" + c.Listen}
	r.ended = sync.OnceValue(func() error { return <-done })
	r.stop = func() error {
		cancel()
		return r.ended()
	}
	b.t.Cleanup(func() { _ = r.stop() })
	return r
}

func (b *bench) serveReady() *running {
	b.t.Helper()
	r := b.serve()
	r.awaitReady()
	return r
}

func (r *running) awaitReady() {
	r.b.t.Helper()
	r.b.eventually("router ready", func() bool { return r.get("/readyz").status == http.StatusOK })
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (r *running) get(path string) answer {
	resp, err := http.Get(r.url + path)
	if err != nil {
		return answer{}
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(body)}
}

// post sends a webhook as Evolution does. A status of zero means that nobody answered.
func (r *running) post(body string) answer {
	return r.request(http.MethodPost, "/hooks/evolution/"+testChannel, body, map[string]string{
		"Content-Type": "application/json", "X-Plantao-Secret": testHookSecret,
	})
}

func (r *running) request(method, path, body string, header map[string]string) answer {
	req, err := http.NewRequest(method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.b.t.Error(err)
		return answer{}
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(text)}
}

// upsert is the webhook of one text message.
func upsert(id, jid, text string) string {
	return event("messages.upsert", map[string]any{
		"key":      map[string]any{"remoteJid": jid, "fromMe": false, "id": id},
		"pushName": "Maria", "message": map[string]any{"conversation": text}, "messageType": "conversation",
		"messageTimestamp": time.Now().Unix(), "source": "android",
	})
}

func event(name string, data any) string {
	body, err := json.Marshal(map[string]any{"event": name, "instance": testChannel, "data": data})
	if err != nil {
		panic(err)
	}
	return string(body)
}

func (b *bench) eventually(what string, ok func() bool) {
	b.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			b.t.Fatalf("waited %s for: %s", patience, what)
		case <-tick.C:
		}
	}
}

// count runs a query that returns one number.
func (b *bench) count(sql string, args ...any) int {
	b.t.Helper()
	var n int
	require.NoError(b.t, b.pg.QueryRow(context.Background(), sql, args...).Scan(&n))
	return n
}

// text runs a query that returns one text.
func (b *bench) text(sql string, args ...any) string {
	b.t.Helper()
	var s string
	require.NoError(b.t, b.pg.QueryRow(context.Background(), sql, args...).Scan(&s))
	return s
}

func (b *bench) exec(sql string, args ...any) {
	b.t.Helper()
	_, err := b.pg.Exec(context.Background(), sql, args...)
	require.NoError(b.t, err)
}

// settled waits until nothing is pending and no turn is open.
func (b *bench) settled() {
	b.t.Helper()
	b.eventually("no message pending, no turn open", func() bool {
		return b.count(`select (select count(*) from inbox where state in ('pending', 'taken'))
			+ (select count(*) from turn where state in ('running', 'replied', 'sending', 'ambiguous'))`) == 0
	})
}
