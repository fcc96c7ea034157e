package conversation

import "time"

// Process identifies one run of one replica. Instance is the replica's slot (router-1) and survives restarts; Boot is
// drawn anew at each start, as a UUID.
type Process struct {
	Instance string
	Boot     string
}

// TurnState is the state of a turn.
type TurnState string

// The open states of a turn. Done, failed and cancelled turns are not handed to anybody.
const (
	TurnRunning   TurnState = "running"
	TurnReplied   TurnState = "replied"
	TurnSending   TurnState = "sending"
	TurnAmbiguous TurnState = "ambiguous"
)

// TurnRef identifies one holding of a turn: a reclaimed turn has the next Gen.
type TurnRef struct {
	Tenant       string
	Conversation ID
	No           int
	Epoch        int64
	Gen          int
	Deadline     time.Time // database clock, microseconds, as it was at the claim; compare it with nothing but database times
	Cluster      int64     // generation of the cluster it was claimed in
}

// Holding is how a turn stands that is held as its TurnRef says.
type Holding struct {
	TurnRef
	State TurnState
	// Remains until the deadline, by the database clock. A flow may have had it moved.
	Remains time.Duration
}

// Settlement is a human's word on an ambiguous part.
type Settlement struct {
	Tenant       string
	Conversation ID
	No           int
	Part         int
	Sent         bool // the customer has it
	Actor        Actor
}

// Turn is a turn in the hands of this process.
type Turn struct {
	TurnRef
	State    TurnState
	Channel  string
	Flow     string
	Contact  Contact
	Messages []Message // empty when State is replied: the flow has answered
	Token    string
	// Stale says that the conversation had changed owner when the turn was reclaimed: nothing but Cancel is left.
	Stale bool
	// Expires is the deadline on this process's monotonic clock, never later than the database would say.
	Expires time.Time
}

// TurnTerms are the conditions under which a process takes turns.
type TurnTerms struct {
	Holder   Process
	Lease    time.Duration
	Deadline time.Duration
	Sign     func(TurnRef) string // makes the turn token
}

// Failure is why a turn was given up. Reason is a short constant, Detail a sentence without message text or phone number.
type Failure struct {
	Reason string
	Detail string
}

// Reasons of failed and cancelled turns, as they stand in the dead letter and in the audit.
const (
	ReasonDeadline     = "deadline_passed"
	ReasonFlowRefused  = "flow_refused"
	ReasonSendRefused  = "send_refused"
	ReasonOwnerChanged = "owner_changed"
	ReasonAmbiguous    = "send_outcome_unknown"
)

// Outcome is how one holding of a turn ended.
type Outcome string

// The outcomes.
const (
	OutcomeDone       Outcome = "done"        // every part is sent, or there was none
	OutcomeFailed     Outcome = "failed"      // dead letter, HUMAN_QUEUED
	OutcomeCancelled  Outcome = "cancelled"   // the conversation changed owner
	OutcomeAmbiguous  Outcome = "ambiguous"   // a part's fate is unknown
	OutcomeLost       Outcome = "lost"        // another process holds the turn, or the store could not be told
	OutcomeHandedBack Outcome = "handed_back" // the process is shutting down
)
