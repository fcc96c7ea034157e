package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"plantao/runtime/conversation"
	"plantao/runtime/desk"
	"plantao/runtime/gate"
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
	Flows        flowsConfig     `koanf:"flows"`
	Hooks        hooksConfig     `koanf:"hooks"`
	Media        mediaConfig     `koanf:"media"`
	Gate         gateConfig      `koanf:"gate"`
	Channel      linesConfig     `koanf:"channel"`
	API          apiConfig       `koanf:"api"`
	Chatwoot     deskConfig      `koanf:"chatwoot"`
	Check        checkConfig     `koanf:"check"`
	Human        humanConfig     `koanf:"human"`
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
	// Deadline is the time from the claim of a turn to its last part. Default 300s: on a small machine n8n takes a minute to start,
	// and a turn should outlive its restart.
	Deadline time.Duration `koanf:"deadline"`
	// Lease is how long a silent replica keeps its turns. Default 10s, at least 500ms.
	Lease time.Duration `koanf:"lease"`
	// Quiet is how long nobody must have written before a turn starts. Default 1s; zero starts at once.
	Quiet time.Duration `koanf:"quiet"`
	// Cap is the longest a turn is held back by further messages. Default 10s, at least Quiet.
	Cap time.Duration `koanf:"cap"`
	// Typing is how long a contact seen typing is believed to go on; the turn is held back for so long, up to cap. Default 10s.
	Typing time.Duration `koanf:"typing"`
	// Media is how long a turn waits for the content of an attachment. Default 15s.
	Media time.Duration `koanf:"media"`
	// History is how many messages of the time before a flow is told. Default 20, at most 100; zero: none.
	History int `koanf:"history"`
	// Poll is how often the database is looked at without a wake-up. Default 1s.
	Poll time.Duration `koanf:"poll"`
	// Patience is how long proof of an ambiguous part is waited for before the conversation goes to the human queue.
	// Default 1m.
	Patience time.Duration `koanf:"patience"`
	// MaxRunning bounds the turns of one replica. Default 64.
	MaxRunning int `koanf:"max_running"`
}

// flowsConfig keeps one flow from being every flow's trouble.
type flowsConfig struct {
	// MaxRunning bounds one flow's turns in one replica; conversations beyond it wait. Default 8.
	MaxRunning int `koanf:"max_running"`
	// Trips is after how many failures in a row a flow is left alone for a while. Default 5.
	Trips int `koanf:"trips"`
	// Rest is for how long; turns wait meanwhile, until their deadline. Default 10s.
	Rest time.Duration `koanf:"rest"`
}

type hooksConfig struct {
	// MaxBodyBytes bounds a webhook's body. Default 8388608.
	MaxBodyBytes int64 `koanf:"max_body_bytes"`
}

type mediaConfig struct {
	// MaxBytes is the largest attachment that is kept. Default 20971520.
	MaxBytes int64 `koanf:"max_bytes"`
	// Tries is how often a customer's attachment is asked for before it is given up. Default 8, which takes some minutes.
	Tries int `koanf:"tries"`
	// Hosts are the hosts, as minio.internal:9000, from which an attachment is fetched that Evolution names by a URL (its S3_ENABLED).
	// Default none: Evolution is asked for the content.
	Hosts []string `koanf:"hosts"`
	// Timeout bounds one call to Evolution that carries an attachment, either way. Default 60s; the container's stop timeout must be
	// longer than this and shutdown_grace together, so that a shutdown cuts no send.
	Timeout time.Duration `koanf:"timeout"`
}

type gateConfig struct {
	// Rate is how many parts a channel sends each second, lastingly. The replicas share it. Default 20; zero: any number.
	Rate float64 `koanf:"rate"`
	// Burst is how many it may send at once. Default 40.
	Burst int `koanf:"burst"`
	// Read marks a customer's messages as read when their answer begins. Default true. Contacts known by a @lid only see no mark.
	Read   bool         `koanf:"read"`
	Typing typingConfig `koanf:"typing"`
}

type typingConfig struct {
	// PerCharacter is how long a character seems to be typed in parts for which the flow gives no delay. Default 0: they go out at once.
	// 40ms looks like a quick human.
	PerCharacter time.Duration `koanf:"per_character"`
	// Min and Max bound a part's typing. Default 500ms and 8s.
	Min time.Duration `koanf:"min"`
	Max time.Duration `koanf:"max"`
}

func (c typingConfig) typing() gate.Typing {
	return gate.Typing{PerCharacter: c.PerCharacter, Min: c.Min, Max: c.Max}
}

