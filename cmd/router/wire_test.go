package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
	"plantao/runtime/evolution"
	"plantao/runtime/postgres/postgrestest"
)

// instances is the part of Evolution that `router wire` talks to.
type instances struct {
	mu       sync.Mutex
	created  map[string]map[string]any
	settings map[string]map[string]any
	webhook  map[string]map[string]any
	writes   []string
}

func (e *instances) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if r.Header.Get("apikey") != testAPIKey {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	var body map[string]any
	if r.Method == http.MethodPost {
		e.writes = append(e.writes, r.URL.Path)
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
	}
	answer := func(status int, v any) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	switch r.URL.Path {
	case "/instance/fetchInstances":
		name := r.URL.Query().Get("instanceName")
		if e.created[name] == nil {
			answer(http.StatusNotFound, nil)
			return
		}
		answer(http.StatusOK, []any{e.created[name]})
	case "/instance/create":
		e.created[body["instanceName"].(string)] = body
		answer(http.StatusCreated, body)
	case "/settings/find/principal":
		answer(http.StatusOK, e.settings["principal"])
	case "/settings/set/principal":
		e.settings["principal"] = body
		answer(http.StatusCreated, body)
	case "/webhook/find/principal":
		answer(http.StatusOK, e.webhook["principal"])
	case "/webhook/set/principal":
		e.webhook["principal"] = body["webhook"].(map[string]any)
		answer(http.StatusCreated, body)
	default:
		answer(http.StatusNotFound, nil)
	}
}

func wireFile(t *testing.T, database, evolution string) string {
	t.Helper()
	return writeFile(t, "wire.yaml", `
database: {url: "`+database+`"}
evolution: {url: "`+evolution+`", api_key_file: "`+writeFile(t, "key", testAPIKey)+`"}
channels:
  - name: principal
    integration: EVOLUTION
    number: "5511900000000"
    hook_url: "http://router:8080/hooks/evolution/principal"
    hook_secret_file: "`+writeFile(t, "hook", testHookSecret+"\n")+`"
    flow: atendimento
`)
}

func TestWireTwiceChangesNothing(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	evolution := &instances{created: map[string]map[string]any{}, settings: map[string]map[string]any{}, webhook: map[string]map[string]any{}}
	server := httptest.NewServer(evolution)
	t.Cleanup(server.Close)
	file := wireFile(t, db.URL, server.URL)
	wire := func() string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		require.Equal(t, exitOK, run(context.Background(), []string{"wire", "--config", file}, &stdout, &stderr), stderr.String())
		require.NotContains(t, stdout.String()+stderr.String(), testHookSecret)
		return stdout.String()
	}
	require.Equal(t, "channel principal: created\nevolution instance principal: set instance, settings, webhook\n", wire())
	hook := evolution.webhook["principal"]
	require.Equal(t, "http://router:8080/hooks/evolution/principal", hook["url"])
	require.Equal(t, map[string]any{"X-Plantao-Secret": testHookSecret}, hook["headers"])
	require.Equal(t, []any{"CONNECTION_UPDATE", "LOGOUT_INSTANCE", "MESSAGES_DELETE", "MESSAGES_EDITED", "MESSAGES_UPDATE", "MESSAGES_UPSERT",
		"PRESENCE_UPDATE", "REMOVE_INSTANCE", "SEND_MESSAGE", "STATUS_INSTANCE"}, hook["events"])
	require.Equal(t, true, evolution.settings["principal"]["groupsIgnore"])
	writes := len(evolution.writes)

	require.Equal(t, "channel principal: unchanged\nevolution instance principal: unchanged\nnothing changed\n", wire())
	require.Len(t, evolution.writes, writes)

	slices.Reverse(hook["events"].([]any)) // the order means nothing
	require.Contains(t, wire(), "nothing changed")
	hook["url"] = "http://elsewhere"
	require.Equal(t, "channel principal: unchanged\nevolution instance principal: set webhook\n", wire())
}

