package image_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"plantao/test/lab/image"
)

// example is an image folder with one of everything, and what surrounds it.
type example struct {
	dir string
	in  image.Inputs
}

func newExample(t *testing.T) example {
	t.Helper()
	dir := folder(t, "thing", map[string]string{
		"Dockerfile": dockerfile,
		"image.yaml": "bases: [base]\nversion: '{tag}'\nargs: {A: '1'}\nbinaries: {tool: {package: ./tool, stamp: main.version}}\nfiles: {shared: conf}\nhost_ca: true\nroots: ca.crt\n",
		"start.sh":   "#!/bin/sh\n", "sub/data": "x",
	})
	root := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(root, "conf"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(root, "conf", "a.json"), []byte("{}"), 0o644))
	tool := filepath.Join(t.TempDir(), "tool")
	require.NoError(t, os.WriteFile(tool, []byte("program"), 0o755))
	return example{dir: dir, in: image.Inputs{
		Root: root, Release: "bookworm", Arch: "amd64",
		Bases: map[string]string{"base": "plantao-lab/base:1"}, Binaries: map[string]string{"tool": tool},
	}}
}

func (e example) resolve(t *testing.T) *image.Image {
	t.Helper()
	s, err := image.Load(e.dir)
	require.NoError(t, err)
	img, err := s.Resolve(e.in)
	require.NoError(t, err)
	return img
}

func TestTagFollowsContent(t *testing.T) {
	t.Parallel()
	write := func(name, text string) func(*testing.T, *example) {
		return func(t *testing.T, e *example) {
			require.NoError(t, os.WriteFile(filepath.Join(e.dir, name), []byte(text), 0o644))
		}
	}
	for name, change := range map[string]func(*testing.T, *example){
		"Dockerfile":   write("Dockerfile", dockerfile+"RUN true\n"),
		"image.yaml":   write("image.yaml", "bases: [base]\nbinaries: {tool: {package: ./tool}}\n"),
		"context file": write("sub/data", "y"),
		"new file":     write("sub/more", ""),
		"executable":   func(t *testing.T, e *example) { require.NoError(t, os.Chmod(filepath.Join(e.dir, "start.sh"), 0o755)) },
		"project file": func(t *testing.T, e *example) {
			require.NoError(t, os.WriteFile(filepath.Join(e.in.Root, "conf", "a.json"), []byte("[]"), 0o644))
		},
		"program": func(t *testing.T, e *example) {
			require.NoError(t, os.WriteFile(e.in.Binaries["tool"], []byte("other"), 0o755))
		},
		"base":    func(_ *testing.T, e *example) { e.in.Bases["base"] = "plantao-lab/base:2" },
		"release": func(_ *testing.T, e *example) { e.in.Release = "trixie" },
		"arch":    func(_ *testing.T, e *example) { e.in.Arch = "arm64" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newExample(t)
			before := e.resolve(t)
			require.Regexp(t, `^[0-9a-f]{16}$`, before.Tag)
			require.Equal(t, before.Tag, e.resolve(t).Tag, "the same content has the same tag")
			change(t, &e)
			require.NotEqual(t, before.Tag, e.resolve(t).Tag)
		})
	}
}

func TestTagIgnoresUmaskAndPlace(t *testing.T) {
	t.Parallel()
	one, two := newExample(t), newExample(t)
	require.NoError(t, os.Chmod(filepath.Join(two.dir, "sub/data"), 0o600))
	require.Equal(t, one.resolve(t).Tag, two.resolve(t).Tag)
}

func TestBuildArgs(t *testing.T) {
	t.Parallel()
	img := newExample(t).resolve(t)
	require.Equal(t, map[string]string{"A": "1", "BASE": "plantao-lab/base:1", "VERSION": img.Tag}, img.BuildArgs())
	require.Equal(t, "plantao-lab/thing:"+img.Tag, img.Ref())
}

func TestContextIsReproducible(t *testing.T) {
	t.Parallel()
	e := newExample(t)
	img := e.resolve(t)
	stamped := filepath.Join(t.TempDir(), "tool")
	require.NoError(t, os.WriteFile(stamped, []byte("stamped"), 0o755))
	extra := image.Extra{HostCA: []byte("host"), Stamped: map[string]string{"tool": stamped}}
	var one, two bytes.Buffer
	require.NoError(t, img.WriteContext(&one, extra))
	require.NoError(t, img.WriteContext(&two, extra))
	require.Equal(t, one.Bytes(), two.Bytes())

	got := map[string]string{}
	for r := tar.NewReader(&one); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		require.Zero(t, h.ModTime.Unix())
		require.Zero(t, h.Uid)
		body, err := io.ReadAll(r)
		require.NoError(t, err)
		got[h.Name] = string(body)
	}
	require.Contains(t, got["ca.crt"], "BEGIN CERTIFICATE")
	delete(got, "ca.crt")
	require.Equal(t, map[string]string{
		"Dockerfile": dockerfile, "start.sh": "#!/bin/sh\n", "sub/data": "x", "shared/a.json": "{}",
		"bin/tool": "stamped", ".host-ca.crt": "host",
	}, got)
}

func TestContextNeedsTheHostCA(t *testing.T) {
	t.Parallel()
	img := newExample(t).resolve(t)
	require.ErrorContains(t, img.WriteContext(io.Discard, image.Extra{}), "CA bundle is missing")
}

func TestResolveRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*testing.T, *example)
		want   string
	}{
		"missing base":    {func(_ *testing.T, e *example) { clear(e.in.Bases) }, "base base has no reference"},
		"missing program": {func(_ *testing.T, e *example) { clear(e.in.Binaries) }, "binary tool was not built"},
		"missing file":    {func(t *testing.T, e *example) { require.NoError(t, os.RemoveAll(filepath.Join(e.in.Root, "conf"))) }, "conf"},
		"two sources": {func(t *testing.T, e *example) {
			require.NoError(t, os.MkdirAll(filepath.Join(e.dir, "bin"), 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(e.dir, "bin", "tool"), nil, 0o755))
		}, `two sources for "bin/tool"`},
		"symbolic link": {func(t *testing.T, e *example) {
			require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(e.dir, "link")))
		}, "neither a file nor a folder"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newExample(t)
			c.change(t, &e)
			s, err := image.Load(e.dir)
			require.NoError(t, err)
			_, err = s.Resolve(e.in)
			require.ErrorContains(t, err, c.want)
		})
	}
}
