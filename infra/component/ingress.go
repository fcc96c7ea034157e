package component

import (
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// Ingress is the only container that publishes a port.
type Ingress struct {
	pulumi.ResourceState
}

// IngressArgs are what the component needs of others.
type IngressArgs struct {
	// Domain the services' names stand under.
	Domain string
	// Port published on 127.0.0.1.
	Port   int
	Router *Router
	// After are the services behind it.
	After []pulumi.Resource
}

// NewIngress makes Caddy with one host name per service.
func NewIngress(ctx *pulumi.Context, b *Base, args IngressArgs, opts ...pulumi.ResourceOption) (*Ingress, error) {
	i := &Ingress{}
	if err := ctx.RegisterComponentResource("plantao:component:Ingress", "ingress", i, opts...); err != nil {
		return nil, err
	}
	var routers []string
	for _, h := range args.Router.Hosts {
		routers = append(routers, h+":8080")
	}
	caddyfile, err := render("caddy/Caddyfile", map[string]any{"Domain": args.Domain, "Routers": strings.Join(routers, " ")})
	if err != nil {
		return nil, err
	}
	files, err := b.Files(ctx, i, "ingress", "caddy", 0, 0, pulumi.StringMap{"Caddyfile": pulumi.String(caddyfile)})
	if err != nil {
		return nil, err
	}
	data, err := b.Volume(ctx, i, "ingress-data")
	if err != nil {
		return nil, err
	}
	_, err = b.Run(ctx, i, Service{
		Service: "ingress", Component: "ingress", Image: "caddy",
		Command:  []string{"caddy", "run", "--config", FilesAt + "/Caddyfile", "--adapter", "caddyfile"},
		Files:    files,
		Mounts:   []Mount{{Volume: data.Name, Path: "/data"}},
		Zones:    []string{Edge},
		Aliases:  []string{"ingress"},
		MemoryMB: 128,
		Tmpfs:    map[string]string{"/config": "rw,noexec,nosuid", "/tmp": "rw,noexec,nosuid"},
		// Upstream's binary carries this file capability and does not start without it.
		CapAdd:       []string{"CAP_NET_BIND_SERVICE"},
		Health:       Health{Test: []string{"wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/healthz"}, StartSeconds: 20},
		PublishLocal: 8080, LocalPort: args.Port,
	}, pulumi.DependsOn(args.After))
	if err != nil {
		return nil, err
	}
	return i, ctx.RegisterResourceOutputs(i, pulumi.Map{})
}
