// Package n8ntest holds checks of package n8n against a running n8n, for tests that have one.
package n8ntest

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"plantao/runtime/n8n"
)

// turn is what the router sends for two short messages.
const turn = `{"turn":{"conversation":"e2e","no":1,"epoch":1,"gen":1,"token":"e2e","deadline":"2100-01-01T00:00:00Z"},"channel":"e2e",
	"contact":{"id":"5511900000000@s.whatsapp.net","name":"Maria"},
	"messages":[{"id":"1","ts":"2026-01-01T00:00:00Z","type":"text","text":"oi"},{"id":"2","ts":"2026-01-01T00:00:01Z","type":"text","text":"tudo bem?"}]}`

// answer is the flow's without a model.
const answer = `{"parts":[{"text":"Olá, Maria! Recebi: “oi / tudo bem?”. Como posso ajudar? Para falar com uma pessoa, escreva atendente."}],"via":"fallback:greeting"}`

// VerifyInstall checks n8n.Install and the flow "atendimento" against the n8n that cfg names: the flow answers
// a turn through the task runner and refuses callers without the token; installing again changes nothing; a
// changed file and a rotated token count at once. cfg.Workflows must hold atendimento.json and cfg.FlowToken be
// the token n8n has; both are as cfg says again when the test ends. The flow answers wrongly for some seconds in between:
// no other test may use it meanwhile.
func VerifyInstall(t *testing.T, cfg n8n.InstallConfig) {
	t.Helper()
	install := func(t *testing.T, cfg n8n.InstallConfig) bool {
		t.Helper()
		res, err := n8n.Install(t.Context(), cfg)
		require.NoError(t, err)
		for _, w := range res.Workflows {
			if strings.Contains(w.Name, "atendimento") {
				return w.Changed
			}
		}
		require.Fail(t, "atendimento is not installed", "%+v", res)
		return false
	}
	install(t, cfg)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		_, err := n8n.Install(ctx, cfg)
		assert.NoError(t, err, "put the shipped flow back")
	})

	t.Run("answers a turn", func(t *testing.T) {
		status, body := ask(t, cfg.URL, cfg.FlowToken)
		require.Equal(t, http.StatusOK, status, body)
		assert.JSONEq(t, answer, body)
	})
	t.Run("refuses callers without the token", func(t *testing.T) {
		for _, token := range []string{"", "wrong"} {
			status, body := ask(t, cfg.URL, token)
			assert.Equal(t, http.StatusForbidden, status, body)
		}
	})
	t.Run("second run changes nothing", func(t *testing.T) {
		assert.False(t, install(t, cfg))
	})
	t.Run("changed file and rotated token", func(t *testing.T) {
		changed := cfg
		changed.Workflows = replaced(t, cfg.Workflows, "Recebi:", "Chegou:")
		changed.FlowToken = cfg.FlowToken + "-rotated"
		assert.True(t, install(t, changed))
		status, body := ask(t, cfg.URL, changed.FlowToken)
		require.Equal(t, http.StatusOK, status, body)
		assert.Contains(t, body, "Chegou: “oi / tudo bem?”")
		status, body = ask(t, cfg.URL, cfg.FlowToken)
		assert.Equal(t, http.StatusForbidden, status, body)
	})
}

func replaced(t *testing.T, folder fs.FS, old, replacement string) fs.FS {
	t.Helper()
	b, err := fs.ReadFile(folder, "atendimento.json")
	require.NoError(t, err)
	require.Contains(t, string(b), old)
	return fstest.MapFS{"atendimento.json": {Data: bytes.ReplaceAll(b, []byte(old), []byte(replacement))}}
}

func ask(t *testing.T, base, token string) (status int, body string) {
	t.Helper()
	// A runner that was idle starts a process first: seconds on a small machine.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(base, "/")+"/webhook/atendimento", strings.NewReader(turn))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set(n8n.TokenHeader, token)
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(b)
}
