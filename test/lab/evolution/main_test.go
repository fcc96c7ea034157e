package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"plantao/test/lab/evolution/environment/environmenttest"
)

func runWith(t *testing.T, command string, env map[string]string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), strings.Fields(command), environmenttest.Lookup(env), &out, &errs)
	return code, out.String(), errs.String()
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"", "start", "serve now"} {
		code, _, stderr := runWith(t, command, nil)
		assert.Equal(t, 2, code)
		assert.Contains(t, stderr, "usage:")
	}
}

func TestDeployDatabase(t *testing.T) {
	t.Parallel()
	env := environmenttest.Safe()
	env["DATABASE_CONNECTION_URI"] = databaseURI(t)

	code, _, stderr := runWith(t, "serve", env)
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "run deploy-database first")

	code, stdout, stderr := runWith(t, "deploy-database", env)
	assert.Equal(t, 0, code, stderr)
	assert.Contains(t, stdout, "Applying migration 0001_init")
	assert.NotContains(t, stdout+stderr, "127.0.0.1", "the URL is not printed")
	code, stdout, _ = runWith(t, "deploy-database", env)
	assert.Equal(t, 0, code, "safe on every start")
	assert.Contains(t, stdout, "No pending migrations")
}

func TestDeployDatabaseFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, variable, value, message string }{
		{"unreachable", "DATABASE_CONNECTION_URI", "postgresql://evolution:hush@127.0.0.1:1/evolution", "127.0.0.1:1"},
		{"wrong provider", "DATABASE_PROVIDER", "sqlite", "Database provider sqlite invalid"},
		{"no provider", "DATABASE_PROVIDER", "", "Database provider  invalid"},
		{"no URL", "DATABASE_CONNECTION_URI", "postgresql://evolution:hu%zzsh@h/d", "percent-encode"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			env := environmenttest.Safe()
			env[tt.variable] = tt.value
			code, _, stderr := runWith(t, "deploy-database", env)
			assert.Equal(t, 1, code)
			assert.Contains(t, stderr, tt.message)
			assert.NotContains(t, stderr, "hush")
			assert.NotContains(t, stderr, "hu%zzsh")
		})
	}
}

func TestServeRefusesToStart(t *testing.T) {
	t.Parallel()
	code, _, stderr := runWith(t, "serve", nil)
	assert.Equal(t, 1, code)
	for _, name := range []string{"AUTHENTICATION_API_KEY", "DATABASE_CONNECTION_URI", "TELEMETRY_ENABLED", "WEBHOOK_RETRY_NON_RETRYABLE_STATUS_CODES"} {
		assert.Contains(t, stderr, name+" is not set")
	}
	code, _, stderr = runWith(t, "serve", environmenttest.Safe())
	assert.Equal(t, 1, code, "no database")
	assert.Contains(t, stderr, "127.0.0.1:1")
	assert.NotContains(t, stderr, "evolution:pw")
}

// process is the whole program, as the container runs it.
type process struct {
	t    *testing.T
	lab  *lab
	stop func()
}

func startProcess(t *testing.T, env map[string]string, hook *receiver) process {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	var stderr bytes.Buffer
	go func() { ended <- run(ctx, []string{"serve"}, environmenttest.Lookup(env), io.Discard, &stderr) }()
	l := &lab{t: t, api: "http://127.0.0.1:" + env["SERVER_PORT"], control: "http://" + env["LAB_CONTROL_ADDR"], hook: hook}
	eventually(t, "both ports to answer", func() bool { return answers(l.api+"/") && answers(l.control+"/lab/sent") })
	var stopped bool
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		assert.Equal(t, 0, <-ended, "%s", &stderr)
	}
	t.Cleanup(stop)
	return process{t: t, lab: l, stop: stop}
}

func answers(url string) bool {
	res, err := http.Get(url)
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}

func TestRestartKeepsStateAndLosesRetries(t *testing.T) {
	t.Parallel()
	env := environmenttest.Safe()
	env["DATABASE_CONNECTION_URI"] = databaseURI(t)
	env["CACHE_REDIS_ENABLED"] = "false"
	for _, name := range []string{"SERVER_PORT", "LAB_CONTROL_ADDR"} {
		port, err := freePort()
		require.NoError(t, err)
		env[name] = strconv.Itoa(port)
	}
	env["LAB_CONTROL_ADDR"] = "127.0.0.1:" + env["LAB_CONTROL_ADDR"]
	code, _, stderr := runWith(t, "deploy-database", env)
	require.Equal(t, 0, code, stderr)

	hook := newReceiver(t)
	first := startProcess(t, env, hook)
	first.lab.channel("principal", "EVOLUTION", "5511900000000")
	first.lab.channel("zap", "WHATSAPP-BAILEYS", "5511900000001")
	first.lab.channel("paired", "WHATSAPP-BAILEYS", "5511900000002")
	first.lab.lab("POST", "/pair", `{"instance":"paired","number":"5511900000002"}`)
	hook.next("connection.update")
	eventually(t, "all webhooks to be taken", func() bool { return first.lab.lab("GET", "/webhooks", "")["pending"] == 0.0 })

	hook.answer(http.StatusServiceUnavailable)
	first.lab.must(200, "POST", "/webhook/evolution", say(ana, "while the router is down"))
	hook.next("messages.upsert", "contacts.upsert", "chats.upsert")
	assert.InDelta(t, 3, first.lab.lab("GET", "/webhooks", "")["pending"], 0, "they wait for a retry")
	first.stop()

	hook.answer(http.StatusOK)
	second := startProcess(t, env, hook)
	opened := hook.next("connection.update")
	assert.Equal(t, "paired", opened.body["instance"], "the pairing survived; zap was closed and stays so")
	eventually(t, "that webhook to be taken", func() bool { return second.lab.lab("GET", "/webhooks", "")["pending"] == 0.0 })
	assert.Len(t, second.lab.lab("GET", "/webhooks", "")["tries"], 1, "the retries are gone")
	for name, state := range map[string]string{"principal": "open", "zap": "close", "paired": "open"} {
		got := second.lab.must(200, "GET", "/instance/connectionState/"+name, "")
		assert.Equal(t, state, got["instance"].(map[string]any)["state"], name)
	}
	found := second.lab.must(200, "POST", "/chat/findMessages/principal", `{}`)["messages"].(map[string]any)
	assert.InDelta(t, 1, found["total"], 0, "the message is in the database all the same")

	second.lab.must(201, "POST", send, text("5511987654321", "oi"))
	hook.next("send.message")
}

func TestDelayMakesTheCallLast(t *testing.T) {
	t.Parallel()
	env := environmenttest.Safe()
	env["DATABASE_CONNECTION_URI"] = databaseURI(t)
	env["CACHE_REDIS_ENABLED"] = "false"
	port, err := freePort()
	require.NoError(t, err)
	env["SERVER_PORT"] = strconv.Itoa(port)
	controlPort, err := freePort()
	require.NoError(t, err)
	env["LAB_CONTROL_ADDR"] = "127.0.0.1:" + strconv.Itoa(controlPort)
	code, _, stderr := runWith(t, "deploy-database", env)
	require.Equal(t, 0, code, stderr)
	p := startProcess(t, env, newReceiver(t))
	p.lab.channel("principal", "EVOLUTION", "5511900000000")

	start := time.Now()
	p.lab.must(201, "POST", send, `{"number":"55","text":"oi","delay":400}`)
	assert.GreaterOrEqual(t, time.Since(start), 400*time.Millisecond)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
