package api

import (
	"encoding/json"
	"time"

	"plantao/runtime/conversation"
)

// Conversation is who is on duty in a conversation, and what it waits for. Agents are written kind:id. Times are the
// database's clock.
type Conversation struct {
	ID          string    `json:"id" doc:"Decimal digits" example:"42"`
	Channel     string    `json:"channel" doc:"The Evolution instance"`
	Contact     Contact   `json:"contact"`
	State       string    `json:"state" enum:"IDLE,ROUTING,AI_ACTIVE,OFFERED,HUMAN_QUEUED,HUMAN_ACTIVE,SUSPENDED,CLOSED"`
	Owner       string    `json:"owner" doc:"The agent on duty: ai:FLOW, human:ID, queue, queue:TEAM or none" example:"human:ana"`
	OwnerSince  time.Time `json:"owner_since"`
	Epoch       int64     `json:"epoch" doc:"Grows at every change of owner. The ETag, and what If-Match names"`
	Version     int64     `json:"version" doc:"Number of audit entries"`
	LastMessage int64     `json:"last_message" doc:"Arrival number of the newest message"`
	Waiting     bool      `json:"waiting" doc:"Messages nobody has taken up; in the answer to a verb, as it was before it"`
	LastOwner   string    `json:"last_owner" doc:"Who had it before"`
	LastAI      string    `json:"last_ai,omitempty" doc:"The flow a hand-back goes to"`
	Offer       *Offer    `json:"offer,omitempty"`
	Request     *Request  `json:"request,omitempty"`
	Held        string    `json:"held,omitempty" doc:"Who gets a suspended conversation back"`
	Silence     *Silence  `json:"silence,omitempty"`
	Turn        *Turn     `json:"turn,omitempty" doc:"The AI's open turn; only where one conversation is read"`
}

// Contact is the customer's side.
type Contact struct {
	ID   string `json:"id" doc:"WhatsApp id of the chat"`
	Name string `json:"name" doc:"As the customer calls themselves; may be empty"`
}

// Offer waits for an answer. The owner stays on duty meanwhile.
type Offer struct {
	ID    int64     `json:"id" doc:"What accept and decline name"`
	To    string    `json:"to"`
	Else  string    `json:"else" enum:"return,queue" doc:"What a refusal or silence does"`
	Until time.Time `json:"until"`
}

// Request is somebody's wish to have the conversation.
type Request struct {
	By    string    `json:"by"`
	Else  string    `json:"else" enum:"ignore,queue"`
	Until time.Time `json:"until"`
}

// Silence is when a human who says nothing hands back.
type Silence struct {
	AfterSeconds float64   `json:"after_seconds"`
	Until        time.Time `json:"until"`
}

// Turn is an open turn of the AI.
type Turn struct {
	No        int        `json:"no"`
	Epoch     int64      `json:"epoch"`
	Gen       int        `json:"gen"`
	State     string     `json:"state" enum:"running,replied,sending,ambiguous"`
	Agent     string     `json:"agent"`
	Deadline  time.Time  `json:"deadline"`
	Ambiguous *Ambiguous `json:"ambiguous,omitempty" doc:"The part of which nobody knows whether the customer has it; it keeps the AI silent"`
}

// Ambiguous is a part whose fate is unknown.
type Ambiguous struct {
	Part     int       `json:"part"`
	Since    time.Time `json:"since"`
	Reason   string    `json:"reason"`
	Sender   string    `json:"sender" doc:"Router instance that had it"`
	Finished bool      `json:"finished" doc:"The sender certainly writes no more, so that a human may settle it"`
}

// Conversations is a page of a list, in the order of ids.
type Conversations struct {
	Conversations []Conversation `json:"conversations"`
	Next          string         `json:"next,omitempty" doc:"Pass it as after to read on; absent at the end"`
}

