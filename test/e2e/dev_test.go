//go:build e2e

// Package e2e proves the whole dev stack on the real engine: Pulumi, Docker, PostgreSQL, Redis, n8n, the
// router, and strict stand-ins for Chatwoot and Evolution.
package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/stretchr/testify/require"

	"plantao/runtime/api"
	"plantao/runtime/n8n"
	"plantao/runtime/n8n/n8ntest"
	"plantao/templates"
	"plantao/test/e2e/devstack"
	"plantao/test/figure"
)

// sheet is what this run measured.
var sheet figure.Sheet

func TestMain(m *testing.M) {
	code := m.Run()
	sheet.Print()
	os.Exit(code)
}

// services are what a dev stack runs.
var services = []string{"postgres", "redis", "n8n", "n8n-runner", "chatwoot-web", "chatwoot-worker", "evolution", "router-1", "router-2", "ingress"}

// TestDevStack is one story on one stack: bringing it up takes a minute, so the steps share it, in order.
func TestDevStack(t *testing.T) {
	s := devstack.New(t)
	t.Run("bad input is refused before anything is made", func(t *testing.T) { refusals(t, s) })
	t.Run("a taken port is named, and the next up completes", func(t *testing.T) { takenPort(t, s) })
	require.ElementsMatch(t, services, s.Services(t))

	t.Run("wired without a click", func(t *testing.T) { wired(t, s) })
	t.Run("a message is answered exactly once", func(t *testing.T) { answeredOnce(t, s) })
	t.Run("a human takes over and hands back, by the CLI", func(t *testing.T) { humanTakes(t, s) })
	t.Run("the same webhook twenty times gives one answer", func(t *testing.T) { duplicates(t, s) })
	t.Run("a killed router loses nothing", func(t *testing.T) { killedRouter(t, s) })
	t.Run("bad webhooks get the right status", func(t *testing.T) { badWebhooks(t, s) })
	t.Run("closed paths are closed", func(t *testing.T) { closedPaths(t, s) })
	t.Run("a role sees only its own database", func(t *testing.T) { ownDatabase(t, s) })
	t.Run("a Redis user sees only its own database", func(t *testing.T) { ownRedis(t, s) })

	messagePath(t, s)

	if os.Getenv("SMOKE") == "" {
		// Waits out n8n's limit of five sign-ins a minute.
		t.Run("flows install, change and rotate", func(t *testing.T) { flows(t, s) })
	}

	again, preview := s.MustUp(t), s.MustPreview(t)
	sheet.Add(figure.Count("changes-by-up-again", again.Changes(t), 0))
	sheet.Add(figure.Count("changes-in-preview", preview.Changes(t), 0))
	require.Zero(t, again.Changes(t), again.Out)
	require.Zero(t, preview.Changes(t), preview.Out)
	t.Run("refresh finds no drift", func(t *testing.T) {
		s.MustPulumi(t, "refresh", "--yes", "--skip-preview", "--stack", s.Name)
		after := s.MustPreview(t)
		require.Zero(t, after.Changes(t), after.Out)
	})
	t.Run("no secret stands where it may not", func(t *testing.T) { noLeak(t, s) })

	s.MustDestroy(t)
	left := s.Left(t)
	require.Empty(t, left)
	sheet.Add(figure.Seconds("noop-up", again.Took, 15*time.Second))
	sheet.Add(figure.Seconds("noop-preview", preview.Took, 8*time.Second))
	sheet.Add(figure.Count("left-after-destroy", len(left), 0))
}

// refusals: each bad setting ends in a clear line that names it, and nothing is created.
func refusals(t *testing.T, s *devstack.Stack) {
	s.Set(t, "plantao:prot", "8080")
	s.Set(t, "plantao:timezone", "Brasilia")
	run := s.Pulumi(t.Context(), nil, "up", "--yes", "--skip-preview", "--stack", s.Name)
	require.Error(t, run.Err)
	require.Contains(t, run.Out, "plantao:prot is not a setting")
	require.Contains(t, run.Out, "America/Sao_Paulo")
	require.NotContains(t, run.Out, "goroutine ")
	s.Unset(t, "plantao:prot")
	s.Set(t, "plantao:timezone", "America/Sao_Paulo")

	run = s.Pulumi(t.Context(), []string{"PULUMI_CONFIG_PASSPHRASE=wrong"}, "up", "--yes", "--skip-preview", "--stack", s.Name)
	require.Error(t, run.Err)
	require.Contains(t, run.Out, "incorrect passphrase")

	run = s.Pulumi(t.Context(), []string{"DOCKER_HOST=unix:///nonexistent/docker.sock"}, "up", "--yes", "--skip-preview", "--stack", s.Name)
	require.Error(t, run.Err)
	require.Regexp(t, "(?i)docker", run.Out)
	require.Empty(t, s.Left(t))
}

