package component

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"plantao/infra/sdk/plantao"
)

// Evolution speaks WhatsApp. One process only: two on one session fight over the socket.
type Evolution struct {
	pulumi.ResourceState
	// APIKey is the global key; only the router and the wiring hold it.
	APIKey pulumi.StringOutput
	// Ready is what a caller must wait for.
	Ready pulumi.Resource
}

// EvolutionArgs are what the component needs of others.
type EvolutionArgs struct {
	// URL people open for the QR code.
	URL      string
	Postgres *Postgres
	Redis    *Redis
	// LabControl opens the lab stand-in's control port to the tests; the real image knows nothing of it.
	LabControl bool
}

// NewEvolution makes the service.
func NewEvolution(ctx *pulumi.Context, b *Base, args EvolutionArgs, opts ...pulumi.ResourceOption) (*Evolution, error) {
	e := &Evolution{}
	if err := ctx.RegisterComponentResource("plantao:component:Evolution", "evolution", e, opts...); err != nil {
		return nil, err
	}
	key, err := b.Secret(ctx, e, "evolution-api-key", &plantao.SecretArgs{Alphabet: pulumi.String("hex"), Length: pulumi.Int(48)})
	if err != nil {
		return nil, err
	}
	e.APIKey = key.Value
	meta, err := b.Secret(ctx, e, "evolution-meta-token", nil)
	if err != nil {
		return nil, err
	}
	files, err := b.Files(ctx, e, "evolution", "evolution", 0, 0, pulumi.StringMap{
		"evolution.env": envFile(evolutionEnv(args, key.Value, meta.Value)),
	})
	if err != nil {
		return nil, err
	}
	instances, err := b.Volume(ctx, e, "evolution-instances")
	if err != nil {
		return nil, err
	}
	e.Ready, err = b.Run(ctx, e, Service{
		Service: "evolution", Component: "evolution", Image: "evolution",
		Entrypoint: sourced("evolution.env", `/bin/bash -c ". ./Docker/scripts/deploy_database.sh && npm run start:prod"`),
		Files:      files,
		Mounts:     []Mount{{Volume: instances.Name, Path: "/evolution/instances"}},
		Zones:      []string{Edge, App, Data},
		Aliases:    []string{"evolution"},
		MemoryMB:   768,
		// Every start generates Prisma's client below /evolution.
		Writable: true,
		// `GET /` calls WhatsApp's site without a timeout: a port check is the one that does not.
		Health:      Health{Test: []string{"nc", "-z", "127.0.0.1", "8080"}, StartSeconds: 120},
		StopSeconds: 30,
		URL:         args.URL,
	}, pulumi.DependsOn([]pulumi.Resource{args.Postgres.Ready, args.Redis.Ready}))
	if err != nil {
		return nil, err
	}
	return e, ctx.RegisterResourceOutputs(e, pulumi.Map{})
}

