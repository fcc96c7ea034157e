// Package figure prints what a benchmark or an end-to-end run measured, one line per claim:
//
//	figure NAME VALUE UNIT target OP NUMBER ok|short
//
// A short figure does not fail the run: machines differ. A broken invariant does, and is no figure.
package figure

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"
)

// Figure is one measured claim.
type Figure struct {
	// Name of the claim, without spaces: "noop-up".
	Name string
	// Value measured and its unit: "s", "MB", "ratio", "count"; "yesno" for 1 or 0.
	Value float64
	Unit  string
	// Op is how Value relates to Target when the claim holds: "<=", ">=" or "==".
	Op     string
	Target float64
}

// OK reports whether the claim holds.
func (f Figure) OK() bool {
	switch f.Op {
	case "<=":
		return f.Value <= f.Target
	case ">=":
		return f.Value >= f.Target
	case "==":
		return f.Value == f.Target
	}
	// Only a programmer's mistake gets here.
	panic(fmt.Sprintf("figure %s: unknown operator %q", f.Name, f.Op))
}

// String is the line.
func (f Figure) String() string {
	verdict := "short"
	if f.OK() {
		verdict = "ok"
	}
	return fmt.Sprintf("figure %s %s %s target %s %s %s", f.Name, number(f.Value), f.Unit, f.Op, number(f.Target), verdict)
}

// Sheet collects a run's figures, so that they stand together at its end. The zero value is empty; it is
// safe for concurrent use.
type Sheet struct {
	mu      sync.Mutex
	figures []Figure
}

// Add notes a figure.
func (s *Sheet) Add(f Figure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.figures = append(s.figures, f)
}

// Print writes the figures to stdout in the order they came, a line each.
func (s *Sheet) Print() { s.Fprint(os.Stdout) }

// Fprint writes the figures to w.
func (s *Sheet) Fprint(w io.Writer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.figures {
		fmt.Fprintln(w, f.String())
	}
}

// Seconds is a duration claim: at most target.
func Seconds(name string, measured, target time.Duration) Figure {
	return Figure{Name: name, Value: measured.Seconds(), Unit: "s", Op: "<=", Target: target.Seconds()}
}

// Megabytes is a size claim in MB (10^6 bytes): at most target.
func Megabytes(name string, bytes int64, target float64) Figure {
	return Figure{Name: name, Value: float64(bytes) / 1e6, Unit: "MB", Op: "<=", Target: target}
}

// Count is a claim of an exact number.
func Count(name string, measured, target int) Figure {
	return Figure{Name: name, Value: float64(measured), Unit: "count", Op: "==", Target: float64(target)}
}

// YesNo is a claim that something is so.
func YesNo(name string, so bool) Figure {
	f := Figure{Name: name, Unit: "yesno", Op: "==", Target: 1}
	if so {
		f.Value = 1
	}
	return f
}

func number(v float64) string { return strconv.FormatFloat(round(v), 'f', -1, 64) }

// round to three decimals: more would pretend a precision no run has.
func round(v float64) float64 {
	r, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'f', 3, 64), 64)
	return r
}
