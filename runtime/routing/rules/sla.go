package rules

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
)

// maxPromise bounds what an SLA may promise.
const maxPromise = 365 * 24 * time.Hour

// slaPrefix, with an SLA's name behind it, is what a Failure calls it.
const slaPrefix = "sla:"

// sla is an SLA that was checked.
type sla struct {
	name                      string
	condition                 *condition // nil: always
	hours                     *calendar  // nil: all time counts
	firstResponse, resolution time.Duration
}

// Promised is what a customer is promised, and by which SLA.
type Promised struct {
	SLA string // empty: none applies
	// FirstResponse and Resolution are due at these times. Zero: not promised, or the calendar has too little time left.
	FirstResponse, Resolution time.Time
	Failed                    []Failure // conditions before it that could not be told; Rule is sla:NAME
}

// Promises says whether there are SLAs.
func (s *Set) Promises() bool { return len(s.slas) > 0 }

// Promise asks the SLAs in their order for the first that holds. Its times are counted from since, when the customer began to wait.
func (s *Set) Promise(f Facts, since time.Time) Promised {
	var p Promised
	a := s.activation(&f)
	for _, l := range s.slas {
		held, err := l.holds(a)
		if err != nil {
			p.Failed = append(p.Failed, Failure{slaPrefix + l.name, err})
		}
		if held {
			p.SLA, p.FirstResponse, p.Resolution = l.name, l.due(since, l.firstResponse), l.due(since, l.resolution)
			return p
		}
	}
	return p
}

func (l *sla) holds(a *activation) (bool, error) {
	if l.condition == nil {
		return true, nil
	}
	return l.condition.holds(a)
}

func (l *sla) due(since time.Time, in time.Duration) time.Time {
	switch {
	case in == 0:
		return time.Time{}
	case l.hours == nil:
		return since.Add(in)
	}
	return l.hours.after(since, in)
}

// slas reads those of a file whose calendars are made.
func (r *reader) slas(s *Set, file File, env *cel.Env) {
	names := map[string]int{}
	for i, declared := range file.SLA {
		at := fmt.Sprintf("sla[%d]", i)
		if before, twice := names[declared.Name]; twice {
			r.problem(at+".name", "the SLA on line %d is called %s already", r.line(fmt.Sprintf("sla[%d].name", before)), declared.Name)
		}
		names[declared.Name] = i
		l := sla{name: declared.Name, hours: s.calendars[declared.Hours]}
		if _, there := file.Calendars[declared.Hours]; declared.Hours != "" && !there {
			known := "there are none, so write it under calendars"
			if len(file.Calendars) > 0 {
				known = "there are " + strings.Join(sortedKeys(file.Calendars), ", ")
			}
			r.problem(at+".hours", "no calendar is called %q; %s", declared.Hours, known)
		}
		if declared.FirstResponse == "" && declared.Resolution == "" {
			r.problem(at, "it promises nothing; say first_response, resolution, or both")
		}
		l.firstResponse = r.span(at+".first_response", declared.FirstResponse, declared.Hours)
		l.resolution = r.span(at+".resolution", declared.Resolution, declared.Hours)
		if declared.When != "" {
			c, err := compile(env, declared.When)
			if err != nil {
				r.problem(at+".when", "%s", err)
				continue
			}
			l.condition = c
		}
		s.slas = append(s.slas, l)
	}
}

// span reads what matches the schema's pattern; nothing is zero.
func (r *reader) span(at, text, hours string) time.Duration {
	if text == "" {
		return 0
	}
	n, _ := strconv.Atoi(text[:len(text)-1])
	unit := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}[text[len(text)-1]]
	switch {
	case unit == 24*time.Hour && hours != "":
		// Somebody who writes 3d means three working days, and would get 72 working hours.
		r.problem(at, "a day within %s could mean 24 of its hours or one of its days; write hours, such as 8h", hours)
	case time.Duration(n) > maxPromise/unit:
		r.problem(at, "%s is more than the %d days that can be promised", text, maxPromise/(24*time.Hour))
	default:
		return time.Duration(n) * unit
	}
	return 0
}
