package conversation

import (
	"fmt"
	"strings"
	"time"
)

// PromiseKind says what is due.
type PromiseKind string

// The kinds. The first response is anything an AI or a human says to the customer; what the router says by rule is none. The
// resolution is that the conversation is closed.
const (
	FirstResponse PromiseKind = "first_response"
	Resolution    PromiseKind = "resolution"
)

// Promise is what a customer was promised by an SLA of the rules.
type Promise struct {
	Kind  PromiseKind
	Name  string    // the SLA's
	Since time.Time // when the customer began to wait
	Due   time.Time
}

// PromiseState says what became of a promise.
type PromiseState string

// The states. What was done after it was due broke it all the same.
const (
	PromiseOpen   PromiseState = "open" // not due yet: nobody looks before whether it was met
	PromiseMet    PromiseState = "met"
	PromiseBroken PromiseState = "broken"
	// PromiseVoid: before it was due, the conversation was closed without an answer, or merged into another, whose own
	// promises go on.
	PromiseVoid PromiseState = "void"
)

// PromiseRecord is a promise as it is kept.
type PromiseRecord struct {
	Promise
	ID           int64
	Tenant       string
	Conversation ID
	Seq          int64 // the audit entry of the claim that made it
	RuleVersion  string
	State        PromiseState
	// EndedAt is when it was answered, closed, or due and broken; zero: it is open.
	EndedAt time.Time
}

// PromiseFilter narrows a list of promises. Zero fields do not narrow.
type PromiseFilter struct {
	Tenant       string // required
	State        PromiseState
	Conversation ID
	After        int64 // only later ones: the cursor
	Limit        int
}

func checkPromises(promises []Promise) error {
	made := map[PromiseKind]bool{}
	for _, p := range promises {
		switch {
		case p.Kind != FirstResponse && p.Kind != Resolution:
			return fmt.Errorf("a promise of %q is none of %s and %s", p.Kind, FirstResponse, Resolution)
		case made[p.Kind]:
			return fmt.Errorf("%s is promised twice", p.Kind)
		case p.Name == "" || len(p.Name) > maxIDBytes || strings.ContainsRune(p.Name, 0):
			return fmt.Errorf("a promise is an SLA's, whose name has 1 to %d bytes", maxIDBytes)
		case p.Since.IsZero() || !p.Due.After(p.Since):
			return fmt.Errorf("%s of %s is promised for before the customer began to wait", p.Kind, p.Name)
		}
		made[p.Kind] = true
	}
	return nil
}
