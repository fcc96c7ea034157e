package standin

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Environment is what one Chatwoot process reads from its environment variables. The zero value is not usable: make
// one with ReadEnvironment, which applies upstream's defaults.
type Environment struct {
	DatabaseURL       string        // from DATABASE_URL, or put together from POSTGRES_*
	StatementTimeout  time.Duration // POSTGRES_STATEMENT_TIMEOUT, default 14s
	RedisURL          string        // REDIS_URL as given
	RedisPassword     string        // REDIS_PASSWORD; wins over a password in the URL, as upstream's client has it
	FrontendURL       string
	AccountSignup     string // ENABLE_ACCOUNT_SIGNUP: true, false or api_only
	ForceSSL          bool
	AllowPrivate      bool // SAFE_FETCH_ALLOW_PRIVATE_NETWORK: deliver webhooks to private addresses
	MessagesPerMinute int  // CONVERSATION_MESSAGE_PER_MINUTE_LIMIT, default 200
	RackAttack        bool // ENABLE_RACK_ATTACK, default true
	RequestsPerMinute int  // RACK_ATTACK_LIMIT, default 3000
	AllowedAddresses  map[string]bool
	Concurrency       int // SIDEKIQ_CONCURRENCY, default 10
}

var lettersAndDigits = regexp.MustCompile(`^[A-Za-z0-9]+$`)

// Values upstream's documentation and example files publish. Whoever sets one has set nothing.
var publishedSecrets = map[string]bool{
	"replace_with_lengthy_secure_hex": true,
	"replacewithlengthysecurehex":     true,
	"changeme":                        true,
}

var encryptionNames = [...]string{
	"ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY",
	"ACTIVE_RECORD_ENCRYPTION_DETERMINISTIC_KEY",
	"ACTIVE_RECORD_ENCRYPTION_KEY_DERIVATION_SALT",
}

// environmentReader collects every problem, so that a person fixes the file once and not once per start.
type environmentReader struct {
	get      func(string) string
	problems []error
}

// ReadEnvironment reads and checks the variables through get (os.Getenv). The error joins one line per problem, each
// starting with the variable's name; values are never in it, since most of them are secrets.
func ReadEnvironment(get func(string) string) (Environment, error) {
	r := &environmentReader{get: get}
	if v := r.required("RAILS_ENV"); v != "" && v != "production" {
		r.problem("RAILS_ENV must be production, not %q: the image has no other environment's gems", v)
	}
	r.secrets()
	env := Environment{
		DatabaseURL:       r.database(),
		StatementTimeout:  r.duration("POSTGRES_STATEMENT_TIMEOUT", 14*time.Second),
		RedisURL:          r.redis(),
		RedisPassword:     r.required("REDIS_PASSWORD"),
		FrontendURL:       r.frontend(),
		AccountSignup:     r.oneOf("ENABLE_ACCOUNT_SIGNUP", "true", "false", "api_only"),
		ForceSSL:          r.flag("FORCE_SSL", false),
		AllowPrivate:      r.flag("SAFE_FETCH_ALLOW_PRIVATE_NETWORK", false),
		MessagesPerMinute: r.number("CONVERSATION_MESSAGE_PER_MINUTE_LIMIT", 200),
		RackAttack:        r.flag("ENABLE_RACK_ATTACK", true),
		RequestsPerMinute: r.number("RACK_ATTACK_LIMIT", 3000),
		AllowedAddresses:  map[string]bool{"127.0.0.1": true, "::1": true},
		Concurrency:       r.number("SIDEKIQ_CONCURRENCY", 10),
	}
	for _, a := range strings.Split(get("RACK_ATTACK_ALLOWED_IPS"), ",") {
		if a = strings.TrimSpace(a); a != "" {
			env.AllowedAddresses[a] = true
		}
	}
	if len(r.problems) > 0 {
		return Environment{}, errors.Join(r.problems...)
	}
	return env, nil
}

func (r *environmentReader) problem(format string, args ...any) {
	r.problems = append(r.problems, fmt.Errorf(format, args...))
}

func (r *environmentReader) required(name string) string {
	v := strings.TrimSpace(r.get(name))
	if v == "" {
		r.problem("%s must be set", name)
	}
	return v
}