// evolutionEnv sets every variable whose absence would let the image's own example value in: a key that
// is public, telemetry, logs with message texts, webhooks dropped at the first 404.
func evolutionEnv(args EvolutionArgs, key, meta pulumi.StringOutput) map[string]pulumi.StringInput {
	env := map[string]pulumi.StringInput{
		"DATABASE_CONNECTION_URI": pulumi.Sprintf("postgresql://evolution:%s@postgres:5432/evolution?schema=evolution_api", args.Postgres.Password["evolution"]),
		"AUTHENTICATION_API_KEY":  key,
		"CACHE_REDIS_URI":         pulumi.Sprintf("redis://evolution:%s@redis:6379/6", args.Redis.Password["evolution"]),
		// Only read for Meta's Cloud API, but its example value is public and its route is open.
		"WA_BUSINESS_TOKEN_WEBHOOK": meta,
	}
	for k, v := range map[string]string{
		"SERVER_NAME": "evolution", "SERVER_TYPE": "http", "SERVER_PORT": "8080", "SERVER_URL": "http://evolution:8080",
		"SERVER_DISABLE_MANAGER": "true", "SERVER_DISABLE_DOCS": "true",
		// A list of origins would answer 500 to callers that send none, as servers do.
		"CORS_ORIGIN": "*", "CORS_METHODS": "GET,POST,PUT,DELETE", "CORS_CREDENTIALS": "false",
		"TZ": "Etc/UTC", "LANGUAGE": "pt-BR", "DOCKER_ENV": "true", "DEL_INSTANCE": "false",
		"AUTHENTICATION_EXPOSE_IN_FETCH_INSTANCES": "false",
		"DATABASE_PROVIDER":                        "postgresql",
		// Only instances of this name are loaded: never change it.
		"DATABASE_CONNECTION_CLIENT_NAME": "plantao",
		"DATABASE_SAVE_DATA_INSTANCE":     "true", "DATABASE_SAVE_DATA_NEW_MESSAGE": "true",
		"DATABASE_SAVE_MESSAGE_UPDATE": "true", "DATABASE_SAVE_DATA_CONTACTS": "true",
		"DATABASE_SAVE_DATA_CHATS": "true", "DATABASE_SAVE_DATA_LABELS": "true",
		"DATABASE_SAVE_DATA_HISTORIC": "false", "DATABASE_SAVE_IS_ON_WHATSAPP": "true",
		"DATABASE_SAVE_IS_ON_WHATSAPP_DAYS": "7", "DATABASE_DELETE_MESSAGE": "true",
		"CACHE_REDIS_ENABLED": "true", "CACHE_REDIS_PREFIX_KEY": "evolution", "CACHE_REDIS_TTL": "604800",
		"CACHE_REDIS_SAVE_INSTANCES": "false", "CACHE_LOCAL_ENABLED": "false",
		"WEBHOOK_GLOBAL_ENABLED": "false", "WEBHOOK_EVENTS_ERRORS": "false", "WEBHOOK_EVENTS_ERRORS_WEBHOOK": "",
		"WEBHOOK_REQUEST_TIMEOUT_MS": "10000", "WEBHOOK_RETRY_MAX_ATTEMPTS": "10",
		"WEBHOOK_RETRY_INITIAL_DELAY_SECONDS": "5", "WEBHOOK_RETRY_USE_EXPONENTIAL_BACKOFF": "true",
		"WEBHOOK_RETRY_MAX_DELAY_SECONDS": "300", "WEBHOOK_RETRY_JITTER_FACTOR": "0.2",
		// Not 401, 403 or 404: those are our own mistakes, and a message must survive their mending.
		"WEBHOOK_RETRY_NON_RETRYABLE_STATUS_CODES": "400,422",
		"CONFIG_SESSION_PHONE_CLIENT":              "Plantao", "CONFIG_SESSION_PHONE_NAME": "Chrome", "QRCODE_LIMIT": "30",
		// The built-in bridge is an open door to sending; the router is the only bridge.
		"CHATWOOT_ENABLED": "false", "CHATWOOT_IMPORT_DATABASE_CONNECTION_URI": "",
		"TELEMETRY_ENABLED": "false", "PROMETHEUS_METRICS": "false",
		"LOG_LEVEL": "ERROR,WARN,INFO", "LOG_COLOR": "false", "LOG_BAILEYS": "error",
		"RABBITMQ_ENABLED": "false", "SQS_ENABLED": "false", "WEBSOCKET_ENABLED": "false", "PUSHER_ENABLED": "false",
		"KAFKA_ENABLED": "false", "NATS_ENABLED": "false", "TYPEBOT_ENABLED": "false", "OPENAI_ENABLED": "false",
		"DIFY_ENABLED": "false", "N8N_ENABLED": "false", "EVOAI_ENABLED": "false", "S3_ENABLED": "false",
	} {
		env[k] = pulumi.String(v)
	}
	if args.LabControl {
		env["LAB_CONTROL_ADDR"] = pulumi.String(":8099")
	}
	return env
}
