package routing

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
	"plantao/runtime/routing/rules"
)

const crewFile = `calendars:
  loja:
    timezone: America/Sao_Paulo
    hours:
      - {days: [mon, tue, wed, thu, fri], open: ["08:00-18:00"]}
      - {days: [sat], open: ["22:00-02:00"]}
  manha:
    timezone: America/Sao_Paulo
    hours:
      - {days: [mon, tue, wed, thu, fri], open: ["08:00-12:00"]}
    holidays: [br]
teams:
  vendas: {hours: loja, strategy: longest_idle, reserve: 45s}
  turno: {strategy: round_robin}
agents:
  ana@loja.example: {skills: [atacado, vip], languages: [pt, en], capacity: 2}
  Bia@loja.example: {skills: [atacado], languages: [pt], hours: manha}
  caio@loja.example: {channels: [outro]}
rules:
  - {name: turno, when: 'channel.name == "turno"', to: {team: turno}}
  - name: tudo
    when: 'true'
    to:
      - {ai: vendas, attempts: 3}
      - {last: 72h}
      - {team: vendas, skills: [atacado], languages: [en, es], for: 5m, say: Um momento.}
      - {team: suporte}
      - {queue: suporte, for: 10m, say: "Você é o número {position}."}
      - {say: Respondemos amanhã.}
`

// planned is the plan of the rule that decides for a channel.
func planned(t *testing.T, channel string) (conversation.Plan, *rules.Set) {
	t.Helper()
	set, err := rules.Read("rules", []byte(crewFile))
	require.NoError(t, err)
	return planOf(set.Decide(rules.Facts{Channel: channel}), set), set
}

func TestPlanOfARule(t *testing.T) {
	t.Parallel()
	p, set := planned(t, "principal")
	require.Equal(t, conversation.Plan{Rule: "tudo", Version: set.Version(), Targets: []conversation.Target{
		{Kind: conversation.TargetAI, ID: "vendas", Attempts: 3},
		{Kind: conversation.TargetLast, Within: 72 * time.Hour, Reserve: time.Minute},
		{Kind: conversation.TargetTeam, ID: "vendas", Skills: []string{"atacado"}, Languages: []string{"en", "es"}, Reserve: 45 * time.Second,
			Strategy: conversation.LongestIdle, Hours: "loja", For: 5 * time.Minute, Say: "Um momento."},
		{Kind: conversation.TargetTeam, ID: "suporte", Reserve: time.Minute, Strategy: conversation.LeastBusy},
		{Kind: conversation.TargetQueue, ID: "suporte", For: 10 * time.Minute, Say: "Você é o número {position}."},
		{Kind: conversation.TargetSay, Say: "Respondemos amanhã."},
	}}, p)
	d := Decide(conversation.Unrouted{Flow: "f", State: conversation.Idle, Rules: set.Version(), Facts: conversation.Facts{Now: tuesday}}, set)
	require.Equal(t, "ai:vendas", d.To.String())
	require.NotNil(t, d.Plan)
	require.Zero(t, d.Plan.Wait, "an AI's plan goes on when it fails")
	require.Equal(t, map[string]int{"ana@loja.example": 2}, set.Capacities())
}

var tuesday = time.Date(2026, 11, 24, 13, 0, 0, 0, time.UTC) // ten o'clock in São Paulo

func online(id, email string, active int) conversation.Mate {
	return conversation.Mate{ID: id, Email: email, Presence: conversation.Online, Active: active}
}

