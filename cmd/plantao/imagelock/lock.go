// Package imagelock pins the upstream images by content. It asks each image's registry which digest
// the pinned tag stands for, reads the release out of the image itself, and refuses one that the
// safe-version table does not allow: a tag is a promise, the image's own configuration is what runs.
package imagelock

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"time"

	"gopkg.in/yaml.v3"

	"plantao/cmd/plantao/text"
)

// Path is where the lock file is, from the project's folder.
const Path = "infra/upstream/images.lock.yaml"

const preamble = `# Written by "plantao images lock"; edit versions.yaml and run it again instead.
# digest: the content behind ref, on every platform. version: read in the image, from where version_from says.
`

// Entry is one locked image.
type Entry struct {
	// Ref is what was asked ("redis:8.6.3-alpine"). The program takes the digest only while versions.yaml
	// still says the same.
	Ref string `yaml:"ref"`
	// Digest is of the index where the image has one, so that it fits every platform.
	Digest string `yaml:"digest"`
	// Version is the release read in the image, and VersionFrom what said so ("env PG_VERSION").
	Version     string `yaml:"version"`
	VersionFrom string `yaml:"version_from"`
	// Platforms are the digests by platform ("linux/amd64").
	Platforms map[string]string `yaml:"platforms"`
	// LockedAt is when this digest was first seen behind the tag.
	LockedAt time.Time `yaml:"locked_at"`
}

// same reports whether both entries stand for the same content, whenever it was seen.
func (e Entry) same(other Entry) bool {
	return e.Ref == other.Ref && e.Digest == other.Digest && e.Version == other.Version
}

// File is the lock file: entries by component key.
type File map[string]Entry

// Read reads a lock file. A missing one is empty, without an error.
func Read(path string) (File, error) {
	body, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return File{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the lock file: %w", err)
	}
	file := File{}
	decode := yaml.NewDecoder(bytes.NewReader(body))
	decode.KnownFields(true)
	if err := decode.Decode(&file); err != nil && !errors.Is(err, io.EOF) { // io.EOF: nothing but comments
		return nil, fmt.Errorf("read lock file %q: %w", path, err)
	}
	return file, nil
}

// Write puts the file in place whole or not at all.
func (f File) Write(path string) error {
	var body bytes.Buffer
	body.WriteString(preamble)
	encode := yaml.NewEncoder(&body)
	encode.SetIndent(2)
	if err := encode.Encode(f); err != nil {
		return fmt.Errorf("encode the lock file: %w", err)
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), ".images.lock-*")
	if err != nil {
		return fmt.Errorf("write the lock file: %w", err)
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.Write(body.Bytes())
	err = errors.Join(err, temporary.Chmod(0o644), temporary.Sync(), temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write lock file %q: %w", path, err)
	}
	return nil
}

// Keys are the components of the file, sorted.
func (f File) Keys() []string {
	keys := make([]string, 0, len(f))
	for key := range f {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}

// Keep gives fresh the times of the entries of old that stand for the same content, so that locking
// twice changes nothing.
func (f File) Keep(old File) {
	for key, entry := range f {
		if before, ok := old[key]; ok && entry.same(before) {
			entry.LockedAt = before.LockedAt
			f[key] = entry
		}
	}
}

// Differences says, entry by entry, where the lock file f is behind what the registries hold now.
func (f File) Differences(now File) []text.Message {
	var out []text.Message
	for _, key := range now.Keys() {
		fresh := now[key]
		locked, ok := f[key]
		switch {
		case !ok:
			out = append(out, text.New(text.LockMissing, key))
		case locked.Ref != fresh.Ref:
			out = append(out, text.New(text.LockOtherTag, key, locked.Ref, fresh.Ref))
		case locked.Digest != fresh.Digest:
			out = append(out, text.New(text.LockMoved, key, fresh.Ref, locked.Digest, fresh.Digest))
		case locked.Version != fresh.Version:
			out = append(out, text.New(text.LockOtherVersion, key, locked.Version, fresh.Version))
		}
	}
	for _, key := range f.Keys() {
		if _, ok := now[key]; !ok {
			out = append(out, text.New(text.LockExtra, key))
		}
	}
	return out
}
