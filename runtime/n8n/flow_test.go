package n8n

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

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
		`{"parts":[{"media":{"id":7}}]}`:        1,
		`{"parts":[{"text":"x","media":{"base64":"aGk=","mimetype":"text/plain"}}]}`: 1,
		`{"parts":[{"media":{"base64":"aGk=","mimetype":"text/plain","id":1}}]}`:     -1,
		`{"parts":[{"media":{}}]}`:                                                           -1,
		`{"parts":[{"media":{"base64":"!","mimetype":"text/plain"}}]}`:                       -1,
		`{"parts":[{"media":{"base64":"aGk="}}]}`:                                            -1,
		`{"parts":[{"media":{"id":7,"kind":"sticker"}}]}`:                                    -1,
		`{"parts":[{"media":{"base64":"aGk=","mimetype":"text/plain","file_name":"../a"}}]}`: -1,
		`{"parts":[],"handover":{"to":"queue","reason":"r","context":{"a":1}}}`:              0,
		`{"handover":{"to":"human:ana"}}`:                                                    0,
		`{"parts":[{"text":"tchau"}],"close":{"reason":"solved"}}`:                           1,
		`{"close":{}}`: 0,
		`{"parts":[],"close":{},"handover":{"to":"queue"}}`:                                  -1,
		`{"parts":[],"handover":{"to":"ana"}}`:                                               -1,
		`{"parts":[],"handover":{}}`:                                                         -1,
		`{"parts":[],"handover":{"to":"queue","context":[1]}}`:                               -1,
		`{"parts":[],"handover":{"to":"queue","reason":"` + strings.Repeat("x", 201) + `"}}`: -1,
		many: -1,
		`{"parts":[{"text":"` + strings.Repeat("x", conversation.MaxPartTextBytes+1) + `"}]}`: -1,
	} {
		parts, err := parseFlowAnswer([]byte(answer))
		if want < 0 {
			assert.Error(t, err, answer)
			continue
		}
		assert.NoError(t, err, answer)
		assert.Len(t, parts.Parts, want, answer)
	}
}

func TestAnswerInTheDomainsWords(t *testing.T) {
	t.Parallel()
	a, err := parseFlowAnswer([]byte(`{"parts":[{"text":"um","delay_ms":500},{"text":"veja","media":{"base64":"aGk=","mimetype":"Image/PNG","file_name":"a.png"}},
		{"media":{"id":7,"kind":"document"}}],"handover":{"to":"ai:vendas","reason":"r","context":{"a":1}}}`))
	require.NoError(t, err)
	require.Equal(t, []conversation.Part{
		{Text: "um", Delay: 500 * time.Millisecond},
		{Text: "veja", Content: &conversation.Content{Kind: conversation.MediaImage, Mimetype: "Image/PNG", FileName: "a.png", Bytes: []byte("hi")}},
		{Media: &conversation.PartMedia{ID: 7, Kind: conversation.MediaDocument}},
	}, a.Parts)
	require.Equal(t, &conversation.Then{Verb: conversation.VerbPass, To: conversation.Owner{Kind: conversation.OwnedByAI, ID: "vendas"},
		Reason: "r", Context: []byte(`{"a":1}`)}, a.Then)
}

