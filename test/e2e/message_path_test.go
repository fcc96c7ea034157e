//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/stretchr/testify/require"

	"plantao/runtime/api"
	"plantao/runtime/client"
	"plantao/runtime/conversation"
	"plantao/runtime/n8n"
	"plantao/test/e2e/devstack"
	"plantao/test/figure"
)

// messagePath is what a message can meet on its way, on the real n8n: bursts, people, and neighbours that are away.
func messagePath(t *testing.T, s *devstack.Stack) {
	p := &path{s: s, desk: s.Desk(t)}
	t.Run("a burst of five messages is one turn", p.burst)
	for i, policy := range []string{"queue", "merge", "append"} {
		t.Run("a message in the middle of a turn: "+policy, func(t *testing.T) { p.midTurn(t, policy, fmt.Sprintf("551198766001%d", i)) })
	}
	p.installFetching(t)
	t.Run("a message in the middle of a turn: append, and the flow fetches it", p.fetches)
	t.Run("a human takes over in Chatwoot while the flow thinks", p.takeOver)
	t.Run("a late answer by the API is refused with 409", p.late)
	t.Run("rules send words to a flow, and to the queue", p.byRules)
	t.Run("rules give conversations to people", p.people)
	t.Run("what the phone writes silences the AI, a greeting does not", p.phone)
	t.Run("n8n stopped", p.withoutN8N)
	t.Run("Evolution restarted, webhooks lost", p.withoutEvolution)
	t.Run("Chatwoot down", p.withoutChatwoot)
	t.Run("PostgreSQL restarted in a burst", p.withoutPostgres)
	t.Run("the three histories agree", p.histories)
}

type path struct {
	s         *devstack.Stack
	desk      *devstack.Desk
	customers []*devstack.Customer // whose histories must agree in the end
	phoned    map[string][]string  // what the phone wrote to them, by number
}

func (p *path) customer(t *testing.T, number, name string) *devstack.Customer {
	t.Helper()
	c := p.s.Customer(t, number, name)
	p.customers = append(p.customers, c)
	return c
}

// outage is how long a neighbour stays away.
func outage() time.Duration {
	if os.Getenv("SMOKE") != "" {
		return 10 * time.Second
	}
	return time.Minute
}

// turnOf is the turn that took a message: its number and how many messages it has.
func (p *path) turnOf(t *testing.T, id string) string {
	t.Helper()
	return p.s.SQL(t, `select i.turn_no || ' ' || (select count(*) from inbox j where j.conversation_id = i.conversation_id and j.turn_no = i.turn_no)
		from inbox i where i.wa_id = '`+id+`'`)
}

func (p *path) running(t *testing.T, id string) {
	t.Helper()
	devstack.Eventually(t, "the turn of "+id+" to run", time.Minute, func() bool {
		return p.s.SQL(t, `select count(*) from turn t join inbox i on i.conversation_id = t.conversation_id and i.turn_no = t.no
			where i.wa_id = '`+id+`' and t.state = 'running'`) == "1"
	})
}

func (p *path) stored(t *testing.T, id string) {
	t.Helper()
	devstack.Eventually(t, id+" to be stored", time.Minute, func() bool {
		return p.s.SQL(t, "select count(*) from inbox where wa_id = '"+id+"'") == "1"
	})
}

func (p *path) stop(t *testing.T, service string) {
	t.Helper()
	none := 1
	require.NoError(t, p.s.Docker.ContainerStop(t.Context(), p.s.Container(service), container.StopOptions{Timeout: &none}))
}

// kill ends a service's process and waits until Docker has brought it back.
func (p *path) kill(t *testing.T, service string) {
	t.Helper()
	before := p.s.PID(t, service)
	require.NoError(t, syscall.Kill(before, syscall.SIGKILL))
	devstack.Eventually(t, service+" to come back", time.Minute, func() bool {
		now := p.s.PID(t, service)
		return now != 0 && now != before
	})
	waitHealthy(t, p.s, service)
}

