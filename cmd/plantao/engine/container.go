package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"golang.org/x/sync/errgroup"
)

// Health is what a container's own health check says.
type Health string

// The health of a container. NoHealth is the zero value: the container has no health check.
const (
	NoHealth  Health = ""
	Healthy   Health = "healthy"
	Unhealthy Health = "unhealthy"
	Starting  Health = "starting"
)

// Container is one container of a stack.
type Container struct {
	ID, Name string
	// Stack, Component, Service and URL come from its labels; URL is empty for what has no public address.
	Stack, Component, Service, URL string
	// Image is the reference it was made from, without a digest ("n8nio/n8n:2.42.1").
	Image string
	// State is Docker's word: created, running, paused, restarting, removing, exited, dead.
	State  string
	Health Health
	// ExitCode counts only when State is exited or dead.
	ExitCode int
	// OOMKilled is true when the last run ended for want of memory.
	OOMKilled bool
	// Restarts are those by Docker's restart policy since the container was made.
	Restarts int
	// Started and Finished bound the last run; Finished is zero while it runs.
	Started, Finished time.Time
	// MemoryUsed and MemoryLimit are bytes; zero means not known, and no limit.
	MemoryUsed, MemoryLimit uint64
	// OneShot is true for a job: Docker does not start it again when it ends well.
	OneShot bool
	// TTY is true when its output is one raw stream instead of frames.
	TTY bool
}

// Done reports whether it is a job that ended well.
func (c Container) Done() bool { return c.OneShot && c.State == "exited" && c.ExitCode == 0 }

// Failing reports whether an operator has to act: not running although it should, or not healthy.
// A container that is still starting is not failing.
func (c Container) Failing() bool {
	return !c.Done() && (c.State != "running" || c.Health == Unhealthy)
}

// Containers are the containers of the stack, running or not, by service name. None is not an error.
// Memory use is read for running containers; one that does not answer in time has none.
func (e *Engine) Containers(ctx context.Context, stack string) ([]Container, error) {
	listed, err := e.api.ContainerList(ctx, container.ListOptions{
		All: true, Filters: filters.NewArgs(filters.Arg("label", LabelStack+"="+stack)),
	})
	if err != nil {
		return nil, e.wrap(fmt.Sprintf("list the containers of stack %q", stack), err)
	}
	found := make([]*Container, len(listed))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, one := range listed {
		group.Go(func() error {
			c, err := e.inspect(ctx, one.ID)
			if c != nil && c.State == "running" {
				c.MemoryUsed = e.memory(ctx, c.ID)
			}
			found[i] = c
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return sorted(found), nil
}

// sorted drops containers that vanished between the list and the look, and orders the rest.
func sorted(found []*Container) []Container {
	var containers []Container
	for _, c := range found {
		if c != nil {
			containers = append(containers, *c)
		}
	}
	sort.Slice(containers, func(i, j int) bool {
		if containers[i].Service != containers[j].Service {
			return containers[i].Service < containers[j].Service
		}
		return containers[i].Name < containers[j].Name
	})
	return containers
}

// inspect is nil without an error when the container is gone.
func (e *Engine) inspect(ctx context.Context, id string) (*Container, error) {
	got, err := e.api.ContainerInspect(ctx, id)
	if errdefs.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, e.wrap(fmt.Sprintf("look at container %.12s", id), err)
	}
	c := read(got)
	if strings.HasPrefix(c.Image, "sha256:") {
		c.Image = e.tagOf(ctx, c.Image)
	}
	return &c, nil
}

func read(got container.InspectResponse) Container {
	labels := got.Config.Labels
	c := Container{
		ID: got.ID, Name: strings.TrimPrefix(got.Name, "/"),
		Stack: labels[LabelStack], Component: labels[LabelComponent], Service: labels[LabelService], URL: labels[LabelURL],
		Image: withoutDigest(got.Config.Image), TTY: got.Config.Tty, Restarts: got.RestartCount,
	}
	if state := got.State; state != nil {
		c.State, c.ExitCode, c.OOMKilled = state.Status, state.ExitCode, state.OOMKilled
		c.Started = instant(state.StartedAt)
		if c.State != "running" {
			c.Finished = instant(state.FinishedAt)
		}
		if state.Health != nil && state.Health.Status != container.NoHealthcheck {
			c.Health = Health(state.Health.Status)
		}
	}
	if host := got.HostConfig; host != nil {
		c.MemoryLimit = uint64(max(host.Memory, 0))
		c.OneShot = host.RestartPolicy.IsNone() || host.RestartPolicy.IsOnFailure()
	}
	return c
}

// instant is zero for Docker's "never" (the year 1).
func instant(said string) time.Time {
	at, err := time.Parse(time.RFC3339Nano, said)
	if err != nil || at.Year() <= 1 {
		return time.Time{}
	}
	return at
}

func withoutDigest(ref string) string {
	if name, _, pinned := strings.Cut(ref, "@"); pinned {
		return name
	}
	return ref
}

// tagOf gives an image known only by its content a name people know, where it has one.
func (e *Engine) tagOf(ctx context.Context, id string) string {
	image, err := e.api.ImageInspect(ctx, id)
	if err == nil && len(image.RepoTags) > 0 {
		return image.RepoTags[0]
	}
	return id[:min(len(id), len("sha256:")+12)]
}

// memory is what the container uses as `docker stats` counts it, without page cache that can be
// dropped; zero when the engine does not answer in time: a table without one figure beats none.
func (e *Engine) memory(ctx context.Context, id string) uint64 {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	answer, err := e.api.ContainerStatsOneShot(ctx, id)
	if err != nil {
		return 0
	}
	defer answer.Body.Close()
	var stats container.StatsResponse
	if err := json.NewDecoder(io.LimitReader(answer.Body, 1<<20)).Decode(&stats); err != nil {
		return 0
	}
	used := stats.MemoryStats.Usage
	// cgroup v2 names it inactive_file, v1 total_inactive_file.
	for _, name := range []string{"inactive_file", "total_inactive_file"} {
		if cache, ok := stats.MemoryStats.Stats[name]; ok && cache < used {
			return used - cache
		}
	}
	return used
}

// PortHolder is the running container that publishes the TCP port on its host; nil when none does.
func (e *Engine) PortHolder(ctx context.Context, port int) (*Container, error) {
	listed, err := e.api.ContainerList(ctx, container.ListOptions{})
	if err != nil {
		return nil, e.wrap("list the running containers", err)
	}
	for _, one := range listed {
		for _, published := range one.Ports {
			if int(published.PublicPort) != port || published.Type != "tcp" {
				continue
			}
			holder := &Container{
				ID: one.ID, State: one.State, Image: withoutDigest(one.Image),
				Stack: one.Labels[LabelStack], Component: one.Labels[LabelComponent],
				Service: one.Labels[LabelService], URL: one.Labels[LabelURL],
			}
			if len(one.Names) > 0 {
				holder.Name = strings.TrimPrefix(one.Names[0], "/")
			}
			return holder, nil
		}
	}
	return nil, nil
}