type linesConfig struct {
	// Poll is how often Evolution is asked whether a channel is connected: short drops cause no event. Default 30s.
	Poll time.Duration `koanf:"poll"`
	// Sweep is how often Evolution's database is searched for messages whose webhooks were lost. Default 1m.
	Sweep time.Duration `koanf:"sweep"`
}

type apiConfig struct {
	// Rate is how many requests one token may send each second, lastingly. Default 50.
	Rate float64 `koanf:"rate"`
	// Burst is how many it may send at once. Default 200.
	Burst int `koanf:"burst"`
	// MaxTurn is how far a flow may move its turn's deadline, counted from the claim. Default 15m.
	MaxTurn time.Duration `koanf:"max_turn"`
}

type deskConfig struct {
	// URL is Chatwoot's base URL. Empty: no conversation is mirrored, and Chatwoot has no hooks here.
	URL string `koanf:"url"`
	// PublicURL is Chatwoot's FRONTEND_URL: attachments whose address begins with it are fetched from URL. Empty: only those that
	// begin with URL.
	PublicURL string `koanf:"public_url"`
	// Sweep is how often Chatwoot is asked what its webhooks did not tell. Default 30s.
	Sweep time.Duration `koanf:"sweep"`
	// Language of the notes agents read there: pt_BR or en. Default pt_BR.
	Language string `koanf:"language"`
	// MaxMediaBytes bounds an attachment that is fetched from there. Default 16777216.
	MaxMediaBytes int64 `koanf:"max_media_bytes"`
}

type humanConfig struct {
	// DeskSilence is after how long without a word a human who writes in Chatwoot hands back. Default 10m.
	DeskSilence time.Duration `koanf:"desk_silence"`
	// PhoneSilence is how long whoever writes on the phone keeps a conversation after their last message; then it goes back to the
	// AI. Default 1h, at most 168h; zero: until somebody else takes it.
	PhoneSilence time.Duration `koanf:"phone_silence"`
	// Greetings are the greeting and away texts WhatsApp Business sends by itself on this number. Default none; the environment can name one only.
	Greetings []string `koanf:"greetings"`
	// GreetingWindow: what goes out so soon after a contact began to write is such a greeting too. Default 3s; zero: no such rule.
	GreetingWindow time.Duration `koanf:"greeting_window"`
	// ForeignSender is what a message means that another client sent through Evolution: human, somebody has the conversation as if
	// they wrote on the phone, or alert, it is only told. Default human.
	ForeignSender string `koanf:"foreign_sender"`
}

func (c *humanConfig) validate(p *problems) {
	p.require(c.DeskSilence > 0 && c.DeskSilence <= conversation.MaxWait, "human.desk_silence: %s is not between zero and %s",
		c.DeskSilence, conversation.MaxWait)
	p.require(c.PhoneSilence >= 0 && c.PhoneSilence <= conversation.MaxWait, "human.phone_silence: %s is not between 0 and %s",
		c.PhoneSilence, conversation.MaxWait)
	p.require(c.GreetingWindow >= 0 && c.GreetingWindow <= time.Minute, "human.greeting_window: %s is not between 0 and 1m", c.GreetingWindow)
	p.require(c.ForeignSender == "human" || c.ForeignSender == "alert", "human.foreign_sender: %q is neither human nor alert", c.ForeignSender)
}

