package n8n

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const testToken = "flow-token-one"

func testTime() time.Time { return time.Now() }

func testConfig() InstallConfig {
	return InstallConfig{OwnerEmail: tapeOwner, OwnerPassword: tapePassword, FlowToken: testToken, Workflows: testFlows()}
}

// testFlows holds the flow the recordings were made with; it stays as it is when the shipped one changes.
func testFlows() fs.FS { return os.DirFS(filepath.Join("testdata", "flows")) }

// edited is that folder with one replacement in the flow.
func edited(t *testing.T, old, replacement string) fs.FS {
	t.Helper()
	b, err := fs.ReadFile(testFlows(), "atendimento.json")
	require.NoError(t, err)
	require.Contains(t, string(b), old)
	return fstest.MapFS{"atendimento.json": {Data: []byte(strings.Replace(string(b), old, replacement, 1))}}
}

// The parts run in this order against the real n8n when recording; each starts from what the one before left.
func TestInstallRecorded(t *testing.T) {
	const name = "Plantão: atendimento"
	var id string
	ours := func(t *testing.T, c *adminClient) storedWorkflow {
		stored, err := c.workflowsNamed(t.Context(), name)
		require.NoError(t, err)
		require.Len(t, stored, 1)
		return stored[0]
	}
	one := func(t *testing.T, res InstallResult, err error, changed bool) {
		t.Helper()
		require.NoError(t, err)
		require.Len(t, res.Workflows, 1)
		w := res.Workflows[0]
		assert.Equal(t, name, w.Name)
		assert.Equal(t, changed, w.Changed)
		require.NotEmpty(t, w.ID)
		if id == "" {
			id = w.ID
		}
		assert.Equal(t, id, w.ID, "the same workflow is kept")
	}

	t.Run("first run creates and publishes", func(t *testing.T) {
		res, err := played(t, "first-run", deleteEverything, testConfig())
		one(t, res, err, true)
	})
	t.Run("second run changes nothing", func(t *testing.T) {
		res, err := played(t, "second-run", nil, testConfig())
		one(t, res, err, false)
	})
	t.Run("changed file is rewritten and live", func(t *testing.T) {
		cfg := testConfig()
		cfg.Workflows = edited(t, "Recebi:", "Chegou:")
		res, err := played(t, "changed-file", nil, cfg)
		one(t, res, err, true)
	})
	t.Run("rotated token reaches the credential", func(t *testing.T) {
		cfg := testConfig()
		cfg.Workflows = edited(t, "Recebi:", "Chegou:")
		cfg.FlowToken = "flow-token-two"
		res, err := played(t, "rotated-token", nil, cfg)
		one(t, res, err, false)
	})
	t.Run("edit by hand is undone", func(t *testing.T) {
		res, err := played(t, "edited-by-hand", func(t *testing.T, c *adminClient) {
			w := ours(t, c)
			for _, node := range w.Nodes {
				node["disabled"] = node["name"] == "Responder"
			}
			_, err := c.updateWorkflow(t.Context(), w.ID, w.workflow)
			require.NoError(t, err)
		}, testConfig())
		one(t, res, err, true)
	})
	t.Run("unpublished is published", func(t *testing.T) {
		res, err := played(t, "unpublished", func(t *testing.T, c *adminClient) {
			// By the editor's call: the key of Install may not unpublish.
			_, err := c.call(t.Context(), http.MethodPost, "/rest/workflows/"+ours(t, c).ID+"/deactivate", map[string]string{}, nil)
			require.NoError(t, err)
		}, testConfig())
		one(t, res, err, true)
	})
	t.Run("archived comes back", func(t *testing.T) {
		res, err := played(t, "archived", func(t *testing.T, c *adminClient) {
			_, err := c.changeWorkflow(t.Context(), "archive", http.MethodPost, "/"+ours(t, c).ID+"/archive", nil)
			require.NoError(t, err)
		}, testConfig())
		one(t, res, err, true)
	})
	t.Run("key of a killed run is deleted", func(t *testing.T) {
		res, err := played(t, "leftover-key", func(t *testing.T, c *adminClient) {
			c.keyID = "" // left behind: dropKey deletes only the key it knows
		}, testConfig())
		one(t, res, err, false)
	})
	t.Run("taken webhook path", func(t *testing.T) {
		cfg := testConfig()
		cfg.Workflows = edited(t, name, "Plantão: outro")
		_, err := played(t, "taken-path", nil, cfg)
		require.ErrorContains(t, err, "atendimento.json")
		require.ErrorContains(t, err, "another published workflow opens the same webhook path")
	})
	t.Run("wrong password", func(t *testing.T) {
		cfg := testConfig()
		cfg.OwnerPassword = "not-the-password"
		_, err := played(t, "wrong-password", nil, cfg)
		require.ErrorContains(t, err, "sign in to n8n as "+tapeOwner)
		require.ErrorContains(t, err, "N8N_INSTANCE_OWNER_EMAIL")
		assert.NotContains(t, err.Error(), cfg.OwnerPassword)
	})
	t.Run("workflow n8n refuses", func(t *testing.T) {
		cfg := testConfig()
		cfg.Workflows = edited(t, `"executionOrder": "v1"`, `"executionOrder": "v1", "noSuchSetting": 1`)
		_, err := played(t, "refused-workflow", nil, cfg)
		require.ErrorContains(t, err, "atendimento.json: update n8n workflow: n8n answered 400")
	})
}

