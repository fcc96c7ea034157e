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
	// Capacity is how many conversations it may be given at once; nil: any number. What a human takes does not count.
	Capacity *int
	Given    int // how many it has that count
	Active   int // how many it has
	Presence Presence
}

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
	ScopeOperate Scope = "conversation:operate" // an operator's: verbs in anybody's name, hold, resume, settle
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