// takenPort: somebody else listens on the ingress's port during the first `up`. It fails and names the
// port; once the port is free, the next one completes what is missing.
func takenPort(t *testing.T, s *devstack.Stack) {
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", s.Port))
	require.NoError(t, err)
	first := s.Pulumi(t.Context(), nil, "up", "--yes", "--skip-preview", "--stack", s.Name)
	require.NoError(t, taken.Close())
	require.Error(t, first.Err, first.Out)
	require.Contains(t, first.Out, fmt.Sprintf("127.0.0.1:%d", s.Port))
	second := s.MustUp(t)
	t.Logf("first up took %s, the one that completed it %s", first.Took.Round(time.Second), second.Took.Round(time.Second))
}

// wired: channel, webhook, flow and inbox exist, made by code.
func wired(t *testing.T, s *devstack.Stack) {
	require.Equal(t, "principal|EVOLUTION", s.SQL(t, "select name, integration from channel"))
	evolution := func(q string) string {
		return s.Exec(t, "postgres", "psql", "-X", "-U", "postgres", "-d", "evolution", "-Atc", q)
	}
	require.Equal(t, "http://router:8080/hooks/evolution/principal", evolution(`select url from evolution_api."Webhook"`))
	require.Equal(t, "atendimento,horario,satisfacao,transbordo", s.Exec(t, "postgres", "psql", "-X", "-U", "postgres", "-d", "n8n", "-Atc",
		`select string_agg(h."webhookPath", ',' order by h."webhookPath") from webhook_entity h join workflow_entity w on w.id = h."workflowId" where w.active`))
	require.Contains(t, s.Desk(t).Inboxes(t), "principal")
	require.Equal(t, "operator|operator|operator", s.SQL(t, "select name, agent_kind, agent_id from api_token"))
}

// flows: installing again changes nothing; a changed flow and a rotated token count at once.
func flows(t *testing.T, s *devstack.Stack) {
	secrets := s.MustSecrets(t)
	n8ntest.VerifyInstall(t, n8n.InstallConfig{
		URL: "http://" + s.IP(t, "n8n", "app") + ":5678", OwnerEmail: "operadora@plantao.example",
		OwnerPassword: secrets["secret-n8n-owner.value"], FlowToken: secrets["secret-n8n-flow.value"],
		Workflows: templates.N8N(), Logger: slog.New(slog.DiscardHandler),
	})
}

func answeredOnce(t *testing.T, s *devstack.Stack) {
	maria := s.Customer(t, "5511987650001", "Maria")
	maria.Says(t, "MSG-MARIA-1", "Bom dia, quero saber do meu pedido")
	got := maria.WaitReceived(t, 1)
	require.Len(t, got, 1)
	require.Contains(t, got[0].Text, "Maria")
	require.Contains(t, got[0].Text, "Bom dia, quero saber do meu pedido")
	settled(t, s)
	sheet.Add(figure.Count("answers-to-one-message", len(maria.Received(t)), 1))
	require.Len(t, maria.Received(t), 1)
	require.Equal(t, "done|message", s.SQL(t, "select state, kind from inbox where wa_id = 'MSG-MARIA-1'"))
	require.Equal(t, "sent|"+got[0].ID, s.SQL(t, "select o.state, o.wa_msg_id from outbox o join inbox i on i.conversation_id = o.conversation_id and i.turn_no = o.no where i.wa_id = 'MSG-MARIA-1'"))
	require.Equal(t, "claim|AI_ACTIVE", s.SQL(t, "select verb, state_to from audit a join inbox i using (conversation_id) where i.wa_id = 'MSG-MARIA-1' and verb = 'claim'"))
}

// settled waits until no message waits for an AI and no turn is open: from then on an answer too many would be there.
func settled(t *testing.T, s *devstack.Stack) {
	t.Helper()
	devstack.Eventually(t, "no open turn and no waiting message", time.Minute, func() bool {
		return s.SQL(t, `select (select count(*) from turn where state in ('running','replied','sending','ambiguous'))
			+ (select count(*) from inbox i join conversation c on c.id = i.conversation_id
			    where i.state in ('pending','taken') and c.owner_kind in ('ai', 'none'))`) == "0"
	})
}

