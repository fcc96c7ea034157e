package n8n

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

func TestParseFlowAnswer(t *testing.T) {
	t.Parallel()
	many := `{"parts":[` + strings.TrimSuffix(strings.Repeat(`{"text":"x"},`, maxFlowParts+1), ",") + `]}`
	for answer, want := range map[string]int{
		`{"parts":[{"text":"a"},{"text":"b"}]}`: 2,
		` [{"parts":[{"text":"a"}]}] `:          1,
		`{"parts":[]}`:                          0,
		`{"parts":[{"text":"a","delay":1}]}`:    1,
		``:                                      -1,
		`[]`:                                    -1,
		`[{"parts":[]},{"parts":[]}]`:           -1,
		`{}`:                                    -1,
		`{"parts":null}`:                        -1,
		`{"parts":"a"}`:                         -1,
		`{"parts":[{}]}`:                        -1,
		`{"parts":[{"text":" "}]}`:              -1,
		`{"parts":[{"text":"\u0000"}]}`:         -1,
		`"a"`:                                   -1,
		many:                                    -1,
		`{"parts":[{"text":"` + strings.Repeat("x", maxFlowTextBytes+1) + `"}]}`: -1,
	} {
		parts, err := parseFlowAnswer([]byte(answer))
		if want < 0 {
			assert.Error(t, err, answer)
			continue
		}
		assert.NoError(t, err, answer)
		assert.Len(t, parts, want, answer)
	}
}

func TestAskClassifies(t *testing.T) {
	t.Parallel()
	for status, retry := range map[int]bool{
		404: true, 408: true, 429: true, 500: true, 502: true, 503: true, 400: false, 401: false, 403: false, 422: false, 302: false, 204: false,
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			assert.Equal(t, "/webhook/a/b%20c", r.URL.EscapedPath())
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(status)
		}))
		_, err := NewFlowClient(FlowConfig{URL: s.URL}).Ask(t.Context(), conversation.Turn{Flow: "a/b c"})
		s.Close()
		var fe *conversation.FlowError
		require.True(t, errors.As(err, &fe))
		assert.Equal(t, status, fe.Status)
		assert.Equal(t, retry, fe.Retry, status)
	}
}
