package gobuild

import (
	"fmt"
	"os"
	"path/filepath"
)

// Prune removes programs from the folder cache that no clone's sources make any more: those no stamp
// names. It returns how many.
func Prune(cache string) (int, error) {
	stamps, err := filepath.Glob(filepath.Join(cache, "stamps", "*.json"))
	if err != nil {
		return 0, fmt.Errorf("list built programs: %w", err)
	}
	current := map[string]bool{}
	for _, path := range stamps {
		if s := readStamp(path); s != nil && anyExists(s.Folders) {
			current[s.Inputs] = true
			continue
		}
		if err := os.Remove(path); err != nil {
			return 0, fmt.Errorf("forget built program: %w", err)
		}
	}
	folders, err := filepath.Glob(filepath.Join(cache, "bin", "*"))
	if err != nil {
		return 0, fmt.Errorf("list built programs: %w", err)
	}
	removed := 0
	for _, folder := range folders {
		if current[filepath.Base(folder)] {
			continue
		}
		if err := os.RemoveAll(folder); err != nil {
			return removed, fmt.Errorf("remove built program: %w", err)
		}
		removed++
	}
	return removed, nil
}

// anyExists reports whether one of the folders is still there: the clone was not deleted.
func anyExists(folders map[string]bool) bool {
	for f := range folders {
		if _, err := os.Stat(f); err == nil {
			return true
		}
	}
	return false
}
