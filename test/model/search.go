package model

import "time"

// Result is what a search found.
type Result struct {
	States      int
	Transitions int
	CutOff      int // steps left out because State has no room; zero, or the search was not exhaustive
	MaxLeak     int
	Depth       int // of the state farthest from the start
	Terminal    int // states in which the router has nothing left to do
	Broken      map[Invariants]int
	// Stranded states are those from which the router by itself reaches no terminal state as it should be.
	Stranded int
	// Found is what the search stopped for, and Trace the shortest way there.
	Found   Invariants
	Trace   []string
	Elapsed time.Duration
}

// Violations is the number of steps that broke an invariant, I-LIVE aside.
func (r Result) Violations() int {
	n := 0
	for i, count := range r.Broken {
		if i != Live {
			n += count
		}
	}
	return n
}

// search is a breadth-first search. A state is known by its number, in the order of discovery.
type search struct {
	d       Design
	begin   time.Time
	result  Result
	index   index
	parents []uint32
	depths  []uint16
	// edges are the steps of progress: those out of state i are from starts[i] up to starts[i+1]. Kept for exhaustive
	// searches only.
	starts []uint32
	edges  []uint32
	good   []bool // terminal and as it should be
}

// Exhaust visits every state the design can reach.
func (d Design) Exhaust() Result { return d.search(0) }

// Find searches until one of the invariants is broken and gives the shortest way there.
func (d Design) Find(until Invariants) Result { return d.search(until) }

func (d Design) search(until Invariants) Result {
	s := d.explore(until)
	if s.result.Found == 0 {
		s.result.Stranded = s.stranded()
	}
	s.result.States = s.index.len()
	s.result.Elapsed = time.Since(s.begin)
	return s.result
}

func (d Design) explore(until Invariants) *search {
	s := &search{d: d, begin: time.Now(), result: Result{Broken: map[Invariants]int{}}}
	first, _ := d.reduce(d.start())
	s.index.add(first)
	s.parents, s.depths = append(s.parents, 0), append(s.depths, 0)
	for at := uint32(0); int(at) < s.index.len() && s.result.Found == 0; at++ {
		s.expand(at, until)
	}
	return s
}

// expand takes every step out of one state.
func (s *search) expand(at uint32, until Invariants) {
	from := unpack(s.index.key(at))
	s.starts = append(s.starts, uint32(len(s.edges)))
	quiet := true
	cut := s.d.steps(from, func(st Step, next State) {
		v := s.d.broken(&from, &next, st)
		s.note(v)
		s.result.MaxLeak = max(s.result.MaxLeak, int(next.Leaked))
		k, room := s.d.reduce(next)
		if !room {
			s.result.CutOff++
			quiet = false
			return
		}
		s.result.Transitions++
		to, fresh := s.index.add(k)
		if fresh {
			s.parents = append(s.parents, at)
			s.depths = append(s.depths, s.depths[at]+1)
			s.result.Depth = int(s.depths[to])
		}
		if st.progress() && to != at {
			quiet = false
			s.edges = append(s.edges, to)
		}
		if v&until != 0 && s.result.Found == 0 {
			s.result.Found, s.result.Trace = v&until, s.trace(at, k)
		}
	})
	s.result.CutOff += cut
	quiet = quiet && cut == 0
	good := quiet && from.settled()
	s.good = append(s.good, good)
	if !quiet {
		return
	}
	s.result.Terminal++
	if good {
		return
	}
	s.note(Live)
	if until&Live != 0 && s.result.Found == 0 {
		s.result.Found, s.result.Trace = Live, s.trace(s.parents[at], s.index.key(at))
	}
}

func (s *search) note(v Invariants) {
	if v == 0 {
		return
	}
	for i := Own; i <= Live; i <<= 1 {
		if v&i != 0 {
			s.result.Broken[i]++
		}
	}
}

// stranded counts the states from which no steps of progress lead to a good terminal state. It goes backwards over the
// states until nothing changes: a step of progress mostly leads to a later state.
func (s *search) stranded() int {
	saved := s.good
	s.starts = append(s.starts, uint32(len(s.edges)))
	for changed := true; changed; {
		changed = false
		for i := len(saved) - 1; i >= 0; i-- {
			if saved[i] {
				continue
			}
			for _, to := range s.edges[s.starts[i]:s.starts[i+1]] {
				if saved[to] {
					saved[i], changed = true, true
					break
				}
			}
		}
	}
	lost := 0
	for _, ok := range saved {
		if !ok {
			lost++
		}
	}
	return lost
}

// trace retells the way to a state. States are kept in canonical form, in which the replicas' names change from step to
// step; so the way is walked again from the start, with the names as they were there.
func (s *search) trace(parent uint32, last key) []string {
	way := []key{last}
	for at := parent; at != 0; at = s.parents[at] {
		way = append(way, s.index.key(at))
	}
	story := teller{d: s.d, now: s.d.start()}
	for i := len(way) - 1; i >= 0; i-- {
		story.goTo(way[i])
	}
	return story.lines
}

// teller walks a way again.
type teller struct {
	d       Design
	now     State
	lines   []string
	turns   uint8           // claimed so far
	numbers [maxTurns]uint8 // of the turns in now: a forgotten turn's place is used again
}

func (t *teller) goTo(goal key) {
	done := false
	from := t.now
	t.d.steps(from, func(st Step, next State) {
		if k, room := t.d.reduce(next); done || !room || k != goal {
			return
		}
		done = true
		if st.Kind == claims {
			t.turns++
			t.numbers[st.Turn-1] = t.turns
		}
		if st.Turn > 0 {
			st.Turn = t.numbers[st.Turn-1]
		}
		if !t.d.plain {
			t.d.forget(&next)
			next.closeUp(func(from, to int) { t.numbers[to] = t.numbers[from] })
		}
		t.now, t.lines = next, append(t.lines, st.String())
	})
	if !done {
		panic("model: a state was reached by no step: reduce is wrong")
	}
}
