package devstack

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/pkg/stdcopy"
	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

// Container is a service's container name.
func (s *Stack) Container(service string) string { return "plantao-" + s.Name + "-" + service }

// IP is a service's address in a zone, reachable from this machine.
func (s *Stack) IP(t *testing.T, service, zone string) string {
	t.Helper()
	info, err := s.Docker.ContainerInspect(t.Context(), s.Container(service))
	require.NoError(t, err)
	net := info.NetworkSettings.Networks["plantao-"+s.Name+"-"+zone]
	require.NotNil(t, net, "%s is not in zone %s", service, zone)
	return net.IPAddress
}

// PID is the process of a service on this machine.
func (s *Stack) PID(t *testing.T, service string) int {
	t.Helper()
	info, err := s.Docker.ContainerInspect(t.Context(), s.Container(service))
	require.NoError(t, err)
	return info.State.Pid
}

// Exec runs a command in a service's container and returns what it printed.
func (s *Stack) Exec(t *testing.T, service string, argv ...string) string {
	t.Helper()
	created, err := s.Docker.ContainerExecCreate(t.Context(), s.Container(service), container.ExecOptions{Cmd: argv, AttachStdout: true, AttachStderr: true})
	require.NoError(t, err)
	attached, err := s.Docker.ContainerExecAttach(t.Context(), created.ID, container.ExecAttachOptions{})
	require.NoError(t, err)
	defer attached.Close()
	var stdout, stderr bytes.Buffer
	_, err = stdcopy.StdCopy(&stdout, &stderr, attached.Reader)
	require.NoError(t, err)
	done, err := s.Docker.ContainerExecInspect(t.Context(), created.ID)
	require.NoError(t, err)
	require.Zero(t, done.ExitCode, "%v in %s: %s%s", argv, service, stdout.String(), stderr.String())
	return strings.TrimSpace(stdout.String())
}

// SQL asks the router's database, over the server's own socket.
func (s *Stack) SQL(t *testing.T, query string) string {
	t.Helper()
	return s.Exec(t, "postgres", "psql", "-X", "-U", "postgres", "-d", "router", "-Atc", query)
}

// Eventually waits until a condition holds; on timeout it says which. The stack's own speed is what is
// waited for, so the limit is generous and the test ends as soon as it may.
func Eventually(t *testing.T, what string, limit time.Duration, condition func() bool) {
	t.Helper()
	// In the test's own goroutine: a condition may end the test.
	for begin := time.Now(); !condition(); conversation.Pause(t.Context(), 100*time.Millisecond) {
		require.Less(t, time.Since(begin), limit, "waiting for: %s", what)
	}
}

// Left is what the engine still holds of the stack: containers, networks and volumes.
func (s *Stack) Left(t *testing.T) []string {
	t.Helper()
	mine := filters.NewArgs(filters.Arg("label", "plantao.stack="+s.Name))
	var left []string
	containers, err := s.Docker.ContainerList(t.Context(), container.ListOptions{All: true, Filters: mine})
	require.NoError(t, err)
	for _, c := range containers {
		left = append(left, "container "+strings.Join(c.Names, ","))
	}
	networks, err := s.Docker.NetworkList(t.Context(), network.ListOptions{Filters: mine})
	require.NoError(t, err)
	for _, n := range networks {
		left = append(left, "network "+n.Name)
	}
	volumes, err := s.Docker.VolumeList(t.Context(), volume.ListOptions{Filters: mine})
	require.NoError(t, err)
	for _, v := range volumes.Volumes {
		left = append(left, "volume "+v.Name)
	}
	return left
}

// Services are the names of the stack's running services.
func (s *Stack) Services(t *testing.T) []string {
	t.Helper()
	list, err := s.Docker.ContainerList(t.Context(), container.ListOptions{Filters: filters.NewArgs(filters.Arg("label", "plantao.stack="+s.Name))})
	require.NoError(t, err)
	var names []string
	for _, c := range list {
		names = append(names, c.Labels["plantao.service"])
	}
	return names
}

// Logs is what a service printed.
func (s *Stack) Logs(t *testing.T, service string) string {
	t.Helper()
	r, err := s.Docker.ContainerLogs(t.Context(), s.Container(service), container.LogsOptions{ShowStdout: true, ShowStderr: true})
	require.NoError(t, err)
	defer r.Close()
	var out bytes.Buffer
	_, err = stdcopy.StdCopy(&out, &out, r)
	require.NoError(t, err)
	return out.String()
}

// logContainers shows the last lines of every service of a failed test.
func (s *Stack) logContainers(t *testing.T) {
	// The test's own context is over when clean-ups run.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	list, err := s.Docker.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", "plantao.stack="+s.Name))})
	if err != nil {
		t.Logf("list containers of the failed stack: %v", err)
		return
	}
	for _, c := range list {
		r, err := s.Docker.ContainerLogs(ctx, c.ID, container.LogsOptions{ShowStdout: true, ShowStderr: true, Tail: "15"})
		if err != nil {
			continue
		}
		var out bytes.Buffer
		_, _ = stdcopy.StdCopy(&out, &out, io.LimitReader(r, 64<<10))
		r.Close()
		t.Logf("%s (%s):\n%s", strings.Join(c.Names, ","), c.Status, out.String())
	}
}
