package component

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pulumi/pulumi-docker/sdk/v4/go/docker"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"plantao/infra/sdk/plantao"
)

// FilesAt is where every container sees its configuration and secrets.
const FilesAt = "/run/plantao"

// Base is what all components of a stack share.
type Base struct {
	// Stack is the stack's name, part of every container's, network's and volume's name.
	Stack string
	// Images by key of versions.yaml, and "router".
	Images Images
	// Networks by zone.
	Networks *Networks
	// Memory overrides limits in MiB by service.
	Memory map[string]int
	// Provider of the plantao resources.
	Provider *plantao.Provider
}

// Name is "plantao-<stack>-<service>": names on the engine are global, so the stack is part of each.
func (b *Base) Name(service string) string { return "plantao-" + b.Stack + "-" + service }

// Health is a container's health check.
type Health struct {
	// Test is the command, run without a shell.
	Test []string
	// StartSeconds is how long failures at the start do not count.
	StartSeconds int
}

// Mount is a named volume in a container.
type Mount struct {
	Volume pulumi.StringInput
	Path   string
}

// Service says how one container runs. Zero values are the safe choice: no capability, no port, root
// file system read-only unless Writable.
type Service struct {
	// Service is the container's short name, Component the component it belongs to.
	Service, Component string
	// Image is a key of [Base.Images].
	Image string
	// Entrypoint and Command; empty means the image's own.
	Entrypoint, Command []string
	// User as "uid:gid"; empty means the image's own.
	User string
	// Env holds plain settings only.
	Env map[string]pulumi.StringInput
	// Files is the volume with configuration and secrets, mounted read-only at FilesAt; may be nil.
	Files *plantao.FileVolume
	// Mounts are data volumes.
	Mounts []Mount
	// Zones the container joins, and the names it answers to there.
	Zones   []string
	Aliases []string
	// MemoryMB is the limit.
	MemoryMB int
	// Writable leaves the root file system writable: only for images that do not run otherwise.
	Writable bool
	// Tmpfs maps a path to mount options.
	Tmpfs map[string]string
	// CapAdd are capabilities given back after all were dropped, as the engine spells them ("CAP_…").
	CapAdd []string
	// Health is required.
	Health Health
	// StopSeconds is the time to end before SIGKILL; 0 means 10.
	StopSeconds int
	// PublishLocal publishes this container port on 127.0.0.1:LocalPort; only the ingress does.
	PublishLocal, LocalPort int
	// URL under which people reach the service; "" for none.
	URL string
}

