package rules

// File is what a rule file declares, as it is written. The tags are the JSON Schema that Schema gives to editors.
type File struct {
	Schema    string              `json:"$schema,omitempty" doc:"Where editors find this schema"`
	Calendars map[string]Calendar `json:"calendars,omitempty" doc:"Business hours by name. A condition asks: open.NAME"`
	Rules     []Rule              `json:"rules" maxItems:"2000" doc:"Asked in this order; the first that holds decides. If none does, the channel's flow gets the conversation"`
	SLA       []SLA               `json:"sla,omitempty" maxItems:"200" doc:"What customers are promised. Asked in this order when a conversation begins; the first that holds applies"`
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

// Rule sends conversations for which its condition holds to its first target.
type Rule struct {
	Name string `json:"name" pattern:"^[a-z][a-z0-9_-]{0,62}$" patternDescription:"a small letter, then small letters, digits, - and _; at most 63" doc:"Stands in the audit of each decision"`
	When string `json:"when" minLength:"1" maxLength:"4000" doc:"A condition in CEL"`
	To   Target `json:"to" doc:"Who gets the conversation"`
}

// Target is who gets a conversation: exactly one of AI and Queue.
type Target struct {
	AI    string  `json:"ai,omitempty" maxLength:"128" doc:"The AI agent: its flow's webhook path in n8n"`
	Queue *string `json:"queue,omitempty" maxLength:"128" doc:"The human queue: a team's name, or nothing for anybody"`
	Say   string  `json:"say,omitempty" maxLength:"4000" doc:"What the customer is told when the conversation goes there"`
}

// SLA promises by when a customer is answered, and by when the conversation is closed. At least one of FirstResponse and Resolution.
type SLA struct {
	Name          string `json:"name" pattern:"^[a-z][a-z0-9_-]{0,62}$" patternDescription:"a small letter, then small letters, digits, - and _; at most 63" doc:"Stands in the metrics, and in what agents read when it is broken"`
	When          string `json:"when,omitempty" minLength:"1" maxLength:"4000" doc:"A condition in CEL, as a rule's; none: always"`
	FirstResponse string `json:"first_response,omitempty" pattern:"^[1-9][0-9]{0,5}[smhd]$" patternDescription:"a number and s, m, h or d, such as 90s, 5m, 8h or 3d" doc:"From the customer's first message until an AI or a human has answered: 90s, 5m, 8h, 3d"`
	Resolution    string `json:"resolution,omitempty" pattern:"^[1-9][0-9]{0,5}[smhd]$" patternDescription:"a number and s, m, h or d, such as 90s, 5m, 8h or 3d" doc:"From the customer's first message until the conversation is closed"`
	Hours         string `json:"hours,omitempty" minLength:"1" doc:"The calendar in whose hours the time counts; none: all of it does"`
}