func TestWireWritesHowFlowsAreTreated(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	evolution := &instances{created: map[string]map[string]any{}, settings: map[string]map[string]any{}, webhook: map[string]map[string]any{}}
	server := httptest.NewServer(evolution)
	t.Cleanup(server.Close)
	wire := func(flows string) (string, string, int) {
		t.Helper()
		file := wireFile(t, db.URL, server.URL)
		addLine(t, file, flows)
		var stdout, stderr bytes.Buffer
		code := run(context.Background(), []string{"wire", "--config", file}, &stdout, &stderr)
		return stdout.String(), stderr.String(), code
	}
	const policies = `flows: [{name: atendimento, mid_turn: merge, holding: "Um instante."}, {name: vendas}]`
	out, _, code := wire(policies)
	require.Equal(t, exitOK, code)
	require.Contains(t, out, "policies of flow atendimento: created\npolicies of flow vendas: created\n")
	out, _, _ = wire(policies)
	require.Contains(t, out, "policies of flow atendimento: unchanged\n")
	require.Contains(t, out, "nothing changed")
	agents, err := db.Store(t).Agents(t.Context(), conversation.DefaultTenant)
	require.NoError(t, err)
	require.Equal(t, []any{conversation.MidTurnMerge, "Um instante.", conversation.MidTurnQueue, ""},
		[]any{agents[0].MidTurn, agents[0].Holding, agents[1].MidTurn, agents[1].Holding})
	_, said, code := wire(`flows: [{mid_turn: sometimes}]`)
	require.NotEqual(t, exitOK, code)
	require.Contains(t, said, "flows[0].name: required")
	require.Contains(t, said, `flows[0].mid_turn: "sometimes" is none of`)
}

func TestWireSignsHooks(t *testing.T) {
	t.Parallel()
	instance := &instances{created: map[string]map[string]any{}, settings: map[string]map[string]any{}, webhook: map[string]map[string]any{}}
	server := httptest.NewServer(instance)
	t.Cleanup(server.Close)
	file := wireFile(t, postgrestest.New(t).URL, server.URL)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	wire := func(auth string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		file := writeFile(t, "wire-"+auth+".yaml", string(text)+"    hook_auth: "+auth+"\n")
		require.Equal(t, exitOK, run(context.Background(), []string{"wire", "--config", file}, &stdout, &stderr), stderr.String())
		return stdout.String()
	}
	require.Contains(t, wire("token"), "settings, webhook")
	require.Equal(t, map[string]any{"jwt_key": evolution.TokenKey(sha256.Sum256([]byte(testHookSecret)))}, instance.webhook["principal"]["headers"],
		"the secret is not sent any more")
	require.Contains(t, wire("token"), "nothing changed")
	require.Contains(t, wire("secret"), "set webhook")
	require.Equal(t, map[string]any{"X-Plantao-Secret": testHookSecret}, instance.webhook["principal"]["headers"])
}

func TestWireMakesTheOperatorsToken(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	evolution := &instances{created: map[string]map[string]any{}, settings: map[string]map[string]any{}, webhook: map[string]map[string]any{}}
	server := httptest.NewServer(evolution)
	t.Cleanup(server.Close)
	first, second := strings.Repeat("first-", 7), strings.Repeat("second-", 6)
	wire := func(secret string) string {
		t.Helper()
		file := wireFile(t, db.URL, server.URL)
		addLine(t, file, `api: {operator_token_file: "`+writeFile(t, "operator", secret+"\n")+`"}`)
		var stdout, stderr bytes.Buffer
		require.Equal(t, exitOK, run(context.Background(), []string{"wire", "--config", file}, &stdout, &stderr), stderr.String())
		require.NotContains(t, stdout.String()+stderr.String(), secret)
		return stdout.String()
	}
	store := db.Store(t)
	holder := func(secret string) conversation.Principal {
		p, err := store.Authenticate(context.Background(), sha256.Sum256([]byte(secret)))
		require.NoError(t, err)
		return p
	}
	require.Contains(t, wire(first), "channel principal: created\ntoken operator: created\n")
	require.Equal(t, conversation.Principal{Tenant: conversation.DefaultTenant, Token: "operator",
		Actor: conversation.Actor{Kind: conversation.ActorOperator, ID: "operator"}, Scopes: conversation.Scopes()}, holder(first))
	require.Equal(t, "channel principal: unchanged\ntoken operator: unchanged\nevolution instance principal: unchanged\nnothing changed\n", wire(first))

	require.Contains(t, wire(second), "token operator: updated\n")
	require.Equal(t, "operator", holder(second).Token)
	_, err := store.Authenticate(context.Background(), sha256.Sum256([]byte(first)))
	require.ErrorIs(t, err, conversation.ErrBadToken, "the one before works no more")

	less := holder(second)
	less.Scopes = []conversation.Scope{conversation.ScopeRead}
	require.NoError(t, store.PutToken(context.Background(), less, second))
	require.Contains(t, wire(second), "token operator: updated\n", "also what it may do is as declared")
	require.Equal(t, conversation.Scopes(), holder(second).Scopes)
	_, err = store.RevokeToken(context.Background(), conversation.DefaultTenant, "operator")
	require.NoError(t, err)
	require.Contains(t, wire(second), "token operator: updated\n")
	require.Equal(t, conversation.Scopes(), holder(second).Scopes)
}