// Run makes the container of a service.
func (b *Base) Run(ctx *pulumi.Context, parent pulumi.Resource, s Service, opts ...pulumi.ResourceOption) (*docker.Container, error) {
	if len(s.Health.Test) == 0 || s.MemoryMB == 0 {
		return nil, fmt.Errorf("service %s has no health check or no memory limit", s.Service)
	}
	if mb, ok := b.Memory[s.Service]; ok {
		s.MemoryMB = mb
	}
	image, err := b.Images.Ref(s.Image)
	if err != nil {
		return nil, err
	}
	args := &docker.ContainerArgs{
		Name:        pulumi.String(b.Name(s.Service)),
		Image:       pulumi.String(image),
		Hostname:    pulumi.String(s.Service),
		Entrypoints: list(s.Entrypoint),
		Command:     list(s.Command),
		Envs:        envs(s.Env),
		Labels:      b.containerLabels(s),
		Memory:      pulumi.Int(s.MemoryMB),
		// The engine's own rule, spelled out: as much swap again as memory. Left out, refresh calls it drift.
		MemorySwap:   pulumi.Int(2 * s.MemoryMB),
		Restart:      pulumi.String("unless-stopped"),
		SecurityOpts: pulumi.StringArray{pulumi.String("no-new-privileges:true")},
		Capabilities: capabilities(s.CapAdd),
		ReadOnly:     pulumi.Bool(!s.Writable),
		// json-file is the one driver `docker logs` reads everywhere; unbounded it fills the disk.
		LogDriver:        pulumi.String("json-file"),
		LogOpts:          pulumi.StringMap{"max-size": pulumi.String("10m"), "max-file": pulumi.String("3")},
		NetworksAdvanced: b.Networks.attach(s.Zones, s.Aliases),
		Volumes:          s.volumes(),
		Healthcheck: &docker.ContainerHealthcheckArgs{
			Tests:       list(append([]string{"CMD"}, s.Health.Test...)),
			Interval:    pulumi.String("5s"),
			Timeout:     pulumi.String("5s"),
			Retries:     pulumi.Int(12),
			StartPeriod: pulumi.String((time.Duration(s.Health.StartSeconds) * time.Second).String()),
		},
		// The engine waits until the container is healthy: that is the start order.
		Wait:        pulumi.Bool(true),
		WaitTimeout: pulumi.Int(max(120, 2*s.Health.StartSeconds)),
		StopTimeout: pulumi.Int(max(10, s.StopSeconds)),
		// Without it a stop by the provider is a SIGKILL after no grace at all.
		DestroyGraceSeconds: pulumi.Int(max(10, s.StopSeconds)),
		MustRun:             pulumi.Bool(true),
	}
	if s.User != "" {
		args.User = pulumi.String(s.User)
	}
	if len(s.Tmpfs) > 0 {
		args.Tmpfs = stringMap(s.Tmpfs)
	}
	if s.PublishLocal != 0 {
		args.Ports = docker.ContainerPortArray{docker.ContainerPortArgs{
			Internal: pulumi.Int(s.PublishLocal), External: pulumi.Int(s.LocalPort), Ip: pulumi.String("127.0.0.1"),
		}}
	}
	opts = append([]pulumi.ResourceOption{
		pulumi.Parent(parent),
		// Names are fixed, so the old one must go before the new one comes.
		pulumi.DeleteBeforeReplace(true),
		// The Docker provider takes these for changes in place and then does nothing.
		pulumi.ReplaceOnChanges([]string{"healthcheck", "tmpfs"}),
		pulumi.DependsOn(b.Images.resources(s.Image)),
	}, opts...)
	return docker.NewContainer(ctx, "container-"+s.Service, args, opts...)
}

// Files makes the volume with a service's configuration and secrets.
func (b *Base) Files(ctx *pulumi.Context, parent pulumi.Resource, service, imageKey string, uid, gid int, files pulumi.StringMap) (*plantao.FileVolume, error) {
	image, err := b.Images.Ref(imageKey)
	if err != nil {
		return nil, err
	}
	return plantao.NewFileVolume(ctx, "files-"+service, &plantao.FileVolumeArgs{
		Prefix: pulumi.String(b.Name(service) + "-files"),
		Files:  files,
		Uid:    pulumi.Int(uid),
		Gid:    pulumi.Int(gid),
		Image:  pulumi.String(image),
		Labels: b.labelMap(service),
	}, pulumi.Parent(parent), pulumi.Provider(b.Provider), pulumi.DependsOn(b.Images.resources(imageKey)),
		// The helper's image and the labels say nothing of the content.
		pulumi.IgnoreChanges([]string{"image", "labels"}))
}

// Job runs a container to its end.
func (b *Base) Job(ctx *pulumi.Context, parent pulumi.Resource, name, imageKey string, zones []string, args *plantao.JobArgs, opts ...pulumi.ResourceOption) (*plantao.Job, error) {
	image, err := b.Images.Ref(imageKey)
	if err != nil {
		return nil, err
	}
	args.Name = pulumi.String(b.Name("job-" + name))
	args.Image = pulumi.String(image)
	args.Networks = b.Networks.names(zones)
	args.Labels = b.labelMap("job-" + name)
	opts = append([]pulumi.ResourceOption{
		pulumi.Parent(parent), pulumi.Provider(b.Provider), pulumi.DependsOn(b.Images.resources(imageKey)),
	}, opts...)
	return plantao.NewJob(ctx, "job-"+name, args, opts...)
}

// Volume makes a data volume; it outlives its container.
func (b *Base) Volume(ctx *pulumi.Context, parent pulumi.Resource, name string) (*docker.Volume, error) {
	return docker.NewVolume(ctx, "volume-"+name, &docker.VolumeArgs{
		Name:   pulumi.String(b.Name(name)),
		Labels: volumeLabels(b.labels(name)),
	}, pulumi.Parent(parent))
}

