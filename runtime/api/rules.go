package api

import (
	"time"

	"plantao/runtime/conversation"
)

// Rules are a text by which conversations are given to agents.
type Rules struct {
	Version string    `json:"version" doc:"Of the text; stands with every decision it made"`
	Text    string    `json:"text" doc:"YAML"`
	Since   time.Time `json:"since" doc:"When they were put in force, or stored"`
	By      string    `json:"by" doc:"Who did that, kind:id"`
}

// RulesRequest puts rules in force.
type RulesRequest struct {
	Text string `json:"text" doc:"YAML, as in a rule file" minLength:"1" maxLength:"1048576"`
}

// RulesStored says what became of a RulesRequest.
type RulesStored struct {
	Version string `json:"version"`
	Changed bool   `json:"changed" doc:"false: they were in force already"`
}

// FromRulebook is a text of rules on the wire.
func FromRulebook(r conversation.Rulebook) Rules {
	return Rules{Version: r.Version, Text: r.Text, Since: r.At.UTC(), By: r.By}
}