// VerbRequest says how a verb is meant. Which fields a verb needs is told with the verb.
type VerbRequest struct {
	To          string          `json:"to,omitempty" doc:"Who gets it: ai:FLOW, human:ID or queue. claim, pass, offer; take for somebody else; handback to a certain AI" maxLength:"140"`
	Offer       int64           `json:"offer,omitempty" doc:"accept, decline: the offer that is answered" minimum:"0"`
	WaitSeconds float64         `json:"wait_seconds,omitempty" doc:"offer, request: how long an answer is waited for. take, accept: the silence after which the human hands back; absent: never" minimum:"0" maximum:"604800"`
	Else        string          `json:"else,omitempty" doc:"When nobody answers. offer: return (default) or queue. request: ignore (default) or queue" enum:"return,queue,ignore"`
	Through     int64           `json:"through,omitempty" doc:"handback: the last message the human has dealt with; absent: all that have arrived" minimum:"0"`
	Reason      string          `json:"reason,omitempty" doc:"Short; stands in the audit. No message text, no phone number" maxLength:"200"`
	Context     json.RawMessage `json:"context,omitempty" doc:"pass, offer, handback: an object of at most 4096 bytes for the next agent"`
}

// VerbResult is what a verb did.
type VerbResult struct {
	Conversation Conversation `json:"conversation"`
	Seq          int64        `json:"seq" doc:"The audit entry of the verb; the newest one before if there was nothing to do"`
	Replayed     bool         `json:"replayed" doc:"The idempotency key was used before, for the same request: this is the answer of then"`
}

// AuditEntry is one change of state.
type AuditEntry struct {
	Seq         int64             `json:"seq"`
	At          time.Time         `json:"at"`
	Actor       string            `json:"actor"`
	Verb        string            `json:"verb"`
	StateFrom   string            `json:"state_from"`
	StateTo     string            `json:"state_to"`
	EpochFrom   int64             `json:"epoch_from"`
	EpochTo     int64             `json:"epoch_to"`
	Reason      string            `json:"reason"`
	RuleVersion string            `json:"rule_version,omitempty"`
	Detail      map[string]string `json:"detail"`
}

// AuditTrail is a page of a conversation's audit, oldest first.
type AuditTrail struct {
	Entries []AuditEntry `json:"entries"`
	Next    int64        `json:"next,omitempty" doc:"Pass it as after to read on; absent at the end"`
}

// TurnStanding is how a turn stands that may still act.
type TurnStanding struct {
	Conversation     string  `json:"conversation"`
	No               int     `json:"no"`
	Epoch            int64   `json:"epoch"`
	Gen              int     `json:"gen"`
	State            string  `json:"state" enum:"running,replied,sending"`
	RemainingSeconds float64 `json:"remaining_seconds" doc:"Until the deadline"`
}

// RenewRequest moves a turn's deadline.
type RenewRequest struct {
	WaitSeconds float64 `json:"wait_seconds" doc:"How much longer the flow needs, from now" exclusiveMinimum:"0" maximum:"3600"`
}

// ReplyRequest is a flow's answer.
type ReplyRequest struct {
	Parts []Part `json:"parts" doc:"In order; none means silence" maxItems:"20"`
}

// Part is one message of a reply.
type Part struct {
	Text    string `json:"text" minLength:"1" maxLength:"16384"`
	DelayMS int64  `json:"delay_ms,omitempty" doc:"How long it seems to be typed" minimum:"0" maximum:"30000"`
}

// SettleRequest is a human's word on an ambiguous part.
type SettleRequest struct {
	Part int  `json:"part" minimum:"1"`
	Sent bool `json:"sent" doc:"The customer has it"`
}

// LockRequest asks for the conversation lock, or for more of it.
type LockRequest struct {
	Token string `json:"token" doc:"The caller's own random word; only who knows it renews or releases" minLength:"16" maxLength:"128"`
	TTLMS int64  `json:"ttl_ms,omitempty" doc:"How long it is held unless renewed; default 10000" minimum:"1" maximum:"600000"`
}

// Lock is a lock that is held. It is a hint: before anything that must not happen twice, check the turn.
type Lock struct {
	Conversation string `json:"conversation"`
	Fence        int64  `json:"fence" doc:"The conversation's epoch"`
	TTLMS        int64  `json:"ttl_ms"`
}

