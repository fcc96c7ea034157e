//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/test/e2e/devstack"
	"plantao/test/figure"
)

// desks is a file of rules for people: a team of three, hours that are on and hours that are over, and a flow that fails.
const desks = `calendars:
  aberto:
    timezone: America/Sao_Paulo
    hours: [{days: [mon, tue, wed, thu, fri, sat, sun], open: ["00:00-24:00"]}]
  fechado:
    timezone: America/Sao_Paulo
    hours: [{days: [%s], open: ["00:00-24:00"]}]
teams:
  balcao: {hours: aberto, strategy: least_busy, reserve: 2m}
agents:
  caio@plantao.example: {capacity: 3}
rules:
  - name: pessoas
    when: '"atendente" in message.words'
    to: {team: balcao, say: "Um momento: você é o número {position} da fila."}
  - name: quebra
    when: '"quebra" in message.words'
    to:
      - {ai: quebra, attempts: 3}
      - {team: balcao, say: Uma pessoa já vem.}
  - name: no-horario
    when: '"loja" in message.words && open.aberto'
    to: {queue: loja}
  - name: fora-do-horario
    when: '"noite" in message.words && !open.fechado'
    to: {queue: loja, say: Estamos fechados. Respondemos amanhã.}
`

// people: conversations reach humans by rule: who has the fewest is offered the next, and accepts in Chatwoot.
func (p *path) people(t *testing.T) {
	stacks, err := os.ReadFile("testdata/rules.yaml")
	require.NoError(t, err)
	zone, err := time.LoadLocation("America/Sao_Paulo")
	require.NoError(t, err)
	another := strings.ToLower(time.Now().In(zone).AddDate(0, 0, 3).Format("Mon"))
	_, rest, _ := strings.Cut(string(stacks), "rules:\n")
	file := filepath.Join(t.TempDir(), "rules.yaml")
	require.NoError(t, os.WriteFile(file, []byte(fmt.Sprintf(desks, another)+rest), 0o600))
	p.s.CLI(t, 0, "rules", "apply", file)
	defer p.s.CLI(t, 0, "rules", "apply", "test/e2e/testdata/rules.yaml")

	ana, bia, caio := p.desk.Hire(t, "Ana", "ana@plantao.example"), p.desk.Hire(t, "Bia", "bia@plantao.example"), p.desk.Hire(t, "Caio", "caio@plantao.example")
	p.desk.Team(t, "balcao", ana, bia, caio)
	present := func() { p.desk.Present(t, p.s, ana, bia, caio) }
	present()
	devstack.Eventually(t, "the router to know the team", 2*time.Minute, func() bool {
		present() // as their browsers say every so often
		return p.s.SQL(t, "select count(*) from team_member m join agent a on a.kind = 'human' and a.id = m.human where m.team = 'balcao' and a.presence = 'online' and a.presence_until > now()") == "3"
	})
	require.Equal(t, "3", p.s.SQL(t, "select capacity from agent where email = 'caio@plantao.example'"), "the file's capacity counts for whom Chatwoot told of later")

	// Ana and Caio have one each.
	for i, user := range []int64{ana, caio} {
		c := p.customer(t, fmt.Sprintf("551198766004%d", i), "Cliente")
		c.Says(t, fmt.Sprintf("BUSY-%d", i), "Oi")
		c.WaitReceived(t, 1)
		settled(t, p.s)
		p.desk.Assign(t, p.desk.WaitConversation(t, c, "there", func(devstack.DeskConversation) bool { return true }).ID, user)
		devstack.Eventually(t, "the human to have it", time.Minute, func() bool {
			return p.s.ConversationOf(t, c).Owner == fmt.Sprintf("human:%d", user)
		})
	}
	offered := func(c *devstack.Customer) (to string) {
		t.Helper()
		devstack.Eventually(t, "the offer", time.Minute, func() bool {
			present()
			to = p.s.SQL(t, "select coalesce(offer_kind || ':' || offer_agent, '') from conversation where id = "+p.s.ConversationOf(t, c).ID)
			return to != ""
		})
		return to
	}
	zelia := p.customer(t, "5511987660042", "Zélia")
	zelia.Says(t, "TEAM-1", "Quero um atendente")
	require.Equal(t, "Um momento: você é o número 1 da fila.", zelia.WaitReceived(t, 1)[0].Text)
	right := 0
	if offered(zelia) == fmt.Sprintf("human:%d", bia) {
		right++
	}
	conv := p.desk.WaitConversation(t, zelia, "open, nobody assigned", func(d devstack.DeskConversation) bool {
		return d.Status == "open" && d.Meta.Assignee == nil
	})
	devstack.Eventually(t, "the note that mentions her", time.Minute, func() bool {
		return strings.Contains(p.desk.Notes(t, conv.ID), fmt.Sprintf("mention://user/%d/Bia", bia))
	})
	p.desk.Assign(t, conv.ID, bia) // which is how she accepts
	devstack.Eventually(t, "the acceptance", time.Minute, func() bool {
		return p.s.ConversationOf(t, zelia).Owner == fmt.Sprintf("human:%d", bia)
	})
	require.Equal(t, "accept|assigned_in_chatwoot", p.s.SQL(t, "select verb, reason from audit where conversation_id = "+p.s.ConversationOf(t, zelia).ID+" order by seq desc limit 1"))
	require.Contains(t, p.s.CLI(t, 0, "conversation", "why", p.s.ConversationOf(t, zelia).ID), "reason: rule pessoas; rule ")
	sheet.Add(figure.Count("offers-to-the-least-busy-of-three", right, 1))
	require.Equal(t, 1, right)

	opened := p.customer(t, "5511987660043", "Nina")
	opened.Says(t, "HOURS-1", "A loja abre hoje?")
	devstack.Eventually(t, "the queue", time.Minute, func() bool { return p.s.ConversationOf(t, opened).Owner == "queue:loja" })
	closed := p.customer(t, "5511987660044", "Otto")
	closed.Says(t, "HOURS-2", "Atendem de noite?")
	require.Equal(t, "Estamos fechados. Respondemos amanhã.", closed.WaitReceived(t, 1)[0].Text)
	settled(t, p.s)
	sheet.Add(figure.Count("words-to-whom-the-queue-has-in-hours", len(opened.Received(t)), 0))
	sheet.Add(figure.Count("words-out-of-hours", len(closed.Received(t)), 1))
	require.Empty(t, opened.Received(t))

	p.failing(t, present)
}

// failing: a flow that refuses three turns in a row, and then the team.
func (p *path) failing(t *testing.T, present func()) {
	p.install(t, "quebra")
	c := p.customer(t, "5511987660045", "Davi")
	c.Says(t, "FAIL-1", "Isto quebra sempre")
	require.Equal(t, "Uma pessoa já vem.", c.WaitReceived(t, 1)[0].Text)
	devstack.Eventually(t, "the team to be offered it", time.Minute, func() bool {
		present()
		return p.s.ConversationOf(t, c).State == "OFFERED"
	})
	id := p.s.ConversationOf(t, c).ID
	failed := p.s.SQL(t, "select count(*) from turn where conversation_id = "+id+" and kind = 'ai' and state = 'failed'")
	sheet.Add(figure.YesNo("a-flow-that-fails-three-times-goes-to-the-team", failed == "3"))
	require.Equal(t, "3", failed)
	require.Equal(t, "pending|0", p.s.SQL(t, "select state, (select count(*) from dead_letter where conversation_id = "+id+") from inbox where wa_id = 'FAIL-1'"),
		"the message waits for whoever accepts")
}
