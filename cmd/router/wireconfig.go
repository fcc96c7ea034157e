package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"time"

	"plantao/runtime/conversation"
)

// wireConfig is the configuration of `router wire`.
type wireConfig struct {
	// LogLevel is debug, info, warn or error. Default info.
	LogLevel string         `koanf:"log_level"`
	Database databaseConfig `koanf:"database"`
	// Evolution is where the channels' instances are made.
	Evolution evolutionConfig `koanf:"evolution"`
	// Chatwoot gets an API inbox. Without url it is left alone.
	Chatwoot chatwootConfig `koanf:"chatwoot"`
	// Turn has the key Chatwoot's secrets are sealed with.
	Turn wireTurnConfig `koanf:"turn"`
	// N8N gets the flows. Without url it is left alone.
	N8N wireN8NConfig `koanf:"n8n"`
	// API is who may use the router's API.
	API wireAPIConfig `koanf:"api"`
	// Channels are all channels there shall be. Channels missing here are left as they are.
	Channels []channelConfig `koanf:"channels"`
	// Flows are the policies of AI agents. Those missing here are left as they are.
	Flows []flowConfig `koanf:"flows"`
	// RulesFile holds the rules to put in force. Without it those in force stay so.
	RulesFile string `koanf:"rules_file"`
	// Wait is how long a neighbour that does not answer yet is waited for. Default 2m.
	Wait time.Duration `koanf:"wait"`
}

type chatwootConfig struct {
	URL        string `koanf:"url"`
	AdminEmail string `koanf:"admin_email"`
	// AdminPasswordFile holds the password; or ROUTER_CHATWOOT__ADMIN_PASSWORD.
	AdminPasswordFile string `koanf:"admin_password_file"`
	AdminPassword     Secret `koanf:"admin_password"`
	AccountName       string `koanf:"account_name"`
	// InboxName is the inbox's name, where there is one channel. Default: each channel's inbox has its name.
	InboxName string `koanf:"inbox_name"`
	// WebhookURL is where Chatwoot posts: this router's /hooks/chatwoot, to which the channel's name is added.
	WebhookURL string `koanf:"webhook_url"`
}

type wireTurnConfig struct {
	// KeyFile holds the routers' turn key; or ROUTER_TURN__KEY. Required with chatwoot.url: the secrets read there are sealed with a
	// key derived from it.
	KeyFile string `koanf:"key_file"`
	Key     Secret `koanf:"key"`
}

type wireN8NConfig struct {
	URL        string `koanf:"url"`
	OwnerEmail string `koanf:"owner_email"`
	// OwnerPasswordFile holds the password; or ROUTER_N8N__OWNER_PASSWORD.
	OwnerPasswordFile string `koanf:"owner_password_file"`
	OwnerPassword     Secret `koanf:"owner_password"`
	// FlowTokenFile holds what flows shall expect in X-Plantao-Token; or ROUTER_N8N__FLOW_TOKEN.
	FlowTokenFile string `koanf:"flow_token_file"`
	FlowToken     Secret `koanf:"flow_token"`
	// WorkflowsDir holds the workflows as JSON files.
	WorkflowsDir string `koanf:"workflows_dir"`
}

type wireAPIConfig struct {
	// OperatorTokenFile holds the token of operator:operator, which allows everything; or ROUTER_API__OPERATOR_TOKEN. Neither:
	// tokens are left alone.
	OperatorTokenFile string `koanf:"operator_token_file"`
	OperatorToken     Secret `koanf:"operator_token"`
}

type channelConfig struct {
	// Name is the last path segment of the hook URL and the Evolution instance's name.
	Name string `koanf:"name"`
	// Integration is EVOLUTION or WHATSAPP-BAILEYS.
	Integration string `koanf:"integration"`
	// Number is the channel's own number, digits only. Required for EVOLUTION.
	Number string `koanf:"number"`
	// HookURL is where Evolution sends its webhooks: this router's /hooks/evolution/<name>.
	HookURL string `koanf:"hook_url"`
	// HookSecretFile holds the hook secret.
	HookSecretFile string `koanf:"hook_secret_file"`
	HookSecret     Secret `koanf:"hook_secret"`
	// HookAuth is how webhooks show whom they come from: secret, in a header, or token, a JWT signed anew for each and good for ten
	// minutes. Either is taken, whatever stands here. Default secret.
	HookAuth string `koanf:"hook_auth"`
	// Flow is the n8n webhook path of the flow that answers.
	Flow string `koanf:"flow"`
}

type flowConfig struct {
	// Name is the flow's n8n webhook path, as channels name it.
	Name string `koanf:"name"`
	// MidTurn is what becomes of messages that come while the flow has a turn: queue, merge or append. Default queue.
	MidTurn string `koanf:"mid_turn"`
	// Holding is what the customer is told when the flow did not answer. Default: nothing.
	Holding string `koanf:"holding"`
}

// wireSecretKeys may come from the environment, never from the file. A channel's secret comes from its file only.
var wireSecretKeys = []string{
	"database.password", "evolution.api_key", "chatwoot.admin_password", "n8n.owner_password", "n8n.flow_token",
	"api.operator_token", "turn.key",
}

var (
	channelName   = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
	channelNumber = regexp.MustCompile(`^[0-9]{8,15}$`)
)

// Values of hook_auth.
const (
	hookAuthSecret = "secret"
	hookAuthToken  = "token"
)

// minHookSecretBytes: the hook is reachable by everything on its network; the secret must not be guessable.
const minHookSecretBytes = 16

// minOperatorTokenBytes: the API is reachable from outside, and this token allows everything.
const minOperatorTokenBytes = 32

