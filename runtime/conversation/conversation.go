package conversation

import (
	"strconv"
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

// State is where a conversation stands in the diagram of the package comment.
type State string

// The states. The zero value is not one of them.
const (
	Idle        State = "IDLE"
	Routing     State = "ROUTING"
	AIActive    State = "AI_ACTIVE"
	HumanQueued State = "HUMAN_QUEUED"
)

// OwnerKind says what sort of agent is on duty.
type OwnerKind string

// The kinds of owner. OwnedByNone is a conversation nobody was given yet.
const (
	OwnedByNone  OwnerKind = "none"
	OwnedByAI    OwnerKind = "ai"
	OwnedByQueue OwnerKind = "queue"
)

// Owner is the agent on duty: for an AI the flow's name, for the queue empty.
type Owner struct {
	Kind OwnerKind
	ID   string
}

// Channel is one Evolution instance: where messages come from and answers go to.
type Channel struct {
	Name             string
	Tenant           string
	HookSecretSHA256 [32]byte
	Flow             string // n8n webhook path of the flow that answers
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
}

// Claim gives an unrouted conversation its owner.
type Claim struct {
	Conversation ID
	IfEpoch      int64 // refused with ErrStaleEpoch if the conversation has another
	To           Owner
	State        State
	Actor        string
	Reason       string
	RuleVersion  string
}

// Window is the burst window: a turn starts Quiet after the last message, and at most Cap after the first.
type Window struct {
	Quiet time.Duration
	Cap   time.Duration
}
