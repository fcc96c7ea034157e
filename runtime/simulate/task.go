package simulate

import (
	"errors"
	"fmt"

	"plantao/runtime/conversation"
)

// stage is where a replica stands with a turn: what dispatch.run and gate.Send do between two looks at the outside world.
type stage string

const (
	asking     stage = "asking"      // the flow
	answering  stage = "answering"   // storing the flow's answer
	listing    stage = "listing"     // the parts to send
	passing    stage = "passing"     // the gate
	writing    stage = "writing"     // passed, and not yet at the socket
	onWire     stage = "on the wire" // the local deadline was looked at for the last time
	confirming stage = "confirming"  // sent
	undoing    stage = "undoing"     // nothing was written
	doubting   stage = "doubting"    // nobody knows
	leaving    stage = "leaving"     // nothing was written, and nothing will be
	handing    stage = "handing back"
	failing    stage = "failing"
	cancelling stage = "cancelling"
)

// task is a turn in a replica's hands.
type task struct {
	conversation.Turn
	stage    stage
	expires  int  // hour of the deadline, as this replica believes
	trust    int  // hour until which the last pass of the gate may be used
	attempt  int  // at the gate, with the part at hand
	refused  bool // by the gate, so that undoing only makes sure
	lost     bool // another has the turn
	answer   []conversation.Part
	parts    []conversation.QueuedPart // still to be sent
	delivery conversation.Delivery
	reason   string // why it is given up
}

func (t *task) part() conversation.PartRef {
	return conversation.PartRef{TurnRef: t.TurnRef, Part: t.parts[0].No, Attempt: t.attempt}
}

func (t *task) late(w *world) bool { return w.hour >= t.expires }

func (t *task) failFor(reason string) { t.stage, t.reason = failing, reason }

// advance does the next thing with a turn.
func (r *replica) advance(t *task) string {
	what := fmt.Sprintf("%s turn %s/%d gen %d %s", r.name, t.Conversation, t.No, t.Gen, t.stage)
	if len(t.parts) > 0 && t.stage != listing {
		what += fmt.Sprintf(" part %d", t.parts[0].No)
	}
	return what + map[stage]func(*task) string{
		asking: r.ask, answering: r.accept, listing: r.list, passing: r.pass, writing: r.write, onWire: r.transmit,
		confirming: r.confirm, undoing: r.undo, doubting: r.doubt, leaving: r.putBack, handing: r.handBack,
		failing: r.fail, cancelling: r.cancel,
	}[t.stage](t)
}

func (r *replica) ask(t *task) string {
	if t.late(r.w) {
		r.w.fault(faultDeadline)
		t.failFor(conversation.ReasonDeadline)
		return ": no answer before the deadline"
	}
	r.w.flow.ask(t.Turn)
	switch n := r.w.draw(20); {
	case r.w.calm, n < 12:
		t.answer, t.stage = r.w.answer(), answering
		return fmt.Sprintf(": %d parts", len(t.answer))
	case n == 12:
		r.w.fault(faultFlowRefused)
		t.failFor(conversation.ReasonFlowRefused)
		return ": refused"
	}
	return ": no answer yet"
}

func (r *replica) accept(t *task) string {
	err := r.line.Reply(r.w.ctx, t.TurnRef, t.Token, t.answer)
	switch {
	case err == nil && len(t.answer) == 0:
		r.drop(t)
	case err == nil:
		t.stage = listing
	case errors.Is(err, conversation.ErrStaleEpoch):
		t.stage = cancelling
	case errors.Is(err, conversation.ErrTurnClosed) && r.answeredAlready(t):
		t.stage = listing
	case errors.Is(err, conversation.ErrTurnClosed) && !t.late(r.w):
		r.drop(t)
	case t.late(r.w):
		r.w.fault(faultDeadline)
		t.failFor(conversation.ReasonDeadline)
	}
	return outcome(err)
}

func (r *replica) answeredAlready(t *task) bool {
	now, err := r.line.FindTurn(r.w.ctx, t.Conversation, t.No, t.Token)
	return err == nil && now.Gen == t.Gen && now.State == conversation.TurnReplied
}

func (r *replica) list(t *task) string {
	parts, err := r.line.QueuedParts(r.w.ctx, t.TurnRef)
	if err != nil {
		r.w.broken(err)
	}
	t.parts, t.attempt, t.stage = parts, 0, passing
	if len(parts) == 0 {
		r.drop(t)
	}
	return fmt.Sprintf(": %d", len(parts))
}

