package standin

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"github.com/google/uuid"
)

// Kinds of webhook: they differ in what a failure does.
const (
	accountWebhook  = "account_webhook"
	apiInboxWebhook = "api_inbox_webhook"
	agentBotWebhook = "agent_bot_webhook"
)

const (
	botAttempts  = 3
	maxRedirects = 10
	// webhookTimeout is upstream's WEBHOOK_TIMEOUT, for connecting and for reading each.
	webhookTimeout = 5 * time.Second
)

// delivery is the arguments of a webhook job. The secret travels in them, as upstream's does.
type delivery struct {
	URL        string          `json:"url"`
	Payload    json.RawMessage `json:"payload"`
	Kind       string          `json:"webhook_type"`
	Secret     string          `json:"secret"`
	DeliveryID string          `json:"delivery_id"`
}

// statusError is an answer that is not 2xx; its text is what upstream stores as external_error.
type statusError struct{ code int }

func (e statusError) Error() string { return fmt.Sprintf("%d %s", e.code, http.StatusText(e.code)) }

func (a *App) enqueueWebhook(ctx context.Context, target, kind, secret string, payload json.RawMessage) error {
	class, queue := "WebhookJob", "medium"
	if kind == agentBotWebhook {
		class, queue = "AgentBots::WebhookJob", "high"
	}
	return a.enqueue(ctx, class, queue, delivery{URL: target, Payload: payload, Kind: kind, Secret: secret, DeliveryID: uuid.NewString()})
}

// deliver posts once. A bot's 429 or 500 is tried again, three times in all; everything else has this one attempt.
func (a *App) deliver(ctx context.Context, j job, d delivery) error {
	err := a.post(ctx, d)
	if err == nil {
		return nil
	}
	var status statusError
	if d.Kind == agentBotWebhook && errors.As(err, &status) && (status.code == 429 || status.code == 500) {
		if j.Executed++; j.Executed < botAttempts {
			return a.push(ctx, j, a.retryWait)
		}
	}
	a.log.WarnContext(ctx, "webhook failed", "kind", d.Kind, "delivery", d.DeliveryID, "err", err)
	return a.deliveryFailed(ctx, d, err)
}

func (a *App) post(ctx context.Context, d delivery) error {
	target, err := url.Parse(d.URL)
	if err != nil || (target.Scheme != "http" && target.Scheme != "https") || target.Host == "" {
		return errors.New("scheme must be http or https")
	}
	client := &http.Client{
		Transport:     a.transport(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer client.CloseIdleConnections()
	// Upstream posts again to where a redirect leads, body included; net/http would turn 302 into a GET.
	for range maxRedirects {
		next, err := a.postOnce(ctx, client, target, d)
		if err != nil || next == nil {
			return err
		}
		target = next
	}
	return fmt.Errorf("got %d redirects", maxRedirects)
}

func (a *App) postOnce(ctx context.Context, client *http.Client, target *url.URL, d delivery) (*url.URL, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*webhookTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(d.Payload))
	if err != nil {
		return nil, errors.New("build request")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("X-Chatwoot-Delivery", d.DeliveryID)
	if d.Secret != "" {
		stamp := strconv.FormatInt(time.Now().Unix(), 10)
		req.Header.Set("X-Chatwoot-Timestamp", stamp)
		req.Header.Set("X-Chatwoot-Signature", "sha256="+sign(d.Secret, stamp, d.Payload))
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, deliveryError(err)
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	if location := resp.Header.Get("Location"); resp.StatusCode >= 300 && resp.StatusCode < 400 && location != "" {
		next, err := target.Parse(location)
		if err != nil {
			return nil, errors.New("redirect location is not a URL")
		}
		return next, nil
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, statusError{resp.StatusCode}
	}
	return nil, nil
}

// deliveryError keeps the URL out: upstream shows the bare cause to the agent.
func deliveryError(err error) error {
	var refused *privateAddressError
	if errors.As(err, &refused) {
		return refused
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return errors.New("timed out reading data from server")
	}
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

func sign(secret, stamp string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(stamp + "."))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

type privateAddressError struct{ host string }

func (e *privateAddressError) Error() string {
	return fmt.Sprintf("Hostname '%s' has no public ip addresses", e.host)
}

// transport checks the address at connect time, after name resolution, so that no DNS answer can get around it.
func (a *App) transport() *http.Transport {
	dialer := &net.Dialer{Timeout: webhookTimeout}
	return &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if a.env.AllowPrivate {
				return dialer.DialContext(ctx, network, address)
			}
			host, _, _ := net.SplitHostPort(address) // http.Transport always passes host:port
			guarded := *dialer
			guarded.Control = func(_, resolved string, _ syscall.RawConn) error {
				ip, err := netip.ParseAddrPort(resolved)
				if err != nil || !publicAddress(ip.Addr()) {
					return &privateAddressError{host}
				}
				return nil
			}
			return guarded.DialContext(ctx, network, address)
		},
		ResponseHeaderTimeout: webhookTimeout,
		TLSHandshakeTimeout:   webhookTimeout,
		DisableKeepAlives:     true,
	}
}

var sharedAddressSpace = netip.MustParsePrefix("100.64.0.0/10")

func publicAddress(ip netip.Addr) bool {
	ip = ip.Unmap()
	return ip.IsGlobalUnicast() && !ip.IsPrivate() && !sharedAddressSpace.Contains(ip)
}

// deliveryFailed does what upstream does when a webhook's last attempt failed.
func (a *App) deliveryFailed(ctx context.Context, d delivery, cause error) error {
	var about struct {
		Event string `json:"event"`
		ID    int64  `json:"id"`
	}
	if err := json.Unmarshal(d.Payload, &about); err != nil {
		return fmt.Errorf("decode payload: %w", err)
	}
	if about.Event != "message_created" && about.Event != "message_updated" {
		return nil
	}
	message, err := findMessage(ctx, a.db, about.ID)
	if err != nil {
		return err
	}
	switch d.Kind {
	case apiInboxWebhook:
		return a.updateMessageStatus(ctx, message.ID, "failed", cause.Error())
	case agentBotWebhook:
		return a.botFailed(ctx, message)
	}
	return nil
}

// botFailed opens a pending conversation whose bot does not answer, so that a human sees it.
func (a *App) botFailed(ctx context.Context, m message) error {
	conv, err := findConversation(ctx, a.db, m.ConversationID)
	if err != nil {
		return err
	}
	var keep bool
	if err := a.db.QueryRow(ctx, `SELECT keep_pending_on_bot_failure FROM accounts WHERE id = $1`, conv.AccountID).Scan(&keep); err != nil {
		return fmt.Errorf("read account flag: %w", err)
	}
	if conv.Status != statusPending || keep {
		return nil
	}
	if _, err := a.updateConversation(ctx, conv.ID, "", func(c *conversation) error { c.Status = statusOpen; return nil }); err != nil {
		return err
	}
	return a.createActivity(ctx, activity{ConversationID: conv.ID, Content: "Conversation was marked open by system due to an error with the agent bot."})
}
