package api

import (
	"encoding/json"
	"strconv"
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
	MergedInto  string    `json:"merged_into,omitempty" doc:"The conversation that goes on for this one: both were the same contact's. This one is closed for good"`
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
	Waiting          int     `json:"waiting" doc:"Messages that have come and are not in the turn"`
}

// TurnMessages are the messages a turn has.
type TurnMessages struct {
	Messages []conversation.Message `json:"messages" doc:"All of the turn, in order, those it had before among them; tell them apart by id"`
	More     int                    `json:"more" doc:"How many of them have come with this request"`
}

// RenewRequest moves a turn's deadline.
type RenewRequest struct {
	WaitSeconds float64 `json:"wait_seconds" doc:"How much longer the flow needs, from now" exclusiveMinimum:"0" maximum:"3600"`
}

// ReplyRequest is a flow's answer.
type ReplyRequest struct {
	Parts    []Part    `json:"parts" doc:"In order; none means silence" maxItems:"20"`
	Handover *Handover `json:"handover,omitempty" doc:"Who gets the conversation once the parts are sent. Void if it changes owner before"`
	Close    *Close    `json:"close,omitempty" doc:"Close the conversation once the parts are sent. Not together with handover"`
}

// Part is one message of a reply.
type Part struct {
	Text    string     `json:"text,omitempty" doc:"With media: its caption; else required" maxLength:"16384"`
	DelayMS int64      `json:"delay_ms,omitempty" doc:"How long it seems to be typed" minimum:"0" maximum:"30000"`
	Media   *PartMedia `json:"media,omitempty"`
}

// PartMedia is what is attached to a part: something the conversation has, or the content itself.
type PartMedia struct {
	ID       int64  `json:"id,omitempty" doc:"An attachment of this conversation" minimum:"0"`
	Base64   string `json:"base64,omitempty" doc:"The content; all of one answer have at most 5 MiB together"`
	Mimetype string `json:"mimetype,omitempty" doc:"Required with base64" maxLength:"127"`
	FileName string `json:"file_name,omitempty" maxLength:"255"`
	Kind     string `json:"kind,omitempty" doc:"How it is shown; absent: as its MIME type says" enum:"image,video,audio,document"`
}

// Handover says who gets a conversation.
type Handover struct {
	To      string          `json:"to" doc:"ai:FLOW, human:ID, queue or queue:TEAM" minLength:"1" maxLength:"140"`
	Reason  string          `json:"reason,omitempty" doc:"Short; stands in the audit. No message text, no phone number" maxLength:"200"`
	Context json.RawMessage `json:"context,omitempty" doc:"An object of at most 4096 bytes for the next agent"`
}

// Close says why a conversation is closed.
type Close struct {
	Reason string `json:"reason,omitempty" doc:"Short; stands in the audit. No message text, no phone number" maxLength:"200"`
}

// Answer is the request in the domain's words; the error is an ErrInvalid.
func (r ReplyRequest) Answer() (conversation.Answer, error) {
	drafts := make([]conversation.Draft, 0, len(r.Parts))
	for _, p := range r.Parts {
		d := conversation.Draft{Text: p.Text, DelayMS: p.DelayMS}
		if m := p.Media; m != nil {
			d.Media = &conversation.DraftMedia{ID: m.ID, Base64: m.Base64, Mimetype: m.Mimetype, FileName: m.FileName, Kind: conversation.MediaKind(m.Kind)}
		}
		drafts = append(drafts, d)
	}
	parts, err := conversation.DraftParts(drafts)
	if err != nil {
		return conversation.Answer{}, err
	}
	var (
		handover *conversation.DraftHandover
		end      *conversation.DraftClose
	)
	if h := r.Handover; h != nil {
		handover = &conversation.DraftHandover{To: h.To, Reason: h.Reason, Context: h.Context}
	}
	if r.Close != nil {
		end = &conversation.DraftClose{Reason: r.Close.Reason}
	}
	then, err := conversation.DraftThen(handover, end)
	return conversation.Answer{Parts: parts, Then: then}, err
}

// DeadLetter is a turn that was given up.
type DeadLetter struct {
	ID           string     `json:"id" doc:"Decimal digits" example:"7"`
	Conversation string     `json:"conversation"`
	Channel      string     `json:"channel"`
	Turn         int        `json:"turn"`
	Agent        string     `json:"agent" doc:"The flow that had the turn"`
	Reason       string     `json:"reason" example:"deadline_passed"`
	Detail       string     `json:"detail"`
	At           time.Time  `json:"at"`
	State        string     `json:"state" enum:"open,redriven,dropped"`
	Messages     int        `json:"messages" doc:"That are unanswered because of it"`
	DecidedBy    string     `json:"decided_by,omitempty"`
	DecidedAt    *time.Time `json:"decided_at,omitempty"`
	Decision     string     `json:"decision,omitempty" doc:"Why it was dropped"`
}

