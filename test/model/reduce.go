package model

// reduce packs the one state that stands for all that can do the same, so that states which differ in nothing that matters
// are one. TestReduction compares it with a search that does without. False means that a key has no room for it.
func (d Design) reduce(s State) (key, bool) {
	if d.plain {
		return pack(s), s.fits()
	}
	d.forget(&s)
	s.closeUp(func(int, int) {})
	ok := s.renumberGens() && s.renumberEpochs()
	s.order()
	k := pack(s)
	s.mirror()
	s.order()
	if m := pack(s); m.less(k) {
		return m, ok
	}
	return k, ok
}

func (s *State) fits() bool {
	for _, t := range s.Turns {
		if t.Gen > maxGen {
			return false
		}
	}
	return s.Epoch <= maxEpoch
}

// forget drops what nothing reads any more.
func (d Design) forget(s *State) {
	for m := range s.Messages {
		// An ack may be sent from now on at any time, and the row it promises is never deleted.
		if msg := &s.Messages[m]; msg.Marked && msg.Ingest == 0 && s.Rows[m].State != Absent {
			msg.Acked = true
		}
	}
	for i, h := range s.Holdings {
		if h.Phase == Releasing || d.inert(s, h) {
			d.end(s, i) // a lock that is not ours any more needs no release
		}
	}
	if s.Late.Phase != Idle && d.useless(s, s.Late) {
		s.Late = Holding{}
	}
	for i := range s.Turns {
		t := &s.Turns[i]
		if !d.over(s, t) || s.inHands(i) {
			continue
		}
		if t.anyPart(isWritten) {
			s.Told |= t.Covers
		}
		*t = Turn{}
	}
}

// inert says that no statement the holder has yet to make finds a row: the generation is another's, or the turn is over.
// A part on the wire, and what became of it, is never inert.
func (d Design) inert(s *State, h Holding) bool {
	switch h.Phase {
	case Asking, Passing, Retrying, Undo, Cancelling, GivingUp:
	default:
		return false
	}
	return d.useless(s, h)
}

func (d Design) useless(s *State, h Holding) bool {
	t := s.turn(h)
	return d.Guards.Gate && d.Guards.GatePerPart && (d.Guards.Generation && t.Gen != h.Gen || d.over(s, t))
}

// over says that nothing opens the turn again: a late answer is refused because of the turn's state, because it has parts,
// or because the conversation has another epoch and will never have this one again.
func (d Design) over(s *State, t *Turn) bool {
	return t.State >= Done && (d.Guards.ReplyState || t.Parts[0].State != NoPart || d.Guards.ReplyEpoch && t.Epoch != s.Epoch)
}

// closeUp moves turns to the places forgotten ones have left, in their order.
func (s *State) closeUp(moved func(from, to int)) {
	to := 0
	for from := range s.Turns {
		if s.Turns[from].State == NoTurn {
			continue
		}
		if from != to {
			s.moveTurn(from, to)
			moved(from, to)
		}
		to++
	}
}

func (s *State) moveTurn(from, to int) {
	s.Turns[to], s.Turns[from] = s.Turns[from], Turn{}
	change := func(no *uint8) {
		if int(*no) == from+1 {
			*no = uint8(to + 1)
		}
	}
	change(&s.Late.Turn)
	for i := range s.Holdings {
		change(&s.Holdings[i].Turn)
	}
	for i := range s.Rows {
		change(&s.Rows[i].Turn)
	}
}

func (s *State) inHands(i int) bool {
	for _, h := range s.Holdings {
		if int(h.Turn) == i+1 {
			return true
		}
	}
	return int(s.Late.Turn) == i+1
}

// order sorts the holdings: the goroutines of a process have no order.
func (s *State) order() {
	h := &s.Holdings
	for i := 1; i < len(h); i++ {
		for j := i; j > 0 && h[j].rank() > h[j-1].rank(); j-- {
			h[j], h[j-1] = h[j-1], h[j]
		}
	}
}

func (h Holding) rank() uint32 {
	r := uint32(h.Phase)<<16 | uint32(h.By)<<12 | uint32(h.Turn)<<8 | uint32(h.Gen)<<4 | uint32(h.Part)<<1
	if h.Lock {
		r |= 1
	}
	return r
}

// mirror exchanges the replicas' names: no rule tells A from B.
func (s *State) mirror() {
	s.Replicas[0], s.Replicas[1] = s.Replicas[1], s.Replicas[0]
	for i := range s.Messages {
		s.Messages[i].Ingest = s.Messages[i].Ingest.mirrored()
	}
	for i := range s.Turns {
		t := &s.Turns[i]
		t.Holder = t.Holder.mirrored()
		for p := range t.Parts {
			t.Parts[p].Sender = t.Parts[p].Sender.mirrored()
		}
	}
	for i := range s.Holdings {
		s.Holdings[i].By = s.Holdings[i].By.mirrored()
	}
	s.Late.By = s.Late.By.mirrored()
}

// renumberGens gives the generations of each turn that somebody knows the numbers 1, 2, 3 in their order: a generation is
// compared with others of the same turn and replaced by a greater one, and nothing else.
func (s *State) renumberGens() bool {
	ok := true
	for i := range s.Turns {
		if s.Turns[i].Gen > 1 {
			ok = renumber(maxGen, func(visit func(*uint8)) { s.eachGen(i, visit) }) && ok
		}
	}
	return ok
}

// eachGen visits every place that knows a generation of the turn.
func (s *State) eachGen(i int, visit func(gen *uint8)) {
	t := &s.Turns[i]
	visit(&t.Gen)
	for p := range t.Parts {
		visit(&t.Parts[p].Gen)
	}
	for j := range s.Holdings {
		if h := &s.Holdings[j]; int(h.Turn) == i+1 {
			visit(&h.Gen)
		}
	}
	if int(s.Late.Turn) == i+1 {
		visit(&s.Late.Gen)
	}
}

// renumberEpochs does the same with epochs.
func (s *State) renumberEpochs() bool {
	return renumber(maxEpoch, func(visit func(*uint8)) {
		visit(&s.Epoch)
		visit(&s.Lock.Fence)
		for i := range s.Turns {
			visit(&s.Turns[i].Epoch)
		}
	})
}

// renumber replaces the numbers each visits, zeros apart, by 1, 2, 3 in their order. False if that takes more than most.
func renumber(most uint8, each func(visit func(*uint8))) bool {
	var number [32]uint8
	each(func(n *uint8) { number[*n] = 1 })
	number[0] = 0
	next := uint8(0)
	for n, known := range number {
		if known == 1 {
			next++
			number[n] = next
		}
	}
	each(func(n *uint8) { *n = number[*n] })
	return next <= most
}