func defaultServeConfig() serveConfig {
	return serveConfig{
		Listen:    ":8080",
		LogLevel:  "info",
		Database:  databaseConfig{MaxConns: 8},
		Evolution: evolutionConfig{Timeout: 30 * time.Second},
		Turn: turnConfig{
			Deadline: 300 * time.Second, Lease: 10 * time.Second, Quiet: time.Second, Cap: 10 * time.Second,
			Poll: time.Second, Patience: time.Minute, MaxRunning: 64, Typing: 10 * time.Second, Media: 15 * time.Second, History: 20,
		},
		Flows: flowsConfig{MaxRunning: 8, Trips: 5, Rest: 10 * time.Second},
		Hooks: hooksConfig{MaxBodyBytes: 8 << 20},
		Media: mediaConfig{MaxBytes: 20 << 20, Tries: 8, Timeout: 60 * time.Second},
		Gate: gateConfig{
			Rate: 20, Burst: 40, Read: true, Typing: typingConfig{Min: 500 * time.Millisecond, Max: 8 * time.Second},
		},
		Channel:       linesConfig{Poll: 30 * time.Second, Sweep: time.Minute},
		Check:         checkConfig{Every: 5 * time.Minute},
		API:           apiConfig{Rate: 50, Burst: 200, MaxTurn: 15 * time.Minute},
		Chatwoot:      deskConfig{Sweep: 30 * time.Second, Language: "pt_BR", MaxMediaBytes: 16 << 20},
		Human:         humanConfig{DeskSilence: 10 * time.Minute, PhoneSilence: time.Hour, GreetingWindow: 3 * time.Second, ForeignSender: "human"},
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
	c.Flows.validate(p)
	p.require(c.Hooks.MaxBodyBytes > 0, "hooks.max_body_bytes: %d is not positive", c.Hooks.MaxBodyBytes)
	c.Media.validate(p)
	c.Gate.validate(p)
	p.require(c.Channel.Poll >= time.Second, "channel.poll: %s is below 1s", c.Channel.Poll)
	p.require(c.Channel.Sweep >= time.Second, "channel.sweep: %s is below 1s", c.Channel.Sweep)
	p.require(c.API.Rate > 0, "api.rate: %g is not positive", c.API.Rate)
	p.require(c.API.Burst > 0, "api.burst: %d is not positive", c.API.Burst)
	p.require(c.API.MaxTurn >= c.Turn.Deadline, "api.max_turn: %s is below turn.deadline, %s", c.API.MaxTurn, c.Turn.Deadline)
	c.Chatwoot.validate(p)
	c.Check.validate(p)
	c.Human.validate(p)
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

func (c *gateConfig) validate(p *problems) {
	p.require(c.Rate >= 0, "gate.rate: %g is negative", c.Rate)
	p.require(c.Burst > 0, "gate.burst: %d is not positive", c.Burst)
	p.require(c.Typing.PerCharacter >= 0, "gate.typing.per_character: %s is negative", c.Typing.PerCharacter)
	p.require(c.Typing.Min >= 0, "gate.typing.min: %s is negative", c.Typing.Min)
	p.require(c.Typing.Max >= c.Typing.Min && c.Typing.Max <= conversation.MaxPartDelay, "gate.typing.max: %s is not between gate.typing.min, %s, and %s",
		c.Typing.Max, c.Typing.Min, conversation.MaxPartDelay)
}

func (c *mediaConfig) validate(p *problems) {
	const most = 100 << 20 // Evolution takes bodies of 136 MB, and base64 makes four bytes of three
	p.require(c.MaxBytes > 0 && c.MaxBytes <= most, "media.max_bytes: %d is not between 1 and %d", c.MaxBytes, most)
	p.require(c.Timeout > 0, "media.timeout: %s is not positive", c.Timeout)
	p.require(c.Tries > 0, "media.tries: %d is not positive", c.Tries)
	for i, host := range c.Hosts {
		c.Hosts[i] = strings.ToLower(host)
		u, err := url.Parse("http://" + host)
		p.require(err == nil && u.Host == host && host != "", "media.hosts: %q is not a host or host:port", host)
	}
}

func (c *deskConfig) validate(p *problems) {
	if c.URL == "" {
		return
	}
	checkURL(p, "chatwoot.url", c.URL, "http", "https")
	if c.PublicURL != "" {
		checkURL(p, "chatwoot.public_url", c.PublicURL, "http", "https")
	}
	p.require(c.Sweep >= time.Second, "chatwoot.sweep: %s is below 1s", c.Sweep)
	p.require(slices.Contains(desk.Languages(), c.Language), "chatwoot.language: %q is none of %s", c.Language, strings.Join(desk.Languages(), ", "))
	p.require(c.MaxMediaBytes > 0, "chatwoot.max_media_bytes: %d is not positive", c.MaxMediaBytes)
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
	p.require(c.Typing >= 0, "turn.typing: %s is negative", c.Typing)
	p.require(c.Media >= 0, "turn.media: %s is negative", c.Media)
	p.require(c.History >= 0 && c.History <= maxHistory, "turn.history: %d is not between 0 and %d", c.History, maxHistory)
	p.require(c.Poll >= 10*time.Millisecond, "turn.poll: %s is below 10ms", c.Poll)
	p.require(c.Patience > 0, "turn.patience: %s is not positive", c.Patience)
	p.require(c.MaxRunning > 0, "turn.max_running: %d is not positive", c.MaxRunning)
}

// maxHistory bounds turn.history: each turn carries it, also in memory.
const maxHistory = 100

func (c *flowsConfig) validate(p *problems) {
	p.require(c.MaxRunning > 0, "flows.max_running: %d is not positive", c.MaxRunning)
	p.require(c.Trips > 0, "flows.trips: %d is not positive", c.Trips)
	p.require(c.Rest > 0, "flows.rest: %s is not positive", c.Rest)
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