// Agent is an AI flow or a human.
type Agent struct {
	Agent    string `json:"agent" doc:"kind:id"`
	Name     string `json:"name"`
	Capacity *int   `json:"capacity,omitempty" doc:"How many conversations it may be given at once; absent: any number"`
	Given    int    `json:"given" doc:"How many it has that count"`
	Active   int    `json:"active" doc:"How many it has"`
	Presence string `json:"presence" enum:"online,away,offline,unknown"`
}

// Agents is the list.
type Agents struct {
	Agents []Agent `json:"agents"`
}

// AgentRequest writes what is known of an agent.
type AgentRequest struct {
	Name     string `json:"name,omitempty" maxLength:"200"`
	Capacity *int   `json:"capacity,omitempty" doc:"Absent: any number" minimum:"0" maximum:"100000"`
}

// PresenceRequest says how an agent is.
type PresenceRequest struct {
	Presence    string  `json:"presence" enum:"online,away,offline"`
	WaitSeconds float64 `json:"wait_seconds,omitempty" doc:"For how long that holds unless it is said again; default 90" minimum:"0" maximum:"86400"`
}

// FromConversation is c on the wire.
func FromConversation(c conversation.Conversation) Conversation {
	w := Conversation{
		ID: c.ID.String(), Channel: c.Channel, Contact: Contact{ID: c.Contact.JID, Name: c.Contact.Name},
		State: string(c.State), Owner: c.Owner.String(), OwnerSince: c.OwnerSince.UTC(), Epoch: c.Epoch, Version: c.Version,
		LastMessage: c.LastSeq, Waiting: c.Waiting, LastOwner: c.LastOwner.String(), LastAI: c.LastAI,
	}
	if o := c.Offer; o != nil {
		w.Offer = &Offer{ID: o.ID, To: o.To.String(), Else: string(o.Else), Until: o.Until.UTC()}
	}
	if r := c.Request; r != nil {
		w.Request = &Request{By: r.By, Else: string(r.Else), Until: r.Until.UTC()}
	}
	if c.Held != nil {
		w.Held = c.Held.Owner.String()
	}
	if c.Silence > 0 {
		w.Silence = &Silence{AfterSeconds: c.Silence.Seconds(), Until: c.SilenceUntil.UTC()}
	}
	if t := c.Turn; t != nil {
		w.Turn = &Turn{No: t.No, Epoch: t.Epoch, Gen: t.Gen, State: string(t.State), Agent: t.Agent, Deadline: t.Deadline.UTC()}
		if a := t.Ambiguous; a != nil {
			w.Turn.Ambiguous = &Ambiguous{Part: a.Part, Since: a.Since.UTC(), Reason: a.Reason, Sender: a.Sender, Finished: a.Finished}
		}
	}
	return w
}

// FromRecorded is an audit entry on the wire.
func FromRecorded(r conversation.Recorded) AuditEntry {
	return AuditEntry{
		Seq: r.Seq, At: r.At.UTC(), Actor: r.Actor, Verb: string(r.Verb), StateFrom: string(r.StateFrom), StateTo: string(r.StateTo),
		EpochFrom: r.EpochFrom, EpochTo: r.EpochTo, Reason: r.Reason, RuleVersion: r.RuleVersion, Detail: r.Detail,
	}
}

// FromHolding is a turn's standing on the wire.
func FromHolding(h conversation.Holding) TurnStanding {
	return TurnStanding{
		Conversation: h.Conversation.String(), No: h.No, Epoch: h.Epoch, Gen: h.Gen, State: string(h.State),
		RemainingSeconds: h.Remains.Seconds(),
	}
}

// FromAgent is an agent on the wire.
func FromAgent(a conversation.Agent) Agent {
	return Agent{Agent: a.Owner.String(), Name: a.Name, Capacity: a.Capacity, Given: a.Given, Active: a.Active,
		Presence: string(a.Presence)}
}