func (p *path) start(t *testing.T, service string) {
	t.Helper()
	require.NoError(t, p.s.Docker.ContainerStart(t.Context(), p.s.Container(service), container.StartOptions{}))
}

// hold keeps n8n thinking; the function it returns lets it go on.
func (p *path) hold(t *testing.T) func() {
	t.Helper()
	require.NoError(t, p.s.Docker.ContainerPause(t.Context(), p.s.Container("n8n")))
	released := false
	release := func() {
		if !released {
			released = true
			require.NoError(t, p.s.Docker.ContainerUnpause(context.WithoutCancel(t.Context()), p.s.Container("n8n")))
		}
	}
	t.Cleanup(release)
	return release
}

func (p *path) burst(t *testing.T) {
	c := p.customer(t, "5511987660001", "Lia")
	for i := range 5 {
		c.Says(t, fmt.Sprintf("BURST-%d", i), fmt.Sprintf("parte %d", i+1))
	}
	got := c.WaitReceived(t, 1)
	settled(t, p.s)
	require.Equal(t, "1 5", p.turnOf(t, "BURST-0"))
	require.Equal(t, "1 5", p.turnOf(t, "BURST-4"))
	for i := range 5 {
		require.Contains(t, got[0].Text, fmt.Sprintf("parte %d", i+1))
	}
	sheet.Add(figure.Count("answers-to-a-burst-of-five", len(c.Received(t)), 1))
	require.Len(t, c.Received(t), 1)
}

// midTurn: one message is being answered when the next comes.
func (p *path) midTurn(t *testing.T, policy, number string) {
	router := p.s.Router(t)
	set := func(ctx context.Context, policy string) {
		require.NoError(t, router.PutAgent(ctx, "ai:atendimento", api.AgentRequest{MidTurn: policy}))
	}
	set(t.Context(), policy)
	t.Cleanup(func() { set(context.WithoutCancel(t.Context()), "queue") })
	c := p.customer(t, number, "Téo")
	first, second := "MID-"+policy+"-1", "MID-"+policy+"-2"
	release := p.hold(t)
	c.Says(t, first, "Quanto custa?")
	p.running(t, first)
	c.Says(t, second, "O azul, digo.")
	p.stored(t, second)
	if policy == "merge" {
		devstack.Eventually(t, "the turn to begin anew with both messages", time.Minute, func() bool {
			return p.turnOf(t, second) == "2 2"
		})
	}
	release()
	want := map[string]int{"queue": 2, "merge": 1, "append": 2}[policy] // this flow fetches nothing
	c.WaitReceived(t, want)
	settled(t, p.s)
	got := c.Received(t)
	require.Len(t, got, want)
	for _, text := range []string{"Quanto custa?", "O azul, digo."} {
		n := 0
		for _, m := range got {
			n += strings.Count(m.Text, text)
		}
		require.Equal(t, 1, n, "%q is answered once", text)
	}
}

// installFetching brings a flow in that fetches what has come meanwhile, answers by the API, and whose runs n8n keeps.
func (p *path) installFetching(t *testing.T) {
	t.Helper()
	p.install(t, "apanha")
	require.NoError(t, p.s.Router(t).PutAgent(t.Context(), "ai:apanha", api.AgentRequest{MidTurn: "append"}))
}

