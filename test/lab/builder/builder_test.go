package builder_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"plantao/test/lab/builder"
	"plantao/test/lab/engine"
)

// project writes a project with the given image folders.
func project(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		put(t, root, name, text)
	}
	return root
}

func put(t *testing.T, root, name, text string) {
	t.Helper()
	path := filepath.Join(root, "test", "lab", "images", name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
}

const (
	tail  = "\nARG VERSION\nLABEL org.opencontainers.image.version=${VERSION}\nUSER 1000:1000\n"
	one   = "FROM scratch\nCOPY data /data" + tail
	onTop = "ARG ONE\nFROM ${ONE}\nCOPY more /more" + tail
)

func TestNewRefusesWhatCannotBeOrdered(t *testing.T) {
	t.Parallel()
	circle := map[string]string{
		"a/Dockerfile": one, "a/image.yaml": "bases: [b]", "b/Dockerfile": one, "b/image.yaml": "bases: [a]",
		"c/Dockerfile": one, "c/image.yaml": "bases: [nobody]", "d/Dockerfile": one, "d/image.yaml": "",
	}
	for name, c := range map[string]struct {
		only []string
		want string
	}{
		"circle":        {[]string{"a"}, "lead back to itself"},
		"all":           {nil, "lead back to itself"},
		"unknown base":  {[]string{"c"}, `image c: unknown base "nobody"`},
		"unknown image": {[]string{"e"}, `unknown image "e"; there are: base, a, b, c, d`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := builder.New(t.Context(), project(t, circle), t.TempDir(), &engine.Engine{}, nil, builder.Options{Only: c.only})
			require.ErrorContains(t, err, c.want)
		})
	}
	_, err := builder.New(t.Context(), project(t, circle), t.TempDir(), &engine.Engine{}, nil, builder.Options{Only: []string{"d"}})
	require.NoError(t, err, "what is broken elsewhere does not matter")
}
