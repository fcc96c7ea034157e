package component

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"plantao/infra/sdk/plantao"
)

// Chatwoot is the human desk: a prepare job, the web process and the worker.
type Chatwoot struct {
	pulumi.ResourceState
	// URL people open.
	URL string
	// AdminPassword is the first login's.
	AdminPassword pulumi.StringOutput
	// Ready is what a caller must wait for.
	Ready []pulumi.Resource
}

// ChatwootArgs are what the component needs of others.
type ChatwootArgs struct {
	// URL people open, without a trailing slash.
	URL string
	// Account, AdminName and AdminEmail are made by the prepare job.
	Account, AdminName, AdminEmail string
	Timezone                       string
	Postgres                       *Postgres
	Redis                          *Redis
}

// NewChatwoot makes job, web and worker.
func NewChatwoot(ctx *pulumi.Context, b *Base, args ChatwootArgs, opts ...pulumi.ResourceOption) (*Chatwoot, error) {
	c := &Chatwoot{URL: args.URL}
	if err := ctx.RegisterComponentResource("plantao:component:Chatwoot", "chatwoot", c, opts...); err != nil {
		return nil, err
	}
	admin, err := b.Secret(ctx, c, "chatwoot-admin", &plantao.SecretArgs{Alphabet: pulumi.String("password")})
	if err != nil {
		return nil, err
	}
	c.AdminPassword = admin.Value
	base, err := b.Secret(ctx, c, "chatwoot-secret-key-base", &plantao.SecretArgs{Length: pulumi.Int(64)})
	if err != nil {
		return nil, err
	}
	keys, err := b.Secrets(ctx, c, "chatwoot-primary-key", "chatwoot-deterministic-key", "chatwoot-derivation-salt")
	if err != nil {
		return nil, err
	}
	env := envFile(chatwootEnv(args, base.Value, keys))
	prepared, err := c.prepare(ctx, b, args, env)
	if err != nil {
		return nil, err
	}
	if err := c.run(ctx, b, args, env, prepared); err != nil {
		return nil, err
	}
	return c, ctx.RegisterResourceOutputs(c, pulumi.Map{})
}

func chatwootEnv(args ChatwootArgs, base pulumi.StringOutput, keys map[string]pulumi.StringOutput) map[string]pulumi.StringInput {
	return map[string]pulumi.StringInput{
		"RAILS_ENV": pulumi.String("production"), "NODE_ENV": pulumi.String("production"),
		"INSTALLATION_ENV":                             pulumi.String("docker"),
		"SECRET_KEY_BASE":                              base,
		"ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY":         keys["chatwoot-primary-key"],
		"ACTIVE_RECORD_ENCRYPTION_DETERMINISTIC_KEY":   keys["chatwoot-deterministic-key"],
		"ACTIVE_RECORD_ENCRYPTION_KEY_DERIVATION_SALT": keys["chatwoot-derivation-salt"],
		"FRONTEND_URL":                                 pulumi.String(args.URL),
		"DEFAULT_LOCALE":                               pulumi.String("pt_BR"),
		"ENABLE_ACCOUNT_SIGNUP":                        pulumi.String("false"),
		// True would also redirect the stack's internal calls and the health check.
		"FORCE_SSL":     pulumi.String("false"),
		"POSTGRES_HOST": pulumi.String("postgres"), "POSTGRES_PORT": pulumi.String("5432"),
		"POSTGRES_DATABASE": pulumi.String("chatwoot"), "POSTGRES_USERNAME": pulumi.String("chatwoot"),
		"POSTGRES_PASSWORD": args.Postgres.Password["chatwoot"],
		// A user alone in the URL is taken for the password by upstream's client: both, or it is the default user.
		"REDIS_URL":      pulumi.Sprintf("redis://chatwoot:%s@redis:6379/1", args.Redis.Password["chatwoot"]),
		"REDIS_PASSWORD": args.Redis.Password["chatwoot"],
		// The router's address is private: without this Chatwoot refuses to call its webhook.
		"SAFE_FETCH_ALLOW_PRIVATE_NETWORK": pulumi.String("true"),
		"ACTIVE_STORAGE_SERVICE":           pulumi.String("local"),
		"RAILS_MAX_THREADS":                pulumi.String("5"), "WEB_CONCURRENCY": pulumi.String("0"),
		"SIDEKIQ_CONCURRENCY": pulumi.String("10"),
		"RAILS_LOG_TO_STDOUT": pulumi.String("true"), "LOG_LEVEL": pulumi.String("info"),
		"DISABLE_TELEMETRY": pulumi.String("true"), "ENABLE_PUSH_RELAY_SERVER": pulumi.String("false"),
		"ENABLE_RACK_ATTACK": pulumi.String("true"), "RACK_ATTACK_LIMIT": pulumi.String("3000"),
		"CONVERSATION_MESSAGE_PER_MINUTE_LIMIT": pulumi.String("200"),
		"MAILER_SENDER_EMAIL":                   pulumi.String("Plantao <" + args.AdminEmail + ">"),
		"TZ":                                    pulumi.String(args.Timezone),
	}
}

