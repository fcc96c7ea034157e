//go:build e2e

package flows

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/n8n"
	"plantao/test/e2e/n8nlab"
)

// instance is an n8n of this test.
type instance struct{ *n8nlab.Instance }

// post sends a turn to a flow as the router does; what it returns is the answer as it was sent.
func (in *instance) post(t *testing.T, path string, turn any) (status int, answer string, took time.Duration) {
	t.Helper()
	body, err := json.Marshal(turn)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, in.URL+"/webhook/"+path, bytes.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(n8n.TokenHeader, in.Token)
	begin := time.Now()
	status, answer, _ = do(t, req)
	return status, answer, time.Since(begin)
}

func do(t *testing.T, req *http.Request) (int, string, http.Header) {
	t.Helper()
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(b), res.Header
}

// editor is the owner at n8n's screen.
type editor struct {
	in      *instance
	session string
}

func (in *instance) editor(t *testing.T) *editor {
	t.Helper()
	e := &editor{in: in}
	var header http.Header
	require.Eventually(t, func() bool { // n8n lets five sign-ins a minute through; Install needs some too
		var status int
		status, _, header = e.call(t, http.MethodPost, "/rest/login", map[string]string{"emailOrLdapLoginId": n8nlab.OwnerEmail, "password": in.Password})
		return status == http.StatusOK
	}, 2*time.Minute, 5*time.Second)
	for _, c := range (&http.Response{Header: header}).Cookies() {
		e.session = c.Name + "=" + c.Value
	}
	require.NotEmpty(t, e.session)
	return e
}

func (e *editor) call(t *testing.T, method, path string, body any) (int, string, http.Header) {
	t.Helper()
	raw, err := json.Marshal(body)
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), method, e.in.URL+path, bytes.NewReader(raw))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Cookie", e.session)
	return do(t, req)
}

// modelCredential is the id of the model's credential.
func (e *editor) modelCredential(t *testing.T) string {
	t.Helper()
	status, answer, _ := e.call(t, http.MethodGet, "/rest/credentials", nil)
	require.Equal(t, http.StatusOK, status, answer)
	var list struct {
		Data []struct{ ID, Name, Type string }
	}
	require.NoError(t, json.Unmarshal([]byte(answer), &list))
	for _, c := range list.Data {
		if c.Name == n8n.ModelCredentialName {
			require.Equal(t, "openAiApi", c.Type)
			return c.ID
		}
	}
	require.Fail(t, "no credential for the model", answer)
	return ""
}

// fillIn writes key and address of a model into its credential.
func (e *editor) fillIn(t *testing.T, key, url string) {
	t.Helper()
	status, answer, _ := e.call(t, http.MethodPatch, "/rest/credentials/"+e.modelCredential(t), map[string]any{
		"name": n8n.ModelCredentialName, "type": "openAiApi", "data": map[string]any{"apiKey": key, "url": url, "header": false},
	})
	require.Equal(t, http.StatusOK, status, answer)
}