// n8n publishes no workflow whose credential is missing: the model's is made, and from then on it is the operator's.
func TestInstallModelCredential(t *testing.T) {
	cfg := testConfig()
	cfg.Workflows = os.DirFS(filepath.Join("testdata", "model"))
	t.Run("made where there is none", func(t *testing.T) {
		res, err := played(t, "model-credential", deleteEverything, cfg)
		require.NoError(t, err)
		require.Len(t, res.Workflows, 1)
		assert.True(t, res.Workflows[0].Changed)
	})
	t.Run("left alone afterwards", func(t *testing.T) {
		res, err := played(t, "model-credential-again", nil, cfg)
		require.NoError(t, err)
		require.Len(t, res.Workflows, 1)
		assert.False(t, res.Workflows[0].Changed)
	})
	written := func(name string) (calls []string) {
		for _, x := range mustTape(t, name) {
			if strings.Contains(string(x.Request), modelCredentialType) && strings.Contains(x.Path, "/credentials") {
				calls = append(calls, x.Method+" "+x.Path)
			}
		}
		return calls
	}
	assert.Equal(t, []string{"POST /api/v1/credentials"}, written("model-credential"))
	assert.Empty(t, written("model-credential-again"))
}

// deleteEverything is the start of a recording.
func deleteEverything(t *testing.T, c *adminClient) {
	ctx := t.Context()
	var workflows struct{ Data []storedWorkflow }
	_, err := c.call(ctx, http.MethodGet, "/api/v1/workflows", nil, &workflows)
	require.NoError(t, err)
	for _, w := range workflows.Data {
		_, err := c.call(ctx, http.MethodDelete, "/api/v1/workflows/"+w.ID, nil, nil)
		require.NoError(t, err)
	}
	stored, err := c.credentials(ctx)
	require.NoError(t, err)
	for _, ids := range stored {
		for _, id := range ids {
			_, err := c.call(ctx, http.MethodDelete, "/rest/credentials/"+id, nil, nil)
			require.NoError(t, err)
		}
	}
}