// TestStrategies: who is offered a conversation first.
func TestStrategies(t *testing.T) {
	t.Parallel()
	ago := func(m conversation.Mate, offered, freed time.Duration) conversation.Mate {
		if offered > 0 {
			m.OfferedAt = tuesday.Add(-offered)
		}
		if freed > 0 {
			m.FreedAt = tuesday.Add(-freed)
		}
		return m
	}
	a, b, c := online("1", "", 2), online("2", "", 1), online("3", "", 1)
	for _, x := range []struct {
		name   string
		by     conversation.Strategy
		mates  []conversation.Mate
		chosen string
	}{
		{"the fewest", conversation.LeastBusy, []conversation.Mate{a, online("2", "", 0), c}, "2"},
		{"an offer counts as one", conversation.LeastBusy, []conversation.Mate{a, {ID: "2", Presence: conversation.Online, Active: 1, Offers: 2}, c}, "3"},
		{"equal: who was offered one least lately", conversation.LeastBusy, []conversation.Mate{ago(b, time.Minute, 0), ago(c, time.Hour, 0)}, "3"},
		{"equal: who never was", conversation.LeastBusy, []conversation.Mate{ago(b, time.Hour, 0), c}, "3"},
		{"all equal: the same each time", conversation.LeastBusy, []conversation.Mate{c, b}, "2"},
		{"in turn, however busy", conversation.RoundRobin, []conversation.Mate{ago(a, time.Hour, 0), ago(b, time.Minute, 0)}, "1"},
		{"idle the longest", conversation.LongestIdle, []conversation.Mate{ago(online("1", "", 0), 0, time.Minute), ago(online("2", "", 0), 0, time.Hour)}, "2"},
		{"never had one", conversation.LongestIdle, []conversation.Mate{ago(online("1", "", 0), 0, time.Minute), online("2", "", 0)}, "2"},
		{"who has one is not idle", conversation.LongestIdle, []conversation.Mate{ago(a, 0, 5*time.Hour), ago(online("2", "", 0), 0, time.Minute)}, "2"},
	} {
		d := conversation.DuePlan{Now: tuesday, State: conversation.HumanQueued, Plan: conversation.Plan{Since: tuesday, Targets: []conversation.Target{
			{Kind: conversation.TargetTeam, ID: "t", Strategy: x.by, Reserve: time.Minute}}}}
		m := Next(d, x.mates, nil)
		require.Equal(t, x.chosen, m.Offer, x.name)
		require.Equal(t, []string{x.chosen}, m.Plan.Tried, x.name)
		require.Equal(t, time.Minute, m.Plan.Wait, x.name)
		require.Equal(t, m, Next(d, x.mates, nil), "equal plans, equal moves")
	}
}

// TestWhoCanBeOffered: what keeps a human from being offered a conversation.
func TestWhoCanBeOffered(t *testing.T) {
	t.Parallel()
	plan, set := planned(t, "principal")
	plan.Step = 2 // the team vendas, with skills and languages
	full := online("1", "ana@loja.example", 2)
	busy, two := online("1", "ana@loja.example", 1), 2
	busy.Offers = 1
	away := online("1", "ana@loja.example", 0)
	away.Presence = conversation.Away
	bound := online("4", "", 2)
	bound.Capacity = &two
	ana := online("1", "ANA@loja.example", 0)
	team := []conversation.Target{{Kind: conversation.TargetTeam, ID: "t", Reserve: time.Minute}}
	for _, x := range []struct {
		name    string
		mate    conversation.Mate
		targets []conversation.Target
		now     string
		channel string
		offered bool
	}{
		{name: "all fits, whatever case the address has", mate: ana, offered: true},
		{name: "no skill", mate: online("5", "nobody@loja.example", 0)},
		{name: "no language", mate: online("2", "bia@loja.example", 0)},
		{name: "full by the file", mate: full},
		{name: "full with what is offered", mate: busy},
		{name: "away", mate: away},
		{name: "the team's hours are over", mate: ana, now: "2026-11-24T18:00"},
		{name: "over midnight they are not", mate: ana, now: "2026-11-29T01:59", offered: true},
		{name: "two o'clock", mate: ana, now: "2026-11-29T02:00"},
		{name: "full by the API", mate: bound, targets: team},
		{name: "unknown to the file", mate: online("6", "", 9), targets: team, offered: true},
		{name: "their own hours", mate: online("2", "bia@loja.example", 0), targets: team, offered: true},
		{name: "their own hours are over", mate: online("2", "bia@loja.example", 0), targets: team, now: "2026-11-24T12:00"},
		{name: "a holiday", mate: online("2", "bia@loja.example", 0), targets: team, now: "2026-11-20T10:00"},
		{name: "another channel", mate: online("3", "caio@loja.example", 0), targets: team, channel: "principal"},
		{name: "their channel", mate: online("3", "caio@loja.example", 0), targets: team, channel: "outro", offered: true},
	} {
		p := plan
		if x.targets != nil {
			p.Step, p.Targets = 0, x.targets
		}
		now := tuesday
		if x.now != "" {
			zone, err := time.LoadLocation("America/Sao_Paulo")
			require.NoError(t, err)
			now, err = time.ParseInLocation("2006-01-02T15:04", x.now, zone)
			require.NoError(t, err)
		}
		p.Since = now
		m := Next(conversation.DuePlan{Plan: p, Now: now, Channel: x.channel, State: conversation.HumanQueued}, []conversation.Mate{x.mate}, set)
		require.Equal(t, x.offered, m.Offer != "", x.name)
		require.Positive(t, m.Plan.Wait, "%s: it is looked at again", x.name)
	}
}

