package devstack

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestChanges(t *testing.T) {
	for summary, want := range map[string]int{
		"    79 unchanged\n\nDuration: 5s":                                                 0,
		"    ~ 6 updated\n    73 unchanged\n":                                              6,
		"    + 8 created\n    ~ 4 updated\n    +-2 replaced\n    14 changes. 65 unchanged": 14,
		"    ~ 9 to update\n    +-1 to replace\n    10 changes. 69 unchanged\n":            10,
		"    - 79 deleted\n": 79,
	} {
		require.Equal(t, want, Run{Out: "x\nResources:\n" + summary}.Changes(t), summary)
	}
}
