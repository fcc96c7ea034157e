package n8n

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// record asks the tests to run against a real n8n and to write what it answered to testdata/. It deletes
// every workflow and credential there: use one made for this.
//
//	go test ./runtime/n8n -run TestInstallRecorded -record -n8n http://127.0.0.1:5678 -owner a@b.c -password …
var (
	record         = flag.Bool("record", false, "record testdata/ from a real, throw-away n8n")
	recordURL      = flag.String("n8n", "http://127.0.0.1:5678", "its base URL")
	recordOwner    = flag.String("owner", "dono@example.com", "its owner's e-mail")
	recordPassword = flag.String("password", "", "its owner's password")
)

// What recordings hold in place of the real values.
const (
	tapeOwner    = "dono@example.com"
	tapePassword = "owner-password"
	tapeSession  = "session-of-the-recording"
	tapeKey      = "api-key-of-the-recording"
)

// exchange is one recorded call. Secrets are replaced; Request is what Install must send, byte by byte of its JSON.
type exchange struct {
	Method         string            `json:"method"`
	Path           string            `json:"path"`
	Header         map[string]string `json:"header,omitempty"`
	Request        json.RawMessage   `json:"request,omitempty"`
	Status         int               `json:"status"`
	ResponseHeader map[string]string `json:"responseHeader,omitempty"`
	Response       json.RawMessage   `json:"response,omitempty"`
	Text           string            `json:"text,omitempty"`
}

// tape replays one recording to Install and fails the test at the first call that differs from it.
type tape struct {
	t    *testing.T
	mu   sync.Mutex
	left []exchange
}

func (p *tape) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if !assert.NoError(p.t, err) || !assert.NotEmpty(p.t, p.left, "%s %s: the real run made no further call", r.Method, r.URL) {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	want := p.left[0]
	p.left = p.left[1:]
	got := exchange{Method: r.Method, Path: r.URL.RequestURI(), Header: authHeader(r.Header), Request: withoutExpiry(body)}
	ok := assert.Equal(p.t, want.Method+" "+want.Path, got.Method+" "+got.Path) &&
		assert.Equal(p.t, want.Header, got.Header, "headers of %s %s", got.Method, got.Path)
	if len(want.Request) == 0 {
		ok = ok && assert.Empty(p.t, got.Request)
	} else {
		ok = ok && assert.JSONEq(p.t, string(want.Request), string(got.Request), "body of %s %s", got.Method, got.Path)
	}
	if !ok {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	for k, v := range want.ResponseHeader {
		w.Header().Set(k, v)
	}
	w.WriteHeader(want.Status)
	_, _ = w.Write(append(want.Response, want.Text...))
}

// recorder passes calls to the real n8n and keeps them.
type recorder struct {
	password string
	secrets  map[string]string
	kept     []exchange
}

func (rec *recorder) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(res.Body)
	res.Body.Close()
	res.Body = io.NopCloser(bytes.NewReader(answer))
	if err != nil || res.StatusCode == http.StatusTooManyRequests { // recording is faster than n8n allows sign-ins
		return res, err
	}
	rec.learn(res, answer)
	x := exchange{
		Method: r.Method, Path: r.URL.RequestURI(), Header: authHeader(r.Header), Request: withoutExpiry(body), Status: res.StatusCode,
	}
	if cookie := res.Header.Get("Set-Cookie"); cookie != "" {
		x.ResponseHeader = map[string]string{"Set-Cookie": cookie}
	}
	if r.URL.Path == "/rest/login" && res.StatusCode == http.StatusOK {
		answer = []byte(`{"data":{"email":"` + tapeOwner + `","role":"global:owner"}}`)
	}
	if json.Valid(answer) {
		x.Response = answer
	} else {
		x.Text = string(answer)
	}
	rec.kept = append(rec.kept, x)
	return res, nil
}

// learn notes the secrets an answer brings.
func (rec *recorder) learn(res *http.Response, answer []byte) {
	for _, c := range res.Cookies() {
		if c.Name == "n8n-auth" && c.Value != "" {
			rec.secrets[c.Value] = tapeSession
		}
	}
	var key struct {
		Data struct {
			Raw string `json:"rawApiKey"`
		} `json:"data"`
	}
	if json.Unmarshal(answer, &key) == nil && key.Data.Raw != "" {
		rec.secrets[key.Data.Raw] = tapeKey
	}
}

func (rec *recorder) save(t *testing.T, file string) {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	require.NoError(t, e.Encode(rec.kept))
	text := b.String()
	rec.secrets[rec.password], rec.secrets[*recordOwner] = tapePassword, tapeOwner
	for _, secret := range sortedByLength(rec.secrets) {
		text = strings.ReplaceAll(text, secret, rec.secrets[secret])
	}
	require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
}

// sortedByLength puts the longest first, so that a secret inside another is not replaced before it.
func sortedByLength(m map[string]string) []string {
	return slices.SortedFunc(maps.Keys(m), func(a, b string) int { return len(b) - len(a) })
}

func authHeader(h http.Header) map[string]string {
	out := map[string]string{}
	for _, name := range []string{"Cookie", "X-N8n-Api-Key", "Content-Type"} {
		if v := h.Get(name); v != "" {
			out[name] = v
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// withoutExpiry takes the one value out of a request that differs from run to run.
func withoutExpiry(body []byte) json.RawMessage {
	var m map[string]any
	if json.Unmarshal(body, &m) != nil || m["expiresAt"] == nil {
		return body
	}
	m["expiresAt"] = 0
	out, _ := json.Marshal(m)
	return out
}

// played runs the test's Install against a recording, or, with -record, against the real n8n. Before that,
// prepare may bring the real n8n into a state by itself; replaying skips it.
func played(t *testing.T, name string, prepare func(t *testing.T, owner *adminClient), cfg InstallConfig) (InstallResult, error) {
	t.Helper()
	file := filepath.Join("testdata", "recorded", name+".json")
	if *record {
		prepareReal(t, prepare)
		rec := &recorder{secrets: map[string]string{}, password: *recordPassword}
		cfg.URL, cfg.OwnerEmail = *recordURL, *recordOwner
		cfg.HTTP = &http.Client{Transport: rec}
		if cfg.OwnerPassword == tapePassword {
			cfg.OwnerPassword = *recordPassword
		}
		res, err := Install(t.Context(), cfg)
		rec.save(t, file)
		return res, err
	}
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	p := &tape{t: t}
	require.NoError(t, json.Unmarshal(b, &p.left))
	server := httptest.NewServer(p)
	defer server.Close()
	cfg.URL = server.URL
	res, err := Install(t.Context(), cfg)
	assert.Empty(t, p.left, "the real run made further calls")
	return res, err
}

func prepareReal(t *testing.T, prepare func(*testing.T, *adminClient)) {
	if prepare == nil {
		return
	}
	t.Helper()
	c := newAdminClient(*recordURL, nil)
	defer c.close()
	ctx := t.Context()
	require.NoError(t, c.waitReady(ctx))
	require.NoError(t, c.login(ctx, *recordOwner, *recordPassword))
	require.NoError(t, c.createKey(ctx, testTime()))
	prepare(t, c)
	require.NoError(t, c.dropKey(context.WithoutCancel(ctx)))
}
