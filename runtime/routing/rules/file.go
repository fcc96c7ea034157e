package rules

import (
	"strconv"
	"time"
)

// File is what a rule file declares, as it is written. The tags are the JSON Schema that Schema gives to editors.
type File struct {
	Schema    string              `json:"$schema,omitempty" doc:"Where editors find this schema"`
	Calendars map[string]Calendar `json:"calendars,omitempty" doc:"Business hours by name. A condition asks: open.NAME"`
	Teams     map[string]Team     `json:"teams,omitempty" doc:"How conversations are offered to a team's humans, by the team's name in Chatwoot"`
	Agents    map[string]Agent    `json:"agents,omitempty" doc:"What is known of agents: humans by their e-mail address in Chatwoot, AIs by ai: and their flow's path"`
	Rules     []Rule              `json:"rules" maxItems:"2000" doc:"Asked in this order; the first that holds decides. If none does, the channel's flow gets the conversation"`
	SLA       []SLA               `json:"sla,omitempty" maxItems:"200" doc:"What customers are promised. Asked in this order when a conversation begins; the first that holds applies"`
}

// Team says how conversations are offered to a team's humans.
type Team struct {
	Hours    string `json:"hours,omitempty" doc:"A calendar: outside its hours nobody of the team is offered a conversation"`
	Strategy string `json:"strategy,omitempty" enum:"least_busy,longest_idle,round_robin" doc:"Who is asked first: who has the fewest conversations, who has had nothing to do for longest, or each in turn. Default least_busy"`
	Reserve  string `json:"reserve,omitempty" pattern:"^[1-9][0-9]{0,4}(s|m|h|d)$" patternDescription:"a time such as 90s, 5m, 8h or 3d" doc:"How long one human has to accept before the next is asked. Default 1m"`
}

// Agent is what is known of an agent beside what Chatwoot knows.
type Agent struct {
	Skills    []string `json:"skills,omitempty" maxItems:"64" doc:"What targets may ask for"`
	Languages []string `json:"languages,omitempty" maxItems:"64" doc:"What targets may ask for"`
	Channels  []string `json:"channels,omitempty" maxItems:"64" doc:"Only conversations of these channels are offered; none: of all"`
	Hours     string   `json:"hours,omitempty" doc:"A calendar: outside its hours nothing is offered"`
	Capacity  *int     `json:"capacity,omitempty" minimum:"0" maximum:"10000" doc:"How many conversations at once; none: what the router's API was told"`
}

// Calendar says when somebody works.
type Calendar struct {
	Timezone string    `json:"timezone" minLength:"1" doc:"IANA name, such as America/Sao_Paulo"`
	Hours    []Hours   `json:"hours" minItems:"1" doc:"The week as it usually is"`
	Holidays []string  `json:"holidays,omitempty" doc:"Closed on these: br (national), br-carnaval, br-corpus-christi, and the states' own, such as br-sp"`
	Dates    []Special `json:"dates,omitempty" doc:"Single days that are different: closed, or open at other hours. They count more than holidays"`
}

// Hours are the usual hours of some days of the week.
type Hours struct {
	Days []string `json:"days" minItems:"1" enum:"mon,tue,wed,thu,fri,sat,sun"`
	Open []string `json:"open" minItems:"1" pattern:"^([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$" patternDescription:"from-to, such as 08:00-12:00; an end at or before the beginning is on the next day" doc:"Such as 08:00-12:00. An end at or before the beginning is on the next day: 22:00-06:00"`
}

// Special is a day that is not as usual.
type Special struct {
	Date string   `json:"date" pattern:"^([0-9]{4}-)?[0-9]{2}-[0-9]{2}$" patternDescription:"a day: 2026-12-24, or 12-24 for every year" doc:"2026-12-24, or 12-24 for every year"`
	Name string   `json:"name,omitempty" doc:"What the day is called"`
	Open []string `json:"open,omitempty" pattern:"^([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$" patternDescription:"from-to, such as 08:00-12:00; an end at or before the beginning is on the next day" doc:"None: closed all day"`
}