// humanTakes: an operator puts a human on duty. While she has the conversation the AI says nothing in it; once she has handed it
// back, the next message is answered, once.
func humanTakes(t *testing.T, s *devstack.Stack) {
	bia := s.Customer(t, "5511987650005", "Bia")
	bia.Says(t, "MSG-BIA-1", "Oi, tudo bem?")
	bia.WaitReceived(t, 1)
	settled(t, s)
	c := s.ConversationOf(t, bia)
	require.Equal(t, "AI_ACTIVE", c.State)
	require.Equal(t, "ai:atendimento", c.Owner)

	said := s.CLI(t, 0, "conversation", "take", c.ID, "--as", "ana", "--reason", "e2e")
	require.Contains(t, said, fmt.Sprintf("human:ana is on duty in conversation %s; epoch %d", c.ID, c.Epoch+1))
	bia.Says(t, "MSG-BIA-2", "Posso falar com uma pessoa?")
	devstack.Eventually(t, "the message to be stored", time.Minute, func() bool {
		return s.SQL(t, "select count(*) from inbox where wa_id = 'MSG-BIA-2'") == "1"
	})
	// Somebody else, who wrote later, is answered: the AI had its chance to answer Bia too.
	rui := s.Customer(t, "5511987650006", "Rui")
	rui.Says(t, "MSG-RUI-1", "Vocês entregam hoje?")
	rui.WaitReceived(t, 1)
	answers := len(bia.Received(t)) - 1
	sheet.Add(figure.Count("answers-while-a-human-has-it", answers, 0))
	require.Zero(t, answers)
	require.Contains(t, s.CLI(t, 0, "conversation", "show", c.ID), "human:ana is on duty")
	s.CLI(t, 11, "conversation", "close", c.ID, "--epoch", fmt.Sprint(c.Epoch)) // read before she took it

	require.Contains(t, s.CLI(t, 0, "conversation", "handback", c.ID), "ai:atendimento is on duty in conversation "+c.ID)
	require.Equal(t, "human", s.SQL(t, "select state from inbox where wa_id = 'MSG-BIA-2'"), "what a human has read is not the AI's to answer")
	bia.Says(t, "MSG-BIA-3", "E o meu pedido?")
	got := bia.WaitReceived(t, 2)
	settled(t, s)
	require.Contains(t, got[1].Text, "E o meu pedido?")
	sheet.Add(figure.Count("answers-after-a-hand-back", len(bia.Received(t))-1, 1))
	require.Len(t, bia.Received(t), 2)

	var trail api.AuditTrail
	require.NoError(t, json.Unmarshal([]byte(s.CLI(t, 0, "conversation", "why", c.ID, "--json")), &trail))
	var verbs []string
	for _, e := range trail.Entries {
		verbs = append(verbs, e.Verb+" "+e.Detail["owner"])
	}
	require.Equal(t, []string{"inbound none", "claim ai:atendimento", "take human:ana", "handback ai:atendimento"}, verbs)
	require.Contains(t, s.CLI(t, 0, "conversation", "why", c.ID), "taken by operator:operator: AI on duty → human on duty; on duty: human:ana")
	s.CLI(t, 10, "conversation", "show", "999999")
}

func duplicates(t *testing.T, s *devstack.Stack) {
	joao := s.Customer(t, "5511987650002", "João")
	joao.Says(t, "MSG-JOAO-1", "Oi")
	for _, status := range joao.ReplayLastWebhook(t, "messages.upsert", 19) {
		require.Equal(t, http.StatusOK, status)
	}
	joao.WaitReceived(t, 1)
	settled(t, s)
	require.Equal(t, "1", s.SQL(t, "select count(*) from inbox where wa_id = 'MSG-JOAO-1'"))
	sheet.Add(figure.Count("answers-to-20-equal-webhooks", len(joao.Received(t)), 1))
	require.Len(t, joao.Received(t), 1)
}