// DeadLetters is a page of a list, in the order of ids.
type DeadLetters struct {
	DeadLetters []DeadLetter `json:"dead_letters"`
	Next        string       `json:"next,omitempty" doc:"Pass it as after to read on; absent at the end"`
}

// DropRequest says why a dead letter is dropped.
type DropRequest struct {
	Reason string `json:"reason" doc:"Short; stands in the audit. No message text, no phone number" minLength:"1" maxLength:"200"`
}

// LettersRequest names open dead letters to be decided alike. Absent fields do not narrow.
type LettersRequest struct {
	Reason  string     `json:"reason,omitempty" doc:"Only those given up for this reason" maxLength:"200"`
	Channel string     `json:"channel,omitempty" maxLength:"200"`
	Before  *time.Time `json:"before,omitempty" doc:"Only those given up before"`
	After   string     `json:"after,omitempty" doc:"What the answer before called next" pattern:"^[0-9]{1,18}$"`
	Limit   int        `json:"limit,omitempty" doc:"How many at most with this request; default 100" minimum:"1" maximum:"200"`
	Drop    string     `json:"drop,omitempty" doc:"drop: why; required" maxLength:"200"`
}

// LettersResult is what became of them.
type LettersResult struct {
	Decided []string       `json:"decided" doc:"Ids of those that were decided"`
	Refused []LetterRefuse `json:"refused" doc:"Those that are open still, and why"`
	Next    string         `json:"next,omitempty" doc:"Pass it as after to go on; absent at the end"`
}

// LetterRefuse is a dead letter that could not be decided.
type LetterRefuse struct {
	ID string `json:"id"`
	Error
}

// FromDeadLetter is a dead letter on the wire.
func FromDeadLetter(d conversation.DeadLetter) DeadLetter {
	w := DeadLetter{
		ID: strconv.FormatInt(d.ID, 10), Conversation: d.Conversation.String(), Channel: d.Channel, Turn: d.Turn, Agent: d.Agent,
		Reason: d.Reason, Detail: d.Detail, At: d.At.UTC(), State: string(d.State), Messages: d.Messages,
		DecidedBy: d.DecidedBy, Decision: d.Decision,
	}
	if !d.DecidedAt.IsZero() {
		at := d.DecidedAt.UTC()
		w.DecidedAt = &at
	}
	return w
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
	Agent    string   `json:"agent" doc:"kind:id"`
	Name     string   `json:"name"`
	Email    string   `json:"email,omitempty" doc:"Of a human, as Chatwoot has it"`
	Teams    []string `json:"teams,omitempty" doc:"Of a human, as Chatwoot has them"`
	Capacity *int     `json:"capacity,omitempty" doc:"How many conversations it may be given at once; absent: any number"`
	Given    int      `json:"given" doc:"How many it has that count"`
	Active   int      `json:"active" doc:"How many it has"`
	Presence string   `json:"presence" enum:"online,away,offline,unknown"`
	MidTurn  string   `json:"mid_turn,omitempty" doc:"What becomes of messages that come while an AI has a turn; absent for a human" enum:"queue,merge,append"`
	Holding  string   `json:"holding,omitempty" doc:"What the customer is told when an AI did not answer"`
}

// Agents is the list.
type Agents struct {
	Agents []Agent `json:"agents"`
}

// AgentRequest writes what is known of an agent.
type AgentRequest struct {
	Name     string `json:"name,omitempty" maxLength:"200"`
	Capacity *int   `json:"capacity,omitempty" doc:"Absent: any number" minimum:"0" maximum:"100000"`
	MidTurn  string `json:"mid_turn,omitempty" doc:"An AI's: what becomes of messages that come while it has a turn. queue (default): they wait. merge: the turn is begun anew with them. append: the flow may fetch them" enum:"queue,merge,append"`
	Holding  string `json:"holding,omitempty" doc:"An AI's: what the customer is told when it did not answer; absent: nothing" maxLength:"4096"`
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
	if c.MergedInto != 0 {
		w.MergedInto = c.MergedInto.String()
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
		RemainingSeconds: h.Remains.Seconds(), Waiting: h.Waiting,
	}
}

// FromAgent is an agent on the wire.
func FromAgent(a conversation.Agent) Agent {
	return Agent{Agent: a.Owner.String(), Name: a.Name, Email: a.Email, Teams: a.Teams, Capacity: a.Capacity, Given: a.Given, Active: a.Active,
		Presence: string(a.Presence), MidTurn: string(a.MidTurn), Holding: a.Holding}
}
