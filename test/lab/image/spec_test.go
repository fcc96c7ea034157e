package image_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"

	"plantao/test/lab/image"
)

// folder writes an image folder with the given files and returns its path.
func folder(t *testing.T, key string, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), key)
	for name, text := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	return dir
}

const dockerfile = "ARG BASE\nFROM ${BASE}\nLABEL org.opencontainers.image.version=1\nUSER 1000\n"

func TestLoadSetsDefaults(t *testing.T) {
	t.Parallel()
	s, err := image.Load(folder(t, "n8n-runner", map[string]string{
		"Dockerfile": dockerfile, "image.yaml": "bases: [base]\nbinaries: {launcher: {package: ./x}}\n",
	}))
	require.NoError(t, err)
	require.Equal(t, "n8n-runner", s.Key)
	require.Equal(t, "plantao-lab/n8n-runner", s.Repository)
	require.Equal(t, ".", s.Binaries["launcher"].Module)
	require.Equal(t, 15*time.Minute, s.Timeout)
	require.Equal(t, 1024, s.DiskMiB)
	require.Equal(t, "N8N_RUNNER", image.ArgName(s.Key))
}

func TestLoadAcceptsAnEmptyFile(t *testing.T) {
	t.Parallel()
	_, err := image.Load(folder(t, "x", map[string]string{"Dockerfile": dockerfile, "image.yaml": "# nothing special\n"}))
	require.NoError(t, err)
}

func TestLoadReportsEveryProblem(t *testing.T) {
	t.Parallel()
	_, err := image.Load(folder(t, "Bad_Key", map[string]string{
		"Dockerfile": "FROM debian:latest\n",
		"image.yaml": "repository: a:b\nbinaries: {x: {module: ../..}}\nfiles: {../x: /etc/passwd}\nroots: /a\ntimeout: -1s\n",
	}))
	for _, want := range []string{
		"Bad_Key", "repository", "want a lower-case name and a package", "leaves the project", "leaves the build context",
		"roots", "negative", "moving tag", "no USER", "no LABEL",
	} {
		require.ErrorContains(t, err, want)
	}
}

func TestLoadRefusesUnknownKeys(t *testing.T) {
	t.Parallel()
	_, err := image.Load(folder(t, "x", map[string]string{"Dockerfile": dockerfile, "image.yaml": "base: base\n"}))
	require.ErrorContains(t, err, "field base not found")
}

func TestLoadAllNamesTheBrokenFolder(t *testing.T) {
	t.Parallel()
	good := folder(t, "good", map[string]string{"Dockerfile": dockerfile, "image.yaml": "bases: [base]"})
	require.NoError(t, os.MkdirAll(filepath.Join(filepath.Dir(good), "broken"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(good), "broken", "image.yaml"), nil, 0o644))
	specs, err := image.LoadAll(filepath.Dir(good))
	require.ErrorContains(t, err, "read image broken")
	require.Contains(t, specs, "good")
}

// The lab's own images keep the rules, and claim the versions they really hold.
func TestLabImages(t *testing.T) {
	t.Parallel()
	specs, err := image.LoadAll("../images")
	require.NoError(t, err)
	text, err := os.ReadFile("../../../infra/upstream/versions.yaml")
	require.NoError(t, err)
	var upstream map[string]struct{ Version string }
	require.NoError(t, yaml.Unmarshal(text, &upstream))
	for key := range upstream {
		require.Contains(t, specs, key, "every upstream image has a lab image")
	}
	require.Contains(t, specs, "router")
	for _, key := range []string{"chatwoot", "evolution"} {
		require.Equal(t, upstream[key].Version, specs[key].Version, "a stand-in plays the pinned version of %s", key)
	}
	gomod, err := os.ReadFile("../caddy/go.mod")
	require.NoError(t, err)
	require.Contains(t, string(gomod), "require github.com/caddyserver/caddy/v2 v"+specs["caddy"].Version+"\n")
}