// killedRouter: every replica dies by SIGKILL while n8n works on the answer; Docker restarts them, and the
// customer gets one answer.
func killedRouter(t *testing.T, s *devstack.Stack) {
	rounds := 3
	if os.Getenv("SMOKE") != "" {
		rounds = 1
	}
	lost, twice := 0, 0
	for i := range rounds {
		ana := s.Customer(t, fmt.Sprintf("55119876501%02d", i), "Ana")
		id := fmt.Sprintf("MSG-ANA-%d", i)
		// A paused n8n holds the turn open: the kill hits between webhook and answer, not by luck.
		require.NoError(t, s.Docker.ContainerPause(t.Context(), s.Container("n8n")))
		ana.Says(t, id, "Vocês abrem no sábado?")
		devstack.Eventually(t, "the turn to run", time.Minute, func() bool {
			return s.SQL(t, "select count(*) from turn t join inbox i on i.conversation_id = t.conversation_id and i.turn_no = t.no where i.wa_id = '"+id+"' and t.state = 'running'") == "1"
		})
		for _, replica := range []string{"router-1", "router-2"} {
			require.NoError(t, syscall.Kill(s.PID(t, replica), syscall.SIGKILL))
		}
		require.NoError(t, s.Docker.ContainerUnpause(t.Context(), s.Container("n8n")))
		got := ana.WaitReceived(t, 1)
		settled(t, s)
		require.Contains(t, got[0].Text, "Vocês abrem no sábado?")
		twice += len(ana.Received(t)) - 1
		if s.SQL(t, "select state from inbox where wa_id = '"+id+"'") != "done" {
			lost++
		}
		waitHealthy(t, s, "router-1", "router-2")
	}
	sheet.Add(figure.Count("messages-lost-by-a-killed-router", lost, 0))
	sheet.Add(figure.Count("answered-twice-by-a-killed-router", twice, 0))
	require.Zero(t, lost)
	require.Zero(t, twice)
}

func waitHealthy(t *testing.T, s *devstack.Stack, names ...string) {
	t.Helper()
	for _, name := range names {
		devstack.Eventually(t, name+" healthy", 2*time.Minute, func() bool {
			info, err := s.Docker.ContainerInspect(t.Context(), s.Container(name))
			return err == nil && info.State.Running && info.State.Health != nil && info.State.Health.Status == container.Healthy
		})
	}
}

func badWebhooks(t *testing.T, s *devstack.Stack) {
	secret := s.MustSecrets(t)["secret-hook-principal.value"]
	require.NotEmpty(t, secret)
	base := "http://" + s.IP(t, "router-1", "app") + ":8080"
	hook := base + "/hooks/evolution/principal"
	right := map[string]string{"X-Plantao-Secret": secret}
	upsert := `{"event":"messages.upsert","instance":"principal","data":{"key":{"remoteJid":"5511987650003@s.whatsapp.net","fromMe":false,"id":"BAD-1"},"message":{"conversation":"x"},"messageType":"conversation","messageTimestamp":1}}`
	rows := s.SQL(t, "select count(*) from inbox")
	for _, c := range []struct {
		name, url, body string
		header          map[string]string
		status          int
	}{
		{"unknown channel", base + "/hooks/evolution/nope", upsert, right, 404},
		{"no secret", hook, upsert, nil, 401},
		{"wrong secret", hook, upsert, map[string]string{"X-Plantao-Secret": secret[1:] + "x"}, 401},
		{"broken JSON", hook, `{"event":`, right, 400},
		{"over the limit", hook, `{"event":"` + strings.Repeat("x", 9<<20) + `"}`, right, 413},
		{"not JSON", hook, upsert, map[string]string{"X-Plantao-Secret": secret, "Content-Type": "text/plain"}, 415},
	} {
		status, answer := devstack.Post(t, c.url, c.header, []byte(c.body))
		require.Equal(t, c.status, status, "%s: %s", c.name, answer)
		require.NotContains(t, answer, secret, c.name)
		require.NotEmpty(t, answer, c.name)
	}
	require.Equal(t, rows, s.SQL(t, "select count(*) from inbox"), "a refused webhook left a row")
	status, answer := devstack.Post(t, hook, right, []byte(`{"event":"brand.new","instance":"principal","data":{"a":1}}`))
	require.Equal(t, 200, status, answer)
	require.Equal(t, "ignored", s.SQL(t, "select state from inbox where kind = 'unknown' order by id desc limit 1"))
}

