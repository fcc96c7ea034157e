package conversation

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Verb changes a conversation. Each is one transaction: the row, one audit entry for each step, and what depends on them.
type Verb string

// The verbs. Who may use which, and what it does, is in the table of the package comment.
const (
	VerbClaim    Verb = "claim"
	VerbPass     Verb = "pass"
	VerbOffer    Verb = "offer"
	VerbAccept   Verb = "accept"
	VerbDecline  Verb = "decline"
	VerbExpire   Verb = "expire"
	VerbRequest  Verb = "request"
	VerbTake     Verb = "take"
	VerbRelease  Verb = "release"
	VerbHandback Verb = "handback"
	VerbHold     Verb = "hold"
	VerbResume   Verb = "resume"
	VerbClose    Verb = "close"
	VerbReopen   Verb = "reopen"

	// The router's own. A queue is a pass to the queue when a turn cannot be brought to an end; inbound is the first step
	// of a claim; recover follows the loss of committed history; merge joins two conversations of one contact, and follow takes
	// along what was filed in the old one afterwards.
	VerbQueue   Verb = "queue"
	VerbInbound Verb = "inbound"
	VerbRecover Verb = "recover"
	VerbMerge   Verb = "merge"
	VerbFollow  Verb = "follow"
)

// Verbs lists what clients may ask for.
func Verbs() []Verb {
	return []Verb{VerbClaim, VerbPass, VerbOffer, VerbAccept, VerbDecline, VerbExpire, VerbRequest, VerbTake, VerbRelease,
		VerbHandback, VerbHold, VerbResume, VerbClose, VerbReopen}
}

// ActorKind says what sort of caller acts.
type ActorKind string

// The kinds of actor. An operator acts for anybody; the router acts by rule or timer.
const (
	ActorAI       ActorKind = "ai"
	ActorHuman    ActorKind = "human"
	ActorOperator ActorKind = "operator"
	ActorRouter   ActorKind = "router"
)

// Actor is who acts.
type Actor struct {
	Kind ActorKind
	ID   string
}

// Router is the actor of what happens by rule or timer.
var Router = Actor{Kind: ActorRouter}

// String is kind:id, as it stands in the audit.
func (a Actor) String() string {
	if a.ID == "" {
		return string(a.Kind)
	}
	return string(a.Kind) + ":" + a.ID
}

// is says whether the actor is this agent.
func (a Actor) is(o Owner) bool {
	return (a.Kind == ActorAI || a.Kind == ActorHuman) && string(a.Kind) == string(o.Kind) && a.ID == o.ID
}

// trusted actors act for anybody: operators, and the router itself.
func (a Actor) trusted() bool { return a.Kind == ActorOperator || a.Kind == ActorRouter }

// AnyEpoch in Command.IfEpoch is no condition. Only take may use it: a human always wins.
const AnyEpoch int64 = -1

// Bounds of a command.
const (
	maxIDBytes      = 128
	maxKeyBytes     = 200
	maxReasonBytes  = 200
	maxContextBytes = 4096 // as Sunshine's switchboard takes
	// MaxWait bounds an offer, a request and a silence.
	MaxWait = 7 * 24 * time.Hour
)

// Command asks for a verb.
type Command struct {
	Verb         Verb
	Tenant       string
	Conversation ID
	// Key makes the command safe to repeat: the second of two with one key gets the first one's result. Empty: it is not
	// remembered.
	Key     string
	IfEpoch int64 // refused with ErrStaleEpoch if the conversation has another
	Actor   Actor
	To      Owner           // claim, pass, offer; take for somebody else; handback to a certain AI
	Offer   int64           // accept, decline: the offer that is answered
	Wait    time.Duration   // offer, request: until it expires; take, accept: silence after which the human hands back, zero never
	Else    Otherwise       // offer, request; empty: return, ignore
	Through int64           // handback: the last message the human has dealt with; zero: all that have arrived
	Reason  string          // short; stands in the audit
	Context json.RawMessage // pass, offer, handback: what the next agent should know; an object of at most 4096 bytes
	// Promises, with the router's claim, are made if a conversation begins with it: not where an agent gave one back.
	Promises []Promise `json:",omitempty"`
	// RuleVersion says which rules decided, when the router acts.
	RuleVersion string
	// Say, with the router's claim or pass, is what the customer is told when the conversation goes there; empty: nothing. In it,
	// PlaceInQueue becomes the place the conversation has there.
	Say string `json:",omitempty"`
	// Plan, with the router's claim, pass or offer, is what is tried from now on; nil: a claim has none.
	Plan *Plan `json:",omitempty"`
}

// PlaceInQueue stands in what is said for the place in the queue, 1 for the first.
const PlaceInQueue = "{position}"

// Result is what a verb did.
type Result struct {
	Conversation Conversation
	// Seq is the audit entry of the verb; the newest one before if there was nothing to do.
	Seq int64
	// Replayed says that the key was used before, for the same request: nothing was done now.
	Replayed bool `json:"-"`
}

