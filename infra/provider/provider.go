package provider

import (
	"context"
	"fmt"

	"github.com/docker/docker/client"
	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/infer"
	"github.com/pulumi/pulumi-go-provider/middleware/schema"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"
)

// Name is the provider's package name; its plugin is "pulumi-resource-" + Name.
const Name = "plantao"

// Version is the provider's version, part of the schema and of the generated SDK.
const Version = "0.1.0"

// Config says which Docker Engine the resources use.
type Config struct {
	// Host is the engine's address as in DOCKER_HOST ("unix:///var/run/docker.sock"). Empty means
	// what the environment says, then the default socket.
	Host string `pulumi:"host,optional"`
}

// Annotate documents the fields for the schema.
func (c *Config) Annotate(a infer.Annotator) {
	a.Describe(&c.Host, "Address of the Docker Engine as in DOCKER_HOST; empty: the environment's, then the default socket.")
}

// New is the provider as a value: the plugin runs it, tests call it.
func New() p.Provider {
	return infer.Provider(infer.Options{
		Metadata: schema.Metadata{
			DisplayName: "Plantão",
			Description: "Resources of the Plantão stack that the Docker provider does not have.",
			LanguageMap: map[string]any{
				"go": map[string]any{
					"importBasePath":                 "plantao/infra/sdk/plantao",
					"generateResourceContainerTypes": true,
					"respectSchemaVersion":           true,
				},
			},
		},
		Resources: []infer.InferredResource{
			infer.Resource(Secret{}),
			infer.Resource(FileVolume{}),
			infer.Resource(Job{}),
		},
		Config:    infer.Config(Config{}),
		ModuleMap: map[tokens.ModuleName]tokens.ModuleName{"provider": "index"},
	})
}

// Run serves the provider to the engine until the engine ends it.
func Run(ctx context.Context) error {
	if err := p.RunProvider(ctx, Name, Version, New()); err != nil {
		return fmt.Errorf("serve provider %s %s: %w", Name, Version, err)
	}
	return nil
}

// engine dials the Docker Engine of the provider's configuration. The caller closes it.
func engine(ctx context.Context) (*client.Client, error) {
	opts := []client.Opt{client.FromEnv, client.WithAPIVersionNegotiation()}
	if host := infer.GetConfig[Config](ctx).Host; host != "" {
		opts = append(opts, client.WithHost(host))
	}
	cli, err := client.NewClientWithOpts(opts...)
	if err != nil {
		return nil, fmt.Errorf("read Docker settings from DOCKER_HOST: %w", err)
	}
	return cli, nil
}
