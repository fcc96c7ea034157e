// Package environment reads the variables of Evolution API and refuses what would be dangerous in production.
//
// Upstream's image carries .env.example as its .env, so a variable left unset silently takes the example value. Load reports
// every such variable, all at once, instead of taking it.
package environment

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Lookup tells a variable's value and whether it is set, as os.LookupEnv does.
type Lookup func(name string) (string, bool)

// Config is what the server needs. Every field comes from the variable of the same meaning in upstream's environment.
type Config struct {
	// Port is the TCP port of the API; default 8080.
	Port int
	// ServerURL is shown as server_url in webhooks.
	ServerURL string
	// CORSOrigins lists the allowed origins; with no "*" in it every request without an Origin header is answered 500.
	CORSOrigins []string
	// APIKey is the global key.
	APIKey string
	// ExposeTokens puts instance tokens into fetchInstances and into the webhook field apikey.
	ExposeTokens bool
	// Manager says that upstream would serve its pages under /manager.
	Manager bool

	Database Database
	Redis    Redis
	Webhook  Webhook

	// QRColor is the dark colour of QR codes, "#rrggbb".
	QRColor string
	// Zone is the container's time zone; date_time of webhooks is its wall clock marked Z.
	Zone *time.Location
	// Debug is true when LOG_LEVEL asks for VERBOSE or DEBUG.
	Debug bool
	// ControlAddr is the listen address of the tests' control port; empty means none.
	ControlAddr string
}

// Database says where state is kept and which of it.
type Database struct {
	// URI is a libpq URL that may carry Prisma's parameters (schema, connection_limit, …). Secret.
	URI string
	// ClientName separates installations on one database: only instances of this name are loaded.
	ClientName string
	// SaveInstances must be true for instances to come back after a restart.
	SaveInstances bool
}

// Redis says which cache upstream would use. An empty URI means none.
type Redis struct {
	// URI is secret.
	URI string
	// PrefixKey begins every key.
	PrefixKey string
}

// Webhook holds the delivery rules.
type Webhook struct {
	// Timeout bounds one try; default 30 s as in upstream's code.
	Timeout time.Duration
	// MaxAttempts is the number of tries in all; default 10.
	MaxAttempts int
	// InitialDelay is the wait after the first failure; default 5 s.
	InitialDelay time.Duration
	// MaxDelay is the longest wait before jitter; default 300 s.
	MaxDelay time.Duration
	// Exponential doubles the wait after each failure; default true.
	Exponential bool
	// Jitter is the part of the wait by which it may vary either way; default 0.2.
	Jitter float64
	// NonRetryable lists the statuses that end delivery at once.
	NonRetryable []int
}

// Load reads the server's configuration. The error joins one line per problem.
func Load(env Lookup) (Config, error) {
	err := errors.Join(refuseUnset(env), refuseKnownSecrets(env), refuseDangerous(env), refuseUnimitated(env))
	zone, zoneErr := loadZone(env)
	codes, codesErr := statusCodes(value(env, "WEBHOOK_RETRY_NON_RETRYABLE_STATUS_CODES"))
	if err = errors.Join(err, zoneErr, codesErr); err != nil {
		return Config{}, err
	}
	levels := strings.Split(value(env, "LOG_LEVEL"), ",")
	cfg := Config{
		Port:         integer(env, "SERVER_PORT", 8080),
		ServerURL:    value(env, "SERVER_URL"),
		CORSOrigins:  []string{"*"},
		APIKey:       value(env, "AUTHENTICATION_API_KEY"),
		ExposeTokens: value(env, "AUTHENTICATION_EXPOSE_IN_FETCH_INSTANCES") == "true",
		Manager:      value(env, "SERVER_DISABLE_MANAGER") != "true",
		Database: Database{
			URI:           value(env, "DATABASE_CONNECTION_URI"),
			ClientName:    value(env, "DATABASE_CONNECTION_CLIENT_NAME"),
			SaveInstances: exampleTrue(env, "DATABASE_SAVE_DATA_INSTANCE"),
		},
		Webhook:     webhook(env, codes),
		QRColor:     "#175197",
		Zone:        zone,
		Debug:       slices.Contains(levels, "VERBOSE") || slices.Contains(levels, "DEBUG"),
		ControlAddr: value(env, "LAB_CONTROL_ADDR"),
	}
	if origins, set := env("CORS_ORIGIN"); set {
		cfg.CORSOrigins = strings.Split(origins, ",")
	}
	if color := value(env, "QRCODE_COLOR"); color != "" {
		cfg.QRColor = color
	}
	if value(env, "CACHE_REDIS_ENABLED") == "true" {
		cfg.Redis = Redis{URI: value(env, "CACHE_REDIS_URI"), PrefixKey: value(env, "CACHE_REDIS_PREFIX_KEY")}
	}
	return cfg, nil
}

