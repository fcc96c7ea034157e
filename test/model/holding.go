package model

// This file is a turn in a process's hands: dispatch's goroutine for it, and the gate.

// holding is the next step of dispatch's goroutine for a turn, and what may happen to it.
func (w *walk) holding(i int, h Holding) {
	of := func(k Kind) Step { return Step{Kind: k, Slot: h.By.slot(), Turn: h.Turn, Gen: h.Gen, Part: h.Part} }
	if h.Phase != Releasing {
		w.heartbeat(i, h, of)
	}
	switch h.Phase {
	case Asking:
		w.accept(i, h, of)
		w.refusal(of(flowRefuses), i)
	case Passing, Retrying:
		w.gate(i, h, of)
		w.refusal(of(deadlinePasses), i)
	case OnWire:
		w.write(i, h, of)
	case MarkSent, MarkUnknown, PutBack, Undo:
		w.mark(i, h, of)
	case Cancelling:
		w.last(of(cancels), i, func(s *State) { w.d.cancel(s, h) })
	case GivingUp:
		w.last(of(givesUp), i, func(s *State) { w.d.fail(s, h) })
	case Releasing:
		w.step(Step{Kind: releases, Slot: h.By.slot()}, func(s *State) bool {
			if h.Lock || !w.d.Guards.LockToken {
				s.unlock()
			}
			s.Holdings[i] = Holding{}
			return true
		})
	}
}

// to is a step after which only the holding's phase is another.
func (w *walk) to(st Step, i int, phase Phase) {
	w.step(st, func(s *State) bool {
		s.Holdings[i].Phase = phase
		return true
	})
}

// last is the last transaction of a holding.
func (w *walk) last(st Step, i int, do func(*State)) {
	w.step(st, func(s *State) bool {
		do(s)
		w.d.end(s, i)
		return true
	})
}

func (w *walk) refusal(st Step, i int) {
	w.step(st, func(s *State) bool {
		if s.Left.Refusals == 0 {
			return false
		}
		s.Left.Refusals--
		s.Holdings[i].Phase = GivingUp
		return true
	})
}

// heartbeat is renew.sql: the lease is extended, an answer that came another way is noticed, and so is a lost turn. A part
// on the wire is not interrupted by it, nor is the recording of its fate.
func (w *walk) heartbeat(i int, h Holding, of func(Kind) Step) {
	t := w.from.turn(h)
	ours := w.d.ours(t.Gen, h.Gen) && (t.State == Running || t.State == Replied || t.State == Sending)
	switch {
	case ours:
		w.step(of(renews), func(s *State) bool {
			s.turn(h).Lapsed = false
			return true
		})
		if h.Phase == Asking && t.State != Running {
			w.step(of(learnsAnswer), func(s *State) bool {
				w.send(s, i)
				return true
			})
		}
	case h.Phase == Retrying && w.d.Guards.UndoAtEnd:
		w.to(of(learnsLoss), i, Undo)
	case h.Phase == Asking || h.Phase == Passing || h.Phase == Retrying:
		w.last(of(learnsLoss), i, func(*State) {})
	}
}

// accept is the flow's response, and its storing. That it lies in memory in between makes no difference: nothing else can
// happen to the holding then that cannot happen while the flow is being asked. If the same answer was stored by another way, the holder goes on with it.
func (w *walk) accept(i int, h Holding, of func(Kind) Step) {
	probe := w.from
	ok, owned := w.d.reply(&probe, probe.turn(h), h.Gen)
	t := w.from.turn(h)
	answered := t.State == Replied && w.d.ours(t.Gen, h.Gen)
	st := of(answerRefused)
	if ok {
		st.Kind = storesAnswer
	}
	w.step(st, func(s *State) bool {
		*s = probe
		switch {
		case !ok && !owned:
			s.Holdings[i].Phase = Cancelling
		case ok || answered:
			w.send(s, i)
		default:
			w.d.end(s, i)
		}
		return true
	})
}

// gate asks pass.sql for one part.
func (w *walk) gate(i int, h Holding, of func(Kind) Step) {
	g := w.d.Guards
	unasked := !g.GatePerPart && h.Part > 0
	probe := w.from
	passed := w.d.pass(&probe, h)
	st := of(passes)
	if unasked {
		st.Kind = passesUnasked
	}
	if !passed && g.Gate && !unasked {
		phase := Cancelling
		if h.Phase == Retrying {
			phase = Undo
		}
		w.to(of(refused), i, phase)
		return
	}
	w.gateUnheard(i, h, probe, of)
	w.step(st, func(s *State) bool {
		if t := s.turn(h); !passed && t.State == Replied {
			w.d.intend(s, h) // the books are kept also where nobody is asked
		} else {
			*s = probe
		}
		s.Holdings[i].Phase = OnWire
		return true
	})
}