// TestAttachmentsAreBounded: the largest answer is read, and one over it is refused without being read to its end.
func TestAttachmentsAreBounded(t *testing.T) {
	t.Parallel()
	for content, fits := range map[int]bool{conversation.MaxContentBytes: true, conversation.MaxContentBytes + 1: false, 4 * conversation.MaxContentBytes: false} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"parts":[{"media":{"mimetype":"image/png","base64":"%s"}}]}`, base64.StdEncoding.EncodeToString(make([]byte, content)))
		}))
		c := NewFlowClient(FlowConfig{URL: s.URL})
		a, err := c.Ask(t.Context(), conversation.Turn{Flow: "f"})
		s.Close()
		require.Empty(t, c.large, "the place is free again")
		if !fits {
			var fe *conversation.FlowError
			require.ErrorAs(t, err, &fe)
			require.False(t, fe.Retry)
			require.NotContains(t, err.Error(), "AAAA", "nothing of it is repeated")
			continue
		}
		require.NoError(t, err)
		require.Len(t, a.Parts[0].Content.Bytes, content)
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for said, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-1": 0, "soon": 0, "Fri, 01 May 2026 12:00:30 GMT": 30 * time.Second, "Fri, 01 May 2026 11:00:00 GMT": 0,
	} {
		require.Equal(t, want, retryAfter(http.Header{"Retry-After": {said}}, now), said)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "9")
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer s.Close()
	_, err := NewFlowClient(FlowConfig{URL: s.URL}).Ask(t.Context(), conversation.Turn{})
	var fe *conversation.FlowError
	require.ErrorAs(t, err, &fe)
	require.Equal(t, 9*time.Second, fe.After)
}

// TestRequestIsTheContract compares what a flow is sent with testdata/turn.json, byte for byte: flows in the field read it.
func TestRequestIsTheContract(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.FixedZone("BRT", -3*60*60))
	key, err := conversation.NewTurnKey(make([]byte, conversation.MinTurnKeyBytes))
	require.NoError(t, err)
	ref := conversation.TurnRef{Tenant: "default", Conversation: 42, No: 3, Epoch: 7, Gen: 1, Deadline: at.Add(2 * time.Minute), Cluster: 1}
	turn := conversation.Turn{
		TurnRef: ref, Token: "token", Channel: "principal", Flow: "atendimento", Trace: key.Trace(ref),
		Contact: conversation.Contact{JID: "5511988887777@s.whatsapp.net", Name: "Maria"},
		Messages: []conversation.Message{
			{ID: "A1", TS: at.UTC(), Type: "text", Text: "oi"},
			{ID: "A2", TS: at.Add(time.Second).UTC(), Type: "image", Text: "esta", Ref: "A0", Media: &conversation.MessageMedia{
				ID: 9, State: conversation.MediaReady, Media: conversation.Media{Mimetype: "image/jpeg", FileName: "a.jpg", Bytes: 2048}}},
		},
		Background: conversation.Background{
			ContactIDs: []string{"5511988887777@s.whatsapp.net", "99@lid"},
			History: []conversation.Utterance{
				{TS: at.Add(-time.Hour), From: conversation.FromContact, Type: "text", Text: "bom dia"},
				{TS: at.Add(-59 * time.Minute), From: conversation.FromAI, Agent: "atendimento", Type: "text", Text: "Bom dia!"},
				{TS: at.Add(-50 * time.Minute), From: conversation.FromHuman, Agent: "ana", Type: "audio", Media: &conversation.MessageMedia{
					ID: 8, State: conversation.MediaReady, Media: conversation.Media{Mimetype: "audio/ogg"}}},
				{TS: at.Add(-40 * time.Minute), From: conversation.FromSystem, Agent: "router", Type: "text", Text: "Um momento."},
			},
			Stretch:  &conversation.Stretch{Agent: "human:ana", From: 2, To: 4, Began: at.Add(-55 * time.Minute), Ended: at.Add(-30 * time.Minute)},
			Handover: &conversation.Handover{By: "human:ana", At: at.Add(-30 * time.Minute), Reason: "solved", Context: []byte(`{"order":"A-1"}`)},
		},
	}
	ask := func(turn conversation.Turn) (body []byte, header http.Header) {
		s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			body, _ = io.ReadAll(r.Body)
			header = r.Header
		}))
		defer s.Close()
		_, err := NewFlowClient(FlowConfig{URL: s.URL, Token: "t"}).Ask(t.Context(), turn)
		require.Error(t, err, "nothing is no answer")
		return body, header
	}
	body, header := ask(turn)
	var pretty bytes.Buffer
	require.NoError(t, json.Indent(&pretty, body, "", "  "))
	pretty.WriteByte('\n')
	want, err := os.ReadFile("testdata/turn.json")
	require.NoError(t, err)
	require.Equal(t, string(want), pretty.String())
	require.Equal(t, []string{"application/json", "t", "42/3"},
		[]string{header.Get("Content-Type"), header.Get("X-Plantao-Token"), header.Get("Idempotency-Key")})

	// Another generation is another attempt of one turn: who follows it sees one trace.
	ref.Gen++
	require.Equal(t, turn.Trace, key.Trace(ref))
	require.Equal(t, turn.Trace.Parent(), header.Get("Traceparent"))
	require.Regexp(t, "^00-[0-9a-f]{32}-[0-9a-f]{16}-01$", header.Get("Traceparent"))
	require.NotContains(t, header.Get("Traceparent"), "00000000")
	ref.No++
	require.NotEqual(t, turn.Trace, key.Trace(ref))

	// Lists are there also when they are empty; what there is nothing of is not.
	body, _ = ask(conversation.Turn{TurnRef: ref})
	var bare map[string]any
	require.NoError(t, json.Unmarshal(body, &bare))
	require.Equal(t, []any{}, bare["history"])
	require.Equal(t, []any{}, bare["messages"])
	require.Equal(t, []any{}, bare["contact"].(map[string]any)["ids"])
	require.NotContains(t, bare, "human_stretch")
	require.NotContains(t, bare, "handover")
}

func TestAskClassifies(t *testing.T) {
	t.Parallel()
	for status, retry := range map[int]bool{
		404: true, 408: true, 429: true, 500: true, 502: true, 503: true, 400: false, 401: false, 403: false, 422: false, 302: false, 204: false,
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			assert.Equal(t, "/webhook/a/b%20c", r.URL.EscapedPath())
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Location", "/elsewhere") // where nobody should go
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
