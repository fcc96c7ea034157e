//go:build e2e

package fault

import "os"

// histories is how many histories are checked where there is time.
func histories() int {
	if os.Getenv("SMOKE") != "" {
		return 12
	}
	return 200
}