// before answers the first calls to a path by itself and leaves the rest to next.
func before(path string, times int32, answer http.HandlerFunc, next http.Handler) http.Handler {
	var seen atomic.Int32
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == path && seen.Add(1) <= times {
			answer(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func answer(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

// replay plays the recording of that name behind wrap.
func replay(t *testing.T, name string, wrap func(http.Handler) http.Handler, cfg InstallConfig) (InstallResult, error, *tape) {
	t.Helper()
	p := &tape{t: t, left: mustTape(t, name)}
	server := httptest.NewServer(wrap(p))
	defer server.Close()
	cfg.URL = server.URL
	res, err := Install(t.Context(), cfg)
	return res, err, p
}

func TestInstallWaits(t *testing.T) {
	t.Parallel()
	for name, wrap := range map[string]func(http.Handler) http.Handler{
		"while n8n migrates": func(h http.Handler) http.Handler {
			return before("/healthz/readiness", 2, answer(503, `{"status":"error"}`), h)
		},
		"while routes are missing": func(h http.Handler) http.Handler {
			return before("/rest/login", 1, answer(404, "Cannot POST /rest/login"), h)
		},
		"when sign-ins are limited": func(h http.Handler) http.Handler {
			return before("/rest/login", 1, answer(429, `{"message":"Too many requests"}`, "Retry-After", "1"), h)
		},
		"until the webhook is served": func(h http.Handler) http.Handler {
			return before("/webhook/atendimento", 2, answer(404, `{"code":404,"message":"not registered"}`), h)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			res, err, p := replay(t, "second-run", wrap, testConfig())
			require.NoError(t, err)
			assert.Len(t, res.Workflows, 1)
			assert.Empty(t, p.left)
		})
	}
}

func TestInstallGivesUp(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		path   string
		answer http.HandlerFunc
		want   string
	}{
		"never ready":                {"/healthz/readiness", answer(503, `{}`), "wait for n8n to be ready"},
		"not n8n":                    {"/rest/login", answer(200, `{}`), "is http://"},
		"public API off":             {"/rest/api-keys", answer(404, ""), "unset N8N_PUBLIC_API_DISABLED"},
		"key refused":                {"/rest/api-keys", answer(403, `{"message":"Forbidden"}`), "make an n8n API key: n8n answered 403"},
		"webhook never served":       {"/webhook/atendimento", answer(404, `{}`), "wait for webhook POST atendimento"},
		"webhook open":               {"/webhook/atendimento", answer(200, `{}`), "without the token"},
		"credential with two owners": {"/api/v1/credentials", answer(200, twoCredentials), "delete or rename all but one"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := testConfig()
			cfg.Wait = 2 * time.Second
			left := &sessions{}
			server := httptest.NewServer(left.count(before(c.path, 1<<20, c.answer, &lenient{tape: mustTape(t, "second-run")})))
			defer server.Close()
			cfg.URL = server.URL
			_, err := Install(t.Context(), cfg)
			require.ErrorContains(t, err, c.want)
			for _, secret := range []string{tapePassword, testToken, tapeSession, tapeKey} {
				assert.NotContains(t, err.Error(), secret)
			}
			assert.Zero(t, left.keys.Load(), "API keys left behind")
		})
	}
}

var twoCredentials = fmt.Sprintf(`{"data":[{"id":"a","name":%[1]q,"type":"httpHeaderAuth"},{"id":"b","name":%[1]q,"type":"httpHeaderAuth"}],"nextCursor":null}`, CredentialName)

// A person pressing Ctrl-C must not leave a key behind.
func TestInstallCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	left := &sessions{}
	stop := func(w http.ResponseWriter, _ *http.Request) {
		cancel()
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	server := httptest.NewServer(left.count(before("/api/v1/workflows", 1, stop, &lenient{tape: mustTape(t, "second-run")})))
	defer server.Close()
	cfg := testConfig()
	cfg.URL = server.URL
	_, err := Install(ctx, cfg)
	require.Error(t, err)
	assert.Zero(t, left.keys.Load(), "API keys left behind")
	assert.Equal(t, int32(1), left.made.Load())
}

// n8n repeats what it refuses in some messages.
func TestInstallErrorsHoldNoSecret(t *testing.T) {
	t.Parallel()
	var logs strings.Builder
	cfg := testConfig()
	cfg.Logger = slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	echo := answer(400, fmt.Sprintf(`{"message":"bad value %s from %s with %s"}`, testToken, tapePassword, tapeKey))
	server := httptest.NewServer(before("/api/v1/credentials", 1<<20, echo, &lenient{tape: mustTape(t, "second-run")}))
	defer server.Close()
	cfg.URL = server.URL
	_, err := Install(t.Context(), cfg)
	require.ErrorContains(t, err, "bad value [redacted] from [redacted] with [redacted]")
	for _, secret := range []string{tapePassword, testToken, tapeKey} {
		assert.NotContains(t, logs.String(), secret)
	}
}

func TestInstallRefusesBadInput(t *testing.T) {
	t.Parallel()
	_, err := Install(t.Context(), InstallConfig{URL: "n8n:5678", Workflows: fstest.MapFS{"a.json": {Data: []byte("{\n\"name\": \"x\",\n]")}}})
	for _, want := range []string{
		"owner e-mail is empty", "owner password is empty", "flow token is empty", `URL "n8n:5678"`, "a.json: broken JSON at line 3",
	} {
		assert.ErrorContains(t, err, want)
	}
	_, err = Install(t.Context(), InstallConfig{})
	assert.ErrorContains(t, err, "no folder of workflow files")
}

// lenient answers each call with the recorded answer to that method and path, in any order.
type lenient struct{ tape []exchange }

func (l *lenient) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for _, x := range l.tape {
		if u, err := url.Parse(x.Path); err == nil && x.Method == r.Method && u.Path == r.URL.Path {
			for k, v := range x.ResponseHeader {
				w.Header().Set(k, v)
			}
			w.WriteHeader(x.Status)
			_, _ = w.Write(append(append([]byte{}, x.Response...), x.Text...))
			return
		}
	}
	w.WriteHeader(http.StatusTeapot)
}

// sessions counts API keys made and not deleted.
type sessions struct{ made, keys atomic.Int32 }

func (s *sessions) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		if strings.HasPrefix(r.URL.Path, "/rest/api-keys") && rec.Code == http.StatusOK {
			switch r.Method {
			case http.MethodPost:
				s.made.Add(1)
				s.keys.Add(1)
			case http.MethodDelete:
				s.keys.Add(-1)
			}
		}
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes())
	})
}

func mustTape(t *testing.T, name string) []exchange {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "recorded", name+".json"))
	require.NoError(t, err)
	var all []exchange
	require.NoError(t, json.Unmarshal(b, &all))
	return all
}
