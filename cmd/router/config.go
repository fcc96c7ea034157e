package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"plantao/runtime/conversation"
	"plantao/runtime/postgres"
	"plantao/runtime/redis"
)

// serveConfig is the configuration of `router serve` and `router migrate`: defaults, then the file, then ROUTER_… from the
// environment, then flags. Durations are written 10s, 2m.
type serveConfig struct {
	// Listen is the address of hooks, health and metrics. Default ":8080".
	Listen string `koanf:"listen"`
	// LogLevel is debug, info, warn or error. Default info.
	LogLevel string `koanf:"log_level"`
	// InstanceName is the replica's slot. Required; no two running replicas may share one.
	InstanceName string          `koanf:"instance_name"`
	Database     databaseConfig  `koanf:"database"`
	Redis        redisConfig     `koanf:"redis"`
	Evolution    evolutionConfig `koanf:"evolution"`
	N8N          n8nConfig       `koanf:"n8n"`
	Turn         turnConfig      `koanf:"turn"`
	Hooks        hooksConfig     `koanf:"hooks"`
	API          apiConfig       `koanf:"api"`
	Check        checkConfig     `koanf:"check"`
	// ShutdownGrace is how long running turns may finish after SIGTERM before they are handed back. Default 20s; the
	// container's stop timeout must be longer than this and evolution.timeout together.
	ShutdownGrace time.Duration `koanf:"shutdown_grace"`
}

type databaseConfig struct {
	// URL is postgres://user@host:port/db. Required. Without a password.
	URL string `koanf:"url"`
	// PasswordFile holds the password; or ROUTER_DATABASE__PASSWORD. Neither: none is sent.
	PasswordFile string `koanf:"password_file"`
	Password     Secret `koanf:"password"`
	// MaxConns bounds the pool. Default 8.
	MaxConns int32 `koanf:"max_conns"`
}

type redisConfig struct {
	// URL is redis://user@host:port/db. Empty: no wake-ups between replicas, they poll.
	URL string `koanf:"url"`
	// PasswordFile holds the password; or ROUTER_REDIS__PASSWORD. Neither: none is sent.
	PasswordFile string `koanf:"password_file"`
	Password     Secret `koanf:"password"`
}

type evolutionConfig struct {
	// URL is Evolution's base URL. Required.
	URL string `koanf:"url"`
	// APIKeyFile holds the global API key; or ROUTER_EVOLUTION__API_KEY. One is required.
	APIKeyFile string `koanf:"api_key_file"`
	APIKey     Secret `koanf:"api_key"`
	// Timeout bounds one call. Default 30s: sendText looks the number up and waits for WhatsApp.
	Timeout time.Duration `koanf:"timeout"`
}

type n8nConfig struct {
	// URL is n8n's base URL. Required.
	URL string `koanf:"url"`
	// TokenFile holds what flows expect in X-Plantao-Token; or ROUTER_N8N__TOKEN. One is required.
	TokenFile string `koanf:"token_file"`
	Token     Secret `koanf:"token"`
}

type turnConfig struct {
	// KeyFile holds the key of turn tokens, at least 32 bytes, the same in all replicas; or ROUTER_TURN__KEY. One is required.
	KeyFile string `koanf:"key_file"`
	Key     Secret `koanf:"key"`
	// Deadline is the time from the claim of a turn to its last part. Default 120s.
	Deadline time.Duration `koanf:"deadline"`
	// Lease is how long a silent replica keeps its turns. Default 10s, at least 500ms.
	Lease time.Duration `koanf:"lease"`
	// Quiet is how long nobody must have written before a turn starts. Default 1s; zero starts at once.
	Quiet time.Duration `koanf:"quiet"`
	// Cap is the longest a turn is held back by further messages. Default 10s, at least Quiet.
	Cap time.Duration `koanf:"cap"`
	// Poll is how often the database is looked at without a wake-up. Default 1s.
	Poll time.Duration `koanf:"poll"`
	// Patience is how long proof of an ambiguous part is waited for before the conversation goes to the human queue.
	// Default 1m.
	Patience time.Duration `koanf:"patience"`
	// MaxRunning bounds the turns of one replica. Default 64.
	MaxRunning int `koanf:"max_running"`
}

