// Package invariant lists what must hold in every state of a router's database, and the words in which a check reports that
// something does not. It is pure: runtime/postgres asserts the list on rows, runtime/simulate on what it saw happen.
package invariant

import (
	"slices"
	"time"
)

// ID names an invariant, as I-OWN.
type ID string

// The invariants.
const (
	Own   ID = "I-OWN"
	Mono  ID = "I-MONO"
	One   ID = "I-ONE"
	Fence ID = "I-FENCE"
	Leak  ID = "I-LEAK"
	Dup   ID = "I-DUP"
	Ack   ID = "I-ACK"
	Part  ID = "I-PART"
	Ord   ID = "I-ORD"
	Aud   ID = "I-AUD"
	Live  ID = "I-LIVE"
	Cap   ID = "I-CAP"
	Erase ID = "I-ERASE"
	Ten   ID = "I-TEN"
	Echo  ID = "I-ECHO"
	Idem  ID = "I-IDEM"
	Ryw   ID = "I-RYW"
)

// Invariant is one thing that must hold.
type Invariant struct {
	ID ID `json:"id"`
	// Sentence says what must hold.
	Sentence string `json:"sentence"`
	// Online says what of it a check can read off the rows of a running database, and what only a simulation can see.
	Online string `json:"online"`
	// Remedy says what to do when it does not hold.
	Remedy string `json:"remedy"`
}

// All lists the invariants, in the order they are reported. The caller may change the slice.
func All() []Invariant { return slices.Clone(all) }

// IDs lists the ids in the same order.
func IDs() []ID {
	ids := make([]ID, 0, len(all))
	for _, i := range all {
		ids = append(ids, i.ID)
	}
	return ids
}

// Get finds one; false if there is none of that name.
func Get(id ID) (Invariant, bool) {
	for _, i := range all {
		if i.ID == id {
			return i, true
		}
	}
	return Invariant{}, false
}

// Violation is one place where an invariant does not hold.
type Violation struct {
	Conversation int64  `json:"conversation,string"` // zero: the database as a whole
	What         string `json:"what"`                // a sentence without message text and phone number
}

// Finding is what a check found about one invariant.
type Finding struct {
	Invariant
	// Skipped says that it was not asserted, because the caller did not want it.
	Skipped bool `json:"skipped,omitempty"`
	// Count is how many violations there are. Found holds the first of them, at most Shown.
	Count int64       `json:"violations"`
	Found []Violation `json:"found,omitempty"`
}

// Shown bounds Finding.Found.
const Shown = 100

// Report is the result of one check.
type Report struct {
	At            time.Time     `json:"at"`   // database clock: the moment all findings are about
	Took          time.Duration `json:"took"` // nanoseconds
	Conversations int64         `json:"conversations"`
	Findings      []Finding     `json:"invariants"` // all of them, in the order of All
}

// Violations counts those of all invariants.
func (r Report) Violations() int64 {
	var n int64
	for _, f := range r.Findings {
		n += f.Count
	}
	return n
}

// Violated lists the findings that have violations.
func (r Report) Violated() []Finding {
	var list []Finding
	for _, f := range r.Findings {
		if f.Count > 0 {
			list = append(list, f)
		}
	}
	return list
}
