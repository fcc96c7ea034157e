package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// newTestReporter speaks English into a buffer.
func newTestReporter(t *testing.T) (*reporter, *syncBuffer) {
	t.Helper()
	texts, err := loadCatalogue(english)
	require.NoError(t, err)
	out := new(syncBuffer)
	return &reporter{out: out, texts: texts}, out
}

// syncBuffer can be read while it is written.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func newTestCache(t *testing.T) *cache {
	t.Helper()
	r, _ := newTestReporter(t)
	return newCache(t.TempDir(), r)
}

func fillWith(name, content string) func(string) error {
	return func(dir string) error { return os.WriteFile(filepath.Join(dir, name), []byte(content), 0o755) }
}

func TestCacheMakesOnceForManyRuns(t *testing.T) {
	c := newTestCache(t)
	var fills, makers atomic.Int32
	var runs sync.WaitGroup
	for range 8 {
		runs.Go(func() {
			dir, made, err := c.make(t.Context(), "thing", "k1", func(dir string) error {
				fills.Add(1)
				return fillWith("thing", "one")(dir)
			})
			require.NoError(t, err)
			require.FileExists(t, filepath.Join(dir, "thing"))
			if made {
				makers.Add(1)
			}
		})
	}
	runs.Wait()
	require.EqualValues(t, 1, fills.Load())
	require.EqualValues(t, 1, makers.Load())
}

func TestCacheLeavesNothingHalfMade(t *testing.T) {
	c := newTestCache(t)
	broken := errors.New("compiler says no")
	_, _, err := c.make(t.Context(), "thing", "k1", func(dir string) error {
		require.NoError(t, fillWith("thing", "half")(dir))
		return broken
	})
	require.ErrorIs(t, err, broken)
	_, ok := c.ready("thing", "k1")
	require.False(t, ok)

	// A killed run leaves its unfinished folder; the next run clears it and makes the thing.
	left := filepath.Join(c.root, "tools", "thing", ".new-killed")
	require.NoError(t, os.MkdirAll(left, 0o755))
	_, made, err := c.make(t.Context(), "thing", "k1", fillWith("thing", "whole"))
	require.NoError(t, err)
	require.True(t, made)
	require.NoDirExists(t, left)
}

func TestCacheKeepsTheTwoMostRecentlyUsed(t *testing.T) {
	c := newTestCache(t)
	for i, key := range []string{"k1", "k2", "k3"} {
		dir, _, err := c.make(t.Context(), "thing", key, fillWith("thing", key))
		require.NoError(t, err)
		used := time.Now().Add(time.Duration(i-10) * time.Hour)
		require.NoError(t, os.Chtimes(dir, used, used))
		if key == "k2" {
			_, ok := c.ready("thing", "k1") // k1 is used again, so k2 is the oldest when k3 comes
			require.True(t, ok)
		}
	}
	require.DirExists(t, c.dir("thing", "k1"))
	require.NoDirExists(t, c.dir("thing", "k2"))
	require.DirExists(t, c.dir("thing", "k3"))
}

func TestCacheLinkReplacesAndUnlinkIsIdempotent(t *testing.T) {
	c := newTestCache(t)
	for _, target := range []string{"/a/pulumi", "/b/pulumi", "/b/pulumi"} {
		require.NoError(t, c.link("pulumi", target))
		got, err := os.Readlink(filepath.Join(c.bin(), "pulumi"))
		require.NoError(t, err)
		require.Equal(t, target, got)
	}
	require.NoError(t, c.unlink("pulumi"))
	require.NoError(t, c.unlink("pulumi"))
	entries, err := os.ReadDir(c.bin())
	require.NoError(t, err)
	require.Empty(t, entries)
}

func TestContentKey(t *testing.T) {
	write := func(dir, name, content string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644))
	}
	key := func(dir string, texts ...string) string {
		sum, err := new(contentKey).text(texts...).folder(dir).sum()
		require.NoError(t, err)
		return sum
	}
	one, two := t.TempDir(), t.TempDir()
	for _, dir := range []string{one, two} {
		write(dir, "main.go", "package main")
		write(dir, "go.mod", "module m")
	}
	first := key(one, "go1.26")
	require.Len(t, first, 16)
	require.Equal(t, first, key(two, "go1.26"), "another clone of the same content has the same key")
	require.NotEqual(t, first, key(one, "go1.27"), "another Go gets another program")
	require.NotEqual(t, key(one, "ab", "c"), key(one, "a", "bc"), "values do not run together")

	write(two, "main_test.go", "package main")
	require.Equal(t, first, key(two, "go1.26"), "tests are not part of the program")
	write(two, "main.go", "package main // changed")
	require.NotEqual(t, first, key(two, "go1.26"))

	_, err := new(contentKey).files(filepath.Join(one, "missing")).sum()
	require.ErrorContains(t, err, "missing")
}

func TestPlaceCopiesWhereItCannotLink(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	require.NoError(t, os.WriteFile(from, []byte("program"), 0o755))
	require.NoError(t, os.WriteFile(to, []byte("an older program that is longer"), 0o755)) // a link to an existing name fails
	require.NoError(t, place(from, to))
	body, err := os.ReadFile(to)
	require.NoError(t, err)
	require.Equal(t, "program", string(body))
}

func TestLastLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	require.NoError(t, os.WriteFile(path, []byte("one\ntwo\nthree\n"), 0o644))
	require.Equal(t, "two\nthree", string(lastLines(path, 2)))
	require.Equal(t, "three", string(lastLines(path, 1)))
	require.Equal(t, "one\ntwo\nthree", string(lastLines(path, 9)))
	require.Empty(t, lastLines(path+"x", 9))
}

func TestRunTellsWhatIsWrong(t *testing.T) {
	t.Setenv("PLANTAO_LANG", "pt-BR")
	var stderr bytes.Buffer
	err := run(context.Background(), []string{"--for", "moon"}, io.Discard, &stderr)
	require.ErrorIs(t, err, errUsage)
	require.Contains(t, stderr.String(), "moon")
	require.Contains(t, stderr.String(), "uso:")

	stderr.Reset()
	t.Chdir(t.TempDir())
	require.Error(t, run(context.Background(), []string{"--for", "up"}, io.Discard, &stderr))
	require.Contains(t, stderr.String(), "--tools PASTA")
}

func TestStepsOfTargets(t *testing.T) {
	require.Equal(t, []stepName{stepEngine, stepTestPackages, stepLabPackages}, steps([]string{"lab", "test"}))
	require.Equal(t, steps([]string{"all"}), steps([]string{"lint", "up", "lab", "test"}))
	for target := range targetSteps {
		require.NotEmpty(t, steps([]string{target}))
	}
}

func TestAvailableMemory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meminfo")
	require.NoError(t, os.WriteFile(path, []byte("MemTotal:  24681472 kB\nMemAvailable:    8388608 kB\n"), 0o644))
	require.EqualValues(t, 8192, availableMiB(path))
	require.Zero(t, availableMiB(path+"x"))
	require.NoError(t, os.WriteFile(path, []byte("MemAvailable: lots\n"), 0o644))
	require.Zero(t, availableMiB(path))
}
