package model

import "slices"

// key is a State in 256 bits.
type key [4]uint64

func (k key) less(o key) bool { return slices.Compare(k[:], o[:]) < 0 }

// bits reads or writes a key from its lowest bit on.
type bits struct {
	key  key
	at   uint
	read bool
}

func bit[T ~uint8](b *bits, v *T, width uint) {
	word, shift := b.at>>6, b.at&63
	mask := uint64(1)<<width - 1
	if shift+width > 64 { // no value straddles two words
		b.at = (word + 1) << 6
		word, shift = word+1, 0
	}
	b.at += width
	if b.read {
		*v = T(b.key[word] >> shift & mask)
		return
	}
	b.key[word] |= (uint64(*v) & mask) << shift
}

func flag(b *bits, v *bool) {
	var n uint8
	if *v {
		n = 1
	}
	bit(b, &n, 1)
	*v = n == 1
}

// exchange walks all fields in one order, so that packing and unpacking cannot disagree.
func (s *State) exchange(b *bits) {
	for i := range s.Turns {
		s.Turns[i].exchange(b)
	}
	for i := range s.Holdings {
		s.Holdings[i].exchange(b)
	}
	s.Late.exchange(b)
	for i := range s.Replicas {
		r := &s.Replicas[i]
		flag(b, &r.Alive)
		bit(b, &r.Boot, 2)
		flag(b, &r.Woken)
	}
	for i := range s.Messages {
		m := &s.Messages[i]
		flag(b, &m.Acked)
		flag(b, &m.Marked)
		bit(b, &m.Ingest, 3)
	}
	for i := range s.Rows {
		bit(b, &s.Rows[i].State, 3)
		bit(b, &s.Rows[i].Turn, 2)
	}
	bit(b, &s.CopyOf, 2)
	bit(b, &s.Told, maxMessages)
	bit(b, &s.Owner, 2)
	bit(b, &s.Epoch, 3)
	flag(b, &s.Waiting)
	bit(b, &s.Leaked, 2)
	flag(b, &s.Lock.Held)
	bit(b, &s.Lock.Fence, 3)
	s.Left.exchange(b)
}

func (t *Turn) exchange(b *bits) {
	bit(b, &t.State, 3)
	if t.State == NoTurn {
		return
	}
	bit(b, &t.Epoch, 3)
	bit(b, &t.Gen, 2)
	bit(b, &t.Holder, 3)
	flag(b, &t.Lapsed)
	bit(b, &t.Covers, maxMessages)
	for i := range t.Parts {
		p := &t.Parts[i]
		bit(b, &p.State, 3)
		bit(b, &p.Gen, 2)
		bit(b, &p.Sender, 3)
		flag(b, &p.SenderDone)
		flag(b, &p.Written)
	}
}

func (h *Holding) exchange(b *bits) {
	bit(b, &h.Phase, 4)
	if h.Phase == Idle {
		return
	}
	bit(b, &h.By, 3)
	bit(b, &h.Turn, 2)
	bit(b, &h.Gen, 2)
	bit(b, &h.Part, 1)
	flag(b, &h.Lock)
}

func (l *Budget) exchange(b *bits) {
	for _, n := range []*uint8{
		&l.Kills, &l.Pauses, &l.Losses, &l.Duplicates, &l.Unknowns, &l.Refusals, &l.Severed, &l.Takes, &l.Handbacks,
	} {
		bit(b, n, 2)
	}
}

func pack(s State) key {
	var b bits
	s.exchange(&b)
	return b.key
}

func unpack(k key) State {
	var s State
	b := bits{key: k, read: true}
	s.exchange(&b)
	return s
}
