package chatwoot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"plantao/runtime/dial"
)

const (
	callTimeout    = 10 * time.Second
	maxAnswerBytes = 4 << 20
	// maxReasonBytes is how much of a refusal's text goes into an error.
	maxReasonBytes = 200
)

// StatusError is an answer that is not 2xx.
type StatusError struct {
	Method, Path string
	Status       int
	Reason       string // what the answer says, cut short; may be empty
	location     string
}

// Error names the call, the status and what the answer says.
func (e *StatusError) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("%s %s: status %d", e.Method, e.Path, e.Status)
	}
	return fmt.Sprintf("%s %s: status %d: %s", e.Method, e.Path, e.Status, e.Reason)
}

// client makes the calls. token is a user's access token, set after sign-in.
type client struct {
	base  string
	http  *http.Client
	token Secret
}

func newClient(base string, given *http.Client) *client {
	if given == nil {
		// No proxy from the environment: Chatwoot is a neighbour on the container network.
		given = &http.Client{Transport: &http.Transport{
			DialContext:           dial.To(base).DialContext,
			ResponseHeaderTimeout: callTimeout,
			TLSHandshakeTimeout:   5 * time.Second,
			IdleConnTimeout:       30 * time.Second,
		}}
	}
	own := *given
	// A followed redirect would carry the password or the token to wherever it points.
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client{base: strings.TrimRight(base, "/"), http: &own}
}

// as is the same client with another token.
func (c *client) as(token Secret) *client { return &client{base: c.base, http: c.http, token: token} }

// call sends body as JSON (nil: none) and decodes the answer into out (nil: dropped). It returns the answer's headers.
func (c *client) call(ctx context.Context, method, path string, header http.Header, body, out any) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := c.request(ctx, method, path, header, body)
	if err != nil {
		return nil, err
	}
	return c.do(req, method, path, out)
}

// do sends a request and decodes the answer into out.
func (c *client) do(req *http.Request, method, path string, out any) (http.Header, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		// The cause alone: url.Error would repeat the address.
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes+1))
	if err != nil {
		return nil, fmt.Errorf("%s %s: read answer: %w", method, path, err)
	}
	if len(raw) > maxAnswerBytes {
		return nil, fmt.Errorf("%s %s: the answer is larger than %d bytes", method, path, maxAnswerBytes)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, &StatusError{Method: method, Path: path, Status: resp.StatusCode, Reason: reason(raw), location: resp.Header.Get("Location")}
	}
	if out == nil {
		return resp.Header, nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return nil, fmt.Errorf("%s %s: decode answer: %w", method, path, err)
	}
	return resp.Header, nil
}

func (c *client) request(ctx context.Context, method, path string, header http.Header, body any) (*http.Request, error) {
	var content io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("%s %s: encode request: %w", method, path, err)
		}
		content = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, content)
	if err != nil {
		return nil, fmt.Errorf("%s %s: build request: %w", method, path, err)
	}
	if header != nil {
		req.Header = header.Clone()
	}
	if req.Header.Get("Accept") == "" {
		req.Header.Set("Accept", "application/json")
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		// With hyphens: some proxies drop header names with underscores, and Rack maps both spellings to one.
		req.Header.Set("Api-Access-Token", string(c.token))
	}
	return req, nil
}

// reason finds the text of a refusal in the shapes Chatwoot has for it.
func reason(raw []byte) string {
	var body struct {
		Error   any      `json:"error"`
		Message string   `json:"message"`
		Errors  []string `json:"errors"`
	}
	text := ""
	if json.Unmarshal(raw, &body) == nil {
		text = body.Message
		if s, ok := body.Error.(string); ok && text == "" {
			text = s
		}
		if text == "" {
			text = strings.Join(body.Errors, ", ")
		}
	}
	if len(text) > maxReasonBytes {
		text = strings.ToValidUTF8(text[:maxReasonBytes], "") + "…"
	}
	return text
}

// Status is the HTTP status an error stands for; zero if there was no answer.
func Status(err error) int { return status(err) }

func status(err error) int {
	var s *StatusError
	if errors.As(err, &s) {
		return s.Status
	}
	return 0
}

// apiState is GET /api.
type apiState struct {
	Version       string `json:"version"`
	QueueServices string `json:"queue_services"`
	DataServices  string `json:"data_services"`
}

// account is one membership of a profile.
type account struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
	Role string `json:"role"`
}

// profile is GET /api/v1/profile. The token is a plain string only until it is decoded.
type profile struct {
	AccessToken string    `json:"access_token"`
	Accounts    []account `json:"accounts"`
}

// inbox is an entry of GET …/inboxes. Only administrators see Secret.
type inbox struct {
	ID          int64   `json:"id"`
	Name        string  `json:"name"`
	ChannelType string  `json:"channel_type"`
	WebhookURL  *string `json:"webhook_url"`
	Identifier  string  `json:"inbox_identifier"`
	Secret      string  `json:"secret"`
}

const channelAPI = "Channel::Api"

func (c *client) state(ctx context.Context) (apiState, error) {
	var s apiState
	_, err := c.call(ctx, http.MethodGet, "/api", nil, nil, &s)
	return s, err
}

// onboardingOpen asks for the start page, which leads to the onboarding page while that is open.
func (c *client) onboardingOpen(ctx context.Context) (bool, error) {
	_, err := c.call(ctx, http.MethodGet, "/", http.Header{"Accept": {"text/html"}}, nil, nil)
	var s *StatusError
	if errors.As(err, &s) && s.Status >= 300 && s.Status < 400 {
		u, parseErr := url.Parse(s.location)
		return parseErr == nil && strings.HasPrefix(u.Path, "/installation/onboarding"), nil
	}
	if errors.As(err, &s) && s.Status < 500 {
		return false, nil // the page itself is of no interest
	}
	return false, err
}

