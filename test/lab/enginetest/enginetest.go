// Package enginetest gives tests a real Docker Engine, and containers that end with the test.
package enginetest

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"
	"github.com/stretchr/testify/require"

	"plantao/test/lab/engine"
)

// label marks everything a test makes.
const label = "plantao.lab.test"

// patience is how long a container gets to become ready on a busy machine.
const patience = 60 * time.Second

// MustOpen returns an engine. Without one the test is skipped on a laptop and fails where CI=true. Tests that
// call it carry the build tag e2e: `make test` needs no Docker.
func MustOpen(t *testing.T) *engine.Engine {
	t.Helper()
	eng, err := engine.Open(t.Context())
	if errors.Is(err, engine.ErrUnavailable) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(eng.Close)
	return eng
}

// Docker starts containers for one test. Everything it made is removed when the test ends.
type Docker struct {
	t   *testing.T
	api *client.Client
}

// NewDocker connects to the engine MustOpen found.
func NewDocker(t *testing.T) *Docker {
	t.Helper()
	api, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	require.NoError(t, err)
	t.Cleanup(func() { _ = api.Close() })
	return &Docker{t: t, api: api}
}

func name() string { return "plantao-lab-test-" + strings.ToLower(rand.Text()[:10]) }

// clean runs f when the test ends, with a context of its own: the test's is over by then.
func (d *Docker) clean(what string, f func(context.Context) error) {
	d.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := f(ctx); err != nil {
			d.t.Errorf("remove %s: %v", what, err)
		}
	})
}

// Volume makes an empty volume.
func (d *Docker) Volume() string {
	d.t.Helper()
	v, err := d.api.VolumeCreate(d.t.Context(), volume.CreateOptions{Name: name(), Labels: map[string]string{label: ""}})
	require.NoError(d.t, err)
	d.clean("volume", func(ctx context.Context) error { return d.api.VolumeRemove(ctx, v.Name, true) })
	return v.Name
}

// Files makes a volume holding files owned by uid:gid with mode 0440, as a stack's configuration is.
// image is any image; it is not run.
func (d *Docker) Files(image string, uid, gid int, files map[string]string) string {
	d.t.Helper()
	name := d.Volume()
	c := d.create(container.Config{Image: image}, container.HostConfig{Binds: []string{name + ":/files"}}, nil)
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for path, text := range files {
		require.NoError(d.t, w.WriteHeader(&tar.Header{Name: path, Mode: 0o440, Uid: uid, Gid: gid, Size: int64(len(text))}))
		_, err := w.Write([]byte(text))
		require.NoError(d.t, err)
	}
	require.NoError(d.t, w.Close())
	require.NoError(d.t, d.api.CopyToContainer(d.t.Context(), c.id, "/files", &archive, container.CopyToContainerOptions{}))
	return name
}

// Run says how a container is started: hardened as a stack's containers are.
type Run struct {
	Image string
	// User is uid:gid.
	User string
	// Cmd replaces the image's command when set.
	Cmd []string
	Env []string
	// Binds are volume:path[:ro].
	Binds []string
	// Tmpfs are writable folders in memory, with their mount options.
	Tmpfs map[string]string
	// CapAdd are the capabilities left of none.
	CapAdd []string
	// Writable leaves the root file system writable.
	Writable bool
	// MemoryMB is the limit; zero: 512.
	MemoryMB int64
	// Network is the network it is in, under the name Alias; nil: Docker's own.
	Network *Network
	Alias   string
}

// Network is a network of one test.
type Network struct {
	name string
	// Gateway is this machine's address in it: what listens there is reached from its containers.
	Gateway string
}

// Network makes one.
func (d *Docker) Network() *Network {
	d.t.Helper()
	n := &Network{name: name()}
	made, err := d.api.NetworkCreate(d.t.Context(), n.name, network.CreateOptions{Labels: map[string]string{label: ""}})
	require.NoError(d.t, err)
	d.clean("network", func(ctx context.Context) error { return d.api.NetworkRemove(ctx, made.ID) })
	info, err := d.api.NetworkInspect(d.t.Context(), made.ID, network.InspectOptions{})
	require.NoError(d.t, err)
	require.NotEmpty(d.t, info.IPAM.Config)
	n.Gateway = info.IPAM.Config[0].Gateway
	return n
}

// Container is a started container.
type Container struct {
	d  *Docker
	id string
}

