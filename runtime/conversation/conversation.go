package conversation

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// DefaultTenant is the tenant of everything until there is more than one.
const DefaultTenant = "default"

// ID names a conversation. It is a number in the database and a decimal string on the wire.
type ID int64

// String is the wire form: decimal digits.
func (id ID) String() string { return strconv.FormatInt(int64(id), 10) }

// MarshalText makes an ID a JSON string: JavaScript loses digits of large numbers.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (id *ID) UnmarshalText(text []byte) error {
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return fmt.Errorf("read conversation id: %w", err)
	}
	*id = ID(n)
	return nil
}

// State is where a conversation stands in the diagram of the package comment.
type State string

// The states. The zero value is not one of them.
const (
	Idle        State = "IDLE"
	Routing     State = "ROUTING"
	AIActive    State = "AI_ACTIVE"
	Offered     State = "OFFERED"
	HumanQueued State = "HUMAN_QUEUED"
	HumanActive State = "HUMAN_ACTIVE"
	Suspended   State = "SUSPENDED"
	Closed      State = "CLOSED"
)

// States lists all states, in the order of the diagram.
func States() []State {
	return []State{Idle, Routing, AIActive, Offered, HumanQueued, HumanActive, Suspended, Closed}
}

// OwnerKind says what sort of agent is on duty.
type OwnerKind string

// The kinds of owner. OwnedByNone is a conversation nobody has: not given yet, suspended or closed.
const (
	OwnedByNone  OwnerKind = "none"
	OwnedByAI    OwnerKind = "ai"
	OwnedByHuman OwnerKind = "human"
	OwnedByQueue OwnerKind = "queue"
)

// Owner is the agent on duty: for an AI the flow's name, for a human the agent's id, for the queue a team's name or nothing.
type Owner struct {
	Kind OwnerKind
	ID   string
}

// Nobody is the owner of a conversation nobody has.
var Nobody = Owner{Kind: OwnedByNone}

// String is kind:id, as it stands in the audit; the kind alone where there is no id.
func (o Owner) String() string {
	if o.ID == "" {
		return string(o.Kind)
	}
	return string(o.Kind) + ":" + o.ID
}

// LogValue implements slog.LogValuer.
func (o Owner) LogValue() slog.Value { return slog.StringValue(o.String()) }

// ParseOwner reads kind:id. The error is an ErrInvalid.
func ParseOwner(s string) (Owner, error) {
	kind, id, _ := strings.Cut(s, ":")
	o := Owner{Kind: OwnerKind(kind), ID: id}
	if err := o.check(); err != nil {
		return Owner{}, err
	}
	return o, nil
}

func (o Owner) check() error {
	switch o.Kind {
	case OwnedByAI, OwnedByHuman:
		if o.ID == "" || len(o.ID) > maxIDBytes {
			return fmt.Errorf("agent %q: an id of 1 to %d bytes must follow the kind: %w", o, maxIDBytes, ErrInvalid)
		}
	case OwnedByQueue:
		if len(o.ID) > maxIDBytes {
			return fmt.Errorf("queue %q: a name has at most %d bytes: %w", o, maxIDBytes, ErrInvalid)
		}
	default:
		return fmt.Errorf("agent %q: write ai:FLOW, human:ID or queue: %w", o, ErrInvalid)
	}
	return nil
}

// stateOf is the state that goes with an owner. Nobody's is Routing: whoever leaves a conversation leaves it to the router.
func stateOf(o Owner) State {
	switch o.Kind {
	case OwnedByAI:
		return AIActive
	case OwnedByHuman:
		return HumanActive
	case OwnedByQueue:
		return HumanQueued
	}
	return Routing
}

// Conversation is one conversation as the store has it. Times are the database's clock.
type Conversation struct {
	ID      ID
	Tenant  string
	Channel string
	Contact Contact
	State   State
	Owner   Owner
	Epoch   int64
	Version int64 // number of audit rows
	LastSeq int64 // arrival number of the newest message
	Waiting bool  // messages nobody has taken up

	LastOwner  Owner  // who had it before, for affinity; kind none if nobody had
	LastAI     string // the AI a hand-back goes to; empty if none had it
	Flow       string // the channel's flow; empty if it has none
	Given      bool   // the owner was chosen by others, and so counts against its capacity
	OwnerSince time.Time
	InStretch  bool // a human has read or will read what the customer writes, until an AI or nobody has it

	// Handovers from AI to AI since HandoversSince: see HandoverBudget.
	Handovers      int
	HandoversSince time.Time

	Offer        *Offer
	Request      *Request
	Held         *Held
	Silence      time.Duration // zero: a human never hands back by silence
	SilenceUntil time.Time

	// Cluster is the cluster generation Epoch was minted in.
	Cluster int64
	// MergedInto is the conversation that goes on for this one, however many merges away; zero: it was not merged.
	MergedInto ID
	// Turn is the open turn; nil if there is none or it was not asked for.
	Turn *OpenTurn
}

