package engine_test

import (
	"archive/tar"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/test/lab/engine"
)

// fake is an engine that answers what a test puts there, by method and path without the API version.
type fake map[string]http.HandlerFunc

func (f fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if strings.HasPrefix(path, "/v1.") {
		path = path[strings.Index(path[1:], "/")+1:]
	}
	w.Header().Set("Api-Version", "1.41")
	w.Header().Set("Content-Type", "application/json")
	handler := f[r.Method+" "+path]
	if handler == nil {
		w.WriteHeader(http.StatusNotFound)
		say(`{"message":"no such thing"}`)(w, r)
		return
	}
	handler(w, r)
}

func say(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

func open(t *testing.T, f fake) *engine.Engine {
	t.Helper()
	f["HEAD /_ping"], f["GET /_ping"] = say(""), say("OK")
	if f["GET /version"] == nil {
		f["GET /version"] = say(`{"Version":"20.10.24","ApiVersion":"1.41","Os":"linux","Arch":"amd64"}`)
	}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	t.Setenv("DOCKER_HOST", "tcp://"+server.Listener.Addr().String())
	eng, err := engine.Open(t.Context())
	require.NoError(t, err)
	t.Cleanup(eng.Close)
	return eng
}

func TestOpenSaysWhatToDo(t *testing.T) {
	for name, c := range map[string]struct{ host, want string }{
		"named engine is down": {"tcp://127.0.0.1:1", "DOCKER_HOST is set to this address"},
		"no such socket":       {"unix:///nowhere/docker.sock", "unset DOCKER_HOST"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("DOCKER_HOST", c.host)
			_, err := engine.Open(t.Context())
			require.ErrorIs(t, err, engine.ErrUnavailable)
			require.ErrorContains(t, err, c.want)
		})
	}
	t.Setenv("DOCKER_HOST", "nonsense")
	_, err := engine.Open(t.Context())
	require.ErrorContains(t, err, "DOCKER_HOST")
}

func TestOpenRefusesWindowsContainers(t *testing.T) {
	server := httptest.NewServer(fake{"GET /version": say(`{"Os":"windows","Arch":"amd64"}`), "HEAD /_ping": say("")})
	t.Cleanup(server.Close)
	t.Setenv("DOCKER_HOST", "tcp://"+server.Listener.Addr().String())
	_, err := engine.Open(t.Context())
	require.ErrorContains(t, err, "switch Docker Desktop to Linux containers")
}

func TestProbe(t *testing.T) {
	const ref = "redis:1.2.3"
	held := say(`{"Id":"sha256:1","Size":5}`)
	for name, c := range map[string]struct {
		answers fake
		want    string // of the error; empty: the registry answers
	}{
		"held, manifest answers": {fake{
			"GET /images/redis:1.2.3/json":       held,
			"GET /distribution/redis:1.2.3/json": say(`{"Descriptor":{"digest":"sha256:1"}}`),
		}, ""},
		"held, registry silent": {fake{"GET /images/redis:1.2.3/json": held}, "no image registry answers"},
		"first bytes of a layer": {fake{
			"POST /images/create": say(`{"status":"Pulling fs layer"}` + "\n" + `{"status":"Downloading","progressDetail":{"current":1,"total":9}}` + "\n" + `{"error":"cut"}`),
		}, ""},
		"complete at once": {fake{"POST /images/create": say(`{"status":"Image is up to date"}`)}, ""},
		"refused":          {fake{"POST /images/create": say(`{"error":"toomanyrequests"}`)}, "toomanyrequests"},
		"manifest only": {fake{"POST /images/create": func(w http.ResponseWriter, r *http.Request) {
			say(`{"status":"Pulling fs layer"}`)(w, r)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}}, "not reached within"},
	} {
		t.Run(name, func(t *testing.T) {
			err := open(t, c.answers).Probe(t.Context(), ref, 500*time.Millisecond)
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, engine.ErrNoRegistry)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestBuild(t *testing.T) {
	writeContext := func(w io.Writer) error { return tar.NewWriter(w).Close() }
	steps := strings.Repeat(`{"stream":"step\n"}`+"\n", 500) + `{"stream":"last words\n"}` + "\n"
	answer := func(text string) fake {
		return fake{"POST /build": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			say(text)(w, r)
		}}
	}
	t.Run("good", func(t *testing.T) {
		require.NoError(t, open(t, answer(steps)).Build(t.Context(), engine.BuildOptions{Ref: "x:1"}, writeContext))
	})
	t.Run("failed step shows the end of the output", func(t *testing.T) {
		err := open(t, answer(steps+`{"error":"returned a non-zero code: 1"}`)).Build(t.Context(), engine.BuildOptions{Ref: "x:1"}, writeContext)
		require.ErrorContains(t, err, "build image x:1: returned a non-zero code: 1")
		require.ErrorContains(t, err, "last words")
		require.Less(t, strings.Count(err.Error(), "step"), 50)
	})
	t.Run("verbose shows it while it runs", func(t *testing.T) {
		var out strings.Builder
		err := open(t, answer(steps+`{"error":"bad"}`)).Build(t.Context(), engine.BuildOptions{Ref: "x:1", Output: &out}, writeContext)
		require.NotContains(t, err.Error(), "last words")
		require.Contains(t, out.String(), "last words")
	})
	t.Run("full disk", func(t *testing.T) {
		err := open(t, answer(`{"error":"write /x: no space left on device"}`)).Build(t.Context(), engine.BuildOptions{Ref: "x:1"}, writeContext)
		require.ErrorContains(t, err, "free some space")
	})
	t.Run("unreadable context", func(t *testing.T) {
		err := open(t, answer(steps)).Build(t.Context(), engine.BuildOptions{Ref: "x:1"}, func(io.Writer) error { return errors.New("file went away") })
		require.ErrorContains(t, err, "file went away")
	})
	t.Run("too slow", func(t *testing.T) {
		slow := fake{"POST /build": func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}}
		err := open(t, slow).Build(t.Context(), engine.BuildOptions{Ref: "x:1", Timeout: 200 * time.Millisecond}, writeContext)
		require.ErrorContains(t, err, "not finished after 200ms")
	})
}

func TestListAndRemove(t *testing.T) {
	eng := open(t, fake{
		"GET /images/json": say(`[{"Id":"sha256:1","RepoTags":["a:1","b:1"]},{"Id":"sha256:2","RepoTags":["<none>:<none>"]},{"Id":"sha256:3"}]`),
		"DELETE /images/a:1": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusConflict)
			say(`{"message":"in use"}`)(w, r)
		},
		"DELETE /images/b:1": say(`[]`),
	})
	refs, dangling, err := eng.List(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"a:1", "b:1"}, refs)
	require.Equal(t, []string{"sha256:2", "sha256:3"}, dangling)
	for ref, want := range map[string]bool{"a:1": false, "b:1": true, "gone:1": true} {
		gone, err := eng.Remove(t.Context(), ref)
		require.NoError(t, err)
		require.Equal(t, want, gone, ref)
	}
}

func TestCheckDisk(t *testing.T) {
	t.Parallel()
	require.NoError(t, engine.CheckDisk(t.TempDir()+"/not/yet/there", 1))
	require.ErrorContains(t, engine.CheckDisk(t.TempDir(), 1<<40), "free some space")
}
