package n8n

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"plantao/runtime/conversation"
	"plantao/runtime/dial"
)

// Bounds of a flow's answer.
const (
	// smallFlowAnswerBytes is what any answer may have in memory; more only largeAnswersAtOnce.
	smallFlowAnswerBytes = 1 << 20
	largeAnswersAtOnce   = 2
	// maxFlowAnswerBytes: the attachments as base64, and the texts.
	maxFlowAnswerBytes = conversation.MaxContentBytes/3*4 + smallFlowAnswerBytes
	maxFlowParts       = 20
)

// FlowConfig says how to reach the flows.
type FlowConfig struct {
	URL   string
	Token string // sent as X-Plantao-Token; the workflow's header credential
}

// FlowClient implements conversation.Flow: it posts turns to n8n's production webhooks.
type FlowClient struct {
	base  string
	token string
	http  *http.Client
	large chan struct{} // one for each large answer in memory
}

var _ conversation.Flow = (*FlowClient)(nil)

// NewFlowClient dials nothing. Calls are bounded by their context alone: a flow may think until the turn's deadline.
func NewFlowClient(c FlowConfig) *FlowClient {
	return &FlowClient{
		base: strings.TrimRight(c.URL, "/"), token: c.Token, large: make(chan struct{}, largeAnswersAtOnce),
		http: &http.Client{
			Transport: &http.Transport{
				DialContext:         dial.To(c.URL).DialContext,
				MaxIdleConnsPerHost: 16,
				IdleConnTimeout:     60 * time.Second,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Close drops idle connections.
func (c *FlowClient) Close() { c.http.CloseIdleConnections() }

// flowRequest is the turn contract's request: docs/turn.md has it for people, testdata/turn.json as it is on the wire.
type flowRequest struct {
	Turn     flowTurn               `json:"turn"`
	Agent    string                 `json:"agent"`
	Channel  string                 `json:"channel"`
	Contact  flowContact            `json:"contact"`
	Messages []conversation.Message `json:"messages"`
	History  []flowUtterance        `json:"history"`
	Stretch  *flowStretch           `json:"human_stretch,omitempty"`
	Handover *flowHandover          `json:"handover,omitempty"`
}

type flowTurn struct {
	Conversation conversation.ID `json:"conversation"`
	No           int             `json:"no"`
	Epoch        int64           `json:"epoch"`
	Gen          int             `json:"gen"`
	Token        string          `json:"token"`
	Deadline     time.Time       `json:"deadline"`
}

type flowContact struct {
	ID   string   `json:"id"`
	Name string   `json:"name"`
	IDs  []string `json:"ids"`
}

type flowUtterance struct {
	TS    time.Time                  `json:"ts"`
	From  conversation.Speaker       `json:"from"`
	Agent string                     `json:"agent,omitempty"`
	Type  string                     `json:"type"`
	Text  string                     `json:"text"`
	Media *conversation.MessageMedia `json:"media,omitempty"`
}

type flowStretch struct {
	From     int64     `json:"from"`
	To       int64     `json:"to"`
	Agent    string    `json:"agent"`
	Began    time.Time `json:"began"`
	Ended    time.Time `json:"ended"`
	Messages int64     `json:"messages"`
}

type flowHandover struct {
	By      string          `json:"by"`
	At      time.Time       `json:"at"`
	Reason  string          `json:"reason,omitempty"`
	Context json.RawMessage `json:"context"`
}

type flowAnswer struct {
	Parts    *[]conversation.Draft       `json:"parts"`
	Handover *conversation.DraftHandover `json:"handover"`
	Close    *conversation.DraftClose    `json:"close"`
}

func requestOf(t conversation.Turn) flowRequest {
	r := flowRequest{
		Turn: flowTurn{
			Conversation: t.Conversation, No: t.No, Epoch: t.Epoch, Gen: t.Gen, Token: t.Token, Deadline: t.Deadline.UTC(),
		},
		Agent: t.Flow, Channel: t.Channel, Contact: flowContact{ID: t.Contact.JID, Name: t.Contact.Name, IDs: t.Background.ContactIDs},
		Messages: t.Messages, History: make([]flowUtterance, 0, len(t.Background.History)),
	}
	// Lists are lists, also where there is nothing: a flow may read them without a question.
	if r.Contact.IDs == nil {
		r.Contact.IDs = []string{}
	}
	if r.Messages == nil {
		r.Messages = []conversation.Message{}
	}
	for _, u := range t.Background.History {
		r.History = append(r.History, flowUtterance{TS: u.TS.UTC(), From: u.From, Agent: u.Agent, Type: u.Type, Text: u.Text, Media: u.Media})
	}
	if s := t.Background.Stretch; s != nil {
		r.Stretch = &flowStretch{From: s.From, To: s.To, Agent: s.Agent, Began: s.Began.UTC(), Ended: s.Ended.UTC(), Messages: s.Messages()}
	}
	if h := t.Background.Handover; h != nil {
		r.Handover = &flowHandover{By: h.By, At: h.At.UTC(), Reason: h.Reason, Context: h.Context}
	}
	return r
}

// Ask implements conversation.Flow.
func (c *FlowClient) Ask(ctx context.Context, t conversation.Turn) (conversation.Answer, error) {
	body, err := json.Marshal(requestOf(t))
	if err != nil {
		return conversation.Answer{}, &conversation.FlowError{Err: fmt.Errorf("write turn: %w", err)}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/webhook/"+escapePath(t.Flow), bytes.NewReader(body))
	if err != nil {
		return conversation.Answer{}, &conversation.FlowError{Err: fmt.Errorf("make request: %w", err)}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("X-Plantao-Token", c.token)
	req.Header.Set("Idempotency-Key", t.Conversation.String()+"/"+strconv.Itoa(t.No))
	req.Header.Set("Traceparent", t.Trace.Parent())

	resp, err := c.http.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return conversation.Answer{}, &conversation.FlowError{Retry: true, Err: err}
	}
	defer resp.Body.Close()
	return c.readAnswer(ctx, resp)
}

func (c *FlowClient) readAnswer(ctx context.Context, resp *http.Response) (conversation.Answer, error) {
	if resp.StatusCode == http.StatusAccepted {
		return conversation.Answer{}, conversation.ErrAnswersLater
	}
	if code := resp.StatusCode; code != http.StatusOK {
		return conversation.Answer{}, &conversation.FlowError{
			Retry: transientFlowStatus(code), Status: code, After: retryAfter(resp.Header, time.Now()), Err: errors.New(http.StatusText(code)),
		}
	}
	answer, release, err := c.read(ctx, resp.Body)
	defer release()
	if err != nil {
		return conversation.Answer{}, &conversation.FlowError{Retry: true, Status: http.StatusOK, Err: fmt.Errorf("read answer: %w", err)}
	}
	a, err := parseFlowAnswer(answer)
	if err != nil {
		return conversation.Answer{}, &conversation.FlowError{Status: http.StatusOK, Err: err}
	}
	return a, nil
}

// read reads an answer's body. One that carries attachments waits until not many of its kind are in memory.
func (c *FlowClient) read(ctx context.Context, body io.Reader) (answer []byte, release func(), err error) {
	release = func() {}
	answer, err = io.ReadAll(io.LimitReader(body, smallFlowAnswerBytes+1))
	if err != nil || len(answer) <= smallFlowAnswerBytes {
		return answer, release, err
	}
	select {
	case c.large <- struct{}{}:
		release = func() { <-c.large }
	case <-ctx.Done():
		return nil, release, ctx.Err()
	}
	rest, err := io.ReadAll(io.LimitReader(body, maxFlowAnswerBytes+1-int64(len(answer))))
	return append(answer, rest...), release, err
}

// transientFlowStatus: n8n answers 404 while a workflow is not published yet or the server is starting.
func transientFlowStatus(code int) bool {
	switch code {
	case http.StatusNotFound, http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return code >= 500
}

// retryAfter is how long the flow wants not to be asked: seconds, or a date. Zero: it says nothing that can be read.
func retryAfter(h http.Header, now time.Time) time.Duration {
	said := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(said, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(said); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

func parseFlowAnswer(answer []byte) (conversation.Answer, error) {
	fail := func(format string, args ...any) (conversation.Answer, error) {
		return conversation.Answer{}, fmt.Errorf(format, args...)
	}
	if len(answer) > maxFlowAnswerBytes {
		return fail("answer is over %d bytes", maxFlowAnswerBytes)
	}
	answer = bytes.TrimSpace(answer)
	if len(answer) == 0 {
		return fail("answer is empty: the flow must end in a Respond to Webhook node with {\"parts\":[…]}")
	}
	var one flowAnswer
	if answer[0] == '[' { // n8n wraps the items of its last node in a list
		var list []flowAnswer
		if json.Unmarshal(answer, &list) != nil || len(list) != 1 {
			return fail("answer is a list that does not hold exactly one {\"parts\":[…]}")
		}
		one = list[0]
	} else if json.Unmarshal(answer, &one) != nil {
		return fail("answer is not {\"parts\":[…]}")
	}
	then, err := conversation.DraftThen(one.Handover, one.Close)
	switch {
	case err != nil:
		return fail("what follows the answer: %w", err)
	case one.Parts == nil && then == nil:
		return fail("answer has no \"parts\"; an empty list means silence")
	case one.Parts == nil:
		one.Parts = &[]conversation.Draft{}
	case len(*one.Parts) > maxFlowParts:
		return fail("answer has %d parts, at most %d are sent", len(*one.Parts), maxFlowParts)
	}
	parts, err := conversation.DraftParts(*one.Parts)
	if err != nil {
		return conversation.Answer{}, err
	}
	return conversation.Answer{Parts: parts, Then: then}, nil
}

// escapePath escapes a webhook path segment by segment: n8n allows slashes in it.
func escapePath(path string) string {
	segments := strings.Split(strings.Trim(path, "/"), "/")
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	return strings.Join(segments, "/")
}
