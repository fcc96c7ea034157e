package conversation

import (
	"slices"
	"time"
)

// Agent is an AI flow or a human, with what is known beside the name.
type Agent struct {
	Tenant string
	Owner  Owner
	Name   string
	Email  string   // of a human, as the desk has it; empty if it has not
	Teams  []string // of a human, by name
	// Capacity is how many conversations it may be given at once; nil: any number. What a human takes does not count.
	Capacity *int
	Given    int // how many it has that count
	Active   int // how many it has
	Presence Presence
	// MidTurn is what becomes of messages that come while an AI has a turn. Empty: MidTurnQueue; of a human always empty.
	MidTurn MidTurn
	// Holding is said to the customer when an AI did not answer; empty: nothing is.
	Holding string
}

// MidTurn says what an AI wants done with messages that come while it has a turn.
type MidTurn string

// The policies. Under each of them every message is answered once, by one turn.
const (
	MidTurnQueue  MidTurn = "queue"  // they wait for the next turn
	MidTurnMerge  MidTurn = "merge"  // a turn not answered yet is broken off and begun anew with all of them
	MidTurnAppend MidTurn = "append" // the flow may fetch them into its turn; those it does not fetch wait for the next
)

// MidTurns lists all policies.
func MidTurns() []MidTurn { return []MidTurn{MidTurnQueue, MidTurnMerge, MidTurnAppend} }

// MaxRestarts is how often in a row a turn is begun anew for messages that came meanwhile: who goes on writing gets an answer
// all the same.
const MaxRestarts = 3

// MaxHoldingBytes bounds Agent.Holding.
const MaxHoldingBytes = 4096

// Presence is how an agent says it is.
type Presence string

// The presences. Unknown is one that has not said, or not lately.
const (
	Online  Presence = "online"
	Away    Presence = "away"
	Offline Presence = "offline"
	Unknown Presence = "unknown"
)

// Scope is something a token allows.
type Scope string

// The scopes.
const (
	ScopeRead    Scope = "conversation:read"    // conversations, their audit, agents
	ScopeAct     Scope = "conversation:act"     // verbs, in the agent's own name
	ScopeOperate Scope = "conversation:operate" // an operator's: verbs in anybody's name, hold, resume, settle, rules; what customers wrote, to replay rules
	ScopeLock    Scope = "lock"                 // the conversation lock
	ScopeAgents  Scope = "agent:write"          // names, capacities, anybody's presence
)

// Scopes lists all scopes.
func Scopes() []Scope { return []Scope{ScopeRead, ScopeAct, ScopeOperate, ScopeLock, ScopeAgents} }

// Principal is who a token belongs to.
type Principal struct {
	Tenant string
	Token  string // its name
	Actor  Actor
	Scopes []Scope
	Until  time.Time // zero: for ever
}

// May says whether the token allows it.
func (p Principal) May(s Scope) bool { return slices.Contains(p.Scopes, s) }