// Rule sends conversations for which its condition holds to its targets.
type Rule struct {
	Name string   `json:"name" pattern:"^[a-z][a-z0-9_-]{0,62}$" patternDescription:"a small letter, then small letters, digits, - and _; at most 63" doc:"Stands in the audit of each decision"`
	When string   `json:"when" minLength:"1" maxLength:"4000" doc:"A condition in CEL"`
	To   []Target `json:"to" minItems:"1" maxItems:"16" doc:"Who gets the conversation: tried one after the other. One target may stand without a list"`
}

// Target is one who may get a conversation: exactly one of AI, Team, Queue and Last, or none, if something is only said.
type Target struct {
	AI        string   `json:"ai,omitempty" maxLength:"128" doc:"The AI agent: its flow's webhook path in n8n"`
	Attempts  int      `json:"attempts,omitempty" minimum:"1" maximum:"10" doc:"How many of the AI's turns may fail in a row before the next target is tried. Default 1"`
	Team      string   `json:"team,omitempty" maxLength:"128" doc:"Its humans are offered the conversation, one after the other"`
	Last      string   `json:"last,omitempty" pattern:"^[1-9][0-9]{0,4}(s|m|h|d)$" patternDescription:"a time such as 90s, 5m, 8h or 3d" doc:"The human who had the conversation last, if that is not longer ago, is offered it"`
	Skills    []string `json:"skills,omitempty" maxItems:"16" doc:"Of team: only humans who have all of these"`
	Languages []string `json:"languages,omitempty" maxItems:"16" doc:"Of team: only humans who speak one of these"`
	Queue     *string  `json:"queue,omitempty" maxLength:"128" doc:"The human queue: a team's name, or nothing for anybody"`
	For       string   `json:"for,omitempty" pattern:"^[1-9][0-9]{0,4}(s|m|h|d)$" patternDescription:"a time such as 90s, 5m, 8h or 3d" doc:"Of team, last and queue: after this time the next target is tried. Of team and last, none: when each has been asked once"`
	Say       string   `json:"say,omitempty" maxLength:"4000" doc:"What the customer is told when the conversation goes there; {position} is the place in the queue"`
}

// String names who it is, as in ai:vendas, team:vendas, last:72h or queue:vendas.
func (t Target) String() string {
	switch {
	case t.AI != "":
		return "ai:" + t.AI
	case t.Team != "":
		return "team:" + t.Team
	case t.Last != "":
		return "last:" + t.Last
	case t.Queue == nil:
		return "say"
	case *t.Queue == "":
		return "queue"
	}
	return "queue:" + *t.Queue
}

// What a Team has where its file says nothing.
const (
	defaultStrategy = "least_busy"
	defaultReserve  = "1m"
)

// maxTime bounds every time in a file: it is as long as an offer may stand.
const maxTime = 7 * 24 * time.Hour

// Duration reads a time such as 90s, 5m, 8h or 3d, which matches the schema's pattern; zero for none.
func Duration(text string) time.Duration {
	if text == "" {
		return 0
	}
	n, _ := strconv.Atoi(text[:len(text)-1])
	return time.Duration(n) * map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}[text[len(text)-1]]
}

// SLA promises by when a customer is answered, and by when the conversation is closed. At least one of FirstResponse and Resolution.
type SLA struct {
	Name          string `json:"name" pattern:"^[a-z][a-z0-9_-]{0,62}$" patternDescription:"a small letter, then small letters, digits, - and _; at most 63" doc:"Stands in the metrics, and in what agents read when it is broken"`
	When          string `json:"when,omitempty" minLength:"1" maxLength:"4000" doc:"A condition in CEL, as a rule's; none: always"`
	FirstResponse string `json:"first_response,omitempty" pattern:"^[1-9][0-9]{0,5}[smhd]$" patternDescription:"a number and s, m, h or d, such as 90s, 5m, 8h or 3d" doc:"From the customer's first message until an AI or a human has answered: 90s, 5m, 8h, 3d"`
	Resolution    string `json:"resolution,omitempty" pattern:"^[1-9][0-9]{0,5}[smhd]$" patternDescription:"a number and s, m, h or d, such as 90s, 5m, 8h or 3d" doc:"From the customer's first message until the conversation is closed"`
	Hours         string `json:"hours,omitempty" minLength:"1" doc:"The calendar in whose hours the time counts; none: all of it does"`
}
