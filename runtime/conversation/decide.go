package conversation

import (
	"fmt"
	"time"
)

// The ping-pong budget: an AI may give a conversation to an AI so often in so long; then it goes to the human queue. What
// resets it is an owner that is no AI.
const (
	HandoverBudget = 3
	HandoverWindow = 10 * time.Minute
)

// EpochGap is what the epoch jumps by when committed history may have been lost: more owners than could have been lost.
const EpochGap = 1000

// Terms are what a decision depends on beside the conversation and the command.
type Terms struct {
	Now     time.Time // database clock
	Cluster int64     // generation of the cluster the decision is committed in
}

// Step is one transition: one audit entry.
type Step struct {
	Verb        Verb
	Actor       Actor
	StateFrom   State
	StateTo     State
	EpochFrom   int64
	EpochTo     int64
	Owner       Owner // afterwards
	Reason      string
	RuleVersion string
	Detail      map[string]string
}

// Change is what a verb does. Nothing but the store carries it out, in one transaction.
type Change struct {
	Steps []Step       // none: there is nothing to do
	After Conversation // Version, and the id of a new offer, are the store's to fill in
	// Revoke: the AI on duty lost the conversation. Its open turn is cancelled unless a part is on the wire, and whatever
	// it has queued is dropped.
	Revoke bool
	// StretchBegins, StretchEnds: a human took up the conversation; it went to an AI or to nobody.
	StretchBegins bool
	StretchEnds   bool
	// Through bounds what the human stretch covers; zero: all messages that have arrived.
	Through int64
	// Moved: messages came from another conversation, or went there.
	Moved bool
	// Drop: what waits is not answered, because the conversation was closed.
	Drop bool
	// Gives: the owner was chosen by others, so its capacity counts.
	Gives bool
	// Promises are made to the customer.
	Promises []Promise
}

// Decide applies a command to a conversation as it stands: pure, so it is what the property tests and the simulation run.
// Errors: ErrInvalid, or a *RefusedError around ErrMerged, ErrStaleEpoch, ErrNotOwner, ErrWrongState, ErrOfferGone,
// ErrNotYet or ErrNoAgent.
func Decide(c Conversation, cmd Command, t Terms) (Change, error) {
	if err := cmd.Check(); err != nil {
		return Change{}, err
	}
	d := &decision{before: c, cmd: cmd, terms: t, change: Change{After: c}}
	if c.MergedInto != 0 {
		return Change{}, d.merged()
	}
	if cmd.IfEpoch != AnyEpoch && cmd.IfEpoch != c.Epoch {
		return Change{}, d.refuse(ErrStaleEpoch)
	}
	if err := d.apply(); err != nil {
		return Change{}, err
	}
	return d.change, nil
}

type decision struct {
	before Conversation
	cmd    Command
	terms  Terms
	change Change
}

func (d *decision) refuse(why error) error { return &RefusedError{Err: why, Now: d.before} }

func (d *decision) apply() error {
	switch d.cmd.Verb {
	case VerbClaim:
		return d.claim()
	case VerbPass:
		return d.pass()
	case VerbQueue:
		return d.queue()
	case VerbOffer:
		return d.offer()
	case VerbAccept, VerbDecline:
		return d.answer()
	case VerbExpire:
		return d.expire()
	case VerbRequest:
		return d.request()
	case VerbTake:
		return d.take()
	case VerbRelease:
		return d.release()
	case VerbHandback:
		return d.handback()
	case VerbHold, VerbRecover:
		return d.hold()
	case VerbResume:
		return d.resume()
	case VerbClose:
		return d.close()
	case VerbReopen:
		return d.reopen()
	}
	return fmt.Errorf("verb %q is none of %v: %w", d.cmd.Verb, Verbs(), ErrInvalid)
}

// onDuty wants an owner, and the actor to be it or to act for it.
func (d *decision) onDuty() error {
	switch {
	case d.before.Owner.Kind == OwnedByNone:
		return d.refuse(ErrWrongState)
	case d.cmd.Actor.trusted() || d.cmd.Actor.is(d.before.Owner):
		return nil
	}
	return d.refuse(ErrNotOwner)
}

func (d *decision) operator() error {
	if d.cmd.Actor.trusted() {
		return nil
	}
	return d.refuse(ErrNotOwner)
}