// Secret draws a secret.
func (b *Base) Secret(ctx *pulumi.Context, parent pulumi.Resource, name string, args *plantao.SecretArgs) (*plantao.Secret, error) {
	if args == nil {
		args = &plantao.SecretArgs{}
	}
	return plantao.NewSecret(ctx, "secret-"+name, args, pulumi.Parent(parent), pulumi.Provider(b.Provider))
}

// Secrets draws several alphanumeric secrets at once.
func (b *Base) Secrets(ctx *pulumi.Context, parent pulumi.Resource, names ...string) (map[string]pulumi.StringOutput, error) {
	out := map[string]pulumi.StringOutput{}
	for _, name := range names {
		s, err := b.Secret(ctx, parent, name, nil)
		if err != nil {
			return nil, err
		}
		out[name] = s.Value
	}
	return out, nil
}

func (b *Base) labels(service string) map[string]string {
	return map[string]string{"plantao.stack": b.Stack, "plantao.service": service}
}

func (b *Base) labelMap(service string) pulumi.StringMap { return stringMap(b.labels(service)) }

func (b *Base) containerLabels(s Service) docker.ContainerLabelArray {
	l := b.labels(s.Service)
	l["plantao.component"] = s.Component
	if s.URL != "" {
		l["plantao.url"] = s.URL
	}
	var out docker.ContainerLabelArray
	for _, k := range slices.Sorted(maps.Keys(l)) {
		out = append(out, docker.ContainerLabelArgs{Label: pulumi.String(k), Value: pulumi.String(l[k])})
	}
	return out
}

func volumeLabels(l map[string]string) docker.VolumeLabelArray {
	var out docker.VolumeLabelArray
	for _, k := range slices.Sorted(maps.Keys(l)) {
		out = append(out, docker.VolumeLabelArgs{Label: pulumi.String(k), Value: pulumi.String(l[k])})
	}
	return out
}

func (s Service) volumes() docker.ContainerVolumeArray {
	var out docker.ContainerVolumeArray
	if s.Files != nil {
		out = append(out, docker.ContainerVolumeArgs{
			VolumeName: s.Files.Name, ContainerPath: pulumi.String(FilesAt), ReadOnly: pulumi.Bool(true),
		})
	}
	for _, m := range s.Mounts {
		out = append(out, docker.ContainerVolumeArgs{
			VolumeName: m.Volume.ToStringOutput(), ContainerPath: pulumi.String(m.Path),
		})
	}
	return out
}

func capabilities(add []string) *docker.ContainerCapabilitiesArgs {
	return &docker.ContainerCapabilitiesArgs{Drops: pulumi.StringArray{pulumi.String("ALL")}, Adds: list(add)}
}

// envs are "KEY=value" in order, so that an unchanged map is an unchanged list.
func envs(m map[string]pulumi.StringInput) pulumi.StringArray {
	var out pulumi.StringArray
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, pulumi.Sprintf("%s=%s", k, m[k]))
	}
	return out
}

func list(in []string) pulumi.StringArray {
	var out pulumi.StringArray
	for _, s := range in {
		out = append(out, pulumi.String(s))
	}
	return out
}

func stringMap(in map[string]string) pulumi.StringMap {
	out := pulumi.StringMap{}
	for k, v := range in {
		out[k] = pulumi.String(v)
	}
	return out
}

// envFile renders settings for a POSIX shell's `.`: every value single-quoted.
func envFile(settings map[string]pulumi.StringInput) pulumi.StringOutput {
	keys := slices.Sorted(maps.Keys(settings))
	values := make([]any, len(keys))
	for i, k := range keys {
		values[i] = settings[k]
	}
	return pulumi.All(values...).ApplyT(func(v []any) string {
		var b strings.Builder
		for i, k := range keys {
			b.WriteString(k + "='" + strings.ReplaceAll(v[i].(string), "'", `'\''`) + "'\n")
		}
		return b.String()
	}).(pulumi.StringOutput)
}

// sourced runs argv with the settings of an env file in FilesAt, as the only process left.
func sourced(file string, argv string) []string {
	return []string{"sh", "-c", "set -a; . " + FilesAt + "/" + file + "; set +a; exec " + argv}
}
