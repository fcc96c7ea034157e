package component

import (
	"fmt"
	"io/fs"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"gopkg.in/yaml.v3"

	"plantao/infra/sdk/plantao"
	"plantao/templates"
)

// routerUID is the user the router's image runs as.
const routerUID = 65532

// Channel is a WhatsApp number as the wiring sets it up.
type Channel struct {
	Name, Integration, Number, Flow string
}

// Router decides who is on duty: migrations, the replicas, and the wiring of its neighbours.
type Router struct {
	pulumi.ResourceState
	// Hosts are the replicas' names on the app network.
	Hosts []string
	// OperatorToken is what `plantao conversation` shows the API.
	OperatorToken pulumi.StringOutput
}

// RouterArgs are what the component needs of others.
type RouterArgs struct {
	URL      string
	Replicas int
	Channels []Channel
	// Rules is the text of the rules by which conversations are given; empty: the channels' flows get them.
	Rules string
	// Account, OwnerEmail and AdminEmail are what the wiring signs in with.
	Account, OwnerEmail, AdminEmail string
	Postgres                        *Postgres
	Redis                           *Redis
	N8n                             *N8n
	Chatwoot                        *Chatwoot
	Evolution                       *Evolution
}

// NewRouter migrates the database, starts the replicas one after the other, then wires the neighbours.
func NewRouter(ctx *pulumi.Context, b *Base, args RouterArgs, opts ...pulumi.ResourceOption) (*Router, error) {
	r := &Router{}
	if err := ctx.RegisterComponentResource("plantao:component:Router", "router", r, opts...); err != nil {
		return nil, err
	}
	turnKey, err := b.Secret(ctx, r, "router-turn-key", &plantao.SecretArgs{Alphabet: pulumi.String("hex"), Length: pulumi.Int(64)})
	if err != nil {
		return nil, err
	}
	operator, err := b.Secret(ctx, r, "router-operator-token", nil)
	if err != nil {
		return nil, err
	}
	r.OperatorToken = operator.Value
	last, err := r.migrate(ctx, b, args)
	if err != nil {
		return nil, err
	}
	for i := range args.Replicas {
		host := fmt.Sprintf("router-%d", i+1)
		r.Hosts = append(r.Hosts, host)
		// Each waits for the one before: a deploy never takes two at once.
		last, err = r.replica(ctx, b, args, host, turnKey.Value, last)
		if err != nil {
			return nil, err
		}
	}
	if err := r.wire(ctx, b, args, turnKey.Value, last); err != nil {
		return nil, err
	}
	return r, ctx.RegisterResourceOutputs(r, pulumi.Map{})
}

func databaseConfig() map[string]any {
	return map[string]any{
		"url":           "postgres://router@postgres:5432/router?sslmode=disable",
		"password_file": FilesAt + "/database-password",
		"max_conns":     8,
	}
}

func (r *Router) migrate(ctx *pulumi.Context, b *Base, args RouterArgs) (pulumi.Resource, error) {
	config, err := yamlText(map[string]any{"database": databaseConfig()})
	if err != nil {
		return nil, err
	}
	files, err := b.Files(ctx, r, "router-migrate", "router", routerUID, routerUID, pulumi.StringMap{
		"router.yaml":       config,
		"database-password": args.Postgres.Password["router"],
	})
	if err != nil {
		return nil, err
	}
	return b.Job(ctx, r, "router-migrate", "router", []string{Data}, &plantao.JobArgs{
		Command:        list([]string{"migrate", "--config", FilesAt + "/router.yaml"}),
		ReadOnly:       pulumi.Bool(true),
		MemoryMb:       pulumi.Int(64),
		TimeoutSeconds: pulumi.Int(600),
		Volumes:        mountFiles(files),
	}, pulumi.DependsOn([]pulumi.Resource{args.Postgres.Ready}))
}

func (r *Router) replica(ctx *pulumi.Context, b *Base, args RouterArgs, host string, turnKey pulumi.StringOutput, after pulumi.Resource) (pulumi.Resource, error) {
	config, err := yamlText(map[string]any{
		"listen":        ":8080",
		"log_level":     "info",
		"instance_name": host,
		"database":      databaseConfig(),
		"redis":         map[string]any{"url": "redis://router@redis:6379/4", "password_file": FilesAt + "/redis-password"},
		"evolution":     map[string]any{"url": "http://evolution:8080", "api_key_file": FilesAt + "/evolution-api-key"},
		"n8n":           map[string]any{"url": "http://n8n:5678", "token_file": FilesAt + "/n8n-flow-token"},
		"turn":          map[string]any{"key_file": FilesAt + "/turn-key"},
		"chatwoot":      map[string]any{"url": "http://chatwoot:3000", "public_url": args.Chatwoot.URL},
	})
	if err != nil {
		return nil, err
	}
	files, err := b.Files(ctx, r, host, "router", routerUID, routerUID, pulumi.StringMap{
		"router.yaml":       config,
		"database-password": args.Postgres.Password["router"],
		"redis-password":    args.Redis.Password["router"],
		"evolution-api-key": args.Evolution.APIKey,
		"n8n-flow-token":    args.N8n.FlowToken,
		"turn-key":          turnKey,
	})
	if err != nil {
		return nil, err
	}
	return b.Run(ctx, r, Service{
		Service: host, Component: "router", Image: "router",
		Command:  []string{"serve", "--config", FilesAt + "/router.yaml"},
		Files:    files,
		Zones:    []string{Edge, App, Data},
		Aliases:  []string{"router", host},
		MemoryMB: 192, // an attachment of 20 MB each way, and what PostgreSQL's protocol copies of it
		Health:   Health{Test: []string{"/router", "health", "--config", FilesAt + "/router.yaml"}, StartSeconds: 20},
		// Grace 20 s, a send under way 60 s (an attachment), telling a slow database of its fate 25 s: added up, with room.
		StopSeconds: 120,
		URL:         args.URL,
	}, pulumi.DependsOn([]pulumi.Resource{after, args.Redis.Ready}))
}

