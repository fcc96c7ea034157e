package model

import "fmt"

// Kind is what a step does.
type Kind uint8

// The kinds of step. Those up to settled happen to the router: the customer, humans, and faults. The others the router does
// by itself, and in the end it must.
const (
	arrives Kind = iota
	arrivesAgain
	taken
	handedBack
	killed
	doubled
	lapsesHeld
	redisLoses
	answerLost
	requestLost
	flowRefuses
	sendRefused
	claimUnheard
	reclaimUnheard
	passUnheard
	passLate
	deadlinePasses
	sentUnheard
	putBackUnheard
	putBackLate
	settled

	lapses
	stored
	acknowledged
	booted
	lockLapses
	claims
	looksInVain
	reclaims
	expires
	proves
	queues
	postsAnswer
	renews
	learnsAnswer
	learnsLoss
	storesAnswer
	answerRefused
	passes
	passesAfterAll
	putsBackAfterAll
	passesUnasked
	refused
	writes
	writesNothing
	marksSent
	marksUnknown
	putsBack
	findsNothing
	cancels
	givesUp
	releases
)

// wording says a step for people. r is the replica, t the turn, g the generation, p the part, m the message.
var wording = map[Kind]string{
	arrives:          "%[1]s commits message %[5]d",
	arrivesAgain:     "Evolution delivers message %[5]d once more",
	taken:            "a human takes the conversation",
	handedBack:       "the human hands it back, having read up to message %[5]d",
	killed:           "%[1]s is killed",
	doubled:          "a second process enters the slot of %[1]s, which lives on",
	lapsesHeld:       "%[1]s pauses: its lease on turn %[2]d gen %[3]d runs out",
	redisLoses:       "Redis loses the lock",
	answerLost:       "%[1]s writes turn %[2]d part %[4]d gen %[3]d: the customer has it, the response is lost",
	requestLost:      "%[1]s writes turn %[2]d part %[4]d gen %[3]d: it never arrives, nor does a response",
	flowRefuses:      "the flow refuses turn %[2]d (%[1]s, gen %[3]d)",
	sendRefused:      "Evolution refuses turn %[2]d part %[4]d (%[1]s, gen %[3]d)",
	claimUnheard:     "%[1]s claims turn %[2]d and does not learn that it did",
	reclaimUnheard:   "%[1]s reclaims turn %[2]d as gen %[3]d and does not learn that it did",
	passUnheard:      "%[1]s passes the gate with turn %[2]d part %[4]d gen %[3]d and does not learn that it did",
	deadlinePasses:   "the deadline of turn %[2]d passes before %[1]s has sent part %[4]d (gen %[3]d)",
	passLate:         "%[1]s asks the gate about turn %[2]d part %[4]d gen %[3]d and gives up waiting",
	sentUnheard:      "%[1]s marks turn %[2]d part %[4]d gen %[3]d sent and does not learn that it did",
	putBackLate:      "%[1]s asks to put turn %[2]d part %[4]d gen %[3]d back and gives up waiting",
	putBackUnheard:   "%[1]s puts turn %[2]d part %[4]d gen %[3]d back and does not learn that it did",
	settled:          "a human says what became of turn %[2]d part %[4]d",
	lapses:           "the lease on turn %[2]d runs out: nobody renews it",
	stored:           "%[1]s stores message %[5]d",
	acknowledged:     "message %[5]d is acknowledged",
	booted:           "%[1]s boots anew",
	lockLapses:       "the Redis lock runs out: nobody renews it",
	claims:           "%[1]s claims turn %[2]d",
	looksInVain:      "%[1]s is woken and finds nothing due",
	reclaims:         "%[1]s reclaims turn %[2]d as gen %[3]d",
	expires:          "turn %[2]d is ambiguous: its sender is lost",
	proves:           "the read-back shows turn %[2]d part %[4]d",
	queues:           "no proof for turn %[2]d part %[4]d: the conversation waits for a human",
	postsAnswer:      "the flow posts its answer to turn %[2]d gen %[3]d",
	renews:           "%[1]s renews its lease on turn %[2]d gen %[3]d",
	learnsAnswer:     "%[1]s learns that turn %[2]d gen %[3]d was answered",
	learnsLoss:       "%[1]s learns that it lost turn %[2]d gen %[3]d",
	storesAnswer:     "the flow answers turn %[2]d gen %[3]d to %[1]s, which stores it",
	answerRefused:    "the flow answers turn %[2]d gen %[3]d to %[1]s, which may not store it",
	passes:           "%[1]s passes the gate with turn %[2]d part %[4]d gen %[3]d",
	putsBackAfterAll: "the statement that puts turn %[2]d part %[4]d gen %[3]d back commits after all",
	passesAfterAll:   "the gate statement for turn %[2]d part %[4]d gen %[3]d commits after all",
	passesUnasked:    "%[1]s goes on with turn %[2]d part %[4]d gen %[3]d without asking the gate",
	refused:          "the gate refuses turn %[2]d part %[4]d gen %[3]d to %[1]s",
	writes:           "%[1]s writes turn %[2]d part %[4]d gen %[3]d: the customer has it",
	writesNothing:    "%[1]s cannot write turn %[2]d part %[4]d gen %[3]d: not a byte",
	marksSent:        "%[1]s marks turn %[2]d part %[4]d gen %[3]d sent",
	marksUnknown:     "%[1]s marks turn %[2]d part %[4]d gen %[3]d unknown",
	putsBack:         "%[1]s puts turn %[2]d part %[4]d gen %[3]d back",
	findsNothing:     "%[1]s has nothing to put back of turn %[2]d part %[4]d gen %[3]d",
	cancels:          "%[1]s cancels turn %[2]d gen %[3]d if the owner has changed",
	givesUp:          "%[1]s gives turn %[2]d gen %[3]d up",
	releases:         "%[1]s releases the Redis lock",
}

// Step is one transaction or one exchange on the wire.
type Step struct {
	Kind    Kind
	Slot    int
	Turn    uint8
	Gen     uint8
	Part    uint8 // from 0
	Message int   // from 0; of a handback the last one read, from 1
}

// progress says that the router does this by itself.
func (s Step) progress() bool { return s.Kind > settled }

func (s Step) String() string {
	m := s.Message + 1
	if s.Kind == handedBack {
		m = s.Message
	}
	return fmt.Sprintf(wording[s.Kind]+"%[6]s", string(rune('A'+s.Slot)), s.Turn, s.Gen, s.Part+1, m, "")
}

// walk yields every step out of a state. cut counts steps left out because a State has no room for what they make.
type walk struct {
	d     Design
	from  State
	next  State // being made; here, so that it is not allocated for each step
	yield func(Step, State)
	cut   int
}

// step offers a step; do carries it out on a copy and says whether it can be. A transaction that would leave two turns in
// the index one_turn is rolled back by it.
func (w *walk) step(st Step, do func(*State) bool) {
	w.next = w.from
	if !do(&w.next) || w.next == w.from {
		return
	}
	if w.d.Guards.OneTurn && w.d.openTurns(&w.next) > 1 {
		return
	}
	w.yield(st, w.next)
}

// steps yields every step out of s and returns how many were left out for lack of room.
func (d Design) steps(s State, yield func(Step, State)) (cut int) {
	w := &walk{d: d, from: s, yield: yield}
	w.webhooks()
	w.humans()
	w.faults()
	w.replicas()
	w.turns()
	w.late()
	for i, h := range s.Holdings {
		if h.Phase != Idle {
			w.holding(i, h)
		}
	}
	return w.cut
}
