package rules

import (
	"errors"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the schema anew")

const shop = `# The shop's rules.
calendars:
  loja:
    timezone: America/Sao_Paulo
    hours:
      - days: [mon, tue, wed, thu, fri]
        open: ["08:00-12:00", "13:30-18:00"]
      - days: [sat]
        open: ["09:00-13:00"]
    holidays: [br, br-sp]
    dates:
      - {date: 01-25, name: Aniversário da cidade}
      - {date: 2026-12-24, name: Véspera, open: ["08:00-12:00"]}
  noite:
    timezone: America/Sao_Paulo
    hours:
      - days: [fri, sat]
        open: ["22:00-02:00"]
rules:
  - name: gave-up
    when: cause == "released" && last.id == "vendas"
    to: {queue: suporte}
  - name: sales
    when: '"orcamento" in message.words || "comprar" in message.words'
    to: {ai: vendas}
  - name: vip
    when: 'contact.name.startsWith("VIP") && open.loja'
    to: {queue: ""}
  - name: closed
    when: '!open.loja && cause == "message"'
    to: {queue: suporte, say: "Estamos fechados."}
`

func at(t *testing.T, zone, text string) time.Time {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	require.NoError(t, err)
	when, err := time.ParseInLocation("2006-01-02 15:04", text, loc)
	require.NoError(t, err)
	return when
}

func TestDecide(t *testing.T) {
	t.Parallel()
	s, err := Read("rules.yaml", []byte(shop))
	require.NoError(t, err)
	require.Equal(t, VersionOf([]byte(shop)), s.Version())
	working := at(t, "America/Sao_Paulo", "2026-11-25 10:00")
	for _, c := range []struct {
		name, rule string
		facts      Facts
	}{
		{"nothing holds", "", Facts{Now: working, Message: Message{Text: "Bom dia"}}},
		{"accents and case", "sales", Facts{Now: working, Message: Message{Text: "Queria um ORÇAMENTO, por favor"}}},
		{"a word, not a part of one", "", Facts{Now: working, Message: Message{Text: "Vou descomprar"}}},
		{"the first that holds", "gave-up", Facts{Now: working, Cause: "released", Last: Last{Kind: "ai", ID: "vendas"}, Message: Message{Text: "comprar"}}},
		{"a name, in hours", "vip", Facts{Now: working, Contact: Contact{Name: "VIP Ana"}}},
		{"out of hours", "closed", Facts{Now: at(t, "America/Sao_Paulo", "2026-11-25 12:00"), Contact: Contact{Name: "VIP Ana"}, Cause: "message"}},
	} {
		d := s.Decide(c.facts)
		require.Equal(t, c.rule, d.Rule, c.name)
		require.Empty(t, d.Failed, c.name)
		require.Equal(t, d, s.Decide(c.facts), "equal facts, equal decisions")
	}
	explained := s.Explain(Facts{Now: working, Contact: Contact{Name: "VIP Ana"}})
	require.Len(t, explained, 4)
	require.True(t, explained[2].Held)
	require.Equal(t, map[string]any{"contact.name": "VIP Ana", "open.loja": true}, explained[2].Facts)
}

func TestFactsAreCut(t *testing.T) {
	t.Parallel()
	s, err := Read("f", []byte("rules:\n- {name: long, when: 'message.text.size() > 4096 || message.kinds.size() > 64', to: {ai: a}}\n"))
	require.NoError(t, err)
	d := s.Decide(Facts{Message: Message{Text: strings.Repeat("ã", 5000), Kinds: make([]string, 100)}})
	require.Empty(t, d.Rule)
	require.Empty(t, d.Failed)
}

func TestConditionThatFailsDoesNotHold(t *testing.T) {
	t.Parallel()
	s, err := Read("f", []byte("rules:\n- {name: first, when: 'message.kinds[0] == \"x\"', to: {ai: a}}\n- {name: rest, when: 'true', to: {ai: b}}\n"))
	require.NoError(t, err)
	d := s.Decide(Facts{})
	require.Equal(t, "rest", d.Rule)
	require.Len(t, d.Failed, 1)
	require.Equal(t, "first", d.Failed[0].Rule)
}

func TestOpen(t *testing.T) {
	t.Parallel()
	s, err := Read("rules.yaml", []byte(shop))
	require.NoError(t, err)
	ny := newCalendar(Calendar{Timezone: "America/New_York", Hours: []Hours{
		{Days: []string{"sun"}, Open: []string{"01:30-02:30"}}, {Days: []string{"sat"}, Open: []string{"20:00-24:00"}},
	}}, func(_, format string, args ...any) { t.Errorf(format, args...) })
	// Until 2018 Brazil put its clocks forward at midnight: 4 November 2018 began at one o'clock.
	old := newCalendar(Calendar{Timezone: "America/Sao_Paulo", Hours: []Hours{
		{Days: []string{"sat"}, Open: []string{"22:00-02:00"}}, {Days: []string{"sun"}, Open: []string{"00:30-00:45", "10:00-11:00"}},
	}}, func(_, format string, args ...any) { t.Errorf(format, args...) })
	shopCal, night := s.calendars["loja"], s.calendars["noite"]
	leap := old.at(at(t, "America/Sao_Paulo", "2018-11-04 12:00"), 30)
	require.Equal(t, at(t, "America/Sao_Paulo", "2018-11-04 01:00").UTC(), leap.UTC(), "half past midnight was leapt over")
	const sp, us = "America/Sao_Paulo", "America/New_York"
	for _, c := range []struct {
		name, zone, when string
		of               *calendar
		open             bool
		next             string
	}{
		{"opens on the minute", sp, "2026-11-25 08:00", shopCal, true, "2026-11-25 13:30"},
		{"closed the minute before", sp, "2026-11-25 07:59", shopCal, false, "2026-11-25 08:00"},
		{"closes on the minute", sp, "2026-11-25 12:00", shopCal, false, "2026-11-25 13:30"},
		{"the week ends", sp, "2026-11-28 13:00", shopCal, false, "2026-11-30 08:00"},
		{"a national holiday", sp, "2026-11-20 10:00", shopCal, false, "2026-11-21 09:00"},
		{"a state's holiday", sp, "2026-07-09 10:00", shopCal, false, "2026-07-10 08:00"},
		{"Good Friday moves", sp, "2027-03-26 10:00", shopCal, false, "2027-03-27 09:00"},
		{"the city's day, each year", sp, "2027-01-25 10:00", shopCal, false, "2027-01-26 08:00"},
		{"a special day is open", sp, "2026-12-24 11:59", shopCal, true, "2026-12-26 09:00"},
		{"and ends at its own time", sp, "2026-12-24 14:00", shopCal, false, "2026-12-26 09:00"},
		{"another zone's clock", "Europe/Lisbon", "2026-11-25 11:00", shopCal, true, "2026-11-25 16:30"},
		{"over midnight", sp, "2026-11-28 01:59", night, true, "2026-11-28 22:00"},
		{"until two", sp, "2026-11-28 02:00", night, false, "2026-11-28 22:00"},
		{"Saturday's night is on Sunday", sp, "2026-11-29 01:00", night, true, "2026-12-04 22:00"},
		{"Monday's is not", sp, "2026-11-30 01:00", night, false, "2026-12-04 22:00"},
		{"until midnight", us, "2026-11-28 23:59", ny, true, "2026-11-29 01:30"},
		{"before the clock is put forward", us, "2026-03-08 01:59", ny, true, "2026-03-14 20:00"},
		{"a period ends with the leap over its end", us, "2026-03-08 03:00", ny, false, "2026-03-14 20:00"},
		{"the clock is put back: the first two o'clock", us, "2026-11-01 01:45", ny, true, "2026-11-07 20:00"},
		{"a day without midnight", sp, "2018-11-04 01:30", old, true, "2018-11-04 10:00"},
		{"and the day after it", sp, "2018-11-05 00:30", old, false, "2018-11-10 22:00"},
	} {
		now := at(t, c.zone, c.when)
		require.Equal(t, c.open, c.of.open(now), c.name)
		require.Equal(t, at(t, c.zone, c.next).UTC(), c.of.opens(now).UTC(), c.name)
	}
	never := newCalendar(Calendar{Timezone: sp}, nil)
	require.Zero(t, never.opens(time.Now()))
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, want string }{
		{"no YAML", "rules:\n  - name: [", "r.yaml:2: "},
		{"a key twice", "rules: []\nrules: []\n", `r.yaml:2: mapping key "rules" already defined at line 1`},
		{"nothing", "", "expected object"},
		{"unknown key", "rules:\n- name: a\n  wen: 'true'\n", `r.yaml:3: unexpected property "wen"; there are name, to, when`},
		{"missing", "rules:\n- name: a\n  when: 'true'\n", "r.yaml:2: expected required property to to be present"},
		{"bad name", "rules:\n- name: A b\n  when: 'true'\n  to: {ai: a}\n", "r.yaml:2: expected string to be a small letter"},
		{"unknown variable", "rules:\n- name: a\n  when: mesage.text == ''\n  to: {ai: a}\n", "r.yaml:3: undeclared reference to 'mesage.text' (did you mean 'message.text'?) (character 7); there are attempts, cause, channel.name,"},
		{"unknown calendar", "rules:\n- name: a\n  when: open.loja\n  to: {ai: a}\n", "r.yaml:3: undeclared reference to 'open'"},
		{"wrong type", "rules:\n- name: a\n  when: message.count == 'x'\n  to: {ai: a}\n", "r.yaml:3: found no matching overload for '_==_' applied to '(int, string)'"},
		{"no condition", "rules:\n- name: a\n  when: message.count\n  to: {ai: a}\n", "r.yaml:3: the condition is a int, and must be true or false"},
		{"too dear", "rules:\n- name: a\n  when: message.words.exists(a, message.words.exists(b, a + a == b))\n  to: {ai: a}\n", "r.yaml:3: the condition may cost"},
		{"two targets", "rules:\n- name: a\n  when: 'true'\n  to: {ai: a, queue: b}\n", "r.yaml:4: name one who gets the conversation: ai, team, queue or last"},
		{"no target", "rules:\n- name: a\n  when: 'true'\n  to:\n  - {for: 5m}\n", "r.yaml:5: name one who gets the conversation (ai, team, queue or last), or what the customer is told (say)"},
		{"what belongs elsewhere", "rules:\n- name: a\n  when: 'true'\n  to:\n  - {ai: a,\n     skills: [x]}\n", "r.yaml:6: skills belongs to team"},
		{"a queue without end", "rules:\n- name: a\n  when: 'true'\n  to:\n  - {queue: a}\n  - {ai: b}\n", "r.yaml:5: targets follow, so say how long the conversation waits in the queue: for"},
		{"no time", "rules:\n- name: a\n  when: 'true'\n  to: {queue: a, for: 5}\n", "r.yaml:4: "},
		{"too long", "rules:\n- name: a\n  when: 'true'\n  to: {queue: a, for: 8d}\n", "r.yaml:4: 8d is longer than 7d"},
		{"a team's hours", "teams:\n  a:\n    hours: x\nrules: []\n", "r.yaml:3: there is no calendar \"x\"; there are: "},
		{"a team's name", "teams:\n  Vendas: {}\nrules: []\n", "r.yaml:2: \"Vendas\": Chatwoot writes teams' names in small letters"},
		{"a strategy", "teams:\n  a: {strategy: fair}\nrules: []\n", "r.yaml:2: "},
		{"whoever", "agents:\n  ana: {}\nrules: []\n", "r.yaml:2: \"ana\": name a human by their e-mail address in Chatwoot"},
		{"an agent's hours", "agents:\n  ana@loja.example:\n    hours: x\nrules: []\n", "r.yaml:3: there is no calendar \"x\""},
		{"same name", "rules:\n- {name: a, when: 'true', to: {ai: a}}\n- {name: a, when: 'true', to: {ai: a}}\n", "r.yaml:3: the rule on line 2 is called a already"},
		{"zone", "calendars:\n  c:\n    timezone: Brasil\n    hours: [{days: [mon], open: ['08:00-12:00']}]\nrules: []\n", "r.yaml:3: \"Brasil\" is no time zone"},
		{"hours", "calendars:\n  c:\n    timezone: America/Bahia\n    hours: [{days: [mon], open: ['8-12']}]\nrules: []\n", "r.yaml:4: expected string to be from-to, such as 08:00-12:00"},
		{"weekday", "calendars:\n  c:\n    timezone: America/Bahia\n    hours: [{days: [seg], open: ['08:00-12:00']}]\nrules: []\n", `r.yaml:4: expected value to be one of "mon, tue, wed, thu, fri, sat, sun"`},
		{"holidays", "calendars:\n  c:\n    timezone: America/Bahia\n    hours: [{days: [mon], open: ['08:00-12:00']}]\n    holidays: [br-xx]\nrules: []\n", `r.yaml:5: "br-xx" is not known; there are br, br-al`},
		{"an SLA of nothing", "rules: []\nsla:\n- name: a\n  when: 'true'\n", "r.yaml:3: it promises nothing; say first_response, resolution, or both"},
		{"an SLA's time", "rules: []\nsla:\n- name: a\n  resolution: 8 hours\n", "r.yaml:4: expected string to be a number and s, m, h or d, such as 90s, 5m, 8h or 3d"},
		{"too much of it", "rules: []\nsla:\n- name: a\n  resolution: 999999d\n", "r.yaml:4: 999999d is more than the 365 days that can be promised"},
		{"days of hours", "calendars:\n  c:\n    timezone: America/Bahia\n    hours: [{days: [mon], open: ['08:00-12:00']}]\nrules: []\nsla:\n- name: a\n  first_response: 5m\n  resolution: 3d\n  hours: c\n", "r.yaml:9: a day within c could mean 24 of its hours or one of its days; write hours, such as 8h"},
		{"an SLA's calendar", "calendars:\n  c:\n    timezone: America/Bahia\n    hours: [{days: [mon], open: ['08:00-12:00']}]\nrules: []\nsla:\n- name: a\n  first_response: 5m\n  hours: loja\n", `r.yaml:9: no calendar is called "loja"; there are c`},
		{"of which there is none", "rules: []\nsla:\n- name: a\n  first_response: 5m\n  hours: loja\n", `r.yaml:5: no calendar is called "loja"; there are none, so write it under calendars`},
		{"an SLA's condition", "rules: []\nsla:\n- name: a\n  first_response: 5m\n  when: chanel.name == 'vip'\n", "r.yaml:5: undeclared reference to 'chanel.name' (did you mean 'channel.name'?)"},
		{"an SLA twice", "rules: []\nsla:\n- {name: a, first_response: 5m}\n- {name: a, first_response: 5m}\n", "r.yaml:4: the SLA on line 3 is called a already"},
		{"an SLA's key", "rules: []\nsla:\n- name: a\n  response: 5m\n", `r.yaml:4: unexpected property "response"; there are first_response, hours, name, resolution, when`},
		{"date", "calendars:\n  c:\n    timezone: America/Bahia\n    hours: [{days: [mon], open: ['08:00-12:00']}]\n    dates: [{date: 02-30}]\nrules: []\n", `r.yaml:5: 02-30 is no day`},
	} {
		s, err := Read("r.yaml", []byte(c.text))
		require.Nil(t, s, c.name)
		var problems Problems
		require.True(t, errors.As(err, &problems), c.name)
		require.Contains(t, err.Error(), c.want, c.name)
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	t.Parallel()
	_, err := Read("r.yaml", []byte("rules:\n- {name: a, when: 'x', to: {ai: a}}\n- {name: b, when: 'y', to: {}}\n"))
	var problems Problems
	require.True(t, errors.As(err, &problems))
	require.Len(t, problems, 3)
}

func TestSchemaFileIsCurrent(t *testing.T) {
	t.Parallel()
	if *update {
		require.NoError(t, os.WriteFile("schema.json", Schema(), 0o644))
	}
	file, err := os.ReadFile("schema.json")
	require.NoError(t, err)
	require.Equal(t, string(file), string(Schema()), "run make generate")
}

// TestDocumentedRules reads the example of docs/rules.md.
func TestDocumentedRules(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/rules.md")
	require.NoError(t, err)
	_, after, _ := strings.Cut(string(page), "```yaml\n")
	example, _, found := strings.Cut(after, "```")
	require.True(t, found)
	s, err := Read("docs/rules.md", []byte(example))
	require.NoError(t, err)
	require.Equal(t, 3, s.Len())
	_, after, _ = strings.Cut(after, "```yaml\nsla:")
	promises, _, found := strings.Cut(after, "```")
	require.True(t, found)
	s, err = Read("docs/rules.md", []byte(example+"sla:"+promises))
	require.NoError(t, err)
	require.True(t, s.Promises())
	for name := range variables {
		require.Contains(t, string(page), "`"+name+"`")
	}
}

// FuzzRead: whatever a file says, it is refused with problems, or decides.
func FuzzRead(f *testing.F) {
	f.Add([]byte(shop))
	f.Add([]byte("rules: []\ncalendars: {c: {timezone: America/Sao_Paulo, hours: [{days: [mon], open: ['22:00-06:00']}]}}\nsla: [{name: a, resolution: 9h, hours: c}]\n"))
	f.Add([]byte("rules:\n- {name: a, when: 'message.words[3] == \"x\"', to: {queue: \"\"}}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Read("f", text)
		if err != nil {
			var problems Problems
			require.True(t, errors.As(err, &problems), "%v", err)
			return
		}
		s.Decide(Facts{Now: time.Unix(1, 0), Message: Message{Text: "Olá mundo"}})
		p := s.Promise(Facts{Now: time.Unix(1, 0), Message: Message{Text: "Olá mundo"}}, time.Unix(1, 0))
		for _, due := range []time.Time{p.FirstResponse, p.Resolution} {
			require.True(t, due.IsZero() || due.After(time.Unix(1, 0)))
		}
	})
}
