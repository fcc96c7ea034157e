package simulate

import (
	"errors"
	"fmt"
	"slices"

	"plantao/runtime/conversation"
	"plantao/runtime/invariant"
)

// oracle keeps what happened, from the results of operations and not from the database, and says what must not happen next.
// It is told the truth: of a commit whose answer was lost it knows.
type oracle struct {
	fail    func(invariant.ID, conversation.ID, string, ...any)
	step    func() int
	owned   map[conversation.ID]*ownership
	order   []conversation.ID // of their first message
	cluster int64             // generation new epochs are minted in
	stored  map[event]bool    // events that were committed
	acked   []event           // events that were acknowledged, in order
	acks    map[event]bool
	intents map[partKey]int // the step in which the part was last let out
	turns   map[turnKey]*turnRecord
	parts   []partKey     // that reached a customer, in order
	answers map[event]int // the turn that answered a message
	keys    map[string]remembered
}

// ownership is who has a conversation.
type ownership struct {
	tenant  string
	channel string
	owner   conversation.Owner
	state   conversation.State
	epoch   int64
	version int64
	cluster int64
	ended   []ending
}

// ending is the end of an AI's epoch.
type ending struct {
	epoch   int64
	step    int
	reached int // parts of this epoch or an earlier one that reached the customer afterwards
}

type event struct{ channel, kind, id string }

type turnKey struct {
	conversation conversation.ID
	no           int
}

type partKey struct {
	turnKey
	part int
}

type turnRecord struct {
	epoch    int64
	messages []event
	reached  []int // parts that reached the customer, in order
}

// remembered is what a key was first used for.
type remembered struct {
	command conversation.Command
	result  conversation.Result
}

func newOracle(fail func(invariant.ID, conversation.ID, string, ...any), step func() int) *oracle {
	return &oracle{
		fail: fail, step: step, owned: map[conversation.ID]*ownership{}, cluster: 1, stored: map[event]bool{},
		acks: map[event]bool{}, intents: map[partKey]int{}, turns: map[turnKey]*turnRecord{}, answers: map[event]int{},
		keys: map[string]remembered{},
	}
}

// received is told what the store says about an event.
func (o *oracle) received(e conversation.Event, r conversation.Receipt) {
	key := event{e.Channel, string(e.Kind), e.WAID}
	switch {
	case r.Duplicate && !o.stored[key]:
		o.fail(invariant.Ack, r.Conversation, "event %s is called a duplicate and was never stored", e.WAID)
	case !r.Duplicate && o.stored[key]:
		o.fail(invariant.Ack, r.Conversation, "event %s was stored twice", e.WAID)
	case e.FromMe && r.State == conversation.Pending:
		o.fail(invariant.Echo, r.Conversation, "event %s of our own waits for an answer", e.WAID)
	}
	o.stored[key] = true
	if id := r.Conversation; r.State == conversation.Pending && o.owned[id] == nil {
		o.owned[id] = &ownership{tenant: e.Tenant, channel: e.Channel, owner: conversation.Nobody, state: conversation.Idle, cluster: 1}
		o.order = append(o.order, id)
	}
}

// acknowledged is told that the hook answered 2xx.
func (o *oracle) acknowledged(e conversation.Event) {
	key := event{e.Channel, string(e.Kind), e.WAID}
	if !o.acks[key] {
		o.acks[key] = true
		o.acked = append(o.acked, key)
	}
}

// grown is the epoch after a change of owner.
func (o *oracle) grown(c *ownership) int64 {
	if c.cluster < o.cluster {
		return c.epoch + 1 + conversation.EpochGap
	}
	return c.epoch + 1
}

// move changes the owner.
func (o *oracle) move(c *ownership, to conversation.Owner, state conversation.State) {
	if c.owner.Kind == conversation.OwnedByAI {
		c.ended = append(c.ended, ending{epoch: c.epoch, step: o.step()})
	}
	c.owner, c.state, c.epoch, c.cluster = to, state, o.grown(c), o.cluster
}

// givers are the verbs by which an AI may get a conversation.
var givers = []conversation.Verb{conversation.VerbClaim, conversation.VerbPass, conversation.VerbAccept, conversation.VerbHandback,
	conversation.VerbResume}

