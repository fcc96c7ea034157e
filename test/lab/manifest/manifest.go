// Package manifest is the file .plantao/images.json: which images the stack runs on this machine.
package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Source says where the stack's images come from.
type Source string

const (
	// Lab means every image was built here.
	Lab Source = "lab"
	// Registry means upstream images are pulled; only our own are built here.
	Registry Source = "registry"
)

// Manifest is the file's content. The zero value names nothing and has decided nothing.
type Manifest struct {
	// Source is empty until decided.
	Source Source `json:"source"`
	// Images are references (name:tag) by key.
	Images map[string]string `json:"images"`
	// Bases are references of images others are built from; no container runs them.
	Bases map[string]string `json:"bases,omitempty"`
}

// Path is the manifest's place in the project at root.
func Path(root string) string { return filepath.Join(root, ".plantao", "images.json") }

// Read reads the manifest; a missing file is the zero value.
func Read(path string) (Manifest, error) {
	var m Manifest
	text, err := os.ReadFile(path) //nolint:gosec // a path the caller or this program made
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return m, fmt.Errorf("read image manifest: %w", err)
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("read image manifest %q: %w; delete it, the next build writes it again", path, err)
	}
	if m.Source != "" && m.Source != Lab && m.Source != Registry {
		return m, fmt.Errorf("read image manifest %q: unknown source %q; delete it, the next build writes it again", path, m.Source)
	}
	return m, nil
}

// Write replaces the manifest in one step, so that a reader never sees half a file. An unchanged
// manifest is left alone, with its time of change.
func Write(path string, m Manifest) error {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("encode image manifest: %w", err)
	}
	text = append(text, '\n')
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write image manifest: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".images-*.json")
	if err != nil {
		return fmt.Errorf("write image manifest: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write image manifest %q: %w", path, err)
	}
	return nil
}
