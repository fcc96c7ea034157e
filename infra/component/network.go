package component

import (
	"github.com/pulumi/pulumi-docker/sdk/v4/go/docker"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// The trust zones; see the package comment.
const (
	Edge = "edge"
	App  = "app"
	Data = "data"
	Code = "code"
)

// Networks are the Docker networks of a stack, one per trust zone.
type Networks struct {
	pulumi.ResourceState
	byZone map[string]*docker.Network
}

// NewNetworks makes them.
func NewNetworks(ctx *pulumi.Context, b *Base, opts ...pulumi.ResourceOption) (*Networks, error) {
	n := &Networks{byZone: map[string]*docker.Network{}}
	if err := ctx.RegisterComponentResource("plantao:component:Networks", "networks", n, opts...); err != nil {
		return nil, err
	}
	for _, zone := range []string{Edge, App, Data, Code} {
		var labels docker.NetworkLabelArray
		for _, k := range []string{"plantao.service", "plantao.stack"} {
			labels = append(labels, docker.NetworkLabelArgs{Label: pulumi.String(k), Value: pulumi.String(b.labels(zone)[k])})
		}
		net, err := docker.NewNetwork(ctx, "network-"+zone, &docker.NetworkArgs{
			Name:   pulumi.String(b.Name(zone)),
			Driver: pulumi.String("bridge"),
			// Data has no way out; code neither: a flow's code reaches the world through n8n's nodes only.
			Internal: pulumi.Bool(zone == Data || zone == Code),
			Labels:   labels,
		}, pulumi.Parent(n))
		if err != nil {
			return nil, err
		}
		n.byZone[zone] = net
	}
	return n, ctx.RegisterResourceOutputs(n, pulumi.Map{})
}

func (n *Networks) attach(zones, aliases []string) docker.ContainerNetworksAdvancedArray {
	var out docker.ContainerNetworksAdvancedArray
	for _, zone := range zones {
		out = append(out, docker.ContainerNetworksAdvancedArgs{Name: n.byZone[zone].Name, Aliases: list(aliases)})
	}
	return out
}

func (n *Networks) names(zones []string) pulumi.StringArray {
	var out pulumi.StringArray
	for _, zone := range zones {
		out = append(out, n.byZone[zone].Name)
	}
	return out
}
