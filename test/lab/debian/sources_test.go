package debian_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"plantao/test/lab/debian"
)

func etc(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	return dir
}

const bookworm = "ID=debian\nVERSION_CODENAME=bookworm\n"

func TestFindSources(t *testing.T) {
	t.Parallel()
	both := debian.Sources{Mirror: "http://mirror.test/debian", Lines: []string{
		"deb http://mirror.test/debian bookworm main",
		"deb http://mirror.test/debian bookworm-updates main",
		"deb http://mirror.test/security bookworm-security main",
	}}
	for name, c := range map[string]struct {
		files map[string]string
		want  debian.Sources
	}{
		"deb822": {map[string]string{
			"os-release": bookworm,
			"apt/sources.list.d/debian.sources": "Types: deb deb-src\n# a mirror\nURIs: http://mirror.test/debian/\nSuites: bookworm\n bookworm-updates\nComponents: main contrib\n\n" +
				"Types: deb\nURIs: http://mirror.test/security\nSuites: bookworm-security\nComponents: main\n",
		}, both},
		"one line each": {map[string]string{
			"os-release": bookworm,
			"apt/sources.list": "# comment\ndeb [signed-by=/x arch=amd64] http://mirror.test/debian bookworm main non-free # tail\n" +
				"deb-src http://mirror.test/debian bookworm main\ndeb http://mirror.test/debian bookworm-updates main\ndeb http://mirror.test/security bookworm-security main\n",
			"apt/sources.list.d/old.list.save": "deb http://old.test bookworm main\n",
		}, both},
		"a later release's mirror": {map[string]string{
			"os-release":       "ID=debian\nVERSION_CODENAME=\"trixie\"\n",
			"apt/sources.list": "deb http://mirror.test/debian trixie main\n",
		}, debian.Sources{Mirror: "http://mirror.test/debian", Lines: []string{"deb http://mirror.test/debian bookworm main"}}},
		"unusable ones": {map[string]string{
			"os-release": bookworm,
			"apt/sources.list": "deb cdrom:[x] bookworm main\ndeb file:/srv/debian bookworm main\ndeb http://user:secret@mirror.test/debian bookworm main\n" +
				"deb http://mirror.test/contrib bookworm contrib\n",
			"apt/sources.list.d/off.sources": "Enabled: no\nTypes: deb\nURIs: http://off.test\nSuites: bookworm\nComponents: main\n",
		}, debian.Sources{}},
		"not Debian": {map[string]string{
			"os-release":       "ID=ubuntu\nVERSION_CODENAME=noble\n",
			"apt/sources.list": "deb http://mirror.test/ubuntu noble main\n",
		}, debian.Sources{}},
		"nothing there": {nil, debian.Sources{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := debian.FindSources(etc(t, c.files))
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
}

func TestBaseTagFollowsTheMirror(t *testing.T) {
	t.Parallel()
	one := debian.Base{Arch: "amd64", Sources: debian.Sources{Mirror: "http://a.test"}}
	two := debian.Base{Arch: "amd64", Sources: debian.Sources{Mirror: "http://b.test"}}
	three := debian.Base{Arch: "arm64", Sources: debian.Sources{Mirror: "http://a.test"}}
	require.Regexp(t, `^[0-9a-f]{16}$`, one.Tag())
	require.Len(t, map[string]bool{one.Tag(): true, two.Tag(): true, three.Tag(): true}, 3)
}

func TestMakeUsesTheCache(t *testing.T) {
	t.Parallel()
	base := debian.Base{Arch: "amd64"}
	kept := filepath.Join(t.TempDir(), "base-bookworm-"+base.Tag()+".tar")
	require.NoError(t, os.WriteFile(kept, []byte("tar"), 0o644))
	got, err := base.Make(t.Context(), filepath.Dir(kept))
	require.NoError(t, err)
	require.Equal(t, kept, got)
	require.NoError(t, base.Forget(filepath.Dir(kept)))
	require.NoFileExists(t, kept)
	require.NoError(t, base.Forget(filepath.Dir(kept)), "forgetting twice is no error")
}
