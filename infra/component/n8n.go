package component

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"plantao/infra/sdk/plantao"
)

// nodeUID is the user and group "node" of n8n's images.
const nodeUID = 1000

// N8n runs flows and AI agents: the main process, and its task runner in a zone of its own.
type N8n struct {
	pulumi.ResourceState
	// OwnerPassword is the first login's.
	OwnerPassword pulumi.StringOutput
	// FlowToken is what a caller of a flow's webhook must send.
	FlowToken pulumi.StringOutput
	// Ready is what a caller must wait for.
	Ready pulumi.Resource
}

// N8nArgs are what the component needs of others.
type N8nArgs struct {
	// URL people open, without a trailing slash.
	URL string
	// OwnerName and OwnerEmail of the first login.
	OwnerName, OwnerEmail string
	// Timezone of schedules.
	Timezone string
	Postgres *Postgres
	Redis    *Redis
}

// NewN8n makes main process and runner.
func NewN8n(ctx *pulumi.Context, b *Base, args N8nArgs, opts ...pulumi.ResourceOption) (*N8n, error) {
	n := &N8n{}
	if err := ctx.RegisterComponentResource("plantao:component:N8n", "n8n", n, opts...); err != nil {
		return nil, err
	}
	owner, err := b.Secret(ctx, n, "n8n-owner", &plantao.SecretArgs{Alphabet: pulumi.String("password"), Bcrypt: pulumi.Bool(true)})
	if err != nil {
		return nil, err
	}
	secrets, err := b.Secrets(ctx, n, "n8n-encryption-key", "n8n-jwt", "n8n-runners", "n8n-flow")
	if err != nil {
		return nil, err
	}
	n.OwnerPassword, n.FlowToken = owner.Value, secrets["n8n-flow"]
	main, err := n.main(ctx, b, args, owner, secrets)
	if err != nil {
		return nil, err
	}
	n.Ready, err = n.runner(ctx, b, args, secrets["n8n-runners"], main)
	if err != nil {
		return nil, err
	}
	return n, ctx.RegisterResourceOutputs(n, pulumi.Map{})
}

func (n *N8n) main(ctx *pulumi.Context, b *Base, args N8nArgs, owner *plantao.Secret, secrets map[string]pulumi.StringOutput) (pulumi.Resource, error) {
	files, err := b.Files(ctx, n, "n8n", "n8n", nodeUID, nodeUID, pulumi.StringMap{
		"database-password": args.Postgres.Password["n8n"],
		"encryption-key":    secrets["n8n-encryption-key"],
		"jwt-secret":        secrets["n8n-jwt"],
		"runners-token":     secrets["n8n-runners"],
		"owner-hash":        owner.BcryptHash,
	})
	if err != nil {
		return nil, err
	}
	home, err := b.Volume(ctx, n, "n8n-home")
	if err != nil {
		return nil, err
	}
	cache, err := b.Volume(ctx, n, "n8n-cache")
	if err != nil {
		return nil, err
	}
	return b.Run(ctx, n, Service{
		Service: "n8n", Component: "n8n", Image: "n8n",
		Env:   n8nEnv(args, b.Images.Lab()),
		Files: files,
		Mounts: []Mount{
			{Volume: home.Name, Path: "/home/node/.n8n"},
			// The editor's files, 77 MB written at every start: a volume, since a tmpfs would be memory.
			{Volume: cache.Name, Path: "/home/node/.cache"},
		},
		Zones:    []string{Edge, App, Data, Code},
		Aliases:  []string{"n8n"},
		MemoryMB: 1280,
		Tmpfs:    map[string]string{"/tmp": "rw,noexec,nosuid"},
		Health:   Health{Test: []string{"wget", "-q", "-O", "/dev/null", "http://127.0.0.1:5678/healthz/readiness"}, StartSeconds: 300},
		// Longer than N8N_GRACEFUL_SHUTDOWN_TIMEOUT, which is 30 s.
		StopSeconds: 45,
		URL:         args.URL,
	}, pulumi.DependsOn([]pulumi.Resource{args.Postgres.Ready, args.Redis.Ready}))
}

