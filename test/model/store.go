package model

// This file is the database: each function is one statement or transaction of runtime/postgres/sql and says which. They
// work on a state in place and report what the statement reports.

// receive is receive.sql: dedupe mark, row and burst window in one commit. A message seen before changes nothing.
func (d Design) receive(s *State, m int) {
	row := m
	if s.Messages[m].Marked {
		if d.Guards.UniqueKey || s.CopyOf != 0 {
			return
		}
		row, s.CopyOf = maxMessages, uint8(m+1)
	}
	s.Messages[m].Marked = true
	s.Rows[row] = Row{State: Pending}
	s.Waiting = true
}

// claimTurn is due_conversation.sql and claim_turn.sql. It returns the new turn's number; zero if nothing is due.
func (d Design) claimTurn(s *State, by Process) (no uint8, room bool) {
	if s.Owner != AI || !s.Waiting || !s.pending() || d.Guards.OneTurn && d.openTurns(s) > 0 {
		return 0, true
	}
	for i := range s.Turns {
		if s.Turns[i].State != NoTurn {
			continue
		}
		no = uint8(i + 1)
		t := &s.Turns[i]
		*t = Turn{State: Running, Epoch: s.Epoch, Gen: 1, Holder: by}
		for r := range s.Rows {
			if s.Rows[r].State == Pending {
				s.Rows[r] = Row{State: Taken, Turn: no}
				t.Covers |= 1 << s.message(r)
			}
		}
		s.Waiting = false
		return no, true
	}
	return 0, false
}

// expireSending is expire_sending.sql: parts in the hands of a sender that is gone or lost its lease are ambiguous.
func (d Design) expireSending(s *State, t *Turn) bool {
	if t.State != Sending || !t.Lapsed && !s.superseded(t.Holder) {
		return false
	}
	for p := range t.Parts {
		if t.Parts[p].State == PartSending {
			t.Parts[p].State = PartAmbiguous
		}
	}
	t.State = Ambiguous
	if !d.Guards.AmbiguousNotResent {
		resend(t)
	}
	return true
}

// resend is what the design never does: queue again what may have been sent.
func resend(t *Turn) {
	for p := range t.Parts {
		if t.Parts[p].State == PartAmbiguous {
			t.Parts[p].queue()
		}
	}
	t.State, t.Lapsed = Replied, true
}

func (p *Part) queue() { p.leave(PartQueued) }

// leave takes the part off the wire.
func (p *Part) leave(to PartState) { *p = Part{State: to, Written: p.Written} }

// reclaimTurn is reclaim_turn.sql: gen + 1 shuts the old holder out. stale says that the owner has changed meanwhile.
func (d Design) reclaimTurn(s *State, t *Turn, by Process) (ok, stale bool) {
	if t.State != Running && t.State != Replied || !t.Lapsed && !s.superseded(t.Holder) {
		return false, false
	}
	t.Gen++
	t.Holder, t.Lapsed = by, false
	return true, s.Epoch != t.Epoch || s.Owner != AI
}

// ours is the condition on the generation in every statement about a holding.
func (d Design) ours(gen, held uint8) bool { return !d.Guards.Generation || gen == held }

// reply is reply.sql. The parts' primary key admits one answer to a turn; a second is an error, and nothing is stored.
func (d Design) reply(s *State, t *Turn, gen uint8) (ok, owned bool) {
	owned = !d.Guards.ReplyEpoch || s.Epoch == t.Epoch && s.Owner == AI
	running := !d.Guards.ReplyState || t.State == Running
	if !owned || !running || !d.ours(t.Gen, gen) || t.Parts[0].State != NoPart {
		return false, owned
	}
	t.State = Replied
	for p := range d.Bounds.Parts {
		t.Parts[p].State = PartQueued
	}
	return true, owned
}

// pass is pass.sql, the gate.
func (d Design) pass(s *State, h Holding) bool {
	t := s.turn(h)
	owned := s.Owner == AI && (!d.Guards.GateEpoch || s.Epoch == t.Epoch)
	if !owned || t.State != Replied || !d.ours(t.Gen, h.Gen) || t.Parts[h.Part].State != PartQueued {
		return false
	}
	for p := range h.Part {
		if t.Parts[p].State != PartSent {
			return false
		}
	}
	d.intend(s, h)
	return true
}

// intend commits the intent to send a part.
func (d Design) intend(s *State, h Holding) {
	t := s.turn(h)
	p := &t.Parts[h.Part]
	if late := &s.Late; d.Guards.AttemptNamed && late.Phase == PutBack && late.Turn == h.Turn && late.Part == h.Part {
		*late = Holding{} // it names an earlier attempt
	}
	*p = Part{State: PartSending, Gen: h.Gen, Sender: h.By, Written: p.Written}
	t.State, t.Lapsed = Sending, false
}

// sent is sent.sql: the sender's proof, also for a part that lost its lease meanwhile.
func (d Design) sent(s *State, h Holding) bool {
	t := s.turn(h)
	p := &t.Parts[h.Part]
	if !p.State.onWire() || !d.ours(p.Gen, h.Gen) {
		return false
	}
	p.leave(PartSent)
	if t.State == Sending || t.State == Ambiguous {
		d.goOn(s, t, h.Part)
	}
	if !d.Guards.NoWriteBack {
		s.Owner = AI
	}
	return true
}