// signIn returns the headers that identify the session.
func (c *client) signIn(ctx context.Context, email string, password Secret) (http.Header, error) {
	got, err := c.call(ctx, http.MethodPost, "/auth/sign_in", nil, map[string]string{"email": email, "password": string(password)}, nil)
	if err != nil {
		return nil, err
	}
	session := http.Header{}
	for _, name := range []string{"access-token", "token-type", "client", "expiry", "uid"} {
		session.Set(name, got.Get(name))
	}
	if session.Get("access-token") == "" || session.Get("client") == "" {
		return nil, errors.New("POST /auth/sign_in: the answer has no session headers: a proxy in between may drop them")
	}
	return session, nil
}

func (c *client) signOut(ctx context.Context, session http.Header) error {
	_, err := c.call(ctx, http.MethodDelete, "/auth/sign_out", session, nil, nil)
	return err
}

func (c *client) profile(ctx context.Context, session http.Header) (profile, error) {
	var p profile
	_, err := c.call(ctx, http.MethodGet, "/api/v1/profile", session, nil, &p)
	if err == nil && p.AccessToken == "" {
		err = errors.New("GET /api/v1/profile: the answer has no access token")
	}
	return p, err
}

func (c *client) inboxes(ctx context.Context, accountID int64) ([]inbox, error) {
	var list struct {
		Payload []inbox `json:"payload"`
	}
	_, err := c.call(ctx, http.MethodGet, fmt.Sprintf("/api/v1/accounts/%d/inboxes", accountID), nil, nil, &list)
	return list.Payload, err
}

func (c *client) inbox(ctx context.Context, accountID, id int64) (inbox, error) {
	var in inbox
	_, err := c.call(ctx, http.MethodGet, fmt.Sprintf("/api/v1/accounts/%d/inboxes/%d", accountID, id), nil, nil, &in)
	return in, err
}

func (c *client) createInbox(ctx context.Context, accountID int64, name, webhookURL string) (inbox, error) {
	var in inbox
	body := map[string]any{"name": name, "channel": map[string]any{"type": "api", "webhook_url": webhookURL}}
	_, err := c.call(ctx, http.MethodPost, fmt.Sprintf("/api/v1/accounts/%d/inboxes", accountID), nil, body, &in)
	return in, err
}

func (c *client) setWebhookURL(ctx context.Context, accountID, id int64, webhookURL string) (inbox, error) {
	var in inbox
	body := map[string]any{"channel": map[string]any{"webhook_url": webhookURL}}
	_, err := c.call(ctx, http.MethodPatch, fmt.Sprintf("/api/v1/accounts/%d/inboxes/%d", accountID, id), nil, body, &in)
	return in, err
}

// bot is an entry of GET …/agent_bots. Only administrators see Secret and AccessToken. AccountID is nil for the installation's own.
type bot struct {
	ID          int64   `json:"id"`
	Name        string  `json:"name"`
	OutgoingURL *string `json:"outgoing_url"`
	AccountID   *int64  `json:"account_id"`
	Secret      string  `json:"secret"`
	AccessToken string  `json:"access_token"`
}

func (c *client) bots(ctx context.Context, accountID int64) ([]bot, error) {
	var list []bot
	_, err := c.call(ctx, http.MethodGet, fmt.Sprintf("/api/v1/accounts/%d/agent_bots", accountID), nil, nil, &list)
	return list, err
}

func (c *client) bot(ctx context.Context, accountID, id int64) (bot, error) {
	var b bot
	_, err := c.call(ctx, http.MethodGet, fmt.Sprintf("/api/v1/accounts/%d/agent_bots/%d", accountID, id), nil, nil, &b)
	return b, err
}

func (c *client) createBot(ctx context.Context, accountID int64, name, outgoingURL string) (bot, error) {
	var b bot
	body := map[string]any{"name": name, "outgoing_url": outgoingURL, "bot_type": "webhook"}
	_, err := c.call(ctx, http.MethodPost, fmt.Sprintf("/api/v1/accounts/%d/agent_bots", accountID), nil, body, &b)
	return b, err
}

func (c *client) setOutgoingURL(ctx context.Context, accountID, id int64, outgoingURL string) error {
	body := map[string]any{"outgoing_url": outgoingURL}
	_, err := c.call(ctx, http.MethodPatch, fmt.Sprintf("/api/v1/accounts/%d/agent_bots/%d", accountID, id), nil, body, nil)
	return err
}

// inboxBot is the id of the bot connected to the inbox; zero if none is.
func (c *client) inboxBot(ctx context.Context, accountID, inboxID int64) (int64, error) {
	var got struct {
		Bot bot `json:"agent_bot"`
	}
	_, err := c.call(ctx, http.MethodGet, fmt.Sprintf("/api/v1/accounts/%d/inboxes/%d/agent_bot", accountID, inboxID), nil, nil, &got)
	return got.Bot.ID, err
}

func (c *client) setInboxBot(ctx context.Context, accountID, inboxID, botID int64) error {
	_, err := c.call(ctx, http.MethodPost, fmt.Sprintf("/api/v1/accounts/%d/inboxes/%d/set_agent_bot", accountID, inboxID), nil,
		map[string]any{"agent_bot": botID}, nil)
	return err
}
