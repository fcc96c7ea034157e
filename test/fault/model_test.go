package fault

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"github.com/anishathalye/porcupine"

	"plantao/runtime/conversation"
)

// standing is a conversation in the model. It is written from the table of verbs in package conversation, not from Decide: what
// the router is compared with must not be the router.
type standing struct {
	State, Owner         string
	Epoch, Version       int64
	Offer                int64 // zero: none
	OfferTo, OfferElse   string
	HeldState, HeldOwner string
	Fresh                bool // nothing is known of it: the first read says what it is
}

// kinds of request beside the verbs.
const (
	read      = "read"
	checkTurn = "check" // may the turn of this epoch still act?
	sentPart  = "sent"  // a part of a turn of this epoch was let out
)

// request is what a client asks for.
type request struct {
	Kind         string // read, checkTurn, sentPart or a verb
	Conversation string
	Actor        string
	To           string
	Else         string
	Offer        int64
	Epoch        int64 // a verb's condition, or the turn's
}

// answer is what it is told.
type answer struct {
	Unknown  bool   // nobody told: it was done, or it was not
	Code     string // of a refusal; empty: it was done
	Standing standing
	Partial  bool // only state, owner and epoch are told
}

// apply does a verb as the table says. A code means that it is refused.
func (s standing) apply(q request) (standing, string) {
	if q.Epoch != conversation.AnyEpoch && q.Epoch != s.Epoch {
		return s, "stale_epoch"
	}
	switch conversation.Verb(q.Kind) {
	case conversation.VerbTake:
		return s.take(q)
	case conversation.VerbPass, conversation.VerbOffer, conversation.VerbRelease, conversation.VerbHandback:
		return s.give(q)
	case conversation.VerbAccept, conversation.VerbDecline:
		return s.respond(q)
	case conversation.VerbHold, conversation.VerbResume, conversation.VerbClose:
		return s.suspend(q)
	}
	panic("no verb of the model: " + q.Kind)
}

func (q request) trusted() bool { return strings.HasPrefix(q.Actor, "operator:") }

func (s standing) take(q request) (standing, string) {
	to := q.To
	if to == "" {
		to = q.Actor
	}
	switch {
	case !q.trusted() && q.Actor != to:
		return s, "not_owner"
	case s.Owner == to && s.State == "HUMAN_ACTIVE":
		return s, ""
	}
	return s.to(to, "HUMAN_ACTIVE"), ""
}

// give is what the owner does.
func (s standing) give(q request) (standing, string) {
	switch {
	case s.Owner == "none":
		return s, "wrong_state"
	case !q.trusted() && q.Actor != s.Owner:
		return s, "not_owner"
	}
	switch conversation.Verb(q.Kind) {
	case conversation.VerbRelease:
		return s.to("none", "ROUTING"), ""
	case conversation.VerbHandback:
		if kind(s.Owner) != "human" && kind(s.Owner) != "queue" {
			return s, "wrong_state"
		}
		return s.to("ai:"+flowName, "AI_ACTIVE"), ""
	case conversation.VerbPass:
		if q.To == s.Owner {
			return s, "invalid"
		}
		return s.to(q.To, stateOf(q.To)), ""
	}
	if q.To == s.Owner {
		return s, "invalid"
	}
	s = s.to(s.Owner, "OFFERED")
	s.Offer, s.OfferTo, s.OfferElse = s.Version, q.To, q.Else
	return s, ""
}

// respond is what an agent does who was offered the conversation.
func (s standing) respond(q request) (standing, string) {
	switch {
	case s.Offer == 0 || s.Offer != q.Offer:
		return s, "offer_gone"
	case !q.trusted() && q.Actor != s.OfferTo:
		return s, "not_owner"
	case conversation.Verb(q.Kind) == conversation.VerbAccept:
		return s.to(s.OfferTo, stateOf(s.OfferTo)), ""
	case s.OfferElse == "queue":
		return s.to("queue", "HUMAN_QUEUED"), ""
	}
	return s.to(s.Owner, stateOf(s.Owner)), ""
}

func (s standing) suspend(q request) (standing, string) {
	verb := conversation.Verb(q.Kind)
	if verb == conversation.VerbClose {
		switch {
		case s.State == "CLOSED":
			return s, "wrong_state"
		case !q.trusted() && q.Actor != s.Owner:
			return s, "not_owner"
		}
		return s.to("none", "CLOSED"), ""
	}
	switch {
	case !q.trusted():
		return s, "not_owner"
	case (s.State == "SUSPENDED") == (verb == conversation.VerbHold):
		return s, "wrong_state"
	case verb == conversation.VerbResume:
		return s.to(s.HeldOwner, s.HeldState), ""
	}
	state, owner := s.State, s.Owner
	if state == "OFFERED" {
		state = stateOf(owner)
	}
	s = s.to("none", "SUSPENDED")
	s.HeldState, s.HeldOwner = state, owner
	return s, ""
}