// Check says whether the command makes sense by itself; the error is an ErrInvalid.
func (c Command) Check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%s: %s: %w", c.Verb, fmt.Sprintf(format, args...), ErrInvalid)
	}
	switch {
	case c.IfEpoch == AnyEpoch && c.Verb != VerbTake:
		return bad("name the epoch it is meant for")
	case c.IfEpoch < AnyEpoch:
		return bad("epoch %d is negative", c.IfEpoch)
	case len(c.Promises) > 0 && (c.Verb != VerbClaim || c.Actor != Router):
		return bad("only the router's claim promises something")
	case len(c.Key) > maxKeyBytes:
		return bad("the idempotency key has %d bytes, at most %d are kept", len(c.Key), maxKeyBytes)
	case len(c.Reason) > maxReasonBytes:
		return bad("the reason has %d bytes, at most %d are kept", len(c.Reason), maxReasonBytes)
	case c.Say != "" && (c.Actor != Router || c.Verb != VerbClaim && c.Verb != VerbPass):
		return bad("only the router's claim or pass says something")
	case c.Plan != nil && (c.Actor != Router || c.Verb != VerbClaim && c.Verb != VerbPass && c.Verb != VerbOffer):
		return bad("only the router's claim, pass or offer has a plan")
	case strings.ContainsRune(c.Key+c.Reason+c.To.ID+c.Say, 0):
		return bad("a NUL character cannot be kept")
	case c.Wait < 0 || c.Wait > MaxWait:
		return bad("a wait of %s is not between zero and %s", c.Wait, MaxWait)
	case c.Through < 0:
		return bad("message number %d is negative", c.Through)
	}
	if err := c.checkContext(); err != nil {
		return bad("%v", err)
	}
	if err := checkPromises(c.Promises); err != nil {
		return bad("%v", err)
	}
	return c.checkTarget(bad)
}

func (c Command) checkContext() error {
	if len(c.Context) == 0 {
		return nil
	}
	var object map[string]any
	switch {
	case c.Verb != VerbPass && c.Verb != VerbOffer && c.Verb != VerbHandback:
		return fmt.Errorf("only pass, offer and handback carry a context")
	case len(c.Context) > maxContextBytes:
		return fmt.Errorf("the context has %d bytes, at most %d are handed over", len(c.Context), maxContextBytes)
	case json.Unmarshal(c.Context, &object) != nil || object == nil:
		return fmt.Errorf("the context is not a JSON object")
	}
	return nil
}

func (c Command) checkTarget(bad func(string, ...any) error) error {
	kinds := map[Verb][]OwnerKind{
		VerbClaim: {OwnedByAI, OwnedByHuman, OwnedByQueue}, VerbPass: {OwnedByAI, OwnedByHuman, OwnedByQueue},
		VerbOffer: {OwnedByAI, OwnedByHuman}, VerbTake: {OwnedByHuman}, VerbHandback: {OwnedByAI},
		VerbQueue: {OwnedByQueue},
	}[c.Verb]
	optional := c.Verb == VerbHandback || c.Verb == VerbTake && c.Actor.Kind == ActorHuman
	if c.To == (Owner{}) && (optional || len(kinds) == 0) {
		if c.Verb == VerbTake {
			if err := (Owner{Kind: OwnedByHuman, ID: c.Actor.ID}).check(); err != nil {
				return bad("%v", err)
			}
		}
		return c.checkWait(bad)
	}
	if len(kinds) == 0 {
		return bad("it goes to nobody, so name no agent")
	}
	if err := c.To.check(); err != nil {
		return bad("%v", err)
	}
	for _, k := range kinds {
		if c.To.Kind == k {
			return c.checkWait(bad)
		}
	}
	return bad("%s is not of the kind %v", c.To, kinds)
}

func (c Command) checkWait(bad func(string, ...any) error) error {
	allowed := map[Verb][]Otherwise{VerbOffer: {ElseReturn, ElseQueue}, VerbRequest: {ElseIgnore, ElseQueue}}[c.Verb]
	if allowed == nil {
		if c.Else != "" {
			return bad("nothing has to be answered, so there is no otherwise")
		}
		return nil
	}
	if c.Wait < time.Millisecond {
		return bad("say how long to wait for an answer")
	}
	for _, e := range allowed {
		if c.Else == e || c.Else == "" {
			return nil
		}
	}
	return bad("otherwise %q is none of %v", c.Else, allowed)
}

// Sum identifies what is asked for: two commands with one key must have the same.
func (c Command) Sum() [32]byte {
	c.Key = ""
	// A struct of strings, numbers and valid JSON marshals, always in the same order.
	text, err := json.Marshal(c)
	if err != nil {
		panic(fmt.Sprintf("marshal command: %v", err))
	}
	return sha256.Sum256(text)
}