func loadWire(s sources) (wireConfig, error) {
	var p problems
	c := wireConfig{
		LogLevel: "info", Database: databaseConfig{MaxConns: 2}, Evolution: evolutionConfig{Timeout: 30 * time.Second},
		Wait: 2 * time.Minute,
	}
	s.secrets = wireSecretKeys
	load(s, &c, &p)
	c.validate(&p)
	return c, p.err()
}

func (c *wireConfig) validate(p *problems) {
	p.require(validLevel(c.LogLevel), "log_level: %q is none of debug, info, warn, error", c.LogLevel)
	c.Database.validate(p)
	c.Evolution.validate(p)
	p.require(c.Wait > 0, "wait: %s is not positive", c.Wait)
	if c.Chatwoot.URL != "" {
		c.Chatwoot.validate(p)
		p.require(c.Chatwoot.InboxName == "" || len(c.Channels) == 1, "chatwoot.inbox_name: with %d channels each inbox has its channel's name",
			len(c.Channels))
		readSecret(p, "turn.key", &c.Turn.Key, c.Turn.KeyFile, required)
		if n := len(c.Turn.Key.Reveal()); n > 0 {
			p.require(n >= conversation.MinTurnKeyBytes, "turn.key: has %d bytes, needs at least %d", n, conversation.MinTurnKeyBytes)
		}
	}
	if c.N8N.URL != "" {
		c.N8N.validate(p)
	}
	c.API.validate(p)
	p.require(len(c.Channels) > 0, "channels: at least one is required")
	seen := map[string]bool{}
	for i := range c.Channels {
		ch := &c.Channels[i]
		ch.validate(p, fmt.Sprintf("channels[%d]", i))
		p.require(!seen[ch.Name], "channels[%d].name: %q is there twice", i, ch.Name)
		seen[ch.Name] = true
	}
	for i := range c.Flows {
		c.Flows[i].validate(p, fmt.Sprintf("flows[%d]", i))
	}
}

func (c *flowConfig) validate(p *problems, key string) {
	p.require(c.Name != "", "%s.name: required", key)
	p.require(c.MidTurn == "" || slices.Contains(conversation.MidTurns(), conversation.MidTurn(c.MidTurn)),
		"%s.mid_turn: %q is none of %v", key, c.MidTurn, conversation.MidTurns())
	p.require(len(c.Holding) <= conversation.MaxHoldingBytes, "%s.holding: has %d bytes, at most %d are said", key, len(c.Holding), conversation.MaxHoldingBytes)
}

func (c *chatwootConfig) validate(p *problems) {
	checkURL(p, "chatwoot.url", c.URL, "http", "https")
	checkURL(p, "chatwoot.webhook_url", c.WebhookURL, "http", "https")
	p.require(c.AdminEmail != "", "chatwoot.admin_email: required with chatwoot.url")
	p.require(c.AccountName != "", "chatwoot.account_name: required with chatwoot.url")
	readSecret(p, "chatwoot.admin_password", &c.AdminPassword, c.AdminPasswordFile, required)
}

func (c *wireN8NConfig) validate(p *problems) {
	checkURL(p, "n8n.url", c.URL, "http", "https")
	p.require(c.OwnerEmail != "", "n8n.owner_email: required with n8n.url")
	readSecret(p, "n8n.owner_password", &c.OwnerPassword, c.OwnerPasswordFile, required)
	readSecret(p, "n8n.flow_token", &c.FlowToken, c.FlowTokenFile, required)
	info, err := os.Stat(c.WorkflowsDir)
	p.require(err == nil && info.IsDir(), "n8n.workflows_dir: %q is not a directory", c.WorkflowsDir)
}

func (c *wireAPIConfig) validate(p *problems) {
	readSecret(p, "api.operator_token", &c.OperatorToken, c.OperatorTokenFile, optional)
	if n := len(c.OperatorToken.Reveal()); n > 0 {
		p.require(n >= minOperatorTokenBytes, "api.operator_token: has %d bytes, needs at least %d", n, minOperatorTokenBytes)
	}
}

func (c *channelConfig) validate(p *problems, key string) {
	p.require(channelName.MatchString(c.Name), "%s.name: %q must be 1 to 63 of a-z, 0-9, - and _, starting with a letter or digit", key, c.Name)
	switch c.Integration {
	case "EVOLUTION":
		p.require(c.Number != "", "%s.number: required for EVOLUTION", key)
	case "WHATSAPP-BAILEYS":
	default:
		p.add("%s.integration: %q is neither EVOLUTION nor WHATSAPP-BAILEYS", key, c.Integration)
	}
	if c.Number != "" {
		p.require(channelNumber.MatchString(c.Number), "%s.number: must be 8 to 15 digits, with country code", key)
	}
	checkURL(p, key+".hook_url", c.HookURL, "http", "https")
	switch c.HookAuth {
	case "":
		c.HookAuth = hookAuthSecret
	case hookAuthSecret, hookAuthToken:
	default:
		p.add("%s.hook_auth: %q is neither secret nor token", key, c.HookAuth)
	}
	p.require(c.Flow != "", "%s.flow: required; name the n8n webhook path that answers", key)
	switch {
	case c.HookSecret.Set():
		p.add("%s.hook_secret: a secret may not stand in the file; use hook_secret_file", key)
	case c.HookSecretFile == "":
		p.add("%s.hook_secret_file: required", key)
	default:
		readSecret(p, key+".hook_secret", &c.HookSecret, c.HookSecretFile, required)
		if n := len(c.HookSecret.Reveal()); n > 0 {
			p.require(n >= minHookSecretBytes, "%s.hook_secret: has %d bytes, needs at least %d", key, n, minHookSecretBytes)
		}
	}
}
