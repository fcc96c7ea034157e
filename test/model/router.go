package model

// This file is what the router does beside the turns in hand: it boots, claims and reclaims, and its timers run.

// replicas is what a replica does of its own accord: boot, claim, reclaim.
func (w *walk) replicas() {
	w.step(Step{Kind: lockLapses}, func(s *State) bool {
		can := s.Lock.Held && !s.lockRenewed()
		s.unlock()
		return can
	})
	for slot := range w.from.Replicas {
		w.step(Step{Kind: booted, Slot: slot}, func(s *State) bool {
			r := &s.Replicas[slot]
			can := !r.Alive && w.d.Guards.SlotReboots
			*r = Replica{Alive: true, Boot: r.Boot + 1}
			return can
		})
		if w.from.alive(slot) {
			w.claim(slot)
			for i := range w.from.Turns {
				w.reclaim(slot, uint8(i+1))
			}
		}
	}
}

func (w *walk) claim(slot int) {
	if !w.d.Guards.PendingCheck && !w.from.Replicas[slot].Woken {
		return
	}
	by := process(slot, w.from.Replicas[slot].Boot)
	probe := w.from
	no, room := w.d.claimTurn(&probe, by)
	hand, free := probe.freeHand()
	switch {
	case no == 0 && room:
		w.lookInVain(slot)
		return
	case !room || !free:
		w.cut++
		return
	}
	open := func(s *State) bool {
		*s = probe
		s.Replicas[slot].Woken = false
		s.Holdings[hand] = Holding{Phase: Asking, By: by, Turn: no, Gen: 1}
		return w.lock(s, hand)
	}
	w.step(Step{Kind: claims, Slot: slot, Turn: no, Gen: 1}, open)
	w.severed(Step{Kind: claimUnheard, Slot: slot, Turn: no, Gen: 1}, func(s *State) bool {
		can := open(s)
		w.d.end(s, hand)
		return can
	})
}

func (w *walk) lookInVain(slot int) {
	w.step(Step{Kind: looksInVain, Slot: slot}, func(s *State) bool {
		s.Replicas[slot].Woken = false
		return true
	})
}

// lock takes the conversation's lock for a holding. It gives way to a higher fence only: conversation.LockRequest.
func (w *walk) lock(s *State, hand int) bool {
	if !w.d.Guards.RedisLock {
		return true
	}
	fence := s.turn(s.Holdings[hand]).Epoch
	if s.Lock.Held && s.Lock.Fence >= fence {
		return false
	}
	s.unlock()
	s.Lock = Lock{Held: true, Fence: fence}
	s.Holdings[hand].Lock = true
	return true
}

func (s *State) freeHand() (int, bool) {
	for i, h := range s.Holdings {
		if h.Phase == Idle {
			return i, true
		}
	}
	return 0, false
}

func (w *walk) reclaim(slot int, no uint8) {
	probe := w.from
	t := &probe.Turns[no-1]
	by := process(slot, probe.Replicas[slot].Boot)
	ok, stale := w.d.reclaimTurn(&probe, t, by)
	if !ok {
		return
	}
	hand, free := probe.freeHand()
	if !free {
		w.cut++
		return
	}
	open := func(s *State) bool {
		*s = probe
		h := &s.Holdings[hand]
		*h = Holding{Phase: Asking, By: by, Turn: no, Gen: t.Gen}
		if w.d.Guards.RedisLock && (!s.Lock.Held || s.Lock.Fence <= t.Epoch) {
			// The lock is renewed by the same heartbeat as the lease, so it ran out with it.
			s.unlock()
			s.Lock, h.Lock = Lock{Held: true, Fence: t.Epoch}, true
		}
		switch {
		case stale:
			h.Phase = Cancelling
		case t.State == Replied:
			w.send(s, hand)
		}
		return true
	}
	w.step(Step{Kind: reclaims, Slot: slot, Turn: no, Gen: t.Gen}, open)
	w.severed(Step{Kind: reclaimUnheard, Slot: slot, Turn: no, Gen: t.Gen}, func(s *State) bool {
		open(s)
		w.d.end(s, hand)
		return true
	})
}

// severed is a step whose answer is never heard, because the connection to the database broke during the commit.
func (w *walk) severed(st Step, do func(*State) bool) {
	if w.from.Left.Severed == 0 {
		return
	}
	w.step(st, func(s *State) bool {
		can := do(s)
		s.Left.Severed--
		return can
	})
}

// late is a statement its sender has given up waiting for. The database has not.
func (w *walk) late() {
	h := w.from.Late
	if h.Phase == Idle {
		return
	}
	st := Step{Kind: passesAfterAll, Slot: h.By.slot(), Turn: h.Turn, Gen: h.Gen, Part: h.Part}
	do := w.d.pass
	if h.Phase == PutBack {
		st.Kind, do = putsBackAfterAll, w.d.unsent
	}
	w.step(st, func(s *State) bool {
		s.Late = Holding{}
		return do(s, h)
	})
}

// turns is what happens to turns whoever holds them: leases run out, lost senders are found out, read-backs prove, answers
// are posted.
func (w *walk) turns() {
	for i := range w.from.Turns {
		no := uint8(i + 1)
		t := &w.from.Turns[i]
		if t.State == NoTurn {
			continue
		}
		w.lapse(no)
		w.step(Step{Kind: expires, Turn: no}, func(s *State) bool {
			return s.anyAlive() && w.d.expireSending(s, &s.Turns[i])
		})
		// A late or repeated answer carries an older generation, or finds the turn no longer running.
		for gen := uint8(1); gen <= t.Gen; gen++ {
			w.step(Step{Kind: postsAnswer, Turn: no, Gen: gen}, func(s *State) bool {
				ok, _ := w.d.reply(s, &s.Turns[i], gen)
				return ok && s.anyAlive()
			})
		}
	}
	w.eachPart(w.readBack)
}

// lapse lets a lease run out: at once where nobody renews it, by a pause or a jump of the clock where somebody does.
func (w *walk) lapse(no uint8) {
	t := &w.from.Turns[no-1]
	if t.Lapsed || t.State != Running && t.State != Replied && t.State != Sending {
		return
	}
	st := Step{Kind: lapses, Turn: no, Gen: t.Gen}
	for _, h := range w.from.Holdings {
		if h.Turn == no && h.Gen == t.Gen {
			st.Kind, st.Slot = lapsesHeld, h.By.slot()
		}
	}
	w.step(st, func(s *State) bool {
		if st.Kind == lapsesHeld {
			if s.Left.Pauses == 0 {
				return false
			}
			s.Left.Pauses--
		}
		s.Turns[no-1].Lapsed = true
		return true
	})
}

// readBack looks at one ambiguous part: proof, or after a while the queue.
func (w *walk) readBack(no, part uint8) {
	p := w.from.Turns[no-1].Parts[part]
	if !w.from.anyAlive() || !w.d.finished(&w.from, p) {
		return
	}
	if p.Written {
		w.step(Step{Kind: proves, Turn: no, Part: part}, func(s *State) bool {
			w.d.prove(s, &s.Turns[no-1], part)
			return true
		})
		return
	}
	w.step(Step{Kind: queues, Turn: no, Part: part}, func(s *State) bool {
		if s.Owner != AI {
			return false
		}
		w.d.move(s, Queue)
		return true
	})
}
