// Package storetest says what every conversation.Store must do, as tests that run against any of them. It sees a store
// through its interface; what the interface does not show is asked of the Fixture.
package storetest

import (
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

// Fixture is one fresh, empty store behind two handles, as two replicas have it.
type Fixture struct {
	A, B conversation.Store
	// Channel adds a channel of the tenant "default"; flow is empty for one whose messages go to the human queue.
	Channel func(name, flow string)
	// Age lets time pass for everything that is kept: each deadline, lease and window ends so much sooner.
	Age func(d time.Duration)
	// Verify checks a conversation's chain of audit hashes.
	Verify func(id conversation.ID) error
	// Messages are the states of a conversation's messages in order of arrival.
	Messages func(id conversation.ID) []string
	// Parts are the states of a turn's parts in order.
	Parts func(id conversation.ID, turn int) []string
	// Stretches are a conversation's human stretches in order.
	Stretches func(id conversation.ID) []Stretch
	// Context is what was handed over with an audit entry; empty if nothing was.
	Context func(id conversation.ID, seq int64) string
	// Stray makes an id lead to a conversation again, as a webhook found it that was overtaken by a merge.
	Stray func(jid string, id conversation.ID)
	// Due makes what was promised in a conversation due now.
	Due func(id conversation.ID)
	// DeadLetters counts the turns of a conversation that were given up.
	DeadLetters func(id conversation.ID) int
}

// Stretch is a time in which humans had a conversation, as it is kept for the next AI.
type Stretch struct {
	Agent    string // who had it at the end, as kind:id
	From, To int64  // arrival numbers of its messages; To below From: there were none
	Epoch    int64  // the one that began when the stretch ended
}

const (
	tenant  = "default"
	channel = "p"
	flow    = "f"
	lease   = time.Minute
)

var (
	aiF   = conversation.Owner{Kind: conversation.OwnedByAI, ID: flow}
	aiG   = conversation.Owner{Kind: conversation.OwnedByAI, ID: "g"}
	ana   = conversation.Owner{Kind: conversation.OwnedByHuman, ID: "ana"}
	bia   = conversation.Owner{Kind: conversation.OwnedByHuman, ID: "bia"}
	queue = conversation.Owner{Kind: conversation.OwnedByQueue}

	operator = conversation.Actor{Kind: conversation.ActorOperator, ID: "op"}
)

func acting(o conversation.Owner) conversation.Actor {
	return conversation.Actor{Kind: conversation.ActorKind(o.Kind), ID: o.ID}
}

// Run runs every case against a fixture of its own.
func Run(t *testing.T, open func(t *testing.T) Fixture) {
	for _, cases := range []map[string]func(*world){verbCases, repeatCases, raceCases, turnCases, settleCases, deadlineCases, agentCases,
		mergeCases, midTurnCases, letterCases, ruleCases, decisionCases, planCases, peopleCases, promiseCases} {
		for name, test := range cases {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(newWorld(t, open(t)))
			})
		}
	}
	t.Run("RandomVerbsAgreeWithDecide", func(t *testing.T) {
		t.Parallel()
		randomVerbs(newWorld(t, open(t)))
	})
}

// world is a fixture with one channel and one process in it.
type world struct {
	Fixture
	t     *testing.T
	me    conversation.Process
	calls atomic.Int64
}

func newWorld(t *testing.T, f Fixture) *world {
	w := &world{Fixture: f, t: t}
	w.Channel(channel, flow)
	w.me = w.boot("router-1")
	return w
}

// store is one handle after the other: what one replica did, the other must see.
func (w *world) store() conversation.Store {
	if w.calls.Add(1)%2 == 0 {
		return w.A
	}
	return w.B
}

func (w *world) boot(instance string) conversation.Process {
	w.t.Helper()
	p := conversation.Process{Instance: instance, Boot: uuid.NewString()}
	require.NoError(w.t, w.store().Boot(w.t.Context(), p))
	return p
}

