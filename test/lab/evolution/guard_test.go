package main

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestGuards(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	token := l.channel("principal", "EVOLUTION", "5511900000000")
	other := l.channel("other", "EVOLUTION", "5511900000001")
	valid := `{"number":"5511987654321","text":"oi"}`
	for _, tt := range []struct {
		name, key, method, path, body string
		status                        int
		message                       any
	}{
		{"unknown instance comes before the key", "", "POST", "/message/sendText/nobody", valid, 404, message(`The "nobody" instance does not exist`)},
		{"no key", "", "POST", "/message/sendText/principal", valid, 401, "Unauthorized"},
		{"wrong key", "x", "POST", "/message/sendText/principal", valid, 401, "Unauthorized"},
		{"token of another instance", other, "POST", "/message/sendText/principal", valid, 401, "Unauthorized"},
		{"key comes before validation", "x", "POST", "/message/sendText/principal", `{}`, 401, "Unauthorized"},
		{"create needs the global key", token, "POST", "/instance/create", `{"instanceName":"n","integration":"EVOLUTION"}`, 401, "Unauthorized"},
		{"create without a key", "", "POST", "/instance/create", `{"instanceName":"n","integration":"EVOLUTION"}`, 401, "Unauthorized"},
		{"a taken name comes before the key", "", "POST", "/instance/create", `{"instanceName":"principal"}`, 403, message(`This name "principal" is already in use.`)},
		{"list without a key", "", "GET", "/instance/fetchInstances", "", 401, "Unauthorized"},
		{"list with an unknown token", "x", "GET", "/instance/fetchInstances", "", 401, "Unauthorized"},
		{"unknown route", globalKey, "GET", "/nothing/here?x=1", "", 404, message("Cannot GET /nothing/here?x=1")},
		{"known path, other method", globalKey, "GET", "/message/sendText/principal", "", 404, message("Cannot GET /message/sendText/principal")},
		{"no control routes on the API port", globalKey, "GET", "/lab/sent", "", 404, message("Cannot GET /lab/sent")},
		{"no manager", "", "GET", "/manager", "", 404, message("Cannot GET /manager")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, got := l.doAs(tt.key, tt.method, tt.path, tt.body)
			refused(t, tt.status, tt.message, status, got)
		})
	}
	t.Run("the token opens its own instance", func(t *testing.T) {
		status, _ := l.doAs(token, "GET", "/instance/connectionState/principal", "")
		assert.Equal(t, http.StatusOK, status)
	})
}

func TestWelcomeNeedsNoKey(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	status, got := l.doAs("", "GET", "/", "")
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, "2.3.7", got.(map[string]any)["version"])
	assert.NotContains(t, got, "manager")
}

func TestBodyParser(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.channel("principal", "EVOLUTION", "5511900000000")
	const path = "/message/sendText/principal"
	title := func(got any) any { return got.(map[string]any)["error"] }

	status, got := l.doAs("", "POST", path, `{"number":`)
	assert.Equal(t, http.StatusBadRequest, status, "before the key")
	assert.Equal(t, "Internal Server Error", title(got), "the parser's errors carry this title")

	status, got = l.do("POST", path, `"text"`)
	assert.Equal(t, http.StatusBadRequest, status)
	assert.Equal(t, "Internal Server Error", title(got))

	status, got = l.do("POST", path, `[{"number":"55"}]`)
	refused(t, 400, message(message(`instance requires property "number"`, `instance requires property "text"`)), status, got)

	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, l.api+path, strings.NewReader(`{"number":"5511987654321","text":"oi"}`))
	require.NoError(t, err)
	req.Header.Set("apikey", globalKey)
	status, got = exchange(t, req)
	refused(t, 400, message(message(`instance requires property "number"`, `instance requires property "text"`)), status, got)
}

func TestBodyLimit(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	for _, tt := range []struct {
		bytes int
		want  string
	}{{136<<20 + 1, "HTTP/1.1 413"}, {136 << 20, "HTTP/1.1 100"}} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(l.api, "http://"))
		require.NoError(t, err)
		// The length alone decides: a body within the limit is asked for.
		fmt.Fprintf(conn, "POST /webhook/evolution HTTP/1.1\r\nHost: e\r\nContent-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", tt.bytes)
		answer := make([]byte, len(tt.want))
		_, err = conn.Read(answer)
		require.NoError(t, err)
		assert.Equal(t, tt.want, string(answer))
		require.NoError(t, conn.Close())
	}
}

func TestListedOriginsRefuseServers(t *testing.T) {
	t.Parallel()
	l := newLab(t, map[string]string{"CORS_ORIGIN": "https://panel.example.com"})
	status, got := l.do("GET", "/instance/fetchInstances", "")
	refused(t, 500, "Not allowed by CORS", status, got)

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, l.api+"/instance/fetchInstances", nil)
	require.NoError(t, err)
	req.Header.Set("apikey", globalKey)
	req.Header.Set("Origin", "https://panel.example.com")
	status, _ = exchange(t, req)
	assert.Equal(t, http.StatusOK, status)
}

func TestUnimitatedRouteSaysSo(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	for _, path := range []string{"/group/create/principal", "/chatwoot/webhook/principal", "/chat/findChats/principal"} {
		status, got := l.do("POST", path, `{}`)
		assert.Equal(t, http.StatusNotImplemented, status)
		assert.Equal(t, "Stand-in", got.(map[string]any)["error"])
	}
}