// gateUnheard is a gate whose answer is lost, after its commit or before: the holder puts back whatever it may have done.
func (w *walk) gateUnheard(i int, h Holding, passed State, of func(Kind) Step) {
	w.severed(of(passUnheard), func(s *State) bool {
		*s = passed
		s.Holdings[i].Phase = PutBack
		return true
	})
	w.severed(of(passLate), func(s *State) bool {
		s.Holdings[i].Phase = PutBack
		return s.linger(h, Passing)
	})
}

// putBackLate is a statement that puts back and is not waited for: the holder sends another.
func (w *walk) putBackLate(h Holding, of func(Kind) Step) {
	w.severed(of(putBackLate), func(s *State) bool { return s.linger(h, PutBack) })
}

// linger leaves a statement under way. There is room for one at a time.
func (s *State) linger(h Holding, statement Phase) bool {
	if s.Late.Phase != Idle {
		return false
	}
	h.Phase, h.Lock = statement, false
	s.Late = h
	return true
}

// write is the socket: the customer may get the part, and the sender may learn of it, or not.
func (w *walk) write(i int, h Holding, of func(Kind) Step) {
	deliver := func(s *State, phase Phase) {
		t := s.turn(h)
		t.Parts[h.Part].Written = true
		if s.Owner != AI || s.Epoch != t.Epoch {
			s.Leaked = min(3, s.Leaked+1)
		}
		s.Holdings[i].Phase = phase
	}
	w.step(of(writes), func(s *State) bool {
		deliver(s, MarkSent)
		return true
	})
	w.step(of(answerLost), func(s *State) bool {
		can := s.Left.Unknowns > 0
		s.Left.Unknowns--
		deliver(s, MarkUnknown)
		return can
	})
	w.step(of(requestLost), func(s *State) bool {
		can := s.Left.Unknowns > 0
		s.Left.Unknowns--
		s.Holdings[i].Phase = MarkUnknown
		return can
	})
	w.to(of(writesNothing), i, PutBack)
	w.refusal(of(sendRefused), i)
}

// mark records what became of the part.
func (w *walk) mark(i int, h Holding, of func(Kind) Step) {
	switch h.Phase {
	case MarkSent:
		w.step(of(marksSent), func(s *State) bool {
			if w.d.sent(s, h) && int(h.Part)+1 < w.d.Bounds.Parts {
				s.Holdings[i].Phase, s.Holdings[i].Part = Passing, h.Part+1
			} else {
				w.d.end(s, i)
			}
			return true
		})
		// It is told again, and then no longer is the holder's to mark.
		w.severed(of(sentUnheard), func(s *State) bool {
			w.d.sent(s, h)
			w.d.end(s, i)
			return true
		})
	case MarkUnknown:
		w.last(of(marksUnknown), i, func(s *State) { w.d.unknown(s, h) })
	case PutBack:
		w.putBackLate(h, of)
		w.step(of(putsBack), func(s *State) bool {
			w.d.unsent(s, h)
			s.Holdings[i].Phase = Retrying
			return true
		})
	case Undo:
		w.putBackLate(h, of)
		probe := w.from
		if w.d.unsent(&probe, h) {
			probe.Holdings[i].Phase = Retrying
			w.step(of(putsBack), func(s *State) bool { *s = probe; return true })
			w.severed(of(putBackUnheard), func(s *State) bool {
				*s = probe
				s.Holdings[i].Phase = Cancelling
				return true
			})
		} else {
			w.to(of(findsNothing), i, Cancelling)
		}
	}
}

// send is the begin of Gate.Send: the parts still to be sent are listed, and the first is up.
func (w *walk) send(s *State, hand int) {
	h := &s.Holdings[hand]
	part, any := s.turn(*h).firstQueued()
	if !any {
		w.d.end(s, hand)
		return
	}
	h.Phase, h.Part = Passing, part
}

// end is a holding's end. What is left of it is the release of the lock, if that can do anything.
func (d Design) end(s *State, hand int) {
	h := &s.Holdings[hand]
	if d.Guards.RedisLock && (h.Lock || !d.Guards.LockToken) {
		*h = Holding{Phase: Releasing, By: h.By, Lock: h.Lock}
		return
	}
	*h = Holding{}
}