func (w *world) terms(p conversation.Process) conversation.TurnTerms {
	return conversation.TurnTerms{Holder: p, Lease: lease, Deadline: time.Hour,
		Sign: func(t conversation.TurnRef) string { return fmt.Sprint(t.Conversation, "/", t.No, "/", t.Gen) }}
}

// talk is one conversation of a world.
type talk struct {
	*world
	id   conversation.ID
	chat string
}

// talk begins a conversation: a customer writes once.
func (w *world) talk() *talk {
	w.t.Helper()
	x := &talk{world: w, chat: uuid.NewString() + "@lid"}
	x.id = x.write()
	return x
}

// talkOf is a conversation somebody has. Who it is, nobody else chose, unless it is an AI.
func (w *world) talkOf(o conversation.Owner) *talk {
	w.t.Helper()
	x := w.talk()
	x.do(conversation.Command{Verb: conversation.VerbClaim, To: aiF, Actor: conversation.Router})
	switch {
	case o.Kind == conversation.OwnedByHuman:
		x.do(conversation.Command{Verb: conversation.VerbTake, Actor: acting(o)})
	case o != aiF:
		x.do(conversation.Command{Verb: conversation.VerbPass, To: o})
	}
	return x
}

// write is the customer writing one message.
func (x *talk) write() conversation.ID {
	x.t.Helper()
	id := uuid.NewString()
	receipts, err := x.store().Receive(x.t.Context(), []conversation.Event{{
		Tenant: tenant, Channel: channel, Kind: conversation.KindMessage, WAID: id, ChatJID: x.chat, Type: "text", Text: id,
		Body: []byte(`{}`), State: conversation.Pending, Begins: true,
	}}, conversation.Window{})
	require.NoError(x.t, err)
	return receipts[0].Conversation
}

// meant fills in what a case does not care about: an operator acts, on the conversation as it stands.
func (x *talk) meant(c conversation.Command) conversation.Command {
	x.t.Helper()
	c.Tenant, c.Conversation = tenant, x.id
	if c.Actor == (conversation.Actor{}) {
		c.Actor = operator
	}
	switch {
	case c.IfEpoch != 0:
	case c.Verb == conversation.VerbTake:
		c.IfEpoch = conversation.AnyEpoch
	default:
		c.IfEpoch = x.find().Epoch
	}
	return c
}

// do carries a command out at one replica and looks at the other what became of it.
func (x *talk) do(c conversation.Command) conversation.Result {
	x.t.Helper()
	c = x.meant(c)
	result, err := x.store().Do(x.t.Context(), c)
	require.NoError(x.t, err)
	require.False(x.t, result.Replayed)
	require.Equal(x.t, bare(result.Conversation), bare(x.find()), "what the verb answered is what the other replica reads")
	require.Equal(x.t, result.Seq, result.Conversation.Version)
	trail := x.trail()
	last := trail[len(trail)-1]
	require.Equal(x.t, []any{c.Verb, c.Actor.String(), result.Conversation.State, result.Conversation.Epoch, result.Conversation.Owner.String()},
		[]any{last.Verb, last.Actor, last.StateTo, last.EpochTo, last.Detail["owner"]}, "the newest audit entry is the verb's")
	require.Equal(x.t, c.Key, last.Detail["key"])
	return result
}

// refuse expects a verb to be refused and to leave nothing behind. It returns where the refusal says the conversation stands.
func (x *talk) refuse(c conversation.Command, why error) conversation.Conversation {
	x.t.Helper()
	c = x.meant(c)
	before := x.find()
	_, err := x.store().Do(x.t.Context(), c)
	require.ErrorIs(x.t, err, why)
	require.Equal(x.t, before, x.find(), "a refused command moves nothing")
	x.trail()
	// These two are about the request, not about the conversation.
	if !errors.Is(why, conversation.ErrInvalid) && !errors.Is(why, conversation.ErrKeyReused) {
		var refused *conversation.RefusedError
		require.ErrorAs(x.t, err, &refused)
		require.Equal(x.t, bare(before), bare(refused.Now), "a refusal says where the conversation stands")
		return refused.Now
	}
	return before
}

