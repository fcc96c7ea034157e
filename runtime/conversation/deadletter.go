package conversation

import "time"

// DeadLetter is a turn that was given up, with the messages it did not answer.
type DeadLetter struct {
	ID           int64
	Tenant       string
	Conversation ID
	Channel      string
	Turn         int
	Agent        string // the flow that had the turn
	Reason       string
	Detail       string // without message text or phone number
	At           time.Time
	State        LetterState
	DecidedBy    string // who redrove or dropped it, as kind:id; empty while it is open
	DecidedAt    time.Time
	Decision     string // why it was dropped
	Messages     int    // that are unanswered because of it
}

// LetterState says what became of a dead letter.
type LetterState string

// The states of a dead letter.
const (
	LetterOpen     LetterState = "open"
	LetterRedriven LetterState = "redriven" // its messages were given to an AI again
	LetterDropped  LetterState = "dropped"  // they stay unanswered; they are in the history
)

// LetterFilter narrows a list of dead letters. Zero fields do not narrow.
type LetterFilter struct {
	Tenant  string // required
	State   LetterState
	Reason  string
	Channel string
	Before  time.Time // only those given up before
	After   int64     // only those with a higher id: the cursor
	Limit   int
}

// LetterDecision is what an operator wants done with a dead letter.
type LetterDecision struct {
	Tenant string
	ID     int64
	State  LetterState // LetterRedriven or LetterDropped
	Actor  Actor
	Reason string // short; no message text, no phone number
}

// Verbs of the audit that decide a dead letter where the owner does not change.
const (
	VerbRedrive Verb = "redrive"
	VerbDrop    Verb = "drop"
)