// install brings a flow of the tests' own into n8n.
func (p *path) install(t *testing.T, flow string) {
	t.Helper()
	file, err := os.ReadFile("testdata/" + flow + ".json")
	require.NoError(t, err)
	secrets := p.s.MustSecrets(t)
	_, err = n8n.Install(t.Context(), n8n.InstallConfig{
		URL: "http://" + p.s.IP(t, "n8n", "app") + ":5678", OwnerEmail: "operadora@plantao.example",
		OwnerPassword: secrets["secret-n8n-owner.value"], FlowToken: secrets["secret-n8n-flow.value"],
		Workflows: fstest.MapFS{flow + ".json": {Data: file}}, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
}

// givenToFetching is a customer whom the flow has that fetches.
func (p *path) givenToFetching(t *testing.T, number, name string) *devstack.Customer {
	t.Helper()
	c := p.customer(t, number, name)
	c.Says(t, "GIVEN-"+number, "Oi")
	c.WaitReceived(t, 1)
	settled(t, p.s)
	now := p.s.ConversationOf(t, c)
	_, err := p.s.Router(t).Do(t.Context(), client.Verb{Verb: conversation.VerbPass, ID: now.ID, IfEpoch: now.Epoch,
		Key: "give-" + number, VerbRequest: api.VerbRequest{To: "ai:apanha"}})
	require.NoError(t, err)
	return c
}

func (p *path) fetches(t *testing.T) {
	c := p.givenToFetching(t, "5511987660020", "Íris")
	release := p.hold(t)
	c.Says(t, "FETCH-1", "Quanto custa?")
	p.running(t, "FETCH-1")
	c.Says(t, "FETCH-2", "O azul, digo.")
	p.stored(t, "FETCH-2")
	release()
	c.WaitReceived(t, 2)
	settled(t, p.s)
	got := c.Received(t)
	require.Len(t, got, 2)
	require.Equal(t, "Quanto custa? / O azul, digo.", got[1].Text)
	require.Equal(t, p.turnOf(t, "FETCH-1"), p.turnOf(t, "FETCH-2"))
	sheet.Add(figure.Count("answers-to-a-message-and-one-that-was-fetched", len(got)-1, 1))
}

// late: the flow asks and answers by the API when a human has the conversation already.
func (p *path) late(t *testing.T) {
	c := p.givenToFetching(t, "5511987660021", "Rui")
	before := p.refused(t, "take-messages") + p.refused(t, "reply-turn")
	c.Says(t, "LATE-1", "Preciso de alguém, com calma")
	p.running(t, "LATE-1")
	conv := p.desk.WaitConversation(t, c, "pending", func(d devstack.DeskConversation) bool { return d.Status == "pending" })
	p.desk.Says(t, conv.ID, "Oi Rui, aqui é a Operadora.")
	c.WaitReceived(t, 2)
	devstack.Eventually(t, "the flow to be refused, fetching and answering", 2*time.Minute, func() bool {
		return p.refused(t, "take-messages")+p.refused(t, "reply-turn") == before+2
	})
	settled(t, p.s)
	got := c.Received(t)
	require.Len(t, got, 2)
	require.Equal(t, "Oi Rui, aqui é a Operadora.", got[1].Text)
	late := 0
	for _, m := range got {
		late += strings.Count(m.Text, "com calma")
	}
	sheet.Add(figure.Count("late-answers-by-the-api-after-a-human-took-over", late, 0))
}

// refused is how many requests of a kind the routers have answered with 409.
func (p *path) refused(t *testing.T, operation string) (sum int) {
	t.Helper()
	line := regexp.MustCompile(`(?m)^router_api_duration_seconds_count\{operation="` + operation + `",status="409"\} (\d+)$`)
	for _, service := range []string{"router-1", "router-2"} {
		res, err := http.Get("http://" + p.s.IP(t, service, "app") + ":8080/metrics")
		require.NoError(t, err)
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		require.NoError(t, err)
		if found := line.FindSubmatch(text); found != nil {
			n, err := strconv.Atoi(string(found[1]))
			require.NoError(t, err)
			sum += n
		}
	}
	return sum
}

// byRules: the stack's rules are in force, and the CLI says which decided. Others are put in force while all runs.
func (p *path) byRules(t *testing.T) {
	why := func(c *devstack.Customer, owner, rule string) {
		now := p.s.ConversationOf(t, c)
		require.Equal(t, owner, now.Owner)
		require.Contains(t, p.s.CLI(t, 0, "conversation", "why", now.ID), "reason: rule "+rule+"; rule ")
	}
	asked := p.customer(t, "5511987660030", "Lia")
	asked.Says(t, "RULE-1", "Quero o APANHADOR!")
	asked.WaitReceived(t, 1)
	why(asked, "ai:apanha", "apanhador")

	told := p.customer(t, "5511987660031", "Noé")
	told.Says(t, "RULE-2", "Está fechado?")
	told.WaitReceived(t, 1)
	require.Equal(t, "Estamos fechados. Respondemos amanhã.", told.Received(t)[0].Text)
	why(told, "queue:suporte", "fechado")

	stacks, err := os.ReadFile("testdata/rules.yaml")
	require.NoError(t, err)
	draft := filepath.Join(t.TempDir(), "rules.yaml")
	require.NoError(t, os.WriteFile(draft, []byte(strings.ReplaceAll(string(stacks), `"apanhador" in`, `"outro" in`)), 0o600))
	p.s.CLI(t, 0, "rules", "apply", draft)
	since := p.customer(t, "5511987660032", "Ivo")
	since.Says(t, "RULE-3", "Quero outro")
	since.WaitReceived(t, 1)
	why(since, "ai:apanha", "apanhador")
	require.NoError(t, os.WriteFile(draft, []byte("rules: [{name: a, when: outro, to: {ai: a}}]"), 0o600))
	p.s.CLI(t, 1, "rules", "apply", draft)
	p.s.CLI(t, 0, "rules", "apply", "test/e2e/testdata/rules.yaml")
	settled(t, p.s)
}

// takeOver: the human's word counts from the moment it is written, and the AI's late answer goes nowhere.
func (p *path) takeOver(t *testing.T) {
	c := p.customer(t, "5511987660002", "Rosa")
	release := p.hold(t)
	c.Says(t, "TAKE-1", "Preciso de ajuda")
	p.running(t, "TAKE-1")
	conv := p.desk.WaitConversation(t, c, "pending", func(d devstack.DeskConversation) bool { return d.Status == "pending" })
	p.desk.Says(t, conv.ID, "Oi Rosa, aqui é a Operadora.")
	got := c.WaitReceived(t, 1)
	require.Equal(t, "Oi Rosa, aqui é a Operadora.", got[0].Text)
	owner := p.s.ConversationOf(t, c)
	require.Equal(t, "HUMAN_ACTIVE", owner.State)
	require.Equal(t, fmt.Sprintf("human:%d", p.desk.UserID), owner.Owner)
	release()
	p.desk.WaitConversation(t, c, "open and assigned", func(d devstack.DeskConversation) bool {
		return d.Status == "open" && d.Meta.Assignee != nil && d.Meta.Assignee.ID == p.desk.UserID
	})
	c.Says(t, "TAKE-2", "Obrigada!")
	p.stored(t, "TAKE-2")

	// Handed back in Chatwoot: the AI answers the next message, and only that.
	p.desk.SetStatus(t, conv.ID, "pending")
	devstack.Eventually(t, "the hand-back", time.Minute, func() bool { return p.s.ConversationOf(t, c).State == "AI_ACTIVE" })
	c.Says(t, "TAKE-3", "E a entrega?")
	c.WaitReceived(t, 2)
	settled(t, p.s)
	got = c.Received(t)
	require.Len(t, got, 2)
	require.Contains(t, got[1].Text, "E a entrega?")
	late := 0
	for _, m := range got[:1] {
		late += strings.Count(m.Text, "Preciso de ajuda")
	}
	sheet.Add(figure.Count("late-answers-after-a-human-took-over", late, 0))
	require.Equal(t, "cancelled", p.s.SQL(t, "select t.state from turn t join inbox i using (conversation_id) where i.wa_id = 'TAKE-1' and t.no = 1"))
}

func (p *path) phone(t *testing.T) {
	c := p.customer(t, "5511987660003", "Gil")
	c.Says(t, "PHONE-1", "Oi")
	c.PhoneTypes(t, "PHONE-GREETING", "Olá! Já vamos atender você.") // within three seconds of the first message
	c.WaitReceived(t, 1)
	settled(t, p.s)
	require.Equal(t, "AI_ACTIVE", p.s.ConversationOf(t, c).State, "an automatic greeting is nobody")
	conversation.Pause(t.Context(), 4*time.Second) // what an automatic greeting may take
	c.PhoneTypes(t, "PHONE-2", "Gil, é o Marcos da loja.")
	devstack.Eventually(t, "the human on the phone", time.Minute, func() bool { return p.s.ConversationOf(t, c).Owner == "human:phone" })
	c.Says(t, "PHONE-3", "Opa, Marcos!")
	p.stored(t, "PHONE-3")
	other := p.customer(t, "5511987660004", "Eva")
	other.Says(t, "PHONE-4", "Bom dia")
	other.WaitReceived(t, 1) // the AI had its chance with Gil as well
	sheet.Add(figure.Count("answers-while-the-phone-has-it", len(c.Received(t))-1, 0))
	require.Len(t, c.Received(t), 1)
	if p.phoned == nil {
		p.phoned = map[string][]string{}
	}
	p.phoned[c.Number] = []string{"Olá! Já vamos atender você.", "Gil, é o Marcos da loja."}
}

func (p *path) withoutN8N(t *testing.T) {
	c := p.customer(t, "5511987660005", "Ivo")
	p.stop(t, "n8n")
	c.Says(t, "N8N-1", "Tem alguém aí?")
	p.running(t, "N8N-1")
	conversation.Pause(t.Context(), outage())
	p.start(t, "n8n")
	// On two busy cores n8n takes more than a minute to start.
	devstack.Eventually(t, "an answer once n8n is back", 4*time.Minute, func() bool { return len(c.Received(t)) > 0 })
	settled(t, p.s)
	sheet.Add(figure.Count("answers-after-n8n-was-away", len(c.Received(t)), 1))
	require.Len(t, c.Received(t), 1)
	waitHealthy(t, p.s, "n8n")
}

func (p *path) withoutEvolution(t *testing.T) {
	c := p.customer(t, "5511987660006", "Bel")
	c.LoseWebhooks(t, "messages.upsert", -1)
	c.Says(t, "EVO-1", "Esta mensagem se perde no caminho")
	for _, one := range p.customers {
		one.Keep(t)
	}
	p.kill(t, "evolution") // and with it every webhook it was still trying
	for _, one := range p.customers {
		one.Moved(t)
	}
	// Nobody tells that anything was lost: the next sweep finds it.
	devstack.Eventually(t, "an answer to what was lost", 4*time.Minute, func() bool { return len(c.Received(t)) > 0 })
	settled(t, p.s)
	sheet.Add(figure.Count("answers-to-a-message-whose-webhook-was-lost", len(c.Received(t)), 1))
	require.Len(t, c.Received(t), 1)
}

func (p *path) withoutChatwoot(t *testing.T) {
	c := p.customer(t, "5511987660007", "Noé")
	p.stop(t, "chatwoot-web")
	c.Says(t, "DESK-1", "Vocês abrem hoje?")
	c.WaitReceived(t, 1)
	conversation.Pause(t.Context(), outage())
	c.Says(t, "DESK-2", "E amanhã?")
	c.WaitReceived(t, 2)
	settled(t, p.s)
	require.Len(t, c.Received(t), 2, "WhatsApp does not wait for Chatwoot")
	p.start(t, "chatwoot-web")
	waitHealthy(t, p.s, "chatwoot-web")
	p.desk = p.s.Desk(t)
	p.desk.WaitConversation(t, c, "there", func(devstack.DeskConversation) bool { return true })
}

func (p *path) withoutPostgres(t *testing.T) {
	c := p.customer(t, "5511987660008", "Dito")
	for i := range 6 {
		// The flow has an answer to it: what it does not understand twice, it passes to a human.
		c.Says(t, fmt.Sprintf("PG-%d", i), fmt.Sprintf("preço do pedaço %d", i+1))
		if i == 2 {
			p.kill(t, "postgres")
		}
	}
	devstack.Eventually(t, "every message to be stored", 2*time.Minute, func() bool {
		return p.s.SQL(t, "select count(*) from inbox where wa_id like 'PG-%' and kind = 'message'") == "6"
	})
	settled(t, p.s)
	answers := strings.Join(texts(c.Received(t)), "\n")
	for i := range 6 {
		require.Equal(t, 1, strings.Count(answers, fmt.Sprintf("pedaço %d", i+1)), "piece %d is answered once: %s", i+1, answers)
	}
}

func texts(sent []devstack.Sent) []string {
	all := make([]string, 0, len(sent))
	for _, m := range sent {
		all = append(all, m.Text)
	}
	return all
}

// histories: what the customer wrote and read is what PostgreSQL has and what Chatwoot shows, no more and no less.
func (p *path) histories(t *testing.T) {
	missing, extra := 0, 0
	for _, c := range p.customers {
		wrote, read := slices.Clone(c.Said()), texts(c.Received(t))
		read = append(read, p.phoned[c.Number]...)
		id := p.s.ConversationOf(t, c).ID
		stored := p.texts(t, "select text from inbox where kind = 'message' and not from_me and conversation_id = "+id)
		sent := p.texts(t, "select body ->> 'text' from outbox where state = 'sent' and conversation_id = "+id)
		sent = append(sent, p.texts(t, "select text from inbox where from_me and reason in ('human_on_phone', 'auto_greeting') and conversation_id = "+id)...)
		var shown, answered []string
		conv := p.desk.WaitConversation(t, c, "there", func(devstack.DeskConversation) bool { return true })
		devstack.Eventually(t, c.Name+"'s history in Chatwoot", time.Minute, func() bool {
			shown, answered = nil, nil
			for _, m := range p.desk.Messages(t, conv.ID) {
				if m.Type == 0 {
					shown = append(shown, m.Content)
				} else {
					answered = append(answered, m.Content)
				}
			}
			return len(shown) >= len(wrote) && len(answered) >= len(read)
		})
		for _, one := range []struct {
			where     string
			want, got []string
		}{{"PostgreSQL, from the customer,", wrote, stored}, {"Chatwoot, from the customer,", wrote, shown},
			{"PostgreSQL, to the customer,", read, sent}, {"Chatwoot, to the customer,", read, answered}} {
			m, e := difference(one.want, one.got)
			missing, extra = missing+len(m), extra+len(e)
			require.Empty(t, m, "%s: %s misses", c.Name, one.where)
			require.Empty(t, e, "%s: %s has too much", c.Name, one.where)
		}
	}
	sheet.Add(figure.Count("messages-missing-in-a-history", missing, 0))
	sheet.Add(figure.Count("messages-twice-in-a-history", extra, 0))
}

// texts are the rows of a query of one column.
func (p *path) texts(t *testing.T, query string) (all []string) {
	t.Helper()
	rows := p.s.SQL(t, "select coalesce(json_agg(x), '[]') from ("+query+") q (x)")
	require.NoError(t, json.Unmarshal([]byte(rows), &all), rows)
	return all
}

// difference compares as bags: what is in want and not in got, and the other way round.
func difference(want, got []string) (missing, extra []string) {
	left := map[string]int{}
	for _, s := range got {
		left[strings.TrimSpace(s)]++
	}
	for _, s := range want {
		if s = strings.TrimSpace(s); left[s] > 0 {
			left[s]--
		} else {
			missing = append(missing, s)
		}
	}
	for s, n := range left {
		for range n {
			extra = append(extra, s)
		}
	}
	return missing, extra
}