// wire writes the channels and the operator's token into the database and sets the neighbours up: Evolution's instances and
// webhooks, Chatwoot's inboxes, n8n's flows. It has secrets that the serving router never sees, so it is a job of its own.
// Idempotent.
func (r *Router) wire(ctx *pulumi.Context, b *Base, args RouterArgs, turnKey pulumi.StringOutput, after pulumi.Resource) error {
	content := pulumi.StringMap{
		"database-password":       args.Postgres.Password["router"],
		"evolution-api-key":       args.Evolution.APIKey,
		"n8n-flow-token":          args.N8n.FlowToken,
		"n8n-owner-password":      args.N8n.OwnerPassword,
		"chatwoot-admin-password": args.Chatwoot.AdminPassword,
		"operator-token":          r.OperatorToken,
		"turn-key":                turnKey,
	}
	var channels []map[string]any
	for _, ch := range args.Channels {
		secret, err := b.Secret(ctx, r, "hook-"+ch.Name, nil)
		if err != nil {
			return err
		}
		content["hook-secret-"+ch.Name] = secret.Value
		channels = append(channels, map[string]any{
			"name": ch.Name, "integration": ch.Integration, "number": ch.Number, "flow": ch.Flow,
			"hook_url":         "http://router:8080/hooks/evolution/" + ch.Name,
			"hook_secret_file": FilesAt + "/hook-secret-" + ch.Name,
		})
	}
	flows, err := fs.Glob(templates.FS, "n8n/*.json")
	if err != nil {
		return err
	}
	for _, name := range flows {
		text, err := file(name)
		if err != nil {
			return err
		}
		content["workflows/"+strings.TrimPrefix(name, "n8n/")] = pulumi.String(text)
	}
	wire := map[string]any{
		"database":  databaseConfig(),
		"evolution": map[string]any{"url": "http://evolution:8080", "api_key_file": FilesAt + "/evolution-api-key"},
		"chatwoot": map[string]any{
			"url": "http://chatwoot:3000", "admin_email": args.AdminEmail, "admin_password_file": FilesAt + "/chatwoot-admin-password",
			"account_name": args.Account, "webhook_url": "http://router:8080/hooks/chatwoot",
		},
		"n8n": map[string]any{
			"url": "http://n8n:5678", "owner_email": args.OwnerEmail, "owner_password_file": FilesAt + "/n8n-owner-password",
			"flow_token_file": FilesAt + "/n8n-flow-token", "workflows_dir": FilesAt + "/workflows",
		},
		"turn":     map[string]any{"key_file": FilesAt + "/turn-key"},
		"api":      map[string]any{"operator_token_file": FilesAt + "/operator-token"},
		"channels": channels,
	}
	if args.Rules != "" {
		content["rules.yaml"] = pulumi.String(args.Rules)
		wire["rules_file"] = FilesAt + "/rules.yaml"
	}
	content["wire.yaml"], err = yamlText(wire)
	if err != nil {
		return err
	}
	files, err := b.Files(ctx, r, "router-wire", "router", routerUID, routerUID, content)
	if err != nil {
		return err
	}
	_, err = b.Job(ctx, r, "router-wire", "router", []string{App, Data}, &plantao.JobArgs{
		Command:        list([]string{"wire", "--config", FilesAt + "/wire.yaml"}),
		ReadOnly:       pulumi.Bool(true),
		MemoryMb:       pulumi.Int(64),
		TimeoutSeconds: pulumi.Int(300),
		Volumes:        mountFiles(files),
	}, pulumi.DependsOn(append([]pulumi.Resource{after, args.N8n.Ready, args.Evolution.Ready}, args.Chatwoot.Ready...)))
	return err
}

// yamlText is for values of our own only: it marshals what cannot fail but for a programmer's mistake.
func yamlText(v map[string]any) (pulumi.String, error) {
	raw, err := yaml.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("write router configuration: %w", err)
	}
	return pulumi.String(raw), nil
}
