// Package environmenttest holds an environment that Evolution API's stand-in accepts, for tests to change one value of.
package environmenttest

import "plantao/test/lab/evolution/environment"

// Safe returns a fresh copy: what a careful operator would set, with a database nobody runs.
func Safe() map[string]string {
	return map[string]string{
		"AUTHENTICATION_API_KEY":                   "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
		"AUTHENTICATION_EXPOSE_IN_FETCH_INSTANCES": "false",
		"DATABASE_PROVIDER":                        "postgresql",
		"DATABASE_CONNECTION_URI":                  "postgresql://evolution:pw@127.0.0.1:1/evolution?schema=evolution_api",
		"DATABASE_CONNECTION_CLIENT_NAME":          "plantao",
		"DATABASE_SAVE_DATA_INSTANCE":              "true",
		"SERVER_URL":                               "http://evolution:8080",
		"SERVER_DISABLE_MANAGER":                   "true",
		"TELEMETRY_ENABLED":                        "false",
		"LOG_LEVEL":                                "ERROR,WARN,INFO",
		"CACHE_REDIS_ENABLED":                      "true",
		"CACHE_REDIS_URI":                          "redis://evolution:pw@127.0.0.1:1/6",
		"CACHE_REDIS_PREFIX_KEY":                   "evolution",
		"CACHE_REDIS_SAVE_INSTANCES":               "false",
		"WEBHOOK_REQUEST_TIMEOUT_MS":               "10000",
		"WEBHOOK_RETRY_NON_RETRYABLE_STATUS_CODES": "400,401,403,422",
		"CHATWOOT_ENABLED":                         "false",
		"CHATWOOT_IMPORT_DATABASE_CONNECTION_URI":  "",
		"WA_BUSINESS_TOKEN_WEBHOOK":                "8f7e6d5c4b3a2918",
		"TZ":                                       "Etc/UTC",
	}
}

// Lookup reads variables from a map.
func Lookup(env map[string]string) environment.Lookup {
	return func(name string) (string, bool) {
		v, ok := env[name]
		return v, ok
	}
}