// Start starts a container with a read-only root, no capabilities and no way to gain any.
func (d *Docker) Start(r Run) *Container {
	d.t.Helper()
	memory := r.MemoryMB
	if memory == 0 {
		memory = 512
	}
	var networks *network.NetworkingConfig
	if r.Network != nil {
		networks = &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{r.Network.name: {Aliases: []string{r.Alias}}}}
	}
	c := d.create(
		container.Config{Image: r.Image, User: r.User, Cmd: r.Cmd, Env: r.Env},
		container.HostConfig{
			Binds: r.Binds, Tmpfs: r.Tmpfs, ReadonlyRootfs: !r.Writable,
			CapDrop: []string{"ALL"}, CapAdd: r.CapAdd, SecurityOpt: []string{"no-new-privileges"},
			Resources: container.Resources{Memory: memory << 20},
		},
		networks,
	)
	require.NoError(d.t, d.api.ContainerStart(d.t.Context(), c.id, container.StartOptions{}))
	return c
}

func (d *Docker) create(config container.Config, host container.HostConfig, networks *network.NetworkingConfig) *Container {
	d.t.Helper()
	config.Labels = map[string]string{label: ""}
	created, err := d.api.ContainerCreate(d.t.Context(), &config, &host, networks, nil, name())
	require.NoError(d.t, err)
	d.clean("container", func(ctx context.Context) error {
		return d.api.ContainerRemove(ctx, created.ID, container.RemoveOptions{Force: true, RemoveVolumes: true})
	})
	return &Container{d: d, id: created.ID}
}

// IP is the container's address in a network.
func (c *Container) IP(n *Network) string {
	c.d.t.Helper()
	info, err := c.d.api.ContainerInspect(c.d.t.Context(), c.id)
	require.NoError(c.d.t, err)
	require.Contains(c.d.t, info.NetworkSettings.Networks, n.name)
	return info.NetworkSettings.Networks[n.name].IPAddress
}

// Exec runs a command in the container and returns its exit status and output.
func (c *Container) Exec(env []string, cmd ...string) (int, string) {
	c.d.t.Helper()
	ctx := c.d.t.Context()
	started, err := c.d.api.ContainerExecCreate(ctx, c.id, container.ExecOptions{Cmd: cmd, Env: env, AttachStdout: true, AttachStderr: true})
	require.NoError(c.d.t, err)
	stream, err := c.d.api.ContainerExecAttach(ctx, started.ID, container.ExecAttachOptions{})
	require.NoError(c.d.t, err)
	defer stream.Close()
	var out bytes.Buffer
	_, err = stdcopy.StdCopy(&out, &out, stream.Reader)
	require.NoError(c.d.t, err)
	ended, err := c.d.api.ContainerExecInspect(ctx, started.ID)
	require.NoError(c.d.t, err)
	return ended.ExitCode, strings.TrimSpace(out.String())
}

// MustExec is Exec of a command that has to succeed; it returns the output.
func (c *Container) MustExec(env []string, cmd ...string) string {
	c.d.t.Helper()
	status, out := c.Exec(env, cmd...)
	require.Zero(c.d.t, status, "%v:\n%s\nlog:\n%s", cmd, out, c.Logs())
	return out
}

// MustBecome waits until the command succeeds in the container.
func (c *Container) MustBecome(env []string, cmd ...string) {
	c.d.t.Helper()
	require.Eventually(c.d.t, func() bool {
		state, err := c.d.api.ContainerInspect(c.d.t.Context(), c.id)
		if err != nil || !state.State.Running {
			return false
		}
		status, _ := c.Exec(env, cmd...)
		return status == 0
	}, patience, 100*time.Millisecond, "%v does not succeed; log:\n%s", cmd, logOf{c})
}

// logOf reads the log only when a failure is printed.
type logOf struct{ c *Container }

func (l logOf) String() string { return l.c.Logs() }

// Restart stops the container as the image asks and starts it again.
func (c *Container) Restart() {
	c.d.t.Helper()
	require.NoError(c.d.t, c.d.api.ContainerRestart(c.d.t.Context(), c.id, container.StopOptions{}))
}

// Wait waits for the container's end and returns its exit status.
func (c *Container) Wait() int {
	c.d.t.Helper()
	ctx, cancel := context.WithTimeout(c.d.t.Context(), patience)
	defer cancel()
	ended, problem := c.d.api.ContainerWait(ctx, c.id, container.WaitConditionNotRunning)
	select {
	case e := <-ended:
		return int(e.StatusCode)
	case err := <-problem:
		require.NoError(c.d.t, err, "log:\n%s", c.Logs())
	}
	return -1
}

// Logs is what the container printed so far.
func (c *Container) Logs() string {
	c.d.t.Helper()
	// Also when the test is over: clean-ups show what a failed one's containers said.
	stream, err := c.d.api.ContainerLogs(context.WithoutCancel(c.d.t.Context()), c.id, container.LogsOptions{ShowStdout: true, ShowStderr: true})
	require.NoError(c.d.t, err)
	defer stream.Close()
	var out bytes.Buffer
	_, err = stdcopy.StdCopy(&out, &out, stream)
	require.NoError(c.d.t, err)
	return out.String()
}
