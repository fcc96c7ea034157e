package model

// This file is what happens to the router: messages, humans and faults.

// webhooks is runtime/ingest: messages come in, and are acknowledged.
func (w *walk) webhooks() {
	for m := range w.d.Bounds.Messages {
		if m > 0 && !w.from.Messages[m-1].Marked && !w.from.Messages[m-1].Acked {
			break // message 2 is whichever came second
		}
		for slot := range 2 {
			if w.from.alive(slot) {
				w.webhook(m, slot)
			}
		}
		w.step(Step{Kind: acknowledged, Message: m}, func(s *State) bool {
			msg := &s.Messages[m]
			can := msg.Marked && msg.Ingest == 0 && s.anyAlive()
			msg.Acked = true
			return can
		})
		w.step(Step{Kind: arrivesAgain, Message: m}, func(s *State) bool {
			before := *s
			if s.Left.Duplicates == 0 || !s.Messages[m].Marked || !s.anyAlive() {
				return false
			}
			w.d.receive(s, m)
			changed := *s != before // a copy that changes nothing is not worth a budget
			s.Left.Duplicates--
			return changed
		})
	}
}

// webhook is message m in the hands of one replica: one commit in the design, two transactions without its guards.
func (w *walk) webhook(m, slot int) {
	g := w.d.Guards
	if g.PendingCheck && g.CommitBeforeAck && g.DedupeInCommit && slot != w.from.firstAlive() {
		return // it makes no difference who commits it
	}
	w.step(Step{Kind: arrives, Message: m, Slot: slot}, func(s *State) bool {
		msg := &s.Messages[m]
		if msg.Marked || msg.Acked {
			return false
		}
		switch {
		case !g.CommitBeforeAck:
			msg.Acked, msg.Ingest = true, process(slot, s.Replicas[slot].Boot)
		case !g.DedupeInCommit:
			msg.Marked, msg.Ingest = true, process(slot, s.Replicas[slot].Boot)
		default:
			w.d.receive(s, m)
			s.wake(slot, g)
		}
		return true
	})
	w.step(Step{Kind: stored, Message: m, Slot: slot}, func(s *State) bool {
		msg := &s.Messages[m]
		if msg.Ingest == 0 || msg.Ingest.slot() != slot {
			return false
		}
		*msg = Message{Acked: msg.Acked}
		w.d.receive(s, m)
		s.wake(slot, g)
		return true
	})
}

func (s *State) wake(slot int, g Guards) { s.Replicas[slot].Woken = !g.PendingCheck }

// humans is what people do: take, hand back, and say what became of an ambiguous part.
func (w *walk) humans() {
	w.step(Step{Kind: taken}, func(s *State) bool {
		if s.Left.Takes == 0 || s.Owner == Human {
			return false
		}
		s.Left.Takes--
		w.d.move(s, Human)
		s.Leaked = 0 // counted from the take on
		return true
	})
	for through := w.d.Bounds.Messages; through >= 0; through-- {
		w.step(Step{Kind: handedBack, Message: through}, func(s *State) bool {
			if s.Left.Handbacks == 0 || s.Owner == AI {
				return false
			}
			s.Left.Handbacks--
			if s.Owner == Human { // the queue has had no human stretch to end
				s.endStretch(through)
			}
			w.d.move(s, AI)
			return true
		})
	}
	w.eachPart(func(no, part uint8) {
		w.step(Step{Kind: settled, Turn: no, Part: part}, func(s *State) bool {
			t := &s.Turns[no-1]
			if !w.d.finished(s, t.Parts[part]) {
				return false
			}
			w.d.settle(s, t, part)
			return true
		})
	})
}

func (w *walk) eachPart(visit func(no, part uint8)) {
	for i := range w.from.Turns {
		for p := range w.d.Bounds.Parts {
			if w.from.Turns[i].Parts[p].State != NoPart {
				visit(uint8(i+1), uint8(p))
			}
		}
	}
}

// faults is what goes wrong, except on the wire: see holding.
func (w *walk) faults() {
	for slot := range w.from.Replicas {
		kind := killed
		if !w.d.Guards.SlotEmpty {
			kind = doubled
		}
		w.step(Step{Kind: kind, Slot: slot}, func(s *State) bool {
			if s.Left.Kills == 0 || !s.alive(slot) {
				return false
			}
			s.Left.Kills--
			if kind == doubled {
				s.Replicas[slot].Boot++
			} else {
				s.kill(slot)
			}
			return true
		})
	}
	w.step(Step{Kind: redisLoses}, func(s *State) bool {
		if s.Left.Losses == 0 || !s.Lock.Held {
			return false
		}
		s.Left.Losses--
		s.unlock()
		return true
	})
}

// kill forgets all the process had in memory. What it has in the database and in Redis stays.
func (s *State) kill(slot int) {
	s.Replicas[slot].Alive, s.Replicas[slot].Woken = false, false
	for i := range s.Holdings {
		if h := &s.Holdings[i]; h.Phase != Idle && h.By.slot() == slot {
			*h = Holding{}
		}
	}
	for i := range s.Messages {
		if m := &s.Messages[i]; m.Ingest != 0 && m.Ingest.slot() == slot {
			m.Ingest = 0
		}
	}
}

func (s *State) unlock() {
	s.Lock = Lock{}
	for i := range s.Holdings {
		s.Holdings[i].Lock = false
	}
}

// lockRenewed says whether the lock's token is in anybody's memory.
func (s *State) lockRenewed() bool {
	for _, h := range s.Holdings {
		if h.Lock && h.Phase != Releasing {
			return true
		}
	}
	return false
}