// to is one step: the epoch grows with a change of owner, and with nothing else.
func (s standing) to(owner, state string) standing {
	if owner != s.Owner {
		s.Epoch++
	}
	s.Version++
	s.Owner, s.State = owner, state
	s.Offer, s.OfferTo, s.OfferElse, s.HeldState, s.HeldOwner = 0, "", "", "", ""
	return s
}

func kind(owner string) string {
	k, _, _ := strings.Cut(owner, ":")
	return k
}

func stateOf(owner string) string {
	return map[string]string{"ai": "AI_ACTIVE", "human": "HUMAN_ACTIVE", "queue": "HUMAN_QUEUED", "none": "ROUTING"}[kind(owner)]
}

// unseen are the standings this one may have become without anybody asking: the router gives a conversation nobody has to the
// flow when a message waits, or to the queue when the flow has left it too often.
func (s standing) unseen() []standing {
	routing := s
	switch s.State {
	case "IDLE", "CLOSED":
		routing.Version++ // reopened
		return []standing{s, routing.to("ai:"+flowName, "AI_ACTIVE")}
	case "ROUTING":
		return []standing{s, s.to("ai:"+flowName, "AI_ACTIVE"), s.to("queue", "HUMAN_QUEUED")}
	}
	return []standing{s}
}

// fits says whether an answer tells of this standing.
func (s standing) fits(a answer) bool {
	if a.Partial {
		return s.State == a.Standing.State && s.Owner == a.Standing.Owner && s.Epoch == a.Standing.Epoch
	}
	a.Standing.HeldState = s.HeldState // not told
	return s == a.Standing
}

// step is what may follow from a request and its answer.
func (s standing) step(q request, a answer) []standing {
	var next []standing
	for _, now := range s.unseen() {
		next = append(next, now.answered(q, a)...)
	}
	return next
}

func (s standing) answered(q request, a answer) []standing {
	if s.Fresh {
		// Clients begin with a read. What was let out before says nothing about what comes after.
		if q.Kind == read {
			s = a.Standing
		}
		return []standing{s}
	}
	turnActs := kind(s.Owner) == "ai" && s.Epoch == q.Epoch
	switch q.Kind {
	case read:
		return where(s.fits(a), s)
	case sentPart:
		return where(turnActs, s)
	case checkTurn:
		return where(turnActs == (a.Code != "stale_epoch") && (turnActs || s.fits(a)), s)
	}
	after, code := s.apply(q)
	switch {
	case a.Unknown && code == "":
		return []standing{s, after}
	case a.Unknown:
		return []standing{s}
	case code != a.Code:
		return nil
	case code == "":
		return where(after.fits(a), after)
	}
	return where(code == "invalid" || s.fits(a), s)
}

func where(ok bool, s standing) []standing {
	if ok {
		return []standing{s}
	}
	return nil
}

var hashSeed = maphash.MakeSeed()

// model is a conversation as porcupine checks it. Each conversation is a history of its own.
var model = (&porcupine.NondeterministicModel{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		by := map[string][]porcupine.Operation{}
		for _, op := range history {
			id := op.Input.(request).Conversation
			by[id] = append(by[id], op)
		}
		var parts [][]porcupine.Operation
		for _, ops := range by {
			slices.SortStableFunc(ops, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
			parts = append(parts, ops)
		}
		return parts
	},
	Init: func() []any { return []any{standing{Fresh: true}} },
	Step: func(state, input, output any) []any {
		var next []any
		for _, s := range state.(standing).step(input.(request), output.(answer)) {
			next = append(next, s)
		}
		return next
	},
	Hash:              func(state any) uint64 { return maphash.Comparable(hashSeed, state.(standing)) },
	DescribeOperation: func(input, output any) string { return describe(input.(request), output.(answer)) },
	DescribeState:     func(state any) string { return state.(standing).String() },
}).ToModel()

func (s standing) String() string {
	if s.Fresh {
		return "?"
	}
	text := fmt.Sprintf("%s %s e%d v%d", s.State, s.Owner, s.Epoch, s.Version)
	if s.Offer != 0 {
		text += fmt.Sprintf(" offer %d to %s", s.Offer, s.OfferTo)
	}
	return text
}

func describe(q request, a answer) string {
	asked := q.Kind
	if q.Actor != "" {
		asked = q.Actor + " " + asked
	}
	for _, extra := range []string{q.To, q.Else} {
		if extra != "" {
			asked += " " + extra
		}
	}
	if q.Kind != read {
		asked += fmt.Sprintf(" e%d", q.Epoch)
	}
	switch {
	case a.Unknown:
		return asked + " → ?"
	case a.Code != "":
		return asked + " → " + a.Code + " " + a.Standing.String()
	}
	return asked + " → " + a.Standing.String()
}
