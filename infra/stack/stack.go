// Package stack is the Pulumi program: which components a stack has, and how its configuration reads.
package stack

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"plantao/infra/component"
	"plantao/infra/sdk/plantao"
	"plantao/runtime/routing/rules"
)

// Deploy is the program's body; the engine calls it for every operation.
func Deploy(ctx *pulumi.Context) error {
	values, err := configValues()
	if err != nil {
		return err
	}
	c, err := Parse(values)
	if err != nil {
		return err
	}
	images, err := component.ResolveImages(c.Images, ctx.RootDirectory())
	if err != nil {
		return err
	}
	ruleText, err := readRules(ctx.RootDirectory(), c.Rules)
	if err != nil {
		return err
	}
	return deploy(ctx, c, images, ruleText)
}

// readRules reads the stack's rule file and checks it as the router will: what is wrong with it shows in the preview. No file: no
// text.
func readRules(project, name string) (string, error) {
	if name == "" {
		return "", nil
	}
	text, err := os.ReadFile(filepath.Join(project, name))
	if err != nil {
		return "", fmt.Errorf("plantao:rules names a file that cannot be read: %w", err)
	}
	if _, err := rules.Read(name, text); err != nil {
		return "", fmt.Errorf("the rules cannot be put in force; mend them:\n%w", err)
	}
	return string(text), nil
}

// configValues are the stack's settings as the engine hands them to the program.
func configValues() (map[string]string, error) {
	values := map[string]string{}
	raw := os.Getenv("PULUMI_CONFIG")
	if raw == "" {
		return values, nil
	}
	if err := json.Unmarshal([]byte(raw), &values); err != nil {
		return nil, fmt.Errorf("read PULUMI_CONFIG, which the Pulumi engine sets: %w", err)
	}
	return values, nil
}

func deploy(ctx *pulumi.Context, c Config, images component.Images, ruleText string) error {
	provider, err := plantao.NewProvider(ctx, "plantao", &plantao.ProviderArgs{})
	if err != nil {
		return err
	}
	b := &component.Base{Stack: ctx.Stack(), Images: images, Memory: c.Memory, Provider: provider}
	if err := images.Pull(ctx, provider); err != nil {
		return err
	}
	if b.Networks, err = component.NewNetworks(ctx, b); err != nil {
		return err
	}
	s := services{ctx: ctx, base: b, config: c, rules: ruleText}
	if err := s.stores(); err != nil {
		return err
	}
	if err := s.neighbours(); err != nil {
		return err
	}
	return s.front()
}

// services builds the components in the order their dependencies ask for.
type services struct {
	ctx       *pulumi.Context
	base      *component.Base
	config    Config
	rules     string
	postgres  *component.Postgres
	redis     *component.Redis
	n8n       *component.N8n
	chatwoot  *component.Chatwoot
	evolution *component.Evolution
}

func (s *services) url(service string) string {
	return fmt.Sprintf("http://%s.%s:%d", service, s.config.Domain, s.config.Port)
}

func (s *services) stores() (err error) {
	if s.postgres, err = component.NewPostgres(s.ctx, s.base); err != nil {
		return err
	}
	s.redis, err = component.NewRedis(s.ctx, s.base)
	return err
}

func (s *services) neighbours() (err error) {
	c := s.config
	s.n8n, err = component.NewN8n(s.ctx, s.base, component.N8nArgs{
		URL: s.url("n8n"), OwnerName: c.AdminName, OwnerEmail: c.AdminEmail, Timezone: c.Timezone,
		Postgres: s.postgres, Redis: s.redis,
	})
	if err != nil {
		return err
	}
	s.chatwoot, err = component.NewChatwoot(s.ctx, s.base, component.ChatwootArgs{
		URL: s.url("chatwoot"), Account: c.Account, AdminName: c.AdminName, AdminEmail: c.AdminEmail, Timezone: c.Timezone,
		Postgres: s.postgres, Redis: s.redis,
	})
	if err != nil {
		return err
	}
	s.evolution, err = component.NewEvolution(s.ctx, s.base, component.EvolutionArgs{
		URL: s.url("evolution"), Postgres: s.postgres, Redis: s.redis, LabControl: s.base.Images.Lab(),
	})
	return err
}

// front is the router and the ingress, and what the stack tells its operator.
func (s *services) front() error {
	c := s.config
	var channels []component.Channel
	for _, ch := range c.Channels {
		channels = append(channels, component.Channel(ch))
	}
	router, err := component.NewRouter(s.ctx, s.base, component.RouterArgs{
		URL: s.url("router"), Replicas: c.RouterReplicas, Channels: channels, Rules: s.rules,
		Account: c.Account, OwnerEmail: c.AdminEmail, AdminEmail: c.AdminEmail,
		Postgres: s.postgres, Redis: s.redis, N8n: s.n8n, Chatwoot: s.chatwoot, Evolution: s.evolution,
	})
	if err != nil {
		return err
	}
	_, err = component.NewIngress(s.ctx, s.base, component.IngressArgs{
		Domain: c.Domain, Port: c.Port, Router: router,
		After: append([]pulumi.Resource{s.n8n.Ready, s.evolution.Ready}, s.chatwoot.Ready...),
	})
	if err != nil {
		return err
	}
	for _, service := range []string{"n8n", "chatwoot", "evolution", "router"} {
		s.ctx.Export(service+"Url", pulumi.String(s.url(service)))
	}
	s.ctx.Export("adminEmail", pulumi.String(c.AdminEmail))
	s.ctx.Export("n8nOwnerPassword", pulumi.ToSecret(s.n8n.OwnerPassword))
	s.ctx.Export("chatwootAdminPassword", pulumi.ToSecret(s.chatwoot.AdminPassword))
	s.ctx.Export("evolutionApiKey", pulumi.ToSecret(s.evolution.APIKey))
	s.ctx.Export("routerOperatorToken", pulumi.ToSecret(router.OperatorToken))
	return nil
}
