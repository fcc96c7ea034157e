package n8n

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"plantao/runtime/conversation"
)

// Bounds of a flow's answer.
const (
	maxFlowAnswerBytes = 1 << 20
	maxFlowParts       = 20
	maxFlowTextBytes   = 64 << 10 // WhatsApp takes 65,536 characters; more is a mistake of the flow
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
}

var _ conversation.Flow = (*FlowClient)(nil)

// NewFlowClient dials nothing. Calls are bounded by their context alone: a flow may think until the turn's deadline.
func NewFlowClient(c FlowConfig) *FlowClient {
	return &FlowClient{
		base: strings.TrimRight(c.URL, "/"), token: c.Token,
		http: &http.Client{
			Transport: &http.Transport{
				DialContext:         (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
				MaxIdleConnsPerHost: 16,
				IdleConnTimeout:     60 * time.Second,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Close drops idle connections.
func (c *FlowClient) Close() { c.http.CloseIdleConnections() }

type flowTurn struct {
	Conversation conversation.ID `json:"conversation"`
	No           int             `json:"no"`
	Epoch        int64           `json:"epoch"`
	Gen          int             `json:"gen"`
	Token        string          `json:"token"`
	Deadline     time.Time       `json:"deadline"`
}

type flowContact struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type flowRequest struct {
	Turn     flowTurn               `json:"turn"`
	Channel  string                 `json:"channel"`
	Contact  flowContact            `json:"contact"`
	Messages []conversation.Message `json:"messages"`
}

type flowAnswer struct {
	Parts *[]flowPart `json:"parts"`
}

type flowPart struct {
	Text *string `json:"text"`
	// DelayMS is how long the part seems to be typed.
	DelayMS int64 `json:"delay_ms"`
}

// Ask implements conversation.Flow.
func (c *FlowClient) Ask(ctx context.Context, t conversation.Turn) ([]conversation.Part, error) {
	body, err := json.Marshal(flowRequest{
		Turn: flowTurn{
			Conversation: t.Conversation, No: t.No, Epoch: t.Epoch, Gen: t.Gen, Token: t.Token, Deadline: t.Deadline.UTC(),
		},
		Channel: t.Channel, Contact: flowContact{ID: t.Contact.JID, Name: t.Contact.Name}, Messages: t.Messages,
	})
	if err != nil {
		return nil, &conversation.FlowError{Err: fmt.Errorf("write turn: %w", err)}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/webhook/"+escapePath(t.Flow), bytes.NewReader(body))
	if err != nil {
		return nil, &conversation.FlowError{Err: fmt.Errorf("make request: %w", err)}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("X-Plantao-Token", c.token)
	req.Header.Set("Idempotency-Key", t.Conversation.String()+"/"+strconv.Itoa(t.No))
	req.Header.Set("Traceparent", traceparent())

	resp, err := c.http.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, &conversation.FlowError{Retry: true, Err: err}
	}
	defer resp.Body.Close()
	return readFlowAnswer(resp)
}

func readFlowAnswer(resp *http.Response) ([]conversation.Part, error) {
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxFlowAnswerBytes+1))
	if resp.StatusCode == http.StatusAccepted {
		return nil, conversation.ErrAnswersLater
	}
	if code := resp.StatusCode; code != http.StatusOK {
		return nil, &conversation.FlowError{Retry: transientFlowStatus(code), Status: code, Err: errors.New(http.StatusText(code))}
	}
	if err != nil {
		return nil, &conversation.FlowError{Retry: true, Status: http.StatusOK, Err: fmt.Errorf("read answer: %w", err)}
	}
	parts, err := parseFlowAnswer(answer)
	if err != nil {
		return nil, &conversation.FlowError{Status: http.StatusOK, Err: err}
	}
	return parts, nil
}

// transientFlowStatus: n8n answers 404 while a workflow is not published yet or the server is starting.
func transientFlowStatus(code int) bool {
	switch code {
	case http.StatusNotFound, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	}
	return code >= 500
}

func parseFlowAnswer(answer []byte) ([]conversation.Part, error) {
	if len(answer) > maxFlowAnswerBytes {
		return nil, fmt.Errorf("answer is over %d bytes", maxFlowAnswerBytes)
	}
	answer = bytes.TrimSpace(answer)
	if len(answer) == 0 {
		return nil, errors.New("answer is empty: the flow must end in a Respond to Webhook node with {\"parts\":[…]}")
	}
	var one flowAnswer
	if answer[0] == '[' { // n8n wraps the items of its last node in a list
		var list []flowAnswer
		if json.Unmarshal(answer, &list) != nil || len(list) != 1 {
			return nil, errors.New("answer is a list that does not hold exactly one {\"parts\":[…]}")
		}
		one = list[0]
	} else if json.Unmarshal(answer, &one) != nil {
		return nil, errors.New("answer is not {\"parts\":[…]}")
	}
	if one.Parts == nil {
		return nil, errors.New("answer has no \"parts\"; an empty list means silence")
	}
	if len(*one.Parts) > maxFlowParts {
		return nil, fmt.Errorf("answer has %d parts, at most %d are sent", len(*one.Parts), maxFlowParts)
	}
	parts := make([]conversation.Part, 0, len(*one.Parts))
	for i, p := range *one.Parts {
		if p.Text == nil {
			return nil, fmt.Errorf("part %d has no \"text\"", i+1)
		}
		text := strings.ReplaceAll(*p.Text, "\x00", "") // PostgreSQL's text cannot hold it
		switch {
		case strings.TrimSpace(text) == "":
			return nil, fmt.Errorf("part %d has an empty text", i+1)
		case len(text) > maxFlowTextBytes:
			return nil, fmt.Errorf("part %d is over %d bytes", i+1, maxFlowTextBytes)
		}
		delay := time.Duration(p.DelayMS) * time.Millisecond
		if p.DelayMS < 0 || p.DelayMS > conversation.MaxPartDelay.Milliseconds() {
			return nil, fmt.Errorf("part %d has delay_ms %d, which is not between 0 and %d", i+1, p.DelayMS, conversation.MaxPartDelay.Milliseconds())
		}
		parts = append(parts, conversation.Part{Text: text, Delay: delay})
	}
	return parts, nil
}

// escapePath escapes a webhook path segment by segment: n8n allows slashes in it.
func escapePath(path string) string {
	segments := strings.Split(strings.Trim(path, "/"), "/")
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	return strings.Join(segments, "/")
}

// traceparent starts a W3C trace: version 00, sampled.
func traceparent() string {
	var id [24]byte
	rand.Read(id[:])
	return "00-" + hex.EncodeToString(id[:16]) + "-" + hex.EncodeToString(id[16:]) + "-01"
}