func (d *decision) claim() error {
	if err := d.operator(); err != nil {
		return err
	}
	switch d.before.State {
	case Idle:
		d.step(VerbInbound, Router, Nobody, Routing, "message_waits", nil)
		d.change.Promises = d.cmd.Promises
	case Closed:
		d.step(VerbReopen, Router, Nobody, Routing, "message_waits", nil)
		d.change.Promises = d.cmd.Promises
	case Routing:
	default:
		return d.refuse(ErrWrongState)
	}
	// A conversation an AI has just released must not go round between AIs for ever.
	to := d.withinBudget(d.before.LastOwner, d.cmd.To, d.before.State == Routing)
	d.give(to)
	return nil
}

func (d *decision) pass() error {
	if err := d.onDuty(); err != nil {
		return err
	}
	if d.cmd.To == d.before.Owner {
		return fmt.Errorf("pass: %s has the conversation already: %w", d.cmd.To, ErrInvalid)
	}
	d.give(d.withinBudget(d.before.Owner, d.cmd.To, true))
	return nil
}

// queue is how the router gives up on an AI; whoever else has the conversation keeps it.
func (d *decision) queue() error {
	if err := d.operator(); err != nil {
		return err
	}
	if d.before.Owner.Kind != OwnedByAI {
		return d.refuse(ErrWrongState)
	}
	d.give(d.cmd.To)
	return nil
}

func (d *decision) offer() error {
	if err := d.onDuty(); err != nil {
		return err
	}
	if d.cmd.To == d.before.Owner {
		return fmt.Errorf("offer: %s has the conversation already: %w", d.cmd.To, ErrInvalid)
	}
	o := Offer{To: d.cmd.To, Else: d.cmd.Else, Until: d.terms.Now.Add(d.cmd.Wait)}
	if o.Else == "" {
		o.Else = ElseReturn
	}
	// The newer offer voids the older: its id is no longer the one an accept must name.
	d.change.After.Offer = &o
	d.step(VerbOffer, d.cmd.Actor, d.before.Owner, Offered, d.cmd.Reason, map[string]string{
		"to": o.To.String(), "until": o.Until.UTC().Format(time.RFC3339Nano), "else": string(o.Else),
	})
	return nil
}

// answer is accept and decline.
func (d *decision) answer() error {
	o := d.before.Offer
	if o == nil || o.ID != d.cmd.Offer || !d.terms.Now.Before(o.Until) {
		return d.refuse(ErrOfferGone)
	}
	if !d.cmd.Actor.trusted() && !d.cmd.Actor.is(o.To) {
		return d.refuse(ErrNotOwner)
	}
	if d.cmd.Verb == VerbAccept {
		d.give(d.withinBudget(d.before.Owner, o.To, true))
		return nil
	}
	d.goBack(VerbDecline, d.cmd.Actor, o.Else, d.cmd.Reason)
	return nil
}

// goBack ends an offer that was not taken up.
func (d *decision) goBack(v Verb, a Actor, otherwise Otherwise, reason string) {
	to := d.change.After.Owner
	if otherwise == ElseQueue && to.Kind != OwnedByQueue {
		to = Owner{Kind: OwnedByQueue}
	}
	d.step(v, a, to, stateOf(to), reason, nil)
}

func (d *decision) expire() error {
	if err := d.operator(); err != nil {
		return err
	}
	due := func(until time.Time) bool { return !d.terms.Now.Before(until) }
	did := false
	if o := d.before.Offer; o != nil && due(o.Until) {
		d.goBack(VerbExpire, d.cmd.Actor, o.Else, "offer_not_answered")
		did = true
	}
	// The end of the offer may have voided the request: a request is to the owner it was made to.
	if r := d.change.After.Request; r != nil && due(r.Until) {
		d.change.After.Request = nil
		to, state := d.change.After.Owner, d.change.After.State
		if r.Else == ElseQueue && to.Kind != OwnedByNone && to.Kind != OwnedByQueue {
			to, state = Owner{Kind: OwnedByQueue}, HumanQueued
		}
		d.step(VerbExpire, d.cmd.Actor, to, state, "request_not_answered", nil)
		did = true
	}
	if !did {
		return d.refuse(ErrNotYet)
	}
	return nil
}