func addLine(t *testing.T, path, line string) {
	t.Helper()
	body, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, append(body, (line+"\n")...), 0o600))
}

func TestWireReportsAllProblems(t *testing.T) {
	t.Parallel()
	file := writeFile(t, "wire.yaml", `
database: {url: "postgres://r@h/db"}
evolution: {url: "http://e", api_key_file: "`+writeFile(t, "key", "k")+`"}
chatwoot: {url: "http://c", webhook_url: "x"}
n8n: {url: "http://n", workflows_dir: /does/not/exist}
api: {operator_token: inline-secret, operator_token_file: "`+writeFile(t, "operator", "guessable")+`", rate: 5}
channels:
  - {name: "Não", integration: TELEX, number: "12", hook_url: "", hook_secret: inline, shade: dark}
  - {name: b, integration: EVOLUTION, hook_url: "http://r", flow: f, hook_secret_file: "`+writeFile(t, "short", "short")+`"}
  - {name: b, integration: WHATSAPP-BAILEYS, hook_url: "http://r", flow: f}
`)
	_, err := loadWire(sources{file: file})
	require.True(t, isConfigError(err))
	for _, want := range []string{
		"chatwoot.webhook_url", "chatwoot.admin_email", "chatwoot.admin_password", "chatwoot.account_name", "n8n.owner_email",
		"n8n.owner_password", "api.operator_token: a secret may not", "api.operator_token: has 13 bytes", "api.rate: unknown key", "n8n.flow_token", "n8n.workflows_dir", "channels[0].name", "channels[0].integration",
		"channels[0].number", "channels[0].hook_url", "channels[0].hook_secret: a secret may not", "channels[0].flow",
		"channels[0].shade: unknown key", "channels[1].number: required", "channels[1].hook_secret: has 5 bytes",
		"channels[2].name: \"b\" is there twice", "channels[2].hook_secret_file: required",
	} {
		require.ErrorContains(t, err, want)
	}
}

func TestNotReady(t *testing.T) {
	t.Parallel()
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	for _, c := range []struct {
		err  error
		want bool
	}{
		{refused, true},
		{&url.Error{Op: "Get", Err: refused}, true},
		{fmt.Errorf("set webhook: %w", io.EOF), true},
		{context.DeadlineExceeded, true},
		{fmt.Errorf("read schema: %w", errNotReady), true},
		{&evolution.StatusError{Status: http.StatusBadGateway}, true},
		{&evolution.StatusError{Status: http.StatusUnauthorized}, false},
		{&fs.PathError{Op: "open", Path: "flow.json", Err: syscall.EACCES}, false},
		{errors.New("refused"), false},
	} {
		require.Equal(t, c.want, notReady(c.err), "%v", c.err)
	}
}

func TestWireTellsWhatWasDoneBeforeAFailure(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(server.Close)
	var stdout, stderr bytes.Buffer
	file := wireFile(t, postgrestest.New(t).URL, server.URL)
	require.Equal(t, exitError, run(context.Background(), []string{"wire", "--config", file}, &stdout, &stderr))
	require.Equal(t, "channel principal: created\n", stdout.String())
	require.Contains(t, stderr.String(), "wire evolution")
}

func TestWireRefusesAnUnmigratedDatabase(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	file := wireFile(t, postgrestest.NewEmpty(t).URL, "http://127.0.0.1:1")
	require.Equal(t, exitError, run(context.Background(), []string{"wire", "--config", file}, &stdout, &stderr))
	require.Contains(t, stderr.String(), "run `router migrate`")
	require.NoError(t, os.Remove(file))
}