// did is told that a verb was carried out.
func (o *oracle) did(c conversation.Command, r conversation.Result) {
	was := o.owned[c.Conversation]
	now := r.Conversation
	switch {
	case was == nil || c.Tenant != was.tenant || now.Tenant != was.tenant:
		o.fail(invariant.Ten, c.Conversation, "%s was carried out for tenant %q", c.Verb, c.Tenant)
		return
	case o.repeats(c, r):
		return
	case c.IfEpoch != conversation.AnyEpoch && c.IfEpoch != was.epoch:
		o.fail(invariant.Own, c.Conversation, "%s was carried out for epoch %d in epoch %d", c.Verb, c.IfEpoch, was.epoch)
	case now.Owner == was.owner && now.Epoch != was.epoch:
		o.fail(invariant.Own, c.Conversation, "%s left it with %s, and the epoch went from %d to %d", c.Verb, now.Owner, was.epoch,
			now.Epoch)
	case now.Owner != was.owner && now.Epoch != o.grown(was):
		o.fail(invariant.Own, c.Conversation, "%s gave it from %s to %s, and the epoch went from %d to %d", c.Verb, was.owner, now.Owner,
			was.epoch, now.Epoch)
	case now.Owner != was.owner && now.Owner.Kind == conversation.OwnedByAI && !slices.Contains(givers, c.Verb):
		o.fail(invariant.Own, c.Conversation, "%s gave it to %s", c.Verb, now.Owner)
	case c.Verb == conversation.VerbTake && now.Owner.Kind != conversation.OwnedByHuman:
		o.fail(invariant.Own, c.Conversation, "after a take %s has it", now.Owner)
	case now.Version < was.version:
		o.fail(invariant.Aud, c.Conversation, "%s took its version from %d to %d", c.Verb, was.version, now.Version)
	}
	if now.Owner != was.owner {
		o.move(was, now.Owner, now.State)
	}
	was.state, was.version = now.State, now.Version
	if c.Key != "" {
		o.keys[c.Tenant+"/"+c.Key] = remembered{c, r}
	}
}

// refused is told that a verb was not carried out.
func (o *oracle) refused(c conversation.Command, err error) {
	was := o.owned[c.Conversation]
	first, used := o.keys[c.Tenant+"/"+c.Key]
	switch {
	case c.Key != "" && used && c.Sum() == first.command.Sum():
		o.fail(invariant.Idem, c.Conversation, "%s under key %s was carried out, and is refused when asked again: %v", c.Verb, c.Key,
			refusal(err))
	case c.Key != "" && used && !errors.Is(err, conversation.ErrKeyReused) && !errors.Is(err, conversation.ErrNotFound):
		o.fail(invariant.Idem, c.Conversation, "key %s is used for another request, and the answer is: %v", c.Key, refusal(err))
	case errors.Is(err, conversation.ErrStaleEpoch) && was != nil && c.IfEpoch == was.epoch:
		o.fail(invariant.Ryw, c.Conversation, "%s is refused for epoch %d, which it is in", c.Verb, c.IfEpoch)
	}
}

// repeats says whether the key was used before, and asserts that the result is the first one's.
func (o *oracle) repeats(c conversation.Command, r conversation.Result) bool {
	first, used := o.keys[c.Tenant+"/"+c.Key]
	switch {
	case c.Key == "" || !used:
		if r.Replayed {
			o.fail(invariant.Idem, c.Conversation, "%s was answered from memory, and its key never used", c.Verb)
		}
		return false
	case !r.Replayed:
		o.fail(invariant.Idem, c.Conversation, "%s was carried out again under key %s", c.Verb, c.Key)
	case c.Sum() != first.command.Sum():
		o.fail(invariant.Idem, c.Conversation, "%s was given the answer of another request under key %s", c.Verb, c.Key)
	case r.Seq != first.result.Seq || r.Conversation.Epoch != first.result.Conversation.Epoch ||
		r.Conversation.Owner != first.result.Conversation.Owner || r.Conversation.State != first.result.Conversation.State:
		o.fail(invariant.Idem, c.Conversation, "%s under key %s was first answered epoch %d, entry %d, and then epoch %d, entry %d",
			c.Verb, c.Key, first.result.Conversation.Epoch, first.result.Seq, r.Conversation.Epoch, r.Seq)
	}
	return true
}

// read is told what a replica reads after everything that was confirmed.
func (o *oracle) read(c conversation.Conversation) {
	was := o.owned[c.ID]
	if was.owner != c.Owner || was.epoch != c.Epoch || was.state != c.State || was.version > c.Version {
		o.fail(invariant.Ryw, c.ID, "it was left as %s, %s, epoch %d, entry %d, and is read as %s, %s, epoch %d, entry %d", was.state,
			was.owner, was.epoch, was.version, c.State, c.Owner, c.Epoch, c.Version)
	}
}

