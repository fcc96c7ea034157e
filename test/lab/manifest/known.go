package manifest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Several clones of the project may use one engine. Each leaves its manifest's path in the user's
// cache, so that tidying up in one does not take the images of another.

// Keep takes over what old names, if it has the same source.
func (m *Manifest) Keep(old Manifest) {
	if old.Source != m.Source {
		return
	}
	for key, ref := range old.Images {
		m.Images[key] = ref
	}
	for key, ref := range old.Bases {
		m.Bases[key] = ref
	}
}

// Remember notes in the folder cache that a manifest stands at path.
func Remember(cache, path string) error {
	sum := sha256.Sum256([]byte(path))
	note := filepath.Join(cache, "manifests", hex.EncodeToString(sum[:])[:16])
	if _, err := os.Stat(note); err == nil {
		return nil
	}
	err := os.MkdirAll(filepath.Dir(note), 0o755)
	if err == nil {
		err = os.WriteFile(note, []byte(path+"\n"), 0o644)
	}
	if err != nil {
		return fmt.Errorf("remember where the image manifest is: %w", err)
	}
	return nil
}

// Named returns the references all remembered manifests name, and forgets manifests that are gone.
func Named(cache string) (map[string]bool, error) {
	notes, err := filepath.Glob(filepath.Join(cache, "manifests", "*"))
	if err != nil {
		return nil, fmt.Errorf("list image manifests: %w", err)
	}
	named := map[string]bool{}
	for _, note := range notes {
		text, err := os.ReadFile(note)
		if err != nil {
			return nil, fmt.Errorf("list image manifests: %w", err)
		}
		path := strings.TrimSpace(string(text))
		//nolint:gosec // a path this program wrote into its own cache
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			if err := os.Remove(note); err != nil {
				return nil, fmt.Errorf("forget image manifest %q: %w", path, err)
			}
			continue
		}
		m, err := Read(path)
		if err != nil {
			return nil, err
		}
		for _, refs := range []map[string]string{m.Images, m.Bases} {
			for _, ref := range refs {
				named[ref] = true
			}
		}
	}
	return named, nil
}