// TestEscalation walks through a rule's targets, with nobody there until the end.
func TestEscalation(t *testing.T) {
	t.Parallel()
	p, set := planned(t, "principal")
	p.Since, p.Next = tuesday, true // the AI has failed
	d := conversation.DuePlan{Plan: p, Now: tuesday, State: conversation.HumanQueued}
	step := func(after time.Duration, mates ...conversation.Mate) Move {
		d.Now = d.Now.Add(after)
		m := Next(d, mates, set)
		d.Plan = m.Plan
		return m
	}
	m := step(0)
	require.True(t, m.Pass)
	require.Equal(t, conversation.TargetLast, d.Target().Kind)
	require.Equal(t, soon, m.Plan.Wait)

	m = step(time.Second) // nobody had it before
	require.True(t, m.Pass)
	require.Equal(t, "vendas", d.Target().ID)
	require.Equal(t, d.Now, d.Since)

	ana, bia := online("1", "ana@loja.example", 0), online("2", "bia@loja.example", 0)
	m = step(time.Second, bia)
	require.False(t, m.Pass || m.Offer != "", "nobody fits, and there is time")
	require.Equal(t, recheck, m.Plan.Wait)
	require.Equal(t, "1", step(recheck, ana, bia).Offer)
	m = step(45*time.Second, ana, bia) // she did not accept
	require.Empty(t, m.Offer)
	require.Equal(t, 45*time.Second, m.Plan.Wait, "another round, after a while")
	require.Equal(t, "1", step(45*time.Second, ana, bia).Offer)
	d.State = conversation.Offered
	require.Equal(t, time.Second, step(time.Second, ana).Plan.Wait, "an offer's end is another timer's")
	d.State = conversation.HumanQueued
	m = step(5*time.Minute, ana)
	require.True(t, m.Pass, "the target's time is over")
	require.Equal(t, "suporte", d.Target().ID)
	require.Empty(t, d.Tried)

	require.Equal(t, "2", step(0, bia).Offer)
	m = step(time.Minute, bia)
	require.True(t, m.Pass, "each was asked once, and no time is set")
	require.Equal(t, conversation.TargetQueue, d.Target().Kind)
	require.Equal(t, 10*time.Minute, m.Plan.Wait)
	require.True(t, step(10*time.Minute).Pass)
	require.Equal(t, conversation.TargetSay, d.Target().Kind)
	m = step(time.Second)
	require.False(t, m.Pass)
	require.Zero(t, m.Plan.Wait, "it waits where it is for any human")
}

// TestLastTeam: the humans of a last target are asked again and again; nobody is left alone for good.
func TestLastTeam(t *testing.T) {
	t.Parallel()
	p, set := planned(t, "turno")
	d := conversation.DuePlan{Plan: p, Now: tuesday, State: conversation.HumanQueued}
	d.Since = tuesday
	ana, bia := online("1", "", 3), online("2", "", 0)
	var asked []string
	for range 6 {
		m := Next(d, []conversation.Mate{ana, bia}, set)
		require.Positive(t, m.Plan.Wait)
		require.False(t, m.Pass)
		d.Plan, d.Now = m.Plan, d.Now.Add(m.Plan.Wait)
		for _, mate := range []*conversation.Mate{&ana, &bia} {
			if m.Offer == mate.ID {
				mate.OfferedAt = d.Now
			}
		}
		asked = append(asked, m.Offer)
	}
	require.Equal(t, []string{"1", "2", "", "1", "2", ""}, asked)
}

func TestAffinity(t *testing.T) {
	t.Parallel()
	p, set := planned(t, "principal")
	p.Step, p.Since = 1, tuesday
	d := conversation.DuePlan{Plan: p, Now: tuesday, State: conversation.HumanQueued, LastHuman: "7", LastHumanAt: tuesday.Add(-71 * time.Hour)}
	require.Equal(t, "7", Next(d, []conversation.Mate{online("7", "", 5)}, set).Offer)
	require.True(t, Next(d, nil, set).Pass, "who is no longer there")
	d.LastHumanAt = tuesday.Add(-73 * time.Hour)
	require.True(t, Next(d, []conversation.Mate{online("7", "", 0)}, set).Pass, "too long ago")
}