// LoadDatabase reads what the migration step needs: the provider and the connection.
func LoadDatabase(env Lookup) (Database, error) {
	var errs []error
	if provider := value(env, "DATABASE_PROVIDER"); provider != "postgresql" {
		errs = append(errs, providerError(provider))
	}
	uri := value(env, "DATABASE_CONNECTION_URI")
	if uri == "" {
		errs = append(errs, unsetError("DATABASE_CONNECTION_URI"))
	}
	if value(env, "DATABASE_URL") != "" {
		errs = append(errs, errors.New("DATABASE_URL is set: upstream's script prints it into the log; unset it, DATABASE_CONNECTION_URI is enough"))
	}
	return Database{URI: uri}, errors.Join(errs...)
}

func providerError(provider string) error {
	if provider == "mysql" || provider == "psql_bouncer" {
		return fmt.Errorf("DATABASE_PROVIDER is %q: upstream takes it, this stand-in keeps its state in postgresql only", provider)
	}
	return fmt.Errorf("Error: Database provider %s invalid: set DATABASE_PROVIDER=postgresql", provider) //nolint:staticcheck // upstream's own words
}

func webhook(env Lookup, codes []int) Webhook {
	w := Webhook{
		Timeout:      time.Duration(integer(env, "WEBHOOK_REQUEST_TIMEOUT_MS", 30000)) * time.Millisecond,
		MaxAttempts:  integer(env, "WEBHOOK_RETRY_MAX_ATTEMPTS", 10),
		InitialDelay: time.Duration(integer(env, "WEBHOOK_RETRY_INITIAL_DELAY_SECONDS", 5)) * time.Second,
		MaxDelay:     time.Duration(integer(env, "WEBHOOK_RETRY_MAX_DELAY_SECONDS", 300)) * time.Second,
		Exponential:  value(env, "WEBHOOK_RETRY_USE_EXPONENTIAL_BACKOFF") != "false",
		Jitter:       0.2,
		NonRetryable: codes,
	}
	if j, err := strconv.ParseFloat(value(env, "WEBHOOK_RETRY_JITTER_FACTOR"), 64); err == nil && j != 0 && !math.IsNaN(j) {
		w.Jitter = j
	}
	return w
}

// statusCodes reads a comma-separated list. Upstream turns a word into NaN, which matches nothing; here it is a mistake worth a line.
func statusCodes(list string) ([]int, error) {
	if list == "" {
		return nil, nil
	}
	var codes []int
	for _, word := range strings.Split(list, ",") {
		code, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil {
			return nil, fmt.Errorf("WEBHOOK_RETRY_NON_RETRYABLE_STATUS_CODES holds %q: write statuses separated by commas, such as 400,401,403,422", word)
		}
		codes = append(codes, code)
	}
	return codes, nil
}

// loadZone falls back to the image's own TZ, not to UTC, because upstream's date_time then is wrong in the same way.
func loadZone(env Lookup) (*time.Location, error) {
	name := value(env, "TZ")
	if name == "" {
		name = "America/Sao_Paulo"
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("load time zone TZ=%q: %w", name, err)
	}
	return zone, nil
}

func value(env Lookup, name string) string {
	v, _ := env(name)
	return v
}

// integer follows JavaScript's parseInt(v) || fallback closely enough: leading digits count, zero and words mean the fallback.
func integer(env Lookup, name string, fallback int) int {
	v := strings.TrimSpace(value(env, name))
	end := 0
	for end < len(v) && v[end] >= '0' && v[end] <= '9' {
		end++
	}
	n, err := strconv.Atoi(v[:end])
	if err != nil || n == 0 {
		return fallback
	}
	return n
}

// exampleTrue reads a switch whose value in the image's .env.example is true.
func exampleTrue(env Lookup, name string) bool {
	v, set := env(name)
	return !set || v == "true"
}
