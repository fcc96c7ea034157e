//go:build e2e

package fault

import (
	"math/rand/v2"
	"time"
)

// flowMood draws how n8n behaves in a round. It is called under the flow's lock.
type flowMood struct {
	rng   *rand.Rand
	round int
	drawn int
	seen  map[string]int
}

// ways are what n8n does beside answering in the response, each with its chance in a hundred.
var ways = []struct {
	way    way
	chance int
}{{byAPI, 25}, {bothWays, 10}, {notFound, 4}, {hangUp, 4}, {refuses, 1}, {silent, 1}}

func (m *flowMood) draw(flowRequest) manner {
	short := func(most time.Duration) time.Duration { return time.Duration(m.rng.Int64N(int64(most))) }
	how := manner{Think: short(40 * time.Millisecond), Parts: 1 + m.rng.IntN(3), Way: m.way(), Check: m.rng.IntN(4) == 0}
	switch dice := m.rng.IntN(20); {
	case dice == 0:
		how.Parts = 0
	case dice < 4:
		how.Think = 100*time.Millisecond + short(500*time.Millisecond)
	case dice < 10:
		how.Typing = short(80 * time.Millisecond)
	}
	if how.Way != inResponse {
		m.seen[flowFault(how.Way)]++
	}
	return how
}

// way is another one for the first request of each round, so that each has its turn, and by chance for the others.
func (m *flowMood) way() way {
	if m.drawn++; m.drawn == 1 {
		return ways[m.round%len(ways)].way
	}
	dice := m.rng.IntN(100)
	for _, w := range ways {
		if dice -= w.chance; dice < 0 {
			return w.way
		}
	}
	return inResponse
}

func flowFault(w way) string { return "flow answers " + string(w) }

// phoneMood draws how Evolution behaves in a round. It is called under the phone's lock.
type phoneMood struct {
	rng     *rand.Rand
	round   int
	drawn   int
	timeout time.Duration
	seen    map[string]int
}

// evolutionFaults are what Evolution does wrong, each with its chance in a hundred.
var evolutionFaults = []struct {
	name   string
	chance int
	how    treatment
}{
	{"evolution breaks off, the message is sent", 3, treatment{Cut: true}},
	{"evolution breaks off, the message is not sent", 2, treatment{Cut: true, Lose: true}},
	{"evolution 502, the message is sent", 2, treatment{Status: 502}},
	{"evolution 502, the message is not sent", 2, treatment{Status: 502, Lose: true}},
	{"evolution 429", 2, treatment{Status: 429, Lose: true}},
	{"evolution 400", 1, treatment{Status: 400, Lose: true}},
}

const tooSlow = "evolution answers after the timeout, the message is sent"

func (m *phoneMood) draw() treatment {
	// The first of each round is another one, so that each has its turn.
	if m.drawn++; m.drawn == 1 && m.round%(len(evolutionFaults)+1) < len(evolutionFaults) {
		f := evolutionFaults[m.round%(len(evolutionFaults)+1)]
		m.seen[f.name]++
		return f.how
	}
	dice := m.rng.IntN(100)
	for _, f := range evolutionFaults {
		if dice -= f.chance; dice < 0 {
			m.seen[f.name]++
			return f.how
		}
	}
	how := treatment{Delay: time.Duration(m.rng.Int64N(int64(20 * time.Millisecond))), Echo: m.rng.IntN(3) == 0}
	switch {
	case dice < 2 || m.drawn == 1:
		m.seen[tooSlow]++
		how.Delay = m.timeout * 5 / 4
	case dice < 15:
		how.Delay = time.Duration(m.rng.Int64N(int64(m.timeout) / 3))
	}
	return how
}

// misbehaviour names everything the neighbours do wrong.
func misbehaviour() []string {
	names := []string{tooSlow}
	for _, w := range ways {
		names = append(names, flowFault(w.way))
	}
	for _, f := range evolutionFaults {
		names = append(names, f.name)
	}
	return names
}