func (x *talk) find() conversation.Conversation {
	x.t.Helper()
	c, err := x.store().Find(x.t.Context(), tenant, x.id)
	require.NoError(x.t, err)
	return c
}

// stands expects state, owner and epoch.
func (x *talk) stands(want string) {
	x.t.Helper()
	c := x.find()
	require.Equal(x.t, want, fmt.Sprintf("%s %s %d", c.State, c.Owner, c.Epoch))
}

// trail reads the audit and checks what must hold for any: it is complete, each entry goes on where the one before ended,
// and the epoch grows by one exactly where the owner changes, or beyond that of another conversation of the contact's.
func (x *talk) trail() []conversation.Recorded {
	x.t.Helper()
	list, err := x.store().Trail(x.t.Context(), tenant, x.id, 0, 500)
	require.NoError(x.t, err)
	require.NoError(x.t, x.Verify(x.id))
	c := x.find()
	require.EqualValues(x.t, len(list), c.Version)
	state, owner, epoch := conversation.Idle, conversation.Nobody.String(), int64(0)
	for i, r := range list {
		require.EqualValues(x.t, i+1, r.Seq)
		require.Equal(x.t, []any{state, epoch}, []any{r.StateFrom, r.EpochFrom}, "entry %d goes on where the one before ended", r.Seq)
		grown := int64(0)
		if r.Detail["owner"] != owner {
			grown = 1
		}
		if absorbed, err := strconv.ParseInt(r.Detail["absorbed_epoch"], 10, 64); err == nil {
			grown = max(absorbed, r.EpochFrom) + 1 - r.EpochFrom
		}
		require.Equal(x.t, r.EpochFrom+grown, r.EpochTo, "entry %d, %s from %s to %s", r.Seq, r.Verb, owner, r.Detail["owner"])
		state, owner, epoch = r.StateTo, r.Detail["owner"], r.EpochTo
	}
	require.Equal(x.t, []any{state, owner, epoch}, []any{c.State, c.Owner.String(), c.Epoch}, "the audit ends where it stands")
	return list
}

// turn claims the conversation's turn for a process.
func (x *talk) turn(p conversation.Process) conversation.Turn {
	x.t.Helper()
	t, err := x.store().ClaimTurn(x.t.Context(), x.terms(p))
	require.NoError(x.t, err)
	require.Equal(x.t, x.id, t.Conversation)
	return t
}

// replied is a turn whose answer waits at the gate.
func (x *talk) replied(parts ...string) conversation.Turn {
	x.t.Helper()
	t := x.turn(x.me)
	var list []conversation.Part
	for _, p := range parts {
		list = append(list, conversation.Part{Text: p})
	}
	require.NoError(x.t, x.store().Reply(x.t.Context(), t.TurnRef, t.Token, list))
	return t
}

func (x *talk) pass(t conversation.TurnRef, part int) bool {
	x.t.Helper()
	ok, err := x.store().Pass(x.t.Context(), conversation.PartRef{TurnRef: t, Part: part}, x.me, lease)
	require.NoError(x.t, err)
	return ok
}

func (x *talk) sent(t conversation.TurnRef, part int) bool {
	x.t.Helper()
	ok, err := x.store().Sent(x.t.Context(), conversation.PartRef{TurnRef: t, Part: part}, conversation.Delivery{MessageID: uuid.NewString()})
	require.NoError(x.t, err)
	return ok
}

// bare is a conversation without what depends on the handle and the moment it was read through. Waiting in a verb's result is from
// before the messages moved.
func bare(c conversation.Conversation) conversation.Conversation {
	c.Turn, c.Waiting = nil, false
	for _, at := range []*time.Time{&c.OwnerSince, &c.HandoversSince, &c.SilenceUntil} {
		*at = at.UTC()
	}
	if c.Offer != nil {
		offer := *c.Offer
		offer.Until = offer.Until.UTC()
		c.Offer = &offer
	}
	if c.Request != nil {
		request := *c.Request
		request.Until = request.Until.UTC()
		c.Request = &request
	}
	return c
}
