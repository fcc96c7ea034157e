package gobuild_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"plantao/test/lab/gobuild"
)

// module writes a small module: a program, a package of it, an embedded file and a package of nobody.
func module(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":                 "module example\n\ngo 1.24\n",
		"cmd/tool/main.go":       "package main\n\nimport \"example/part\"\n\nvar version = \"dev\"\n\nfunc main() { print(version, part.Text) }\n",
		"cmd/tool/main_test.go":  "package main\n",
		"part/part.go":           "package part\n\nimport _ \"embed\"\n\n//go:embed data/text\nvar Text string\n",
		"part/data/text":         "one",
		"unrelated/unrelated.go": "package unrelated\n",
	} {
		put(t, dir, name, text)
	}
	return dir
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
}

func builder(t *testing.T, cache string) *gobuild.Builder {
	t.Helper()
	b, err := gobuild.New(t.Context(), cache, runtime.GOARCH)
	require.NoError(t, err)
	return b
}

func build(t *testing.T, b *gobuild.Builder, dir string) (content string, built bool) {
	t.Helper()
	told := false
	path, built, err := b.Build(t.Context(), program(dir), func() { told = true })
	require.NoError(t, err)
	require.Equal(t, built, told)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text), built
}

func program(dir string) gobuild.Program {
	return gobuild.Program{Name: "tool", Module: dir, Package: "./cmd/tool"}
}

func TestBuildsOnlyWhatChanged(t *testing.T) {
	t.Parallel()
	dir, cache := module(t), t.TempDir()
	b := builder(t, cache)
	first, built := build(t, b, dir)
	require.True(t, built)
	for _, c := range []struct{ name, text string }{
		{"unrelated/unrelated.go", "package unrelated\n\nvar X int\n"},
		{"cmd/tool/main_test.go", "package main\n\nvar X int\n"},
	} {
		put(t, dir, c.name, c.text)
		_, built = build(t, b, dir)
		require.False(t, built, "%s is no part of the program", c.name)
	}
	put(t, dir, "part/part.go", "// Package part is described now.\npackage part\n\nimport _ \"embed\"\n\n//go:embed data/text\nvar Text string\n")
	second, built := build(t, b, dir)
	require.True(t, built)
	require.Len(t, second, len(first))
	put(t, dir, "part/data/text", "two")
	third, built := build(t, b, dir)
	require.True(t, built, "embedded files are part of the program")
	require.NotEqual(t, first, third)
	put(t, dir, "part/data/text", "one")
	_, built = build(t, b, dir)
	require.False(t, built, "what was built before is still there")
}

func TestSecondCloneSharesTheResult(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	b := builder(t, cache)
	first, built := build(t, b, module(t))
	require.True(t, built)
	second, built := build(t, b, module(t))
	require.False(t, built)
	require.Equal(t, first, second)
}

func TestEqualSourcesGiveEqualBytes(t *testing.T) {
	t.Parallel()
	first, _ := build(t, builder(t, t.TempDir()), module(t))
	second, _ := build(t, builder(t, t.TempDir()), module(t))
	require.Equal(t, first, second)
}

func TestStampLinksTheVersion(t *testing.T) {
	t.Parallel()
	dir, out := module(t), filepath.Join(t.TempDir(), "tool")
	b := builder(t, t.TempDir())
	plain, _, err := b.Build(t.Context(), program(dir), func() {})
	require.NoError(t, err)
	require.NoError(t, b.Stamp(t.Context(), program(dir), plain, "main.version", "0123abcd", out))
	said, err := exec.CommandContext(t.Context(), out).CombinedOutput()
	require.NoError(t, err)
	require.Equal(t, "0123abcdone", string(said))

	put(t, dir, "part/data/text", "two")
	err = b.Stamp(t.Context(), program(dir), plain, "main.version", "0123abcd", out)
	require.ErrorContains(t, err, "changed during the build")
}

func TestBuildShowsTheCompilersWords(t *testing.T) {
	t.Parallel()
	dir := module(t)
	put(t, dir, "part/part.go", "package part\n\nvar Text = undefinedName\n")
	_, _, err := builder(t, t.TempDir()).Build(t.Context(), program(dir), func() {})
	require.ErrorContains(t, err, "undefinedName")
}

func TestPruneKeepsWhatAClonesSourcesMake(t *testing.T) {
	t.Parallel()
	dir, cache := module(t), t.TempDir()
	b := builder(t, cache)
	build(t, b, dir)
	put(t, dir, "part/data/text", "two")
	build(t, b, dir)
	removed, err := gobuild.Prune(cache)
	require.NoError(t, err)
	require.Equal(t, 1, removed)
	_, built := build(t, b, dir)
	require.False(t, built)
	require.NoError(t, os.RemoveAll(dir))
	removed, err = gobuild.Prune(cache)
	require.NoError(t, err)
	require.Equal(t, 1, removed, "a deleted clone keeps nothing")
}
