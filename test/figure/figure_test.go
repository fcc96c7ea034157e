package figure

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLines(t *testing.T) {
	for want, f := range map[string]Figure{
		"figure noop-up 3.142 s target <= 15 ok":        Seconds("noop-up", 3141592*time.Microsecond, 15*time.Second),
		"figure noop-up 16 s target <= 15 short":        Seconds("noop-up", 16*time.Second, 15*time.Second),
		"figure router-image 12.5 MB target <= 20 ok":   Megabytes("router-image", 12_500_000, 20),
		"figure answers 2 count target == 1 short":      Count("answers", 2, 1),
		"figure nothing-left 1 yesno target == 1 ok":    YesNo("nothing-left", true),
		"figure batching 2.4 ratio target >= 2.5 short": {Name: "batching", Value: 2.4, Unit: "ratio", Op: ">=", Target: 2.5},
		"figure nothing-left 0 yesno target == 1 short": YesNo("nothing-left", false),
	} {
		require.Equal(t, want, f.String())
	}
}

func TestSheetKeepsOrder(t *testing.T) {
	var s Sheet
	s.Add(Count("b", 1, 1))
	s.Add(Count("a", 0, 1))
	var out strings.Builder
	s.Fprint(&out)
	require.Equal(t, "figure b 1 count target == 1 ok\nfigure a 0 count target == 1 short\n", out.String())
}

func TestUnknownOperatorPanics(t *testing.T) {
	require.Panics(t, func() { _ = Figure{Name: "x", Op: "<"}.OK() })
}
