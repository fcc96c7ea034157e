// Package client speaks to the router's API from Go. Errors are the domain's: errors.Is(err, conversation.ErrStaleEpoch) works
// as it does inside the router, and *Error carries where the conversation stands.
package client

import (
	"bytes"
	"context"
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

	"plantao/runtime/api"
	"plantao/runtime/conversation"
)

// maxAnswerBytes bounds an answer: the largest is a page of 500 audit entries.
const maxAnswerBytes = 8 << 20

// Config says how to reach a router.
type Config struct {
	// URL is the base, as http://router:8080. Required.
	URL string
	// Token is an agent's. It is sent to URL and nowhere else: redirects are not followed.
	Token string
	// Timeout bounds one call. Zero means 15 s.
	Timeout time.Duration
	// Transport carries the requests. Nil means one of the client's own.
	Transport http.RoundTripper
	// Host overrides the Host header, where an ingress tells services by it. Empty: the URL's.
	Host string
}

// Client is safe for concurrent use.
type Client struct {
	c    Config
	http *http.Client
}

// New makes a Client; it dials nothing.
func New(c Config) (*Client, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("router url %q is not http://host:port or https://host", c.URL)
	}
	c.URL = strings.TrimRight(c.URL, "/")
	if c.Timeout == 0 {
		c.Timeout = 15 * time.Second
	}
	if c.Transport == nil {
		c.Transport = &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
			MaxIdleConnsPerHost: 16, IdleConnTimeout: 90 * time.Second,
		}
	}
	return &Client{c: c, http: &http.Client{
		Transport: c.Transport, Timeout: c.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Error is a refusal of the router. It wraps the domain's error of the same code, if there is one.
type Error struct {
	Status int
	Body   api.Error
}

func (e *Error) Error() string {
	s := e.Body.Message
	if now := e.Body.Now; now != nil {
		s += fmt.Sprintf(" (now: %s has it, state %s, epoch %d)", now.Owner, now.State, now.Epoch)
	}
	if len(e.Body.Details) > 0 {
		s += ": " + strings.Join(e.Body.Details, "; ")
	}
	return s
}

func (e *Error) Unwrap() error { return api.ToError(e.Body.Code) }

// ErrUnreachable is a router that did not answer, or a proxy that answered for it: whether anything was done is unknown, and the
// same request with the same key may be sent again.
var ErrUnreachable = errors.New("router does not answer")

// Verb is a verb to be done.
type Verb struct {
	Verb conversation.Verb
	ID   string
	// IfEpoch is the epoch it is meant for; conversation.AnyEpoch only with take.
	IfEpoch int64
	// Key makes it safe to repeat.
	Key string
	api.VerbRequest
}

// Do does a verb.
func (c *Client) Do(ctx context.Context, v Verb) (api.VerbResult, error) {
	header := http.Header{"Idempotency-Key": {v.Key}}
	if v.IfEpoch != conversation.AnyEpoch {
		header.Set("If-Match", strconv.Quote(strconv.FormatInt(v.IfEpoch, 10)))
	}
	var result api.VerbResult
	err := c.call(ctx, http.MethodPost, conversationPath(v.ID)+"/"+string(v.Verb), header, v.VerbRequest, &result)
	return result, err
}

// Get reads a conversation.
func (c *Client) Get(ctx context.Context, id string) (api.Conversation, error) {
	var one api.Conversation
	err := c.call(ctx, http.MethodGet, conversationPath(id), nil, nil, &one)
	return one, err
}

// Filter narrows a list. Zero fields do not narrow; a zero Limit is the router's own page.
type Filter struct {
	State, Owner, Channel, After string
	Limit                        int
}

// List reads one page of conversations.
func (c *Client) List(ctx context.Context, f Filter) (api.Conversations, error) {
	q := url.Values{}
	for name, value := range map[string]string{"state": f.State, "owner": f.Owner, "channel": f.Channel, "after": f.After} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if f.Limit > 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	var list api.Conversations
	err := c.call(ctx, http.MethodGet, "/v1/conversations?"+q.Encode(), nil, nil, &list)
	return list, err
}

// Audit reads one page of a conversation's audit, from the entry after the given one.
func (c *Client) Audit(ctx context.Context, id string, after int64, limit int) (api.AuditTrail, error) {
	var trail api.AuditTrail
	path := fmt.Sprintf("%s/audit?after=%d", conversationPath(id), after)
	if limit > 0 {
		path += fmt.Sprintf("&limit=%d", limit)
	}
	err := c.call(ctx, http.MethodGet, path, nil, nil, &trail)
	return trail, err
}

// Agents lists the agents.
func (c *Client) Agents(ctx context.Context) (api.Agents, error) {
	var list api.Agents
	err := c.call(ctx, http.MethodGet, "/v1/agents", nil, nil, &list)
	return list, err
}

// PutAgent sets an agent's name, capacity and policies, all of them; agent is kind:id.
func (c *Client) PutAgent(ctx context.Context, agent string, r api.AgentRequest) error {
	return c.call(ctx, http.MethodPut, agentPath(agent), nil, r, nil)
}

// PutPresence says how an agent is.
func (c *Client) PutPresence(ctx context.Context, agent string, r api.PresenceRequest) error {
	return c.call(ctx, http.MethodPut, agentPath(agent)+"/presence", nil, r, nil)
}

// Rules reads rules by their version; with an empty one, those in force.
func (c *Client) Rules(ctx context.Context, version string) (api.Rules, error) {
	var r api.Rules
	path := "/v1/rules"
	if version != "" {
		path += "/" + url.PathEscape(version)
	}
	err := c.call(ctx, http.MethodGet, path, nil, nil, &r)
	return r, err
}

// PutRules puts a text of rules in force.
func (c *Client) PutRules(ctx context.Context, text string) (api.RulesStored, error) {
	var done api.RulesStored
	err := c.call(ctx, http.MethodPut, "/v1/rules", nil, api.RulesRequest{Text: text}, &done)
	return done, err
}

// Decisions reads one page of whom the router gave conversations that nobody had since a time; after is what the page before called next.
func (c *Client) Decisions(ctx context.Context, since time.Time, after string, limit int) (api.Decisions, error) {
	q := url.Values{"since": {since.UTC().Format(time.RFC3339Nano)}}
	if after != "" {
		q.Set("after", after)
	}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	var list api.Decisions
	err := c.call(ctx, http.MethodGet, "/v1/decisions?"+q.Encode(), nil, nil, &list)
	return list, err
}

// PromiseFilter narrows a list of promises. Zero fields do not narrow; a zero Limit is the router's own page.
type PromiseFilter struct {
	State, Conversation, After string
	Limit                      int
}

// Promises reads one page of what customers were promised by SLAs.
func (c *Client) Promises(ctx context.Context, f PromiseFilter) (api.Promises, error) {
	q := url.Values{}
	for name, value := range map[string]string{"state": f.State, "conversation": f.Conversation, "after": f.After} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if f.Limit > 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	var list api.Promises
	err := c.call(ctx, http.MethodGet, "/v1/promises?"+q.Encode(), nil, nil, &list)
	return list, err
}

// Turn names a turn by what the flow was sent.
type Turn struct {
	ID    string
	No    int
	Token string
}

func (t Turn) path(verb string) string {
	return conversationPath(t.ID) + "/turns/" + strconv.Itoa(t.No) + "/" + verb
}

func (t Turn) header() http.Header { return http.Header{"X-Plantao-Turn-Token": {t.Token}} }

// Check asks whether the turn may still act.
func (c *Client) Check(ctx context.Context, t Turn) (api.TurnStanding, error) {
	var s api.TurnStanding
	err := c.call(ctx, http.MethodPost, t.path("check"), t.header(), nil, &s)
	return s, err
}

// Renew moves the turn's deadline.
func (c *Client) Renew(ctx context.Context, t Turn, wait time.Duration) (api.TurnStanding, error) {
	var s api.TurnStanding
	err := c.call(ctx, http.MethodPost, t.path("renew"), t.header(), api.RenewRequest{WaitSeconds: wait.Seconds()}, &s)
	return s, err
}

// Reply answers the turn.
func (c *Client) Reply(ctx context.Context, t Turn, parts []api.Part) (api.TurnStanding, error) {
	var s api.TurnStanding
	err := c.call(ctx, http.MethodPost, t.path("replies"), t.header(), api.ReplyRequest{Parts: parts}, &s)
	return s, err
}

// TakeMessages fetches what was written meanwhile into the turn.
func (c *Client) TakeMessages(ctx context.Context, t Turn) (api.TurnMessages, error) {
	var m api.TurnMessages
	err := c.call(ctx, http.MethodPost, t.path("messages"), t.header(), nil, &m)
	return m, err
}

// Answer answers the turn with all an answer may have.
func (c *Client) Answer(ctx context.Context, t Turn, r api.ReplyRequest) (api.TurnStanding, error) {
	var s api.TurnStanding
	err := c.call(ctx, http.MethodPost, t.path("replies"), t.header(), r, &s)
	return s, err
}

// LetterFilter narrows a list of dead letters. Zero fields do not narrow; a zero Limit is the router's own page.
type LetterFilter struct {
	State, Reason, Channel, After string
	Before                        time.Time
	Limit                         int
}

// DeadLetters reads one page of dead letters.
func (c *Client) DeadLetters(ctx context.Context, f LetterFilter) (api.DeadLetters, error) {
	q := url.Values{}
	for name, value := range map[string]string{"state": f.State, "reason": f.Reason, "channel": f.Channel, "after": f.After} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if !f.Before.IsZero() {
		q.Set("before", f.Before.UTC().Format(time.RFC3339Nano))
	}
	if f.Limit > 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	var list api.DeadLetters
	err := c.call(ctx, http.MethodGet, "/v1/dead-letters?"+q.Encode(), nil, nil, &list)
	return list, err
}

// DeadLetter reads one.
func (c *Client) DeadLetter(ctx context.Context, id string) (api.DeadLetter, error) {
	var one api.DeadLetter
	err := c.call(ctx, http.MethodGet, letterPath(id), nil, nil, &one)
	return one, err
}

// Redrive gives a dead letter's messages to an AI again.
func (c *Client) Redrive(ctx context.Context, id string) (api.DeadLetter, error) {
	var one api.DeadLetter
	err := c.call(ctx, http.MethodPost, letterPath(id)+"/redrive", nil, nil, &one)
	return one, err
}

// Drop leaves a dead letter's messages unanswered.
func (c *Client) Drop(ctx context.Context, id, reason string) (api.DeadLetter, error) {
	var one api.DeadLetter
	err := c.call(ctx, http.MethodPost, letterPath(id)+"/drop", nil, api.DropRequest{Reason: reason}, &one)
	return one, err
}

// RedriveAll redrives a piece of those the request names, and DropAll drops it. Next of the result says that there are more.
func (c *Client) RedriveAll(ctx context.Context, r api.LettersRequest) (api.LettersResult, error) {
	return c.decideAll(ctx, "redrive", r)
}

// DropAll is described at RedriveAll.
func (c *Client) DropAll(ctx context.Context, r api.LettersRequest) (api.LettersResult, error) {
	return c.decideAll(ctx, "drop", r)
}

func (c *Client) decideAll(ctx context.Context, what string, r api.LettersRequest) (api.LettersResult, error) {
	var result api.LettersResult
	err := c.call(ctx, http.MethodPost, "/v1/dead-letters/"+what, nil, r, &result)
	return result, err
}

func letterPath(id string) string { return "/v1/dead-letters/" + url.PathEscape(id) }

// Settle says whether an ambiguous part reached the customer.
func (c *Client) Settle(ctx context.Context, id string, no int, r api.SettleRequest) (api.Conversation, error) {
	var one api.Conversation
	err := c.call(ctx, http.MethodPost, Turn{ID: id, No: no}.path("settle"), nil, r, &one)
	return one, err
}

// Acquire takes the conversation lock.
func (c *Client) Acquire(ctx context.Context, id string, r api.LockRequest) (api.Lock, error) {
	var l api.Lock
	err := c.call(ctx, http.MethodPost, conversationPath(id)+"/lock", nil, r, &l)
	return l, err
}

// RenewLock keeps the lock for longer.
func (c *Client) RenewLock(ctx context.Context, id string, r api.LockRequest) (api.Lock, error) {
	var l api.Lock
	err := c.call(ctx, http.MethodPut, conversationPath(id)+"/lock", nil, r, &l)
	return l, err
}

// Release frees the lock.
func (c *Client) Release(ctx context.Context, id, token string) error {
	return c.call(ctx, http.MethodDelete, conversationPath(id)+"/lock", http.Header{"X-Plantao-Lock-Token": {token}}, nil, nil)
}

func conversationPath(id string) string { return "/v1/conversations/" + url.PathEscape(id) }

func agentPath(agent string) string {
	kind, id, _ := strings.Cut(agent, ":")
	return "/v1/agents/" + url.PathEscape(kind) + "/" + url.PathEscape(id)
}

// call sends one request. in nil sends no body, out nil reads none.
func (c *Client) call(ctx context.Context, method, path string, header http.Header, in, out any) error {
	req, err := c.request(ctx, method, path, header, in)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // without the URL
		}
		return fmt.Errorf("%w at %s: %w", ErrUnreachable, c.c.URL, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	if err != nil {
		return fmt.Errorf("%w at %s: read answer: %w", ErrUnreachable, c.c.URL, err)
	}
	if resp.StatusCode >= 300 {
		return refusal(resp.StatusCode, body)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("read answer of %s: %w", c.c.URL, err)
	}
	return nil
}

func (c *Client) request(ctx context.Context, method, path string, header http.Header, in any) (*http.Request, error) {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("write request: %w", err)
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.c.URL+path, body)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.c.Token)
	}
	if c.c.Host != "" {
		req.Host = c.c.Host
	}
	return req, nil
}

// refusal reads an error's body. Whatever is not the router's is an answer of something in between.
func refusal(status int, body []byte) error {
	e := &Error{Status: status}
	if json.Unmarshal(body, &e.Body) != nil || e.Body.Code == "" {
		return fmt.Errorf("%w: something in between answered with status %d", ErrUnreachable, status)
	}
	return e
}