type hooksConfig struct {
	// MaxBodyBytes bounds a webhook's body. Default 8388608.
	MaxBodyBytes int64 `koanf:"max_body_bytes"`
}

type apiConfig struct {
	// Rate is how many requests one token may send each second, lastingly. Default 50.
	Rate float64 `koanf:"rate"`
	// Burst is how many it may send at once. Default 200.
	Burst int `koanf:"burst"`
	// MaxTurn is how far a flow may move its turn's deadline, counted from the claim. Default 15m.
	MaxTurn time.Duration `koanf:"max_turn"`
}

func defaultServeConfig() serveConfig {
	return serveConfig{
		Listen:    ":8080",
		LogLevel:  "info",
		Database:  databaseConfig{MaxConns: 8},
		Evolution: evolutionConfig{Timeout: 30 * time.Second},
		Turn: turnConfig{
			Deadline: 120 * time.Second, Lease: 10 * time.Second, Quiet: time.Second, Cap: 10 * time.Second,
			Poll: time.Second, Patience: time.Minute, MaxRunning: 64,
		},
		Hooks:         hooksConfig{MaxBodyBytes: 8 << 20},
		Check:         checkConfig{Every: 5 * time.Minute},
		API:           apiConfig{Rate: 50, Burst: 200, MaxTurn: 15 * time.Minute},
		ShutdownGrace: 20 * time.Second,
	}
}

// serveSecretKeys may come from the environment, never from the file.
var serveSecretKeys = []string{"database.password", "redis.password", "evolution.api_key", "n8n.token", "turn.key"}

// problems collects what is wrong with a configuration, to be reported together.
type problems []string

func (p *problems) add(format string, args ...any) { *p = append(*p, fmt.Sprintf(format, args...)) }

func (p *problems) require(ok bool, format string, args ...any) {
	if !ok {
		p.add(format, args...)
	}
}

// configError is a configuration that cannot be used; the process ends with status 2.
type configError struct{ problems problems }

func (e *configError) Error() string {
	return "the configuration cannot be used:\n  - " + strings.Join(e.problems, "\n  - ")
}

func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return &configError{problems: p}
}

// validate checks everything `router serve` needs and reads the secret files.
func (c *serveConfig) validate(p *problems) {
	_, port, err := net.SplitHostPort(c.Listen)
	if err == nil && port != "" {
		_, err = net.DefaultResolver.LookupPort(context.Background(), "tcp", port)
	}
	p.require(err == nil && port != "", "listen: %q is not host:port; write \":8080\"", c.Listen)
	p.require(validLevel(c.LogLevel), "log_level: %q is none of debug, info, warn, error", c.LogLevel)
	p.require(c.InstanceName != "", "instance_name: required; name the replica's slot, as router-1")
	c.Database.validate(p)
	if c.Redis.URL != "" {
		checkStoreURL(p, "redis.url", c.Redis.URL, redis.CheckURL, "redis", "rediss")
	}
	readSecret(p, "redis.password", &c.Redis.Password, c.Redis.PasswordFile, optional)
	c.Evolution.validate(p)
	checkURL(p, "n8n.url", c.N8N.URL, "http", "https")
	readSecret(p, "n8n.token", &c.N8N.Token, c.N8N.TokenFile, required)
	c.Turn.validate(p)
	p.require(c.Hooks.MaxBodyBytes > 0, "hooks.max_body_bytes: %d is not positive", c.Hooks.MaxBodyBytes)
	p.require(c.API.Rate > 0, "api.rate: %g is not positive", c.API.Rate)
	p.require(c.API.Burst > 0, "api.burst: %d is not positive", c.API.Burst)
	p.require(c.API.MaxTurn >= c.Turn.Deadline, "api.max_turn: %s is below turn.deadline, %s", c.API.MaxTurn, c.Turn.Deadline)
	c.Check.validate(p)
	p.require(c.ShutdownGrace >= 0, "shutdown_grace: %s is negative", c.ShutdownGrace)
}

