package simulate

import (
	"maps"
	"slices"
	"time"

	"plantao/runtime/invariant"
)

// Violation is the first thing in a round that must not be.
type Violation struct {
	// Invariant is empty for an error that no operation should give.
	Invariant    invariant.ID `json:"invariant,omitempty"`
	Conversation int64        `json:"conversation,string"`
	What         string       `json:"what"`
	Seed         uint64       `json:"seed"`
	Step         int          `json:"step"`
	// Last are the last actions before it, oldest first.
	Last []string `json:"last"`
}

// Round is one run from an empty database to one in which nothing waits.
type Round struct {
	Seed          uint64         `json:"seed"`
	Steps         int            `json:"steps"`
	Took          time.Duration  `json:"took"` // nanoseconds
	Conversations int            `json:"conversations"`
	Messages      int            `json:"messages"` // acknowledged
	Parts         int            `json:"parts"`    // received by customers
	Checks        int            `json:"checks"`   // of all invariants
	Actions       map[string]int `json:"actions"`
	Faults        map[string]int `json:"faults"`
	// Log is the SHA-256 of the actions and what came of them: equal seeds and steps have equal ones.
	Log       string     `json:"log"`
	Violation *Violation `json:"violation,omitempty"`
}

// Report is what a simulation did and found.
type Report struct {
	Rounds  []Round        `json:"rounds"`
	Steps   int            `json:"steps"`
	Took    time.Duration  `json:"took"`
	Actions map[string]int `json:"actions"`
	Faults  map[string]int `json:"faults"`
	// Unseen lists the kinds of fault that did not happen in any round: what they would have shown is not known.
	Unseen    []string   `json:"unseen,omitempty"`
	Violation *Violation `json:"violation,omitempty"`
}

// The kinds of fault. doc.go says what each is.
const (
	faultKill         = "kill"
	faultKillAtCommit = "kill at commit"
	faultPause        = "pause"
	faultLost         = "answer lost"
	faultDown         = "database down"
	faultLate         = "late commit"
	faultFailover     = "failover"
	faultLapsed       = "lease lapsed"
	faultDeadline     = "deadline passed"
	faultDuplicate    = "duplicate"
	faultNotAcked     = "not acknowledged"
	faultLateAnswer   = "late answer"
	faultSecond       = "second answer"
	faultFlowRefused  = "flow refused"
	faultSendRefused  = "send refused"
	faultNothing      = "nothing written"
	faultUnanswered   = "unanswered"
	faultLateDelivery = "late delivery"
	faultStale        = "stale epoch"
	faultKeyAgain     = "key again"
)

// FaultKinds lists them all.
func FaultKinds() []string {
	return []string{
		faultKill, faultKillAtCommit, faultPause, faultLost, faultDown, faultLate, faultFailover, faultLapsed, faultDeadline, faultDuplicate,
		faultNotAcked, faultLateAnswer, faultSecond, faultFlowRefused, faultSendRefused, faultNothing, faultUnanswered,
		faultLateDelivery, faultStale, faultKeyAgain,
	}
}

func (r *Report) add(round Round) {
	r.Rounds = append(r.Rounds, round)
	r.Steps += round.Steps
	r.Took += round.Took
	for name, n := range round.Actions {
		r.Actions[name] += n
	}
	for name, n := range round.Faults {
		r.Faults[name] += n
	}
	r.Violation = round.Violation
	r.Unseen = slices.DeleteFunc(FaultKinds(), func(kind string) bool { return r.Faults[kind] > 0 })
}

// Named are the keys of a count, in order.
func Named(counts map[string]int) []string { return slices.Sorted(maps.Keys(counts)) }
