package model

import "strings"

// Invariants is a set of what may be broken.
type Invariants uint16

// The invariants.
const (
	// Own: the owner changes exactly when the epoch grows by one, and an AI gets the conversation by a handback only.
	Own Invariants = 1 << iota
	// Mono: the epoch never goes down.
	Mono
	// One: at most one turn is open, in the states the index one_turn counts.
	One
	// Fence: an intent is committed only while the conversation is at the turn's epoch and an AI is on duty.
	Fence
	// Leak: at most one part reaches the customer after the owner of its turn was replaced.
	Leak
	// Dup: no part is written twice.
	Dup
	// Ack: what was acknowledged is in the inbox.
	Ack
	// Lost: a message that is taken belongs to an open turn, and one that counts as answered was.
	Lost
	// Twice: no message is answered by two turns.
	Twice
	// Live: when the router has nothing left to do, no message waits while an AI is on duty, and no turn is open but an
	// ambiguous one in a conversation that humans have.
	Live
)

var names = map[Invariants]string{
	Own: "I-OWN", Mono: "I-MONO", One: "I-ONE", Fence: "I-FENCE", Leak: "I-LEAK", Dup: "I-DUP", Ack: "I-ACK",
	Lost: "I-PART (lost)", Twice: "I-PART (twice)", Live: "I-LIVE",
}

func (v Invariants) String() string {
	var list []string
	for i := Own; i <= Live; i <<= 1 {
		if v&i != 0 {
			list = append(list, names[i])
		}
	}
	return strings.Join(list, ", ")
}

// broken is which invariants a step has broken.
func (d Design) broken(before, after *State, st Step) Invariants {
	var v Invariants
	set := func(bad bool, i Invariants) {
		if bad {
			v |= i
		}
	}
	changed := before.Owner != after.Owner
	set(changed && after.Epoch != before.Epoch+1 || !changed && after.Epoch != before.Epoch, Own)
	set(changed && after.Owner == AI && st.Kind != handedBack, Own)
	set(after.Epoch < before.Epoch, Mono)
	set(d.openTurns(after) > 1, One)
	set(after.Leaked > 1, Leak)
	switch st.Kind {
	case passes, passesAfterAll, passUnheard:
		set(before.Owner != AI || before.Turns[st.Turn-1].Epoch != before.Epoch, Fence)
	case writes, answerLost:
		set(before.Turns[st.Turn-1].Parts[st.Part].Written, Dup)
	}
	return v | after.brokenRows()
}

// brokenRows looks at the messages.
func (s *State) brokenRows() Invariants {
	var v Invariants
	var answers [maxMessages]int
	for m := range answers {
		answers[m] = int(s.Told >> m & 1)
	}
	for i := range s.Turns {
		t := &s.Turns[i]
		if t.State == NoTurn || !t.anyPart(isWritten) {
			continue
		}
		for m := range answers {
			answers[m] += int(t.Covers >> m & 1)
		}
	}
	for m, n := range answers {
		if n > 1 {
			v |= Twice
		}
		if s.Messages[m].Acked && s.Rows[m].State == Absent {
			v |= Ack
		}
	}
	for i, r := range s.Rows {
		if r.State == Taken && !s.Turns[r.Turn-1].State.open() || r.State == Answered && answers[s.message(i)] == 0 {
			v |= Lost
		}
	}
	return v
}

// settled says that a state in which the router has nothing left to do is as it should be.
func (s *State) settled() bool {
	if s.Owner == AI && s.pending() {
		return false
	}
	for i := range s.Turns {
		if t := s.Turns[i].State; t.open() && (t != Ambiguous || s.Owner == AI) {
			return false
		}
	}
	return true
}
