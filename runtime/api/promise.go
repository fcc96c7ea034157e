package api

import (
	"strconv"
	"time"

	"plantao/runtime/conversation"
)

// Promise is what a customer was promised by an SLA.
type Promise struct {
	ID           string     `json:"id" doc:"Decimal digits" example:"7"`
	Conversation string     `json:"conversation"`
	Kind         string     `json:"kind" enum:"first_response,resolution"`
	SLA          string     `json:"sla" doc:"Its name in the rules"`
	RuleVersion  string     `json:"rule_version"`
	Since        time.Time  `json:"since" doc:"When the customer began to wait"`
	Due          time.Time  `json:"due"`
	State        string     `json:"state" enum:"open,met,broken,void" doc:"void: before it was due, the conversation was closed without an answer, or merged into another"`
	EndedAt      *time.Time `json:"ended_at,omitempty" doc:"When it was answered, closed, or due and broken; absent while it is open"`
}

// Promises is a page of a list, in the order of ids.
type Promises struct {
	Promises []Promise `json:"promises"`
	Next     string    `json:"next,omitempty" doc:"Pass it as after to read on; absent at the end"`
}

// FromPromise is a promise on the wire.
func FromPromise(p conversation.PromiseRecord) Promise {
	w := Promise{
		ID: strconv.FormatInt(p.ID, 10), Conversation: p.Conversation.String(), Kind: string(p.Kind), SLA: p.Name, RuleVersion: p.RuleVersion,
		Since: p.Since.UTC(), Due: p.Due.UTC(), State: string(p.State),
	}
	if !p.EndedAt.IsZero() {
		at := p.EndedAt.UTC()
		w.EndedAt = &at
	}
	return w
}
