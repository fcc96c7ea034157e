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
	"strings"
	"time"

	"plantao/runtime/dial"
)

const (
	// callTimeout bounds one call; publishing a workflow is the slowest.
	callTimeout = 30 * time.Second
	// pollEvery is the pause between two looks at something n8n is still busy with.
	pollEvery = 500 * time.Millisecond
	// keyLabel marks the API keys of Install, so that one left by a killed run is found and deleted.
	keyLabel = "plantao-install"
	keyTTL   = 15 * time.Minute

	maxAdminAnswerBytes = 32 << 20
	pageSize            = "100"
)

// keyScopes are what the key may do; nothing here can read a stored secret. n8n asks for workflow:delete to
// take a workflow out of the archive.
var keyScopes = []string{
	"credential:create", "credential:list", "credential:update",
	"workflow:activate", "workflow:create", "workflow:delete", "workflow:list", "workflow:read", "workflow:update",
}

// adminClient speaks to n8n as its owner: the few /rest calls that lead to an API key, and the public API.
type adminClient struct {
	base string
	http *http.Client
	// session is the login cookie ("n8n-auth=…"). Kept by hand: n8n marks it Secure, and a cookie jar would
	// not send it over the plain HTTP that is spoken inside the stack.
	session    string
	key, keyID string
	// secrets never appear in errors, even where n8n repeats what it was sent.
	secrets []string
	// owned: the client made http and closes its idle connections.
	owned bool
}

func newAdminClient(base string, client *http.Client, secrets ...string) *adminClient {
	c := &adminClient{base: strings.TrimRight(base, "/"), http: client, secrets: secrets}
	if client == nil {
		c.owned = true
		own := http.DefaultTransport.(*http.Transport).Clone()
		own.Proxy, own.DialContext = nil, dial.To(base).DialContext // no proxy from the environment: n8n is a neighbour
		c.http = &http.Client{
			Timeout:       callTimeout,
			Transport:     own,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return c
}

func (c *adminClient) close() {
	if c.owned {
		c.http.CloseIdleConnections()
	}
}

// answerError is an answer other than 2xx.
type answerError struct {
	status  int
	message string
}

func (e *answerError) Error() string {
	text := fmt.Sprintf("n8n answered %d %s", e.status, http.StatusText(e.status))
	if e.message != "" {
		text += ": " + e.message
	}
	return text
}

// status is the HTTP status in err's chain; 0: n8n did not answer.
func status(err error) int {
	var e *answerError
	if errors.As(err, &e) {
		return e.status
	}
	return 0
}

// call sends body as JSON and decodes a 2xx answer into out (nil: dropped). The response's headers are returned.
func (c *adminClient) call(ctx context.Context, method, path string, body, out any) (http.Header, error) {
	var payload io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		payload = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, payload)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	switch {
	case strings.HasPrefix(path, "/api/"):
		req.Header.Set("X-N8N-API-KEY", c.key)
	case c.session != "" && strings.HasPrefix(path, "/rest/"):
		req.Header.Set("Cookie", c.session)
	}
	res, err := c.http.Do(req)
	if err != nil {
		// The URL error repeats method and URL, which the caller names in words.
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, fmt.Errorf("reach n8n at %s: %w", c.base, err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAdminAnswerBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read n8n's answer: %w", err)
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return res.Header, &answerError{status: res.StatusCode, message: c.message(answer)}
	}
	if len(answer) > maxAdminAnswerBytes {
		return nil, fmt.Errorf("read n8n's answer: it is over %d bytes", maxAdminAnswerBytes)
	}
	if out == nil {
		return res.Header, nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return nil, fmt.Errorf("decode n8n's answer, is %s n8n? %w", c.base, err)
	}
	return res.Header, nil
}

// message is the text of an error answer, shortened and without secrets.
func (c *adminClient) message(answer []byte) string {
	var body struct {
		Message string `json:"message"`
		Hint    string `json:"hint"`
	}
	text := strings.TrimSpace(string(answer))
	if json.Unmarshal(answer, &body) == nil && body.Message != "" {
		text = strings.TrimSpace(body.Message + " " + body.Hint)
	} else if strings.HasPrefix(text, "<") {
		return "" // an HTML page says nothing a person could use
	}
	for _, secret := range append(c.secrets, c.key) {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "[redacted]")
		}
	}
	if runes := []rune(text); len(runes) > 300 {
		text = string(runes[:300]) + "…"
	}
	return text
}

