//go:build e2e

package builder_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/test/lab/builder"
	"plantao/test/lab/engine"
	"plantao/test/lab/enginetest"
)

// run builds everything in the project except the Debian base.
func run(t *testing.T, eng *engine.Engine, root string, opts builder.Options) (map[string]builder.Image, string, error) {
	t.Helper()
	var out bytes.Buffer
	opts.Only = append(opts.Only, "one", "on-top")
	b, err := builder.New(t.Context(), root, t.TempDir(), eng, builder.NewProgress(&out), opts)
	require.NoError(t, err)
	images, err := b.Run(t.Context())
	return images, out.String(), err
}

func TestBuildsOnlyWhatChanged(t *testing.T) {
	eng := enginetest.MustOpen(t)
	// Unique content: a run that died must not leave an image this one takes for its own.
	root := project(t, map[string]string{
		"one/Dockerfile": one, "one/image.yaml": "version: '1'\n", "one/data": t.TempDir(),
		"on-top/Dockerfile": onTop, "on-top/image.yaml": "bases: [one]\nversion: '{tag}'\n", "on-top/more": "x",
	})
	var made []string
	t.Cleanup(func() {
		// The test's own context is over by now.
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		for i := len(made) - 1; i >= 0; i-- {
			if _, err := eng.Remove(ctx, made[i]); err != nil {
				t.Errorf("remove %s: %v", made[i], err)
			}
		}
	})
	build := func(opts builder.Options) map[string]builder.Image {
		images, out, err := run(t, eng, root, opts)
		require.NoError(t, err, out)
		made = append(made, images["one"].Ref, images["on-top"].Ref)
		return images
	}

	first := build(builder.Options{})
	require.True(t, first["one"].Built && first["on-top"].Built)
	second := build(builder.Options{})
	require.False(t, second["one"].Built || second["on-top"].Built)
	require.Equal(t, first["on-top"].Ref, second["on-top"].Ref)

	put(t, root, "on-top/more", "y")
	third := build(builder.Options{})
	require.False(t, third["one"].Built)
	require.True(t, third["on-top"].Built)
	require.NotEqual(t, first["on-top"].Ref, third["on-top"].Ref)

	put(t, root, "one/data", t.TempDir())
	fourth := build(builder.Options{})
	require.True(t, fourth["one"].Built && fourth["on-top"].Built, "a new base is a new image")

	fifth := build(builder.Options{Force: true})
	require.True(t, fifth["one"].Built)
	require.Equal(t, fourth["one"].Ref, fifth["one"].Ref)

	put(t, root, "one/Dockerfile", "FROM scratch\nCOPY missing /data"+tail)
	_, _, err := run(t, eng, root, builder.Options{})
	require.ErrorContains(t, err, "missing")
	require.ErrorContains(t, err, "image on-top: not built, its base one failed")
}
