package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// keptKeys is how many versions of one artifact stay: the current one and the one another branch or clone may use.
const keptKeys = 2

// cache is the folder all clones share:
//
//	tools/<name>/<key>/   one built or downloaded artifact; complete as soon as it is there
//	tools/<name>/.new-*   one being made; worthless without its maker
//	bin/<program>         links to the current ones, for PATH
//	log/<name>.log        output of the last build
//	lock/<name>           held (flock) while the artifact is made; free again when the holder dies
type cache struct {
	root   string
	report *reporter
}

func newCache(root string, r *reporter) *cache { return &cache{root: root, report: r} }

func (c *cache) bin() string { return filepath.Join(c.root, "bin") }

func (c *cache) log(name string) string { return filepath.Join(c.root, "log", name+".log") }

func (c *cache) dir(name, key string) string { return filepath.Join(c.root, "tools", name, key) }

// ready returns the folder of an artifact and whether it is complete. Asking keeps it from being pruned.
func (c *cache) ready(name, key string) (string, bool) {
	dir := c.dir(name, key)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return dir, false
	}
	now := time.Now()
	_ = os.Chtimes(dir, now, now) // a read-only cache still serves
	return dir, true
}

// make returns the artifact's folder, making it first when it is not there: fill gets an empty folder, and what it
// leaves there appears as the artifact by one rename, or not at all. made tells whether this call did it.
func (c *cache) make(ctx context.Context, name, key string, fill func(dir string) error) (dir string, made bool, err error) {
	dir, ok := c.ready(name, key)
	if ok {
		return dir, false, nil
	}
	unlock, err := c.lock(ctx, name)
	if err != nil {
		return "", false, err
	}
	defer unlock()
	if dir, ok := c.ready(name, key); ok {
		return dir, false, nil // another run made it while this one waited
	}
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", false, fmt.Errorf("make the cache folder: %w", err)
	}
	c.removeUnfinished(parent)
	unfinished, err := os.MkdirTemp(parent, ".new-")
	if err != nil {
		return "", false, fmt.Errorf("make the cache folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(unfinished) }()
	if err := fill(unfinished); err != nil {
		return "", false, err
	}
	if err := os.Chmod(unfinished, 0o755); err != nil {
		return "", false, fmt.Errorf("open the artifact's folder: %w", err)
	}
	if err := os.Rename(unfinished, dir); err != nil {
		return "", false, fmt.Errorf("put the artifact in place: %w", err)
	}
	c.prune(parent, filepath.Base(dir))
	return dir, true, nil
}

// removeUnfinished clears what a killed run left. The caller holds the artifact's lock, so nobody is at it.
func (c *cache) removeUnfinished(parent string) {
	left, _ := filepath.Glob(filepath.Join(parent, ".new-*"))
	for _, dir := range left {
		_ = os.RemoveAll(dir)
	}
}

// prune removes all but the most recently used artifacts. Failing to is not worth failing for.
func (c *cache) prune(parent, current string) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	type aged struct {
		name string
		used time.Time
	}
	var old []aged
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && e.IsDir() && e.Name() != current && !strings.HasPrefix(e.Name(), ".") {
			old = append(old, aged{e.Name(), info.ModTime()})
		}
	}
	slices.SortFunc(old, func(a, b aged) int { return b.used.Compare(a.used) })
	for i, a := range old {
		if i >= keptKeys-1 {
			_ = os.RemoveAll(filepath.Join(parent, a.name))
		}
	}
}

// link makes bin/<name> lead to target, replacing what was there in one step.
func (c *cache) link(name, target string) error {
	path := filepath.Join(c.bin(), name)
	if current, err := os.Readlink(path); err == nil && current == target {
		return nil
	}
	if err := os.MkdirAll(c.bin(), 0o755); err != nil {
		return fmt.Errorf("make the folder for programs: %w", err)
	}
	dir, err := os.MkdirTemp(c.bin(), ".new-")
	if err != nil {
		return fmt.Errorf("make the link %q: %w", path, err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	temp := filepath.Join(dir, name)
	if err := os.Symlink(target, temp); err != nil {
		return fmt.Errorf("make the link %q: %w", path, err)
	}
	if err := os.Rename(temp, path); err != nil {
		return fmt.Errorf("put the link %q in place: %w", path, err)
	}
	return nil
}

// unlink removes bin/<name>, so that the machine's own program of that name is the one on PATH.
func (c *cache) unlink(name string) error {
	if err := os.Remove(filepath.Join(c.bin(), name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the link: %w", err)
	}
	return nil
}

// place puts a copy of a file at a path: a hard link where possible, since the programs are large.
func place(from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("copy a program: %w", err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o755)
	if err != nil {
		return fmt.Errorf("copy a program: %w", err)
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return fmt.Errorf("copy %q to %q: %w", from, to, err)
	}
	return out.Close()
}

// contentKey hashes strings and files into a short name. Order matters; a missing file is an error.
type contentKey struct {
	parts []string
	err   error
}

// text adds values, each with what it is.
func (k *contentKey) text(parts ...string) *contentKey {
	k.parts = append(k.parts, parts...)
	return k
}

// files adds the content of files, by their names and not their places: two clones get one key.
func (k *contentKey) files(paths ...string) *contentKey {
	for _, path := range paths {
		body, err := os.ReadFile(path) //nolint:gosec // files of the clone
		if err != nil {
			k.err = errors.Join(k.err, fmt.Errorf("hash %q: %w", path, err))
			continue
		}
		sum := sha256.Sum256(body)
		k.parts = append(k.parts, filepath.Base(path), hex.EncodeToString(sum[:]))
	}
	return k
}

// folder adds the files of a folder that are part of a program: all but tests and folders below.
func (k *contentKey) folder(dir string) *contentKey {
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		k.err = errors.Join(k.err, fmt.Errorf("hash %q: %w", dir, err))
		return k
	}
	for _, e := range entries {
		if e.Type().IsRegular() && !strings.HasSuffix(e.Name(), "_test.go") {
			k.files(filepath.Join(dir, e.Name()))
		}
	}
	return k
}

// sum is 16 hex digits: enough for a handful of versions, short enough to read.
func (k *contentKey) sum() (string, error) {
	if k.err != nil {
		return "", k.err
	}
	h := sha256.New()
	for _, part := range k.parts {
		_, _ = fmt.Fprintf(h, "%d:%s\n", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}