// goOn is how sent.sql and prove.sql leave the turn: replied while a later part waits, otherwise done with its messages.
func (d Design) goOn(s *State, t *Turn, part uint8) {
	for p := int(part) + 1; p < len(t.Parts); p++ {
		if t.Parts[p].State == PartQueued {
			t.State = Replied
			return
		}
	}
	t.State = Done
	s.settleRows(t, Answered)
}

// settleRows moves the messages the turn has taken.
func (s *State) settleRows(t *Turn, to RowState) {
	for r := range s.Rows {
		if s.Rows[r].State == Taken && &s.Turns[s.Rows[r].Turn-1] == t {
			s.Rows[r] = Row{State: to}
			s.Waiting = s.Waiting || to == Pending
		}
	}
}

// release is what revoke_turn.sql, fail_turn.sql and settle.sql do with the messages of a turn that comes to nothing: they
// wait again, unless part of the answer went out.
func (s *State) release(t *Turn) {
	if t.anyPart(isSent) {
		s.settleRows(t, Answered)
	} else {
		s.settleRows(t, Pending)
	}
}

// unknown is unknown.sql: the sender says itself that it writes no more.
func (d Design) unknown(s *State, h Holding) {
	t := s.turn(h)
	if t.State != Sending && t.State != Ambiguous || !d.ours(t.Gen, h.Gen) {
		return
	}
	t.State = Ambiguous
	if p := &t.Parts[h.Part]; p.State.onWire() && d.ours(p.Gen, h.Gen) {
		p.State, p.SenderDone = PartAmbiguous, true
	}
	if !d.Guards.AmbiguousNotResent {
		resend(t)
	}
}

// unsent is unsent.sql: not one byte was written.
func (d Design) unsent(s *State, h Holding) bool {
	t := s.turn(h)
	p := &t.Parts[h.Part]
	if t.State != Sending && t.State != Ambiguous || !d.ours(t.Gen, h.Gen) || !p.State.onWire() || !d.ours(p.Gen, h.Gen) {
		return false
	}
	p.queue()
	t.State = Replied
	return true
}

// revoke is revoke_turn.sql for one open turn.
func (s *State) revoke(t *Turn) {
	for p := range t.Parts {
		if t.Parts[p].State == PartQueued {
			t.Parts[p].State = PartDropped
		}
	}
	if t.State == Running || t.State == Replied {
		t.State = Cancelled
		s.release(t)
	}
}

// move is write_verb.sql together with the revocation its change asks for: a new owner, and the epoch + 1.
func (d Design) move(s *State, to Owner) {
	if s.Owner == AI && d.Guards.RevokeOnTake {
		for i := range s.Turns {
			if s.Turns[i].State.open() {
				s.revoke(&s.Turns[i])
			}
		}
	}
	s.Owner = to
	s.Epoch++
}

// cancel is the transaction of Store.Cancel: a turn that was refused because the epoch moved on.
func (d Design) cancel(s *State, h Holding) {
	if t := s.turn(h); s.Epoch != t.Epoch && t.State.open() && d.ours(t.Gen, h.Gen) {
		s.revoke(t)
	}
}

// fail is fail_turn.sql and, if the owner is still the turn's, the verb that queues the conversation for a human.
func (d Design) fail(s *State, h Holding) {
	t := s.turn(h)
	if !t.State.open() || !d.ours(t.Gen, h.Gen) {
		return
	}
	for p := range t.Parts {
		switch state := t.Parts[p].State; {
		case state == PartQueued:
			t.Parts[p].State = PartDropped
		case state.onWire():
			t.Parts[p].leave(PartFailed)
		}
	}
	if s.Epoch != t.Epoch {
		t.State = Cancelled
		s.release(t)
		return
	}
	t.State = Failed
	s.settleRows(t, Dead)
	d.move(s, Queue)
}

// finished is check_ambiguous.sql's and ambiguous_part.sql's condition: the sender certainly writes no more.
func (d Design) finished(s *State, p Part) bool {
	return p.State == PartAmbiguous && (!d.Guards.SenderGone || p.SenderDone || s.superseded(p.Sender))
}

// prove is prove.sql: the read-back shows the part.
func (d Design) prove(s *State, t *Turn, part uint8) {
	t.Parts[part].leave(PartSent)
	if t.State == Ambiguous {
		d.goOn(s, t, part)
		t.Lapsed = true
	}
}

// settle is settle.sql: a human says truthfully what the customer has got.
func (d Design) settle(s *State, t *Turn, part uint8) {
	p := &t.Parts[part]
	if p.Written {
		p.leave(PartSent)
	} else {
		p.leave(PartFailed)
	}
	for i := range t.Parts {
		if t.Parts[i].State == PartQueued {
			t.Parts[i].State = PartDropped
		}
	}
	if t.State != Ambiguous {
		return
	}
	t.State = Cancelled
	if t.anyPart(isSent) {
		t.State = Done
	}
	s.release(t)
}

// endStretch is end_stretch.sql and what write_verb.sql does with the burst window afterwards: rows up to through,
// counted from 1, were read by the human.
func (s *State) endStretch(through int) {
	for r := range s.Rows {
		if s.Rows[r].State == Pending && r < through {
			s.Rows[r].State = ByHuman
		}
	}
	s.Waiting = s.pending()
}
