package model

// index numbers keys in the order they are added. It is an open hash table of numbers beside the keys themselves, about 50
// bytes for each state.
type index struct {
	keys  [][]key  // in pages, so that growing copies none
	table []uint32 // number + 1; 0 is free
	n     int
}

const pageBits = 16

func (x *index) len() int { return x.n }

func (x *index) key(i uint32) key { return x.keys[i>>pageBits][i&(1<<pageBits-1)] }

// add returns the key's number, and whether it is new.
func (x *index) add(k key) (uint32, bool) {
	if 3*x.n >= 2*len(x.table) {
		x.grow()
	}
	at := x.find(k)
	if n := x.table[at]; n != 0 {
		return n - 1, false
	}
	if x.n&(1<<pageBits-1) == 0 {
		x.keys = append(x.keys, make([]key, 0, 1<<pageBits))
	}
	page := &x.keys[x.n>>pageBits]
	*page = append(*page, k)
	x.n++
	x.table[at] = uint32(x.n)
	return uint32(x.n - 1), true
}

// find is the place in the table where the key is or would be.
func (x *index) find(k key) uint64 {
	mask := uint64(len(x.table) - 1)
	at := k.hash() & mask
	for x.table[at] != 0 && x.key(x.table[at]-1) != k {
		at = (at + 1) & mask
	}
	return at
}

func (x *index) grow() {
	x.table = make([]uint32, max(1<<12, 2*len(x.table)))
	for i := range uint32(x.n) {
		x.table[x.find(x.key(i))] = i + 1
	}
}

func (k key) hash() uint64 {
	h := uint64(0x9e3779b97f4a7c15)
	for _, word := range k {
		h = (h ^ word) * 0xff51afd7ed558ccd
		h ^= h >> 32
	}
	return h
}