// pause waits; the error is that ctx ended.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// starting tells that n8n is on its way up: nothing listens, or not every route is there yet.
func starting(err error) bool {
	switch status(err) {
	case 0, http.StatusNotFound, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// waitReady returns once n8n has its database connected and migrated.
func (c *adminClient) waitReady(ctx context.Context) error {
	for {
		_, err := c.call(ctx, http.MethodGet, "/healthz/readiness", nil, nil)
		if err == nil {
			return nil
		}
		if pause(ctx, pollEvery) != nil {
			return fmt.Errorf("wait for n8n to be ready: %w; look at its log (plantao logs n8n) and its database: %w", ctx.Err(), err)
		}
	}
}

// login opens the owner's session.
func (c *adminClient) login(ctx context.Context, email, password string) error {
	body := map[string]string{"emailOrLdapLoginId": email, "password": password}
	for {
		header, err := c.call(ctx, http.MethodPost, "/rest/login", body, nil)
		wait := pollEvery
		switch {
		case err == nil:
			for _, cookie := range (&http.Response{Header: header}).Cookies() {
				if cookie.Name == "n8n-auth" && cookie.Value != "" {
					c.session = cookie.Name + "=" + cookie.Value
					c.secrets = append(c.secrets, cookie.Value)
					return nil
				}
			}
			return fmt.Errorf("sign in to n8n: the answer sets no session cookie; is %s n8n?", c.base)
		case status(err) == http.StatusTooManyRequests:
			// n8n lets five sign-ins per e-mail and minute through.
			if wait = retryAfter(header, time.Now()); wait == 0 {
				wait = 10 * time.Second
			}
		case status(err) == http.StatusUnauthorized:
			return fmt.Errorf("sign in to n8n as %s: %w; e-mail and password must be those of n8n's N8N_INSTANCE_OWNER_EMAIL and _PASSWORD_HASH, "+
				"which n8n applies when it starts: restart n8n if they were changed, and keep two-factor sign-in off for this user", email, err)
		case !starting(err):
			return fmt.Errorf("sign in to n8n as %s: %w", email, err)
		}
		if pause(ctx, wait) != nil {
			return fmt.Errorf("sign in to n8n as %s: %w; last answer: %w", email, ctx.Err(), err)
		}
	}
}

// createKey deletes what earlier runs left behind and makes this run's API key.
func (c *adminClient) createKey(ctx context.Context, now time.Time) error {
	if err := c.deleteKeys(ctx); err != nil {
		return keyError(err)
	}
	body := map[string]any{"label": keyLabel, "scopes": keyScopes, "expiresAt": now.Add(keyTTL).Unix()}
	var answer struct {
		Data struct {
			ID  string `json:"id"`
			Raw string `json:"rawApiKey"`
		} `json:"data"`
	}
	if _, err := c.call(ctx, http.MethodPost, "/rest/api-keys", body, &answer); err != nil {
		return keyError(err)
	}
	c.keyID, c.key = answer.Data.ID, answer.Data.Raw
	if c.keyID == "" || c.key == "" {
		return keyError(errors.New("the answer holds no key"))
	}
	return nil
}

func keyError(err error) error {
	if status(err) == http.StatusNotFound {
		return fmt.Errorf("make an n8n API key: %w; the public API is off: unset N8N_PUBLIC_API_DISABLED in n8n's environment", err)
	}
	return fmt.Errorf("make an n8n API key: %w", err)
}

// deleteKeys removes every API key of the owner that carries Install's label.
func (c *adminClient) deleteKeys(ctx context.Context) error {
	var answer struct {
		Data json.RawMessage `json:"data"`
	}
	if _, err := c.call(ctx, http.MethodGet, "/rest/api-keys?label="+keyLabel, nil, &answer); err != nil {
		return err
	}
	type apiKey struct {
		ID    string `json:"id"`
		Label string `json:"label"`
	}
	// n8n 2.39 answers {"items":[…]}, other releases the bare list.
	var page struct {
		Items []apiKey `json:"items"`
	}
	if json.Unmarshal(answer.Data, &page) != nil {
		if err := json.Unmarshal(answer.Data, &page.Items); err != nil {
			return fmt.Errorf("decode n8n's list of API keys: %w", err)
		}
	}
	for _, key := range page.Items {
		if key.Label != keyLabel {
			continue
		}
		_, err := c.call(ctx, http.MethodDelete, "/rest/api-keys/"+url.PathEscape(key.ID), nil, nil)
		if err != nil && status(err) != http.StatusNotFound {
			return fmt.Errorf("delete API key %s: %w", key.ID, err)
		}
	}
	return nil
}

// dropKey deletes this run's API key, if there is one. The session needs no end of its own: its cookie was
// nowhere but in this process. (Signing out is worse than useless: n8n refuses a signed-out cookie for good, and
// a sign-in within the same second gives the very same cookie. Seen with 2.39.10.)
func (c *adminClient) dropKey(ctx context.Context) error {
	if c.keyID == "" {
		return nil
	}
	_, err := c.call(ctx, http.MethodDelete, "/rest/api-keys/"+url.PathEscape(c.keyID), nil, nil)
	if err != nil && status(err) != http.StatusNotFound {
		return fmt.Errorf("delete the n8n API key %q (delete it in n8n's settings; it expires within %s): %w", keyLabel, keyTTL, err)
	}
	c.key, c.keyID = "", ""
	return nil
}

// waitLive returns once the production webhook is registered. It calls without the token, which n8n refuses
// before it runs anything.
func (c *adminClient) waitLive(ctx context.Context, hook webhook) error {
	for {
		_, err := c.call(ctx, hook.method, "/webhook/"+escapePath(hook.path), nil, nil)
		switch code := status(err); {
		case code == http.StatusUnauthorized || code == http.StatusForbidden:
			return nil
		case err == nil:
			return fmt.Errorf("check webhook %s %s: n8n answers it without the token; unpublish the other workflow that has this path", hook.method, hook.path)
		case !starting(err):
			return fmt.Errorf("check webhook %s %s: %w", hook.method, hook.path, err)
		}
		if pause(ctx, pollEvery) != nil {
			return fmt.Errorf("wait for webhook %s %s: %w; the workflow is published but n8n does not serve it: restart n8n and look at its log: %w",
				hook.method, hook.path, ctx.Err(), err)
		}
	}
}
