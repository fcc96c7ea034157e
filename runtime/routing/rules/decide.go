package rules

import (
	"cmp"
	"strings"
	"time"
)

// Decision is who gets a conversation, and by which rule.
type Decision struct {
	Version string
	Rule    string    // empty: none held
	To      []Target  // to be tried in this order
	Failed  []Failure // conditions before it that could not be told
}

// Failure is a condition that could not be told for certain facts. It counts as not holding.
type Failure struct {
	Rule string
	Err  error
}

// Decide asks the rules in their order; the first that holds decides.
func (s *Set) Decide(f Facts) Decision {
	a := s.activation(&f)
	d := Decision{Version: s.version}
	for i := range s.rules {
		r := &s.rules[i]
		held, err := r.condition.holds(a)
		if err != nil {
			d.Failed = append(d.Failed, Failure{r.Name, err})
		}
		if held {
			d.Rule, d.To = r.Name, r.To
			return d
		}
	}
	return d
}

// Verdict is what became of one rule.
type Verdict struct {
	Rule, When string
	Held       bool
	Err        error
	Facts      map[string]any // what the condition asked about, and what it was
}

// Explain asks every rule, and says what each saw. The first that held decided.
func (s *Set) Explain(f Facts) []Verdict {
	a := s.activation(&f)
	list := make([]Verdict, 0, len(s.rules))
	for i := range s.rules {
		r := &s.rules[i]
		v := Verdict{Rule: r.Name, When: r.When, Facts: map[string]any{}}
		v.Held, v.Err = r.condition.holds(a)
		for _, name := range r.condition.uses {
			v.Facts[name] = a.plain(name)
		}
		list = append(list, v)
	}
	return list
}

// Team is how conversations are offered to a team's humans; what the file does not say is filled in.
func (s *Set) Team(name string) Team {
	t := s.teams[name]
	t.Strategy, t.Reserve = cmp.Or(t.Strategy, defaultStrategy), cmp.Or(t.Reserve, defaultReserve)
	return t
}

// Agent is what the file says of an agent: ai:FLOW, or a human's e-mail address.
func (s *Set) Agent(name string) Agent { return s.agents[strings.ToLower(name)] }

// Capacities are those the file names, by ai:FLOW or e-mail address.
func (s *Set) Capacities() map[string]int {
	list := map[string]int{}
	for name, a := range s.agents {
		if a.Capacity != nil {
			list[name] = *a.Capacity
		}
	}
	return list
}

// Open says whether a calendar's hours are on; without a name they always are.
func (s *Set) Open(calendar string, at time.Time) bool {
	c, ok := s.calendars[calendar]
	return !ok || c.open(at)
}

// Opens is when a calendar's hours begin next; zero if they do not within a year.
func (s *Set) Opens(calendar string, after time.Time) time.Time {
	if c, ok := s.calendars[calendar]; ok {
		return c.opens(after)
	}
	return after
}