// prepare migrates, makes the first administrator and closes the public onboarding page, before any
// process listens.
func (c *Chatwoot) prepare(ctx *pulumi.Context, b *Base, args ChatwootArgs, env pulumi.StringOutput) (pulumi.Resource, error) {
	script, err := file("chatwoot/bootstrap.rb")
	if err != nil {
		return nil, err
	}
	files, err := b.Files(ctx, c, "chatwoot-prepare", "chatwoot", 0, 0, pulumi.StringMap{
		"chatwoot.env": env,
		"bootstrap.rb": pulumi.String(script),
		"admin.env": envFile(map[string]pulumi.StringInput{
			"PLANTAO_ACCOUNT_NAME":   pulumi.String(args.Account),
			"PLANTAO_ADMIN_NAME":     pulumi.String(args.AdminName),
			"PLANTAO_ADMIN_EMAIL":    pulumi.String(args.AdminEmail),
			"PLANTAO_ADMIN_PASSWORD": c.AdminPassword,
		}),
	})
	if err != nil {
		return nil, err
	}
	return b.Job(ctx, c, "chatwoot-prepare", "chatwoot", []string{Data}, &plantao.JobArgs{
		Entrypoint: list([]string{"sh", "-c", "set -ae; . " + FilesAt + "/chatwoot.env; . " + FilesAt + "/admin.env; set +a; " +
			"bundle exec rails db:chatwoot_prepare; exec bundle exec rails runner " + FilesAt + "/bootstrap.rb"}),
		MemoryMb:       pulumi.Int(1024),
		TimeoutSeconds: pulumi.Int(900),
		Volumes:        mountFiles(files),
	}, pulumi.DependsOn([]pulumi.Resource{args.Postgres.Ready, args.Redis.Ready}))
}

func (c *Chatwoot) run(ctx *pulumi.Context, b *Base, args ChatwootArgs, env pulumi.StringOutput, prepared pulumi.Resource) error {
	files, err := b.Files(ctx, c, "chatwoot", "chatwoot", 0, 0, pulumi.StringMap{"chatwoot.env": env})
	if err != nil {
		return err
	}
	storage, err := b.Volume(ctx, c, "chatwoot-storage")
	if err != nil {
		return err
	}
	web := Service{
		Service: "chatwoot-web", Component: "chatwoot", Image: "chatwoot",
		Entrypoint: sourced("chatwoot.env", "docker/entrypoints/rails.sh bundle exec rails s -p 3000 -b 0.0.0.0"),
		Files:      files,
		Mounts:     []Mount{{Volume: storage.Name, Path: "/app/storage"}},
		Zones:      []string{Edge, App, Data},
		Aliases:    []string{"chatwoot"},
		MemoryMB:   1024,
		// Rails writes its pid, cache and logs below /app.
		Writable: true,
		Health:   Health{Test: []string{"wget", "-q", "-O", "/dev/null", "http://127.0.0.1:3000/health"}, StartSeconds: 120},
		URL:      args.URL,
	}
	worker := web
	worker.Service = "chatwoot-worker"
	worker.Entrypoint = sourced("chatwoot.env", "bundle exec sidekiq -C config/sidekiq.yml")
	worker.Zones, worker.Aliases, worker.URL = []string{App, Data}, nil, ""
	// The brackets keep grep from finding its own command line.
	worker.Health = Health{Test: []string{"sh", "-c", "grep -lq '[s]idekiq' /proc/[0-9]*/cmdline"}, StartSeconds: 120}
	// Sidekiq gives running jobs 25 s at the end.
	worker.StopSeconds = 40
	for _, s := range []Service{web, worker} {
		container, err := b.Run(ctx, c, s, pulumi.DependsOn([]pulumi.Resource{prepared}))
		if err != nil {
			return err
		}
		c.Ready = append(c.Ready, container)
	}
	return nil
}
