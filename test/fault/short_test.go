//go:build !e2e

package fault

// histories is how many histories are checked in every run of the tests: each fault once.
func histories() int { return 6 }