func (c *databaseConfig) validate(p *problems) {
	checkStoreURL(p, "database.url", c.URL, postgres.CheckURL, "postgres", "postgresql")
	readSecret(p, "database.password", &c.Password, c.PasswordFile, optional)
	p.require(c.MaxConns >= 2, "database.max_conns: %d is below 2", c.MaxConns)
}

func (c *evolutionConfig) validate(p *problems) {
	checkURL(p, "evolution.url", c.URL, "http", "https")
	readSecret(p, "evolution.api_key", &c.APIKey, c.APIKeyFile, required)
	p.require(c.Timeout > 0, "evolution.timeout: %s is not positive", c.Timeout)
}

func (c *turnConfig) validate(p *problems) {
	readSecret(p, "turn.key", &c.Key, c.KeyFile, required)
	if n := len(c.Key.Reveal()); n > 0 {
		p.require(n >= conversation.MinTurnKeyBytes, "turn.key: has %d bytes, needs at least %d", n, conversation.MinTurnKeyBytes)
	}
	p.require(c.Deadline > 0, "turn.deadline: %s is not positive", c.Deadline)
	p.require(c.Lease >= 500*time.Millisecond, "turn.lease: %s is below 500ms", c.Lease)
	p.require(c.Quiet >= 0, "turn.quiet: %s is negative", c.Quiet)
	p.require(c.Cap >= c.Quiet, "turn.cap: %s is below turn.quiet, %s", c.Cap, c.Quiet)
	p.require(c.Poll >= 10*time.Millisecond, "turn.poll: %s is below 10ms", c.Poll)
	p.require(c.Patience > 0, "turn.patience: %s is not positive", c.Patience)
	p.require(c.MaxRunning > 0, "turn.max_running: %d is not positive", c.MaxRunning)
}

// checkURL wants an absolute URL of one of the schemes, without a password: a URL is printed, a password is not.
func checkURL(p *problems, key, value string, schemes ...string) {
	if value == "" {
		p.add("%s: required", key)
		return
	}
	u, err := url.Parse(value)
	if err != nil {
		p.add("%s: cannot be read as a URL", key) // the cause would repeat the value
		return
	}
	ok := false
	for _, s := range schemes {
		ok = ok || u.Scheme == s
	}
	p.require(ok, "%s: scheme %q is none of %s", key, u.Scheme, strings.Join(schemes, ", "))
	if _, has := u.User.Password(); has || u.Query().Has("password") {
		p.add("%s: holds a password; move it to the password file", key)
	}
	p.require(u.Host != "" || u.Query().Get("host") != "", "%s: names no host", key)
}

// checkStoreURL also asks the store's own library, which knows more than a URL's shape: unknown options, a database that is
// no number. Only a URL without other problems is shown to it, because its errors repeat the URL.
func checkStoreURL(p *problems, key, value string, check func(string) error, schemes ...string) {
	before := len(*p)
	checkURL(p, key, value, schemes...)
	if len(*p) > before {
		return
	}
	if err := check(value); err != nil {
		p.add("%s: %v", key, err)
	}
}

type need bool

const (
	required need = true
	optional need = false
)

// readSecret fills s from its file, unless the environment did.
func readSecret(p *problems, key string, s *Secret, file string, n need) {
	if s.Set() {
		return
	}
	if file == "" {
		if n == required {
			p.add("%s: required; name a file in %s_file or set %s", key, key, envName(key))
		}
		return
	}
	data, err := os.ReadFile(file)
	if err != nil {
		p.add("%s_file: %v", key, err)
		return
	}
	value := strings.TrimRight(string(data), "\r\n")
	if value == "" {
		p.add("%s_file: %s is empty", key, file)
		return
	}
	*s = NewSecret(value)
}

func validLevel(s string) bool {
	switch s {
	case "debug", "info", "warn", "error":
		return true
	}
	return false
}

// isConfigError says whether the process should end with status 2.
func isConfigError(err error) bool {
	var ce *configError
	return errors.As(err, &ce)
}
