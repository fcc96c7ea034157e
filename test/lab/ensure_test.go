package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"plantao/test/lab/engine"
	"plantao/test/lab/manifest"
)

// registry answers as an engine does whose registry answers, or does not.
func registry(t *testing.T, answers bool) *engine.Engine {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.41")
		switch {
		case strings.HasSuffix(r.URL.Path, "/_ping"):
		case strings.HasSuffix(r.URL.Path, "/version"):
			_, _ = io.WriteString(w, `{"Os":"linux","Arch":"amd64"}`)
		case strings.HasSuffix(r.URL.Path, "/images/create") && answers:
			_, _ = io.WriteString(w, `{"progressDetail":{"current":1}}`)
		case strings.HasSuffix(r.URL.Path, "/images/create"):
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, `{"message":"no such host"}`)
		default:
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"message":"no such image"}`)
		}
	}))
	t.Cleanup(server.Close)
	t.Setenv("DOCKER_HOST", "tcp://"+server.Listener.Addr().String())
	eng, err := engine.Open(t.Context())
	require.NoError(t, err)
	t.Cleanup(eng.Close)
	return eng
}

func testProject(t *testing.T) project {
	t.Helper()
	root := t.TempDir()
	return project{root: root, cache: t.TempDir()}
}

func TestDecide(t *testing.T) {
	for name, c := range map[string]struct {
		asked    string
		before   manifest.Source
		registry bool
		want     manifest.Source
	}{
		"a registry answers":                     {sourceAuto, "", true, manifest.Registry},
		"none answers":                           {sourceAuto, "", false, manifest.Lab},
		"registry before, silent now":            {sourceAuto, manifest.Registry, false, manifest.Registry},
		"lab before, a registry answers now":     {sourceAuto, manifest.Lab, true, manifest.Lab},
		"lab asked for, whatever was before":     {"lab", manifest.Registry, true, manifest.Lab},
		"registry asked for, even if silent now": {"registry", manifest.Lab, false, manifest.Registry},
	} {
		t.Run(name, func(t *testing.T) {
			p := testProject(t)
			if c.before != "" {
				require.NoError(t, manifest.Write(manifest.Path(p.root), manifest.Manifest{Source: c.before}))
			}
			got, err := p.decide(t.Context(), registry(t, c.registry), c.asked)
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
}

func TestDecideRefuses(t *testing.T) {
	p, eng := testProject(t), registry(t, true)
	_, err := p.decide(t.Context(), eng, "cloud")
	require.ErrorContains(t, err, `unknown source "cloud"`)
}

func TestProjectRootIsFoundFromBelow(t *testing.T) {
	want, err := filepath.Abs("../..")
	require.NoError(t, err)
	got, err := projectRoot()
	require.NoError(t, err)
	require.Equal(t, want, got)

	t.Chdir(t.TempDir())
	_, err = projectRoot()
	require.ErrorContains(t, err, "run this inside the project")
}
