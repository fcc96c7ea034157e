package manifest_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/test/lab/manifest"
)

func TestWriteAndRead(t *testing.T) {
	t.Parallel()
	path := manifest.Path(t.TempDir())
	empty, err := manifest.Read(path)
	require.NoError(t, err)
	require.Zero(t, empty)

	m := manifest.Manifest{Source: manifest.Lab, Images: map[string]string{"redis": "plantao-lab/redis:1"}}
	require.NoError(t, manifest.Write(path, m))
	got, err := manifest.Read(path)
	require.NoError(t, err)
	require.Equal(t, m, got)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.JSONEq(t, `{"source":"lab","images":{"redis":"plantao-lab/redis:1"}}`, string(text))

	old := time.Unix(1_000_000_000, 0)
	require.NoError(t, os.Chtimes(path, old, old))
	require.NoError(t, manifest.Write(path, m))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.True(t, info.ModTime().Equal(old), "an unchanged manifest is left alone")
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".images-*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"broken": "{", "unknown source": `{"source":"cloud"}`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "images.json")
			require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
			_, err := manifest.Read(path)
			require.ErrorContains(t, err, "delete it")
		})
	}
}

func TestKeepOnlyOfTheSameSource(t *testing.T) {
	t.Parallel()
	old := manifest.Manifest{Source: manifest.Lab, Images: map[string]string{"redis": "r:1"}, Bases: map[string]string{"base": "b:1"}}
	same := manifest.Manifest{Source: manifest.Lab, Images: map[string]string{}, Bases: map[string]string{}}
	same.Keep(old)
	require.Equal(t, old, same)
	other := manifest.Manifest{Source: manifest.Registry, Images: map[string]string{}, Bases: map[string]string{}}
	other.Keep(old)
	require.Empty(t, other.Images)
}

func TestNamedJoinsAllProjects(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	one, two := manifest.Path(t.TempDir()), manifest.Path(t.TempDir())
	require.NoError(t, manifest.Write(one, manifest.Manifest{Source: manifest.Lab, Images: map[string]string{"redis": "r:1"}, Bases: map[string]string{"base": "b:1"}}))
	require.NoError(t, manifest.Write(two, manifest.Manifest{Source: manifest.Registry, Images: map[string]string{"router": "o:2"}}))
	for _, path := range []string{one, two, two} {
		require.NoError(t, manifest.Remember(cache, path))
	}
	named, err := manifest.Named(cache)
	require.NoError(t, err)
	require.Equal(t, map[string]bool{"r:1": true, "b:1": true, "o:2": true}, named)

	require.NoError(t, os.Remove(two))
	named, err = manifest.Named(cache)
	require.NoError(t, err)
	require.Equal(t, map[string]bool{"r:1": true, "b:1": true}, named)
	notes, err := filepath.Glob(filepath.Join(cache, "manifests", "*"))
	require.NoError(t, err)
	require.Len(t, notes, 1, "a manifest that is gone is forgotten")
}