// claimed is told of a turn that began.
func (o *oracle) claimed(t conversation.Turn) {
	record := &turnRecord{epoch: t.Epoch}
	for _, m := range t.Messages {
		record.messages = append(record.messages, event{t.Channel, string(conversation.KindMessage), m.ID})
	}
	o.turns[turnKey{t.Conversation, t.No}] = record
	if c := o.owned[t.Conversation]; c.owner.Kind != conversation.OwnedByAI || c.epoch != t.Epoch {
		o.fail(invariant.Fence, t.Conversation, "turn %d began for epoch %d, %s has it in epoch %d", t.No, t.Epoch, c.owner, c.epoch)
	}
}

// replied is told that the store took an answer.
func (o *oracle) replied(t conversation.TurnRef, parts int) {
	if c := o.owned[t.Conversation]; c.owner.Kind != conversation.OwnedByAI || c.epoch != t.Epoch {
		o.fail(invariant.Fence, t.Conversation, "turn %d was answered for epoch %d, %s has it in epoch %d", t.No, t.Epoch, c.owner, c.epoch)
	}
	if parts == 0 {
		o.answered(turnKey{t.Conversation, t.No})
	}
}

func (o *oracle) answered(t turnKey) {
	for _, m := range o.turns[t].messages {
		if by, done := o.answers[m]; done && by != t.no {
			o.fail(invariant.Part, t.conversation, "message %s was answered by turns %d and %d", m.id, by, t.no)
		}
		o.answers[m] = t.no
	}
}

// passed is told that the gate let a part out.
func (o *oracle) passed(p conversation.PartRef) {
	o.intents[partOf(p)] = o.step()
	if c := o.owned[p.Conversation]; c.owner.Kind != conversation.OwnedByAI || c.epoch != p.Epoch {
		o.fail(invariant.Fence, p.Conversation, "part %d of turn %d was let out for epoch %d, %s has it in epoch %d", p.Part, p.No, p.Epoch,
			c.owner, c.epoch)
	}
}

// failed is told that a turn was given up: the conversation went to the queue unless it had gone elsewhere.
func (o *oracle) failed(t conversation.TurnRef) {
	if c := o.owned[t.Conversation]; c.epoch == t.Epoch {
		o.move(c, conversation.Owner{Kind: conversation.OwnedByQueue}, conversation.HumanQueued)
		c.version++
	}
}

// recovered is told that the router found itself in a new generation of the cluster.
func (o *oracle) recovered() {
	o.cluster++
	for _, c := range o.owned {
		if c.owner.Kind == conversation.OwnedByAI {
			o.move(c, conversation.Nobody, conversation.Suspended)
			c.version++
		}
	}
}

// reached is told that the customer has a part.
func (o *oracle) reached(p conversation.PartRef) {
	key := partOf(p)
	turn := o.turns[key.turnKey]
	switch {
	case slices.Contains(turn.reached, p.Part):
		o.fail(invariant.Dup, p.Conversation, "part %d of turn %d reached the customer twice", p.Part, p.No)
	case len(turn.reached) > 0 && turn.reached[len(turn.reached)-1] > p.Part:
		o.fail(invariant.Ord, p.Conversation, "part %d of turn %d reached the customer after part %d", p.Part, p.No,
			turn.reached[len(turn.reached)-1])
	}
	turn.reached = append(turn.reached, p.Part)
	o.parts = append(o.parts, key)
	o.answered(key.turnKey)
	c := o.owned[p.Conversation]
	for i := range c.ended {
		e := &c.ended[i]
		if e.epoch < turn.epoch {
			continue
		}
		if e.reached++; e.reached > 1 {
			o.fail(invariant.Leak, p.Conversation, "part %d of turn %d is the second to reach the customer after epoch %d ended in step %d",
				p.Part, p.No, e.epoch, e.step)
		}
	}
}

func partOf(p conversation.PartRef) partKey { return partKey{turnKey{p.Conversation, p.No}, p.Part} }

// compare asserts that everything that was acknowledged is among the events that are stored, and that the router knows of every
// part that reached a customer: one it holds for unsent would be sent again, or its messages answered again.
func (o *oracle) compare(rows map[event]row, unreached map[partKey]string) {
	for _, e := range o.acked {
		r, ok := rows[e]
		if !ok {
			o.fail(invariant.Ack, 0, "event %s was acknowledged and is not there", e.id)
		}
		if by, done := o.answers[e]; done && r.state == "pending" {
			o.fail(invariant.Part, r.conversation, "message %s waits, and turn %d has answered it", e.id, by)
		}
	}
	for _, p := range o.parts {
		if state, wrong := unreached[p]; wrong {
			o.fail(invariant.Dup, p.conversation, "part %d of turn %d reached the customer and is %s", p.part, p.no, state)
		}
	}
}

// row is an event as the database has it.
type row struct {
	state        string
	conversation conversation.ID
}

func (k turnKey) String() string { return fmt.Sprintf("%s/%d", k.conversation, k.no) }
