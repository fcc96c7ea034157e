package conversation

import (
	"encoding/json"
	"fmt"
	"time"
)

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
	Kind         TurnKind
}

// TurnKind says who speaks in a turn.
type TurnKind string

// The kinds of turn. Only an AI's is run by a flow, is bound to its epoch and keeps another from beginning.
const (
	TurnOfAI     TurnKind = "ai"
	SaidByHuman  TurnKind = "human"  // goes out whoever is on duty, unless the conversation is suspended
	SaidByRouter TurnKind = "system" // goes out as long as its epoch lasts
)

// Holding is how a turn stands that is held as its TurnRef says.
type Holding struct {
	TurnRef
	State TurnState
	// Waiting is how many messages have come that the turn does not have; set by FindTurn.
	Waiting int
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
	// Background is what the agent is told of the time before the turn; set before it is asked.
	Background Background
	// Trace is the trace the turn is followed by: a W3C trace id and span id, the same for all attempts and generations.
	Trace Trace
	// Expires is the deadline on this process's monotonic clock, never later than the database would say.
	Expires time.Time
}

// Background is what an agent is told of the time before a turn.
type Background struct {
	ContactIDs []string    // all that are known, the chat's own among them
	History    []Utterance // oldest first, without the turn's own messages
	Stretch    *Stretch    // the last time humans had the conversation, if no AI was told of it; else nil
	Handover   *Handover   // what the agent who gave the conversation away says to this one; nil: nothing
}

// Utterance is one message of the past.
type Utterance struct {
	TS    time.Time
	From  Speaker
	Agent string // who of them, where it is known; empty for the contact
	Type  string
	Text  string
	Media *MessageMedia // nil if nothing was attached
}

// Speaker is a side of a conversation.
type Speaker string

// The speakers.
const (
	FromContact Speaker = "contact"
	FromAI      Speaker = "ai"
	FromHuman   Speaker = "human"
	FromSystem  Speaker = "system" // the router itself
)

// Stretch is a time in which humans had the conversation. Its messages are those with the arrival numbers From to To; To below From:
// the customer wrote nothing.
type Stretch struct {
	Agent        string // who had it at the end, as kind:id
	From, To     int64
	Began, Ended time.Time
}

// Messages is how many the customer wrote.
func (s Stretch) Messages() int64 { return max(0, s.To-s.From+1) }

// Handover is what one agent tells the next.
type Handover struct {
	By      string // as kind:id
	At      time.Time
	Reason  string
	Context json.RawMessage
}

// Then is what an AI wants done with the conversation once its answer is sent: pass it on, or close it. It is done in the
// epoch of the turn or not at all.
type Then struct {
	Verb    Verb            `json:"verb"`
	To      Owner           `json:"to"`
	Reason  string          `json:"reason,omitempty"`
	Context json.RawMessage `json:"context,omitempty"`
}

// Command is what is done for it, when the turn is over.
func (t Then) Command(of TurnRef, agent string) Command {
	return Command{
		Verb: t.Verb, Tenant: of.Tenant, Conversation: of.Conversation, Key: fmt.Sprintf("router/turn/%s/%d", of.Conversation, of.No),
		IfEpoch: of.Epoch, Actor: Actor{Kind: ActorAI, ID: agent}, To: t.To, Reason: t.Reason, Context: t.Context,
	}
}

// Check says whether an agent may ask for it; the error is an ErrInvalid.
func (t Then) Check() error {
	if t.Verb != VerbPass && t.Verb != VerbClose {
		return fmt.Errorf("%q cannot follow an answer, only %s and %s: %w", t.Verb, VerbPass, VerbClose, ErrInvalid)
	}
	return t.Command(TurnRef{}, "").Check()
}

// Following is what is left to be done after a turn that is over.
type Following struct {
	TurnRef
	Agent string
	Then
}

// TurnTerms are the conditions under which a process takes turns.
type TurnTerms struct {
	Holder   Process
	Lease    time.Duration
	Deadline time.Duration
	Sign     func(TurnRef) string // makes the turn token
	// Busy are flows that get no turn now: they have as many as they may have.
	Busy []string
	// Crowded are channels whose conversations get no turn now: others come first.
	Crowded []string
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
	ReasonRestarted    = "restarted" // begun anew with what was written meanwhile
	ReasonAmbiguous    = "send_outcome_unknown"
)

// Outcome is how one holding of a turn ended.
type Outcome string

// The outcomes.
const (
	OutcomeDone       Outcome = "done"        // every part is sent, or there was none
	OutcomeFailed     Outcome = "failed"      // somebody else tries, or dead letter and HUMAN_QUEUED
	OutcomeCancelled  Outcome = "cancelled"   // the conversation changed owner
	OutcomeAmbiguous  Outcome = "ambiguous"   // a part's fate is unknown
	OutcomeLost       Outcome = "lost"        // another process holds the turn, or the store could not be told
	OutcomeHandedBack Outcome = "handed_back" // the process is shutting down
)