func (r *replica) pass(t *task) string {
	if t.late(r.w) {
		r.w.fault(faultDeadline)
		t.failFor(conversation.ReasonDeadline)
		return ": too late"
	}
	t.attempt++
	t.trust = r.w.hour + trustHours
	passed, err := r.line.Pass(r.w.ctx, t.part(), r.process, hours(leaseHours))
	switch {
	case err != nil:
		t.stage, t.refused = undoing, false // the intent may be committed all the same
		return outcome(err)
	case passed:
		t.stage = writing
		return ": passed"
	case t.attempt > 1:
		t.stage, t.refused = undoing, true // an attempt whose answer was lost may have committed its intent after all
	default:
		r.turnedAway(t)
	}
	return ": refused"
}

// turnedAway finds out why the gate said no.
func (r *replica) turnedAway(t *task) {
	if t.late(r.w) {
		r.w.fault(faultDeadline)
		t.failFor(conversation.ReasonDeadline)
		return
	}
	t.stage = cancelling
}

func (r *replica) write(t *task) string {
	if r.w.hour >= min(t.trust, t.expires) {
		t.stage, t.refused = undoing, false
		return ": not any more"
	}
	t.stage = onWire
	return ""
}

func (r *replica) transmit(t *task) string {
	m := r.w.phone.send(t)
	n := r.w.draw(20)
	if r.w.calm {
		n = 19
	}
	switch n {
	case 0:
		r.w.fault(faultSendRefused)
		t.failFor(conversation.ReasonSendRefused)
		return ": refused"
	case 1, 2:
		r.w.fault(faultNothing)
		t.stage, t.refused = undoing, false
		return ": nothing written"
	case 3, 4, 5, 6:
		r.w.fault(faultUnanswered)
		t.stage = doubting
		switch n {
		case 3, 4:
			r.w.phone.arrive(r.w, m)
		case 5:
			r.w.phone.wire = append(r.w.phone.wire, m)
		}
		return ": no answer"
	}
	r.w.phone.arrive(r.w, m)
	t.delivery, t.stage = conversation.Delivery{MessageID: m.id, ChatJID: m.jid}, confirming
	return ": " + m.id
}

func (r *replica) confirm(t *task) string {
	ours, err := r.line.Sent(r.w.ctx, t.part(), t.delivery)
	switch {
	case err != nil:
	case !ours || len(t.parts) == 1:
		r.drop(t)
	default:
		t.parts, t.attempt, t.stage = t.parts[1:], 0, passing
	}
	return found(ours, err)
}

func (r *replica) undo(t *task) string {
	back, err := r.line.Unsent(r.w.ctx, t.part())
	switch {
	case err != nil:
	case t.refused && !back:
		r.turnedAway(t)
	default:
		t.stage = passing
	}
	return found(back, err)
}

func (r *replica) putBack(t *task) string {
	back, err := r.line.Unsent(r.w.ctx, t.part())
	switch {
	case err != nil:
	case t.lost:
		r.drop(t)
	default:
		t.stage = handing
	}
	return found(back, err)
}

func (r *replica) handBack(t *task) string {
	err := r.line.HandBack(r.w.ctx, t.TurnRef)
	if err == nil {
		r.drop(t)
	}
	return outcome(err)
}

func (r *replica) doubt(t *task) string {
	ours, err := r.line.Unknown(r.w.ctx, t.part(), "outcome_unknown")
	if err == nil {
		r.drop(t)
	}
	return found(ours, err)
}

func (r *replica) fail(t *task) string {
	err := r.line.Fail(r.w.ctx, t.TurnRef, conversation.Failure{Reason: t.reason, Detail: "simulated"})
	if !errors.Is(err, errBroken) {
		r.drop(t)
	}
	return " for " + t.reason + outcome(err)
}

func (r *replica) cancel(t *task) string {
	err := r.line.Cancel(r.w.ctx, t.TurnRef, conversation.ReasonOwnerChanged)
	if !errors.Is(err, errBroken) {
		r.drop(t)
	}
	return outcome(err)
}

// outcome is how an operation ended, in words that are the same in each run.
func outcome(err error) string {
	switch why := refusal(err); {
	case err == nil:
		return ": done"
	case why != nil:
		return ": " + why.Error()
	}
	return ": broken"
}

func found(yes bool, err error) string {
	if err == nil && !yes {
		return ": not ours"
	}
	return outcome(err)
}

// done is outcome, and where the conversation stands.
func done(r conversation.Result, err error) string {
	if err != nil {
		return outcome(err)
	}
	replayed := ""
	if r.Replayed {
		replayed = ", as before"
	}
	return fmt.Sprintf(": %s has it in epoch %d%s", r.Conversation.Owner, r.Conversation.Epoch, replayed)
}