// Offer is a conversation offered to an agent who has not answered yet. The owner stays on duty.
type Offer struct {
	ID    int64 // the audit entry that made it
	To    Owner
	Else  Otherwise // what a refusal or the passing of Until does
	Until time.Time
}

// Request is somebody's wish to have the conversation. It obliges nobody.
type Request struct {
	By    string // kind:id
	Else  Otherwise
	Until time.Time
}

// Otherwise is what happens when nobody answers.
type Otherwise string

// The policies.
const (
	ElseReturn Otherwise = "return" // an offer: the owner goes on
	ElseQueue  Otherwise = "queue"  // both: the conversation waits for any human
	ElseIgnore Otherwise = "ignore" // a request: nothing happens
)

// Held is what a suspended conversation goes back to.
type Held struct {
	State State
	Owner Owner
}

// OpenTurn is a turn that is not over, as an operator sees it.
type OpenTurn struct {
	No        int
	Epoch     int64
	Gen       int
	State     TurnState
	Agent     string
	Reason    string
	Deadline  time.Time
	Ambiguous *Ambiguity
}

// Ambiguity is a part of which nobody knows whether it reached the customer.
type Ambiguity struct {
	Part     int
	Since    time.Time
	Reason   string
	Sender   string // instance that had it
	Finished bool   // the sender certainly writes no more: it said so, or was replaced
}

// Channel is one Evolution instance: where messages come from and answers go to.
type Channel struct {
	Name             string
	Tenant           string
	HookSecretSHA256 [32]byte
	Flow             string // n8n webhook path of the flow that answers
	Mirror           bool   // its conversations are shown in Chatwoot
}

// HookProof is how a webhook shows whom it comes from: either is enough. Empty: it did not try.
type HookProof struct {
	Secret string // the channel's hook secret
	Token  string // signed with a key made of it
}

// Contact is the customer's side of a conversation.
type Contact struct {
	JID  string // WhatsApp id of the chat: answers go here
	Name string // as the customer calls themselves; may be empty
}

// Unrouted is a conversation in which somebody wrote and nobody is on duty.
type Unrouted struct {
	Conversation ID
	Tenant       string
	Channel      string
	Flow         string // the channel's flow; empty if it has none
	State        State
	Epoch        int64
	// Rules is the version of the tenant's rules in force; empty if there are none. Without rules, what follows is not read.
	Rules string
	Facts Facts
}

// Facts are what the rules may ask about, by the database's clock.
type Facts struct {
	Now         time.Time
	Contact     Contact
	Texts       []string  // of what waits, in the order it is answered, the first FactsMessages of it
	Kinds       []string  // of the same messages
	Waiting     int       // how many of them there are
	Since       time.Time // when the first of them came
	Before      int64     // messages that came before
	BeforeAt    time.Time // when the last of those came; zero if there was none
	Stretches   int       // how often a human had it
	Attempts    int       // turns that failed since an AI answered last
	Labels      []string  // that people gave it in Chatwoot
	LastOwner   Owner
	LastOwnerAt time.Time // until when
}

// FactsMessages bounds how many of the messages that wait the rules see.
const FactsMessages = 64

// Rulebook is the text of rules by which conversations are given, as it was stored. What is stored under a version never changes.
type Rulebook struct {
	Tenant  string
	Version string
	Text    string
	At      time.Time // stored, or for the one in force since when it is that
	By      string    // who did it
	// Capacities are those the text names, by ai:FLOW or a human's e-mail address in small letters. They are written, not read back.
	Capacities map[string]int
}

// Window is the burst window: a turn starts Quiet after the last message, and at most Cap after the first.
type Window struct {
	Quiet time.Duration
	Cap   time.Duration
	// Media is how much longer a turn waits for an attachment's content.
	Media time.Duration
	// Typing is how long a contact seen typing is believed to go on.
	Typing time.Duration
}
