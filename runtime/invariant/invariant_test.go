package invariant

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryInvariantSaysWhatIsAssertedAndWhatToDo(t *testing.T) {
	t.Parallel()
	require.Len(t, All(), 17)
	seen := map[ID]bool{}
	for _, i := range All() {
		require.False(t, seen[i.ID], i.ID)
		seen[i.ID] = true
		require.True(t, strings.HasPrefix(string(i.ID), "I-"))
		require.NotEmpty(t, i.Sentence)
		require.NotEmpty(t, i.Online)
		require.NotEmpty(t, i.Remedy)
		got, ok := Get(i.ID)
		require.True(t, ok)
		require.Equal(t, i, got)
	}
	require.Len(t, IDs(), 17)
	_, ok := Get("I-NONE")
	require.False(t, ok)
}

func TestReportCounts(t *testing.T) {
	t.Parallel()
	r := Report{Findings: []Finding{{Count: 2}, {}, {Count: 101}}}
	require.EqualValues(t, 103, r.Violations())
	require.Len(t, r.Violated(), 2)
}
