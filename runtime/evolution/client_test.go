package evolution

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

const jid = "5511988887777@s.whatsapp.net"

func newServer(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c := NewClient(ClientConfig{URL: s.URL + "/", APIKey: "k", Timeout: 500 * time.Millisecond})
	t.Cleanup(c.Close)
	return c
}

func outcomeOf(t *testing.T, err error) conversation.SendOutcome {
	t.Helper()
	var se *conversation.SendError
	require.True(t, errors.As(err, &se), "%v", err)
	return se.Outcome
}

func inAMinute() time.Time { return time.Now().Add(time.Minute) }

func TestSendTextOutcomes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
		want    conversation.SendOutcome
	}{
		{"bad request", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(400) }, conversation.SendRefused},
		{"wrong key", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }, conversation.SendRefused},
		{"redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/x", 307) }, conversation.SendRefused},
		{"too many", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) }, conversation.SendNothing},
		{"timeout status", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(408) }, conversation.SendUnknown},
		{"server error", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, conversation.SendUnknown},
		{"no id", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"key":{}}`) }, conversation.SendUnknown},
		{"hang up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, conversation.SendUnknown},
		{"silence", func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}, conversation.SendUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := newServer(t, c.handler).SendText(t.Context(), "p", jid, "oi", inAMinute())
			assert.Equal(t, c.want, outcomeOf(t, err), "%v", err)
		})
	}
}

func TestSendTextWritesNothingWhenRefusedOrLate(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	url := "http://" + listener.Addr().String()
	require.NoError(t, listener.Close())
	_, err = NewClient(ClientConfig{URL: url}).SendText(t.Context(), "p", jid, "oi", inAMinute())
	assert.Equal(t, conversation.SendNothing, outcomeOf(t, err))

	var requests atomic.Int32
	c := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		assert.Equal(t, "k", r.Header.Get("apikey"))
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"key":{"id":"ID","remoteJid":"551188887777@s.whatsapp.net"}}`)
	})
	// On a fresh connection and on a kept one, with a body that fits one write and one that does not.
	for _, text := range []string{"oi", strings.Repeat("x", 30_000)} {
		_, err = c.SendText(t.Context(), "p", jid, text, time.Now())
		assert.Equal(t, conversation.SendNothing, outcomeOf(t, err))
		require.ErrorIs(t, err, errLate)
		d, err := c.SendText(t.Context(), "p", jid, text, inAMinute())
		require.NoError(t, err)
		assert.Equal(t, conversation.Delivery{MessageID: "ID", ChatJID: "551188887777@s.whatsapp.net"}, d)
	}
	assert.EqualValues(t, 2, requests.Load())
}

func TestSentSinceReadsBothShapesAndAllForms(t *testing.T) {
	t.Parallel()
	record := func(id, chat string, at string) string {
		return `{"key":{"id":"` + id + `","remoteJid":"` + chat + `","fromMe":true},"message":{"conversation":"oi"},"messageTimestamp":` + at + `}`
	}
	all := "[" + record("old", jid, "999") + "," + record("a", jid, "1000") + "," + record("b", "551188887777", "1001") + "," +
		record("other", "5521988887777@s.whatsapp.net", "1001") + "]"
	for _, answer := range []string{all, `{"messages":{"total":4,"records":` + all + `}}`} {
		c := newServer(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer) })
		found, err := c.SentSince(context.Background(), "p", jid, time.Unix(1000, 0))
		require.NoError(t, err)
		require.Len(t, found, 2)
		assert.Equal(t, []string{"b", "a"}, []string{found[0].MessageID, found[1].MessageID})
	}
}
