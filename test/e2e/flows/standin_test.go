//go:build e2e

package flows

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	turnToken = "turn-token"
	modelKey  = "the-key-of-the-model"
)

// listen serves on this machine's address in the containers' network.
func listen(t *testing.T, address string, h http.Handler) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort(address, "0"))
	require.NoError(t, err)
	s := httptest.NewUnstartedServer(h)
	s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

// router is the router's API as far as a flow uses it: may this turn still act?
type router struct {
	t  *testing.T
	mu sync.Mutex
	// status is what it answers to a check with the right token.
	status int
	checks int
}

func (r *router) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checks++
	assert.Equal(r.t, "POST /v1/conversations/42/turns/7/check", req.Method+" "+req.URL.Path)
	w.Header().Set("Content-Type", "application/json")
	if req.Header.Get("X-Plantao-Turn-Token") != turnToken {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	w.WriteHeader(r.status)
	_, _ = io.WriteString(w, `{"conversation":"42","no":7,"epoch":1,"gen":1,"state":"running","remaining_seconds":100}`)
}

func (r *router) answers(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status, r.checks = status, 0
}

func (r *router) seen() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.checks
}

// question is one request to the model.
type question struct {
	Model    string
	Messages []struct{ Role, Content string }
}

// model speaks OpenAI's chat completions.
type model struct {
	t     *testing.T
	mu    sync.Mutex
	reply func(w http.ResponseWriter, r *http.Request)
	asked []question
}

func (m *model) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q question
	assert.Equal(m.t, "POST /v1/chat/completions", r.Method+" "+r.URL.Path)
	assert.Equal(m.t, "Bearer "+modelKey, r.Header.Get("Authorization"))
	assert.NoError(m.t, json.NewDecoder(r.Body).Decode(&q))
	m.mu.Lock()
	m.asked = append(m.asked, q)
	reply := m.reply
	m.mu.Unlock()
	reply(w, r)
}

// will sets what it answers from now on and forgets what it was asked.
func (m *model) will(reply func(http.ResponseWriter, *http.Request)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reply, m.asked = reply, nil
}

func (m *model) questions() []question {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.asked
}

func says(text string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{
			"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
			"choices": []any{map[string]any{"index": 0, "finish_reason": "stop", "message": map[string]any{"role": "assistant", "content": text}}},
			"usage":   map[string]any{"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
		})
	}
}

func refuses(status int) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"error":{"message":"no","type":"server_error","code":null}}`)
	}
}

// hangs says nothing until the caller has given up.
func hangs(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func contentOf(q question, role string) string {
	var all []string
	for _, m := range q.Messages {
		if m.Role == role {
			all = append(all, m.Content)
		}
	}
	return strings.Join(all, "\n")
}
