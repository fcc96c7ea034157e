package evolution

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// SecretHeader carries the hook secret on every webhook.
const SecretHeader = "X-Plantao-Secret"

// tokenKeyHeader is no header: Evolution takes it out and signs a token with its value.
const tokenKeyHeader = "jwt_key"

// Events are the webhooks the router needs, sorted.
var Events = []string{
	"CONNECTION_UPDATE", "LOGOUT_INSTANCE", "MESSAGES_DELETE", "MESSAGES_EDITED", "MESSAGES_UPDATE", "MESSAGES_UPSERT", "PRESENCE_UPDATE",
	"REMOVE_INSTANCE", "SEND_MESSAGE", "STATUS_INSTANCE",
}

// InstanceConfig is what an instance must look like.
type InstanceConfig struct {
	Name        string
	Integration string // EVOLUTION or WHATSAPP-BAILEYS
	Number      string // required for EVOLUTION
	HookURL     string
	HookSecret  string
	// SignHooks: webhooks carry a token signed with TokenKey, and not the secret.
	SignHooks bool
}

type instanceSettings struct {
	RejectCall      bool `json:"rejectCall"`
	GroupsIgnore    bool `json:"groupsIgnore"`
	AlwaysOnline    bool `json:"alwaysOnline"`
	ReadMessages    bool `json:"readMessages"`
	ReadStatus      bool `json:"readStatus"`
	SyncFullHistory bool `json:"syncFullHistory"`
}

// wantSettings: groups are nobody's conversation, and a message is read when somebody read it.
var wantSettings = instanceSettings{GroupsIgnore: true}

type webhookSettings struct {
	Enabled  bool              `json:"enabled"`
	URL      string            `json:"url"`
	Headers  map[string]string `json:"headers"`
	ByEvents bool              `json:"byEvents"`
	Base64   bool              `json:"base64"`
	Events   []string          `json:"events"`
}

// foundWebhook is the same as Evolution reads it back: two fields have other names.
type foundWebhook struct {
	Enabled         bool           `json:"enabled"`
	URL             string         `json:"url"`
	Headers         map[string]any `json:"headers"`
	ByEvents        bool           `json:"byEvents"`
	WebhookByEvents bool           `json:"webhookByEvents"`
	Base64          bool           `json:"base64"`
	WebhookBase64   bool           `json:"webhookBase64"`
	Events          []string       `json:"events"`
}

// EnsureInstance makes the instance, its settings and its webhook what c says and returns what it changed: some of
// "instance", "settings", "webhook". Nothing is written when nothing differs.
func (c *Client) EnsureInstance(ctx context.Context, want InstanceConfig) (changed []string, err error) {
	made, err := c.ensureInstance(ctx, want)
	if err != nil {
		return nil, err
	}
	if made {
		changed = append(changed, "instance")
	}
	made, err = c.ensureSettings(ctx, want.Name)
	if err != nil {
		return changed, err
	}
	if made {
		changed = append(changed, "settings")
	}
	made, err = c.ensureWebhook(ctx, want)
	if err != nil {
		return changed, err
	}
	if made {
		changed = append(changed, "webhook")
	}
	return changed, nil
}

func (c *Client) ensureInstance(ctx context.Context, want InstanceConfig) (bool, error) {
	exists, err := c.instanceExists(ctx, want.Name)
	if err != nil || exists {
		return false, err
	}
	err = c.call(ctx, http.MethodPost, "/instance/create", struct {
		InstanceName string `json:"instanceName"`
		Integration  string `json:"integration"`
		Number       string `json:"number,omitempty"`
		QRCode       bool   `json:"qrcode"`
		instanceSettings
	}{InstanceName: want.Name, Integration: want.Integration, Number: want.Number, instanceSettings: wantSettings}, nil)
	switch status := statusOf(err); {
	case err == nil:
		return true, nil
	case status == http.StatusForbidden: // the name is taken: somebody else made it since we looked
		return false, nil
	}
	return false, fmt.Errorf("create instance %q: %w", want.Name, err)
}

func (c *Client) instanceExists(ctx context.Context, name string) (bool, error) {
	var list []json.RawMessage
	err := c.call(ctx, http.MethodGet, "/instance/fetchInstances?instanceName="+url.QueryEscape(name), nil, &list)
	if statusOf(err) == http.StatusNotFound {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("find instance %q: %w", name, err)
	}
	return len(list) > 0, nil
}

func (c *Client) ensureSettings(ctx context.Context, name string) (bool, error) {
	var have *instanceSettings
	err := c.call(ctx, http.MethodGet, "/settings/find/"+url.PathEscape(name), nil, &have)
	if err != nil && statusOf(err) != http.StatusNotFound {
		return false, fmt.Errorf("read settings of instance %q: %w", name, err)
	}
	if err == nil && have != nil && *have == wantSettings {
		return false, nil
	}
	if err := c.call(ctx, http.MethodPost, "/settings/set/"+url.PathEscape(name), wantSettings, nil); err != nil {
		return false, fmt.Errorf("write settings of instance %q: %w", name, err)
	}
	return true, nil
}

func (c *Client) ensureWebhook(ctx context.Context, want InstanceConfig) (bool, error) {
	hook := webhookSettings{
		Enabled: true, URL: want.HookURL, Events: Events,
		Headers: map[string]string{SecretHeader: want.HookSecret},
	}
	if want.SignHooks {
		hook.Headers = map[string]string{tokenKeyHeader: TokenKey(sha256.Sum256([]byte(want.HookSecret)))}
	}
	var have *foundWebhook
	err := c.call(ctx, http.MethodGet, "/webhook/find/"+url.PathEscape(want.Name), nil, &have)
	if err != nil && statusOf(err) != http.StatusNotFound {
		return false, fmt.Errorf("read webhook of instance %q: %w", want.Name, err)
	}
	if err == nil && have != nil && have.same(hook) {
		return false, nil
	}
	body := map[string]webhookSettings{"webhook": hook}
	if err := c.call(ctx, http.MethodPost, "/webhook/set/"+url.PathEscape(want.Name), body, nil); err != nil {
		return false, fmt.Errorf("write webhook of instance %q: %w", want.Name, err)
	}
	return true, nil
}

func (f foundWebhook) same(w webhookSettings) bool {
	headers := make(map[string]string, len(f.Headers))
	for k, v := range f.Headers {
		headers[strings.ToLower(k)] = fmt.Sprint(v)
	}
	wantHeaders := make(map[string]string, len(w.Headers))
	for k, v := range w.Headers {
		wantHeaders[strings.ToLower(k)] = v
	}
	events := slices.Sorted(slices.Values(f.Events))
	return f.Enabled == w.Enabled && f.URL == w.URL && !f.ByEvents && !f.WebhookByEvents && !f.Base64 && !f.WebhookBase64 &&
		slices.Equal(events, w.Events) && maps.Equal(headers, wantHeaders)
}

func statusOf(err error) int {
	var se *StatusError
	if errors.As(err, &se) {
		return se.Status
	}
	return 0
}