func (r *environmentReader) secrets() {
	if v := r.required("SECRET_KEY_BASE"); v != "" {
		switch {
		case publishedSecrets[strings.ToLower(v)]:
			r.problem("SECRET_KEY_BASE is the example value of the documentation: generate one")
		case !lettersAndDigits.MatchString(v):
			r.problem("SECRET_KEY_BASE may hold only letters and digits")
		case len(v) < 30:
			r.problem("SECRET_KEY_BASE is shorter than 30 characters: generate a longer one")
		}
	}
	seen := map[string]string{}
	for _, name := range encryptionNames {
		v := r.required(name)
		if v == "" {
			continue
		}
		if len(v) < 12 {
			r.problem("%s is shorter than 12 characters: generate a longer one", name)
		}
		if first, ok := seen[v]; ok {
			r.problem("%s has the value of %s: they must differ", name, first)
		}
		seen[v] = name
	}
}

func (r *environmentReader) database() string {
	if raw := strings.TrimSpace(r.get("DATABASE_URL")); raw != "" {
		u, err := url.Parse(raw)
		if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") || u.Host == "" || strings.Trim(u.Path, "/") == "" {
			r.problem("DATABASE_URL must look like postgres://user:password@host:5432/database")
			return ""
		}
		return raw
	}
	host, user := r.required("POSTGRES_HOST"), r.required("POSTGRES_USERNAME")
	password, database := r.required("POSTGRES_PASSWORD"), r.required("POSTGRES_DATABASE")
	port := strings.TrimSpace(r.get("POSTGRES_PORT"))
	if port == "" {
		port = "5432"
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		r.problem("POSTGRES_PORT must be a port number, not %q", port)
	}
	u := url.URL{Scheme: "postgres", User: url.UserPassword(user, password), Host: host + ":" + port, Path: "/" + database}
	return u.String()
}

func (r *environmentReader) redis() string {
	raw := r.required("REDIS_URL")
	if raw == "" {
		return ""
	}
	u, err := url.Parse(raw)
	if err != nil || (u.Scheme != "redis" && u.Scheme != "rediss") || u.Host == "" {
		r.problem("REDIS_URL must look like redis://host:6379/1")
		return ""
	}
	if db := strings.Trim(u.Path, "/"); db != "" {
		if _, err := strconv.Atoi(db); err != nil {
			r.problem("REDIS_URL names database %q: it must be a number", db)
		}
	}
	return raw
}

func (r *environmentReader) frontend() string {
	raw := r.required("FRONTEND_URL")
	if raw == "" {
		return ""
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "":
		r.problem("FRONTEND_URL must be an absolute http or https URL, not %q", raw)
	case strings.HasSuffix(raw, "/"):
		r.problem("FRONTEND_URL must not end with a slash: links would get two")
	}
	return raw
}

func (r *environmentReader) oneOf(name string, allowed ...string) string {
	v := r.required(name)
	if v == "" {
		return ""
	}
	for _, a := range allowed {
		if v == a {
			return v
		}
	}
	r.problem("%s must be one of %s, not %q", name, strings.Join(allowed, ", "), v)
	return ""
}

// flag casts as Rails does: everything but these words and the empty string is true.
func (r *environmentReader) flag(name string, def bool) bool {
	switch strings.ToLower(strings.TrimSpace(r.get(name))) {
	case "":
		return def
	case "false", "f", "0", "off", "no":
		return false
	}
	return true
}

func (r *environmentReader) number(name string, def int) int {
	raw := strings.TrimSpace(r.get(name))
	if raw == "" {
		return def
	}
	n, err := strconv.Atoi(raw)
	if err != nil || n < 1 {
		r.problem("%s must be a number of at least 1, not %q", name, raw)
		return def
	}
	return n
}

func (r *environmentReader) duration(name string, def time.Duration) time.Duration {
	raw := strings.TrimSpace(r.get(name))
	if raw == "" {
		return def
	}
	d, err := time.ParseDuration(raw)
	if err != nil || d <= 0 {
		r.problem("%s must be a duration such as 14s, not %q", name, raw)
		return def
	}
	return d
}