func n8nEnv(args N8nArgs, lab bool) map[string]pulumi.StringInput {
	plain := map[string]string{
		"DB_TYPE": "postgresdb", "DB_POSTGRESDB_HOST": "postgres", "DB_POSTGRESDB_PORT": "5432",
		"DB_POSTGRESDB_DATABASE": "n8n", "DB_POSTGRESDB_USER": "n8n",
		"DB_POSTGRESDB_PASSWORD_FILE":         FilesAt + "/database-password",
		"N8N_ENCRYPTION_KEY_FILE":             FilesAt + "/encryption-key",
		"N8N_USER_MANAGEMENT_JWT_SECRET_FILE": FilesAt + "/jwt-secret",
		"N8N_RUNNERS_MODE":                    "external",
		"N8N_RUNNERS_AUTH_TOKEN_FILE":         FilesAt + "/runners-token",
		"N8N_RUNNERS_BROKER_LISTEN_ADDRESS":   "0.0.0.0",
		"N8N_RUNNERS_TASK_TIMEOUT":            "60",
		// Without these, the first visitor would become the owner.
		"N8N_INSTANCE_OWNER_MANAGED_BY_ENV":     "true",
		"N8N_INSTANCE_OWNER_EMAIL":              args.OwnerEmail,
		"N8N_INSTANCE_OWNER_FIRST_NAME":         args.OwnerName,
		"N8N_INSTANCE_OWNER_LAST_NAME":          "-",
		"N8N_INSTANCE_OWNER_PASSWORD_HASH_FILE": FilesAt + "/owner-hash",
		"N8N_EDITOR_BASE_URL":                   args.URL,
		// Flows are called by the router on the app network, never from outside.
		"N8N_WEBHOOK_URL":   "http://n8n:5678",
		"N8N_PROXY_HOPS":    "1",
		"N8N_SECURE_COOKIE": "false",
		"GENERIC_TIMEZONE":  args.Timezone, "TZ": args.Timezone,
		"EXECUTIONS_DATA_PRUNE": "true", "EXECUTIONS_DATA_MAX_AGE": "336", "EXECUTIONS_TIMEOUT": "300",
		"N8N_BLOCK_ENV_ACCESS_IN_NODE":    "true",
		"N8N_UNVERIFIED_PACKAGES_ENABLED": "false",
		"N8N_DIAGNOSTICS_ENABLED":         "false", "N8N_VERSION_NOTIFICATIONS_ENABLED": "false",
		"N8N_TEMPLATES_ENABLED": "false", "N8N_PERSONALIZATION_ENABLED": "false",
		"N8N_HIRING_BANNER_ENABLED": "false", "N8N_DYNAMIC_BANNERS_ENABLED": "false",
		// Upstream's announced defaults, set so that the start logs no deprecation.
		"N8N_COMPRESSION_NODE_MAX_DECOMPRESSED_SIZE_BYTES": "268435456",
		"N8N_COMPRESSION_NODE_MAX_ZIP_ENTRIES":             "1000",
	}
	if lab {
		// Asks a host on the internet at every start, and fails loudly without one. Not set elsewhere: a
		// release that does not know the name refuses to start.
		plain["N8N_DISABLED_MODULES"] = "mcp-registry"
	}
	out := map[string]pulumi.StringInput{}
	for k, v := range plain {
		out[k] = pulumi.String(v)
	}
	return out
}

// runner executes the code of Code nodes. It sees n8n's broker and nothing else.
func (n *N8n) runner(ctx *pulumi.Context, b *Base, args N8nArgs, token pulumi.StringOutput, main pulumi.Resource) (pulumi.Resource, error) {
	files, err := b.Files(ctx, n, "n8n-runner", "n8n-runner", nodeUID, nodeUID, pulumi.StringMap{"runners-token": token})
	if err != nil {
		return nil, err
	}
	return b.Run(ctx, n, Service{
		Service: "n8n-runner", Component: "n8n", Image: "n8n-runner",
		// The image's entrypoint is the launcher; the word names which runners it may start.
		Command: []string{"javascript"},
		Env: map[string]pulumi.StringInput{
			"N8N_RUNNERS_TASK_BROKER_URI": pulumi.String("http://n8n:5679"),
			"N8N_RUNNERS_AUTH_TOKEN_FILE": pulumi.String(FilesAt + "/runners-token"),
			// 0: never. A runner that must start first delays a customer's answer by 10 s and more.
			"N8N_RUNNERS_AUTO_SHUTDOWN_TIMEOUT": pulumi.String("0"),
			"N8N_RUNNERS_TASK_TIMEOUT":          pulumi.String("60"),
			"N8N_RUNNERS_MAX_CONCURRENCY":       pulumi.String("5"),
			"GENERIC_TIMEZONE":                  pulumi.String(args.Timezone),
		},
		Files:    files,
		Zones:    []string{Code},
		MemoryMB: 512,
		Tmpfs:    map[string]string{"/tmp": "rw,nosuid"},
		Health:   Health{Test: []string{"wget", "-q", "-O", "/dev/null", "http://127.0.0.1:5680/healthz"}, StartSeconds: 60},
	}, pulumi.DependsOn([]pulumi.Resource{main}))
}