// closedPaths: what would let a stranger act, or watch, has no way in from outside.
func closedPaths(t *testing.T, s *devstack.Stack) {
	get := func(service, path string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", s.Port, path), nil)
		require.NoError(t, err)
		req.Host = fmt.Sprintf("%s.localhost:%d", service, s.Port)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	for service, path := range map[string]string{"n8n": "/", "chatwoot": "/api", "router": "/readyz"} {
		require.Equal(t, http.StatusOK, get(service, path), service+path)
	}
	require.Equal(t, http.StatusUnauthorized, get("evolution", "/instance/fetchInstances"))
	require.Equal(t, http.StatusUnauthorized, get("router", "/v1/conversations"), "the API asks for a token")
	for _, closed := range [][2]string{
		{"n8n", "/metrics"}, {"n8n", "/healthz"}, {"chatwoot", "/installation/onboarding"}, {"evolution", "/webhook/evolution"},
		{"evolution", "/manager"}, {"evolution", "/chatwoot/webhook/principal"}, {"evolution", "/"},
		{"router", "/metrics"}, {"router", "/hooks/evolution/principal"}, {"router", "/v1/../metrics"}, {"router", "/healthz"},
		{"router", "/"}, {"postgres", "/"}, {"unknown", "/"},
	} {
		require.Equal(t, http.StatusNotFound, get(closed[0], closed[1]), closed)
	}
}

func ownDatabase(t *testing.T, s *devstack.Stack) {
	secrets := s.MustSecrets(t)
	for _, role := range []string{"router", "n8n", "chatwoot", "evolution"} {
		for _, db := range []string{"router", "n8n", "chatwoot", "evolution", "postgres"} {
			out := s.Exec(t, "postgres", "sh", "-c", `PGPASSWORD="$1" psql -X -h 127.0.0.1 -U "$2" -d "$3" -Atc "select 'in'" 2>&1 || true`, "sh", secrets["secret-postgres-"+role+".value"], role, db)
			if role == db {
				require.Equal(t, "in", out)
			} else {
				require.Contains(t, out, "permission denied for database", "%s in %s", role, db)
			}
		}
	}
	require.Equal(t, "postgres", s.SQL(t, "select string_agg(rolname, ',') from pg_roles where rolsuper"))
}

func ownRedis(t *testing.T, s *devstack.Stack) {
	secrets := s.MustSecrets(t)
	try := func(user, db, command string) string {
		return s.Exec(t, "redis", "sh", "-c", `REDISCLI_AUTH="$1" redis-cli --no-auth-warning --user "$2" -n "$3" $4 2>&1`, "sh", secrets["secret-redis-"+user+".value"], user, db, command)
	}
	require.Contains(t, try("router", "4", "set router:x 1"), "OK")
	require.Contains(t, try("router", "4", "set other:x 1"), "NOPERM")
	require.Contains(t, try("router", "1", "get router:x"), "NOPERM")
	require.Contains(t, try("chatwoot", "4", "get router:x"), "NOPERM")
	require.Contains(t, try("chatwoot", "1", "set anything 1"), "OK")
	require.Contains(t, try("router", "4", "flushall"), "NOPERM")
	require.Contains(t, try("router", "4", "config get maxmemory"), "NOPERM")
	require.Contains(t, s.Exec(t, "redis", "sh", "-c", "redis-cli get router:x 2>&1"), "NOPERM")
}

// noLeak: no secret of the state stands in what pulumi printed, in `docker inspect`, in logs, or in the
// process list.
func noLeak(t *testing.T, s *devstack.Stack) {
	secrets := s.MustSecrets(t)
	places := map[string]string{"pulumi's output": s.Output(), "the process list": processList(t)}
	for _, service := range services {
		_, raw, err := s.Docker.ContainerInspectWithRaw(t.Context(), s.Container(service), false)
		require.NoError(t, err)
		places["docker inspect "+service] = string(raw)
		places["the log of "+service] = s.Logs(t, service)
	}
	leaks := 0
	for place, text := range places {
		require.NotEmpty(t, text, place)
		for name, value := range secrets {
			if strings.Contains(text, value) {
				leaks++
				t.Errorf("secret %s stands in %s", name, place)
			}
		}
	}
	// The control: the search finds a value that is known to be there.
	require.Contains(t, places["docker inspect router-1"], "plantao-"+s.Name)
	sheet.Add(figure.Count("secrets-outside-files", leaks, 0))
}

// processList is the argv and environment's names of every process of this machine.
func processList(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ps", "-eo", "args").Output()
	require.NoError(t, err)
	return string(out)
}

// TestReadmeNamesRealTargets: what the READMEs tell people to type exists.
func TestReadmeNamesRealTargets(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	require.NoError(t, err)
	for _, name := range []string{"README.md", "README.pt-BR.md"} {
		text, err := os.ReadFile(filepath.Join("../..", name))
		require.NoError(t, err)
		targets := regexp.MustCompile(`make ([a-z][a-z0-9-]*)`).FindAllStringSubmatch(string(text), -1)
		require.NotEmpty(t, targets)
		for _, m := range targets {
			require.Regexp(t, `(?m)^`+m[1]+`:`, string(makefile), "%s names make %s", name, m[1])
		}
	}
}