func (d *decision) request() error {
	if d.before.Owner.Kind == OwnedByNone {
		return d.refuse(ErrWrongState)
	}
	if d.cmd.Actor.is(d.before.Owner) {
		return fmt.Errorf("request: %s has the conversation already: %w", d.before.Owner, ErrInvalid)
	}
	r := Request{By: d.cmd.Actor.String(), Else: d.cmd.Else, Until: d.terms.Now.Add(d.cmd.Wait)}
	if r.Else == "" {
		r.Else = ElseIgnore
	}
	d.change.After.Request = &r
	d.step(VerbRequest, d.cmd.Actor, d.before.Owner, d.before.State, d.cmd.Reason, map[string]string{
		"until": r.Until.UTC().Format(time.RFC3339Nano), "else": string(r.Else),
	})
	return nil
}

// take is unconditional: a human always wins. An AI cannot take.
func (d *decision) take() error {
	to := d.cmd.To
	if to == (Owner{}) {
		to = Owner{Kind: OwnedByHuman, ID: d.cmd.Actor.ID}
	}
	if !d.cmd.Actor.trusted() && !d.cmd.Actor.is(to) {
		return d.refuse(ErrNotOwner)
	}
	same := d.before.Owner == to && d.before.State == HumanActive
	d.listen()
	if same {
		return nil // on duty already: nothing changes but how long the silence may last
	}
	d.step(VerbTake, d.cmd.Actor, to, HumanActive, d.cmd.Reason, nil)
	return nil
}

// listen sets after how much silence the human who gets the conversation hands it back.
func (d *decision) listen() {
	d.change.After.Silence, d.change.After.SilenceUntil = d.cmd.Wait, time.Time{}
	if d.cmd.Wait > 0 {
		d.change.After.SilenceUntil = d.terms.Now.Add(d.cmd.Wait)
	}
}

func (d *decision) release() error {
	if err := d.onDuty(); err != nil {
		return err
	}
	d.step(VerbRelease, d.cmd.Actor, Nobody, Routing, d.cmd.Reason, nil)
	return nil
}

// handback gives the conversation from a human, or from the queue, to an AI: the one named, the last one that had it, or the channel's.
func (d *decision) handback() error {
	if err := d.onDuty(); err != nil {
		return err
	}
	if k := d.before.Owner.Kind; k != OwnedByHuman && k != OwnedByQueue {
		return d.refuse(ErrWrongState)
	}
	if d.cmd.Actor == Router && (d.before.Silence == 0 || d.terms.Now.Before(d.before.SilenceUntil)) {
		return d.refuse(ErrNotYet)
	}
	to := d.cmd.To
	for _, id := range []string{d.before.LastAI, d.before.Flow} {
		if to == (Owner{}) && id != "" {
			to = Owner{Kind: OwnedByAI, ID: id}
		}
	}
	switch {
	case to != (Owner{}):
	case d.cmd.Actor == Router:
		to = Owner{Kind: OwnedByQueue} // a timer has nobody to tell: any human may go on
	default:
		return d.refuse(ErrNoAgent)
	}
	d.change.Through = d.cmd.Through
	d.give(to)
	return nil
}

func (d *decision) hold() error {
	if err := d.operator(); err != nil {
		return err
	}
	if d.before.State == Suspended {
		return d.refuse(ErrWrongState)
	}
	held := Held{State: d.before.State, Owner: d.before.Owner}
	if held.State == Offered { // the offer does not outlive the suspension
		held.State = stateOf(held.Owner)
	}
	d.step(d.cmd.Verb, d.cmd.Actor, Nobody, Suspended, d.cmd.Reason, map[string]string{"held": held.Owner.String()})
	d.change.After.Held = &held
	return nil
}

func (d *decision) resume() error {
	if err := d.operator(); err != nil {
		return err
	}
	h := d.before.Held
	if h == nil {
		return d.refuse(ErrWrongState)
	}
	d.step(VerbResume, d.cmd.Actor, h.Owner, h.State, d.cmd.Reason, nil)
	d.change.Gives = h.Owner.Kind == OwnedByAI || h.Owner.Kind == OwnedByHuman
	d.change.After.Given = d.change.Gives
	return nil
}

func (d *decision) close() error {
	if d.before.State == Closed {
		return d.refuse(ErrWrongState)
	}
	if !d.cmd.Actor.trusted() && !d.cmd.Actor.is(d.before.Owner) {
		return d.refuse(ErrNotOwner)
	}
	d.step(VerbClose, d.cmd.Actor, Nobody, Closed, d.cmd.Reason, nil)
	d.change.Drop = true
	return nil
}

