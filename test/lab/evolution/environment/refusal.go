package environment

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// refusal is a variable that must be set by whoever deploys.
type refusal struct {
	name string
	// example is what upstream takes when the variable is unset, as shown to people; never a secret in full.
	example string
	why     string
	// onlyIf names a switch that must be "true" for the variable to matter; empty means always.
	onlyIf string
	// mayBeEmpty accepts the empty string, which keeps the example away all the same.
	mayBeEmpty bool
}

// refusals is the list of variables in upstream's .env.example whose example or fallback value is dangerous.
var refusals = []refusal{
	{name: "AUTHENTICATION_API_KEY", example: "the key published in its .env.example", why: "anyone can use the API"},
	{name: "AUTHENTICATION_EXPOSE_IN_FETCH_INSTANCES", example: "true", why: "instance tokens are shown in fetchInstances and in every webhook"},
	{name: "DATABASE_CONNECTION_URI", example: "postgresql://user:pass@postgres:5432/evolution_db", why: "state goes to a database nobody chose"},
	{name: "DATABASE_CONNECTION_CLIENT_NAME", example: "evolution_exchange", why: "instances are only loaded under the name they were made with"},
	{name: "SERVER_URL", example: "http://localhost:8080", why: "webhooks point receivers at themselves"},
	{name: "SERVER_DISABLE_MANAGER", example: "false", why: "/manager is served without authentication"},
	{name: "TELEMETRY_ENABLED", example: "true", why: "usage is reported to the vendor"},
	{name: "LOG_LEVEL", example: "ERROR,WARN,DEBUG,INFO,LOG,VERBOSE,DARK,WEBHOOKS,WEBSOCKET", why: "message texts and media are written to the log"},
	{name: "CACHE_REDIS_ENABLED", example: "true", why: "a Redis at localhost is used"},
	{name: "CACHE_REDIS_URI", example: "redis://localhost:6379/6", why: "no such Redis is in the container", onlyIf: "CACHE_REDIS_ENABLED"},
	{name: "CACHE_REDIS_PREFIX_KEY", example: "evolution", why: "two installations on one Redis share keys", onlyIf: "CACHE_REDIS_ENABLED"},
	{name: "CACHE_REDIS_SAVE_INSTANCES", example: "false", why: "whether WhatsApp credentials live in Redis or PostgreSQL must be a decision", onlyIf: "CACHE_REDIS_ENABLED"},
	{name: "WEBHOOK_REQUEST_TIMEOUT_MS", example: "60000", why: "one dead receiver holds a delivery for a minute per try"},
	{name: "WEBHOOK_RETRY_NON_RETRYABLE_STATUS_CODES", example: "400,401,403,404,422", why: "404 is what a proxy answers while its backend restarts, and those events are lost"},
	{name: "CHATWOOT_ENABLED", example: "false", why: "when it is true POST /chatwoot/webhook sends WhatsApp messages for anyone"},
	{name: "CHATWOOT_IMPORT_DATABASE_CONNECTION_URI", example: "postgresql://user:…@host:5432/chatwoot", why: "history is imported into a database at a made-up host", mayBeEmpty: true},
	{name: "WA_BUSINESS_TOKEN_WEBHOOK", example: "evolution", why: "GET /webhook/meta accepts a published token"},
	{name: "METRICS_PASSWORD", example: "a published password", why: "/metrics is open to anyone who reads the documentation", onlyIf: "PROMETHEUS_METRICS"},
}

func refuseUnset(env Lookup) error {
	var errs []error
	if provider := value(env, "DATABASE_PROVIDER"); provider != "postgresql" {
		errs = append(errs, providerError(provider))
	}
	for _, r := range refusals {
		if r.onlyIf != "" && value(env, r.onlyIf) != "true" {
			continue
		}
		if v, set := env(r.name); !set || (v == "" && !r.mayBeEmpty) {
			errs = append(errs, r.err())
		}
	}
	return errors.Join(errs...)
}

func unsetError(name string) error {
	for _, r := range refusals {
		if r.name == name {
			return r.err()
		}
	}
	return fmt.Errorf("%s is not set", name)
}

func (r refusal) err() error {
	return fmt.Errorf("%s is not set: upstream would take %s, so %s; set it explicitly", r.name, r.example, r.why)
}

// knownSecrets maps a variable to the sha256 sums of values that stand in public files, so that no such value stands in this one.
var knownSecrets = map[string][]string{
	"AUTHENTICATION_API_KEY": {
		"52a8db81739d42fa20348b648053c582902105ae3ca05024fbc58ad7c1605a93",
		"d609862eb4ac07348cf4b3cec7f6d17145a86872f20a5a2cda0b32dd358a6509",
	},
	"WA_BUSINESS_TOKEN_WEBHOOK": {"970eaf0d4dc9bec3d74134fa3d69e6f8025c03ef82a83fd5c7782e3fe70075e7"},
	"METRICS_PASSWORD":          {"7713b166c4ab698b9b8b4a13ad3900689334fb4ac4121a145629a17f3bd2d040"},
}

func refuseKnownSecrets(env Lookup) error {
	var errs []error
	for _, name := range []string{"AUTHENTICATION_API_KEY", "WA_BUSINESS_TOKEN_WEBHOOK", "METRICS_PASSWORD"} {
		sum := sha256.Sum256([]byte(value(env, name)))
		for _, known := range knownSecrets[name] {
			if hex.EncodeToString(sum[:]) == known {
				errs = append(errs, fmt.Errorf("%s holds a value published with upstream's sources: generate a random one", name))
			}
		}
	}
	return errors.Join(errs...)
}

func refuseDangerous(env Lookup) error {
	var errs []error
	if value(env, "WEBHOOK_EVENTS_ERRORS") == "true" {
		errs = append(errs, errors.New("WEBHOOK_EVENTS_ERRORS is true: every error report would carry the global key; set it to false"))
	}
	if uri := value(env, "DATABASE_CONNECTION_URI"); uri != "" && !strings.HasPrefix(uri, "postgres://") && !strings.HasPrefix(uri, "postgresql://") {
		errs = append(errs, errors.New("DATABASE_CONNECTION_URI is no postgresql:// URL"))
	}
	return errors.Join(errs...)
}

// unimitated are upstream's switches for parts this program does not have. Ignoring them would make a test pass that proves nothing.
var unimitated = []string{
	"CACHE_REDIS_SAVE_INSTANCES", "CHATWOOT_ENABLED", "DIFY_ENABLED", "EVOAI_ENABLED", "FLOWISE_ENABLED", "KAFKA_ENABLED", "N8N_ENABLED",
	"NATS_ENABLED", "OPENAI_ENABLED", "PROMETHEUS_METRICS", "PROVIDER_ENABLED", "PUSHER_ENABLED", "RABBITMQ_ENABLED", "S3_ENABLED", "SQS_ENABLED",
	"TYPEBOT_ENABLED", "WEBHOOK_GLOBAL_ENABLED", "WEBSOCKET_ENABLED",
}

func refuseUnimitated(env Lookup) error {
	var errs []error
	for _, name := range unimitated {
		if value(env, name) == "true" {
			errs = append(errs, fmt.Errorf("%s is true: this stand-in does not imitate that part; set it to false in the lab", name))
		}
	}
	return errors.Join(errs...)
}