func (d *decision) reopen() error {
	if err := d.operator(); err != nil {
		return err
	}
	if d.before.State != Closed {
		return d.refuse(ErrWrongState)
	}
	d.step(VerbReopen, d.cmd.Actor, Nobody, Routing, d.cmd.Reason, nil)
	return nil
}

// withinBudget turns a handover from AI to AI into one to the queue when there have been too many. It counts the handover.
func (d *decision) withinBudget(from, to Owner, counts bool) Owner {
	if !counts || from.Kind != OwnedByAI || to.Kind != OwnedByAI {
		return to
	}
	a := &d.change.After
	if d.terms.Now.Sub(a.HandoversSince) >= HandoverWindow {
		a.Handovers, a.HandoversSince = 0, d.terms.Now
	}
	if a.Handovers >= HandoverBudget {
		return Owner{Kind: OwnedByQueue}
	}
	a.Handovers++
	return to
}

// give makes somebody the owner by the choice of others. Who is not given what was asked for, is told why in the audit.
func (d *decision) give(to Owner) {
	reason, detail := d.cmd.Reason, map[string]string{}
	wanted := d.cmd.To
	if d.cmd.Verb == VerbAccept {
		wanted = d.before.Offer.To
	}
	if to.Kind == OwnedByQueue && wanted.Kind == OwnedByAI {
		reason = ReasonHandoverBudget
		detail["wanted"] = wanted.String()
	}
	d.step(d.cmd.Verb, d.cmd.Actor, to, stateOf(to), reason, detail)
	d.change.Gives = to.Kind == OwnedByAI || to.Kind == OwnedByHuman
	d.change.After.Given = d.change.Gives
	if to.Kind == OwnedByHuman && d.cmd.Verb == VerbAccept {
		d.listen()
	}
}

// step is one transition. It is the only place that changes an owner, and the only one that mints an epoch.
func (d *decision) step(v Verb, by Actor, to Owner, state State, reason string, detail map[string]string) {
	a := &d.change.After
	if detail == nil {
		detail = map[string]string{}
	}
	s := Step{
		Verb: v, Actor: by, StateFrom: a.State, StateTo: state, EpochFrom: a.Epoch, EpochTo: a.Epoch, Owner: to,
		Reason: reason, RuleVersion: d.cmd.RuleVersion, Detail: detail,
	}
	if to != a.Owner {
		s.EpochTo = d.mint(detail)
		d.replace(to)
	}
	d.stretch(to, state)
	if state != Offered {
		a.Offer = nil
	}
	a.Held = nil
	a.State, a.Owner, a.Epoch = state, to, s.EpochTo
	d.change.Steps = append(d.change.Steps, s)
}

func (d *decision) mint(detail map[string]string) int64 {
	a := &d.change.After
	next := a.Epoch + 1
	if a.Cluster < d.terms.Cluster {
		next += EpochGap
		a.Cluster = d.terms.Cluster
		detail["cluster"] = fmt.Sprint(d.terms.Cluster)
	}
	return next
}

// replace keeps the books of a change of owner.
func (d *decision) replace(to Owner) {
	a := &d.change.After
	if a.Owner.Kind == OwnedByAI {
		d.change.Revoke = true
	}
	if a.Owner.Kind != OwnedByNone {
		a.LastOwner = a.Owner
	}
	if to.Kind == OwnedByAI {
		a.LastAI = to.ID
	} else if to.Kind != OwnedByNone {
		a.Handovers, a.HandoversSince = 0, time.Time{}
	}
	a.OwnerSince, a.Given, a.Request = d.terms.Now, false, nil
	switch {
	case to.Kind != OwnedByHuman:
		a.Silence, a.SilenceUntil = 0, time.Time{}
	case a.Silence > 0: // from human to human: the one before may have been silent for a while
		a.SilenceUntil = d.terms.Now.Add(a.Silence)
	}
}

// stretch begins or ends a human stretch. Not only a change of owner ends one: a suspended conversation has none, and may be
// closed.
func (d *decision) stretch(to Owner, state State) {
	a := &d.change.After
	switch {
	case to.Kind == OwnedByHuman && !a.InStretch:
		a.InStretch, d.change.StretchBegins = true, true
	case a.InStretch && (to.Kind == OwnedByAI || to.Kind == OwnedByNone && state != Suspended):
		a.InStretch, d.change.StretchEnds = false, true
	}
}
