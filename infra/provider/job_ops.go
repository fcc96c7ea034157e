package provider

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"
	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/infer"
)

const (
	defaultJobMemoryMB = 512
	defaultJobTimeout  = 10 * time.Minute
	// jobTail is how many lines of each of a failed job's streams an error shows.
	jobTail = 20
)

var (
	_ infer.CustomCreate[JobArgs, JobState] = Job{}
	_ infer.CustomUpdate[JobArgs, JobState] = Job{}
	_ infer.CustomDiff[JobArgs, JobState]   = Job{}
	_ infer.CustomDelete[JobState]          = Job{}
)

// Create runs the job. A run that fails is not in the state: the next `up` runs it again.
func (Job) Create(ctx context.Context, req infer.CreateRequest[JobArgs]) (infer.CreateResponse[JobState], error) {
	state := JobState{JobArgs: req.Inputs}
	if req.DryRun {
		return infer.CreateResponse[JobState]{Output: state}, nil
	}
	if err := runJob(ctx, req.Inputs); err != nil {
		return infer.CreateResponse[JobState]{}, err
	}
	state.FinishedAt = time.Now().UTC().Format(time.RFC3339)
	return infer.CreateResponse[JobState]{ID: req.Inputs.Name, Output: state}, nil
}

// Update runs the job again. On failure the old state stays, so that the next `up` tries again.
func (Job) Update(ctx context.Context, req infer.UpdateRequest[JobArgs, JobState]) (infer.UpdateResponse[JobState], error) {
	state := JobState{JobArgs: req.Inputs, FinishedAt: req.State.FinishedAt}
	if req.DryRun {
		return infer.UpdateResponse[JobState]{Output: state}, nil
	}
	if err := runJob(ctx, req.Inputs); err != nil {
		return infer.UpdateResponse[JobState]{}, err
	}
	state.FinishedAt = time.Now().UTC().Format(time.RFC3339)
	return infer.UpdateResponse[JobState]{Output: state}, nil
}

// Diff: any change runs the job again; a new name is another job.
func (Job) Diff(_ context.Context, req infer.DiffRequest[JobArgs, JobState]) (infer.DiffResponse, error) {
	diff := map[string]p.PropertyDiff{}
	was, is := reflect.ValueOf(req.State.JobArgs), reflect.ValueOf(req.Inputs)
	for i := range was.NumField() {
		name, _, _ := strings.Cut(was.Type().Field(i).Tag.Get("pulumi"), ",")
		if sameValue(was.Field(i), is.Field(i)) {
			continue
		}
		kind := p.Update
		if name == "name" {
			kind = p.UpdateReplace
		}
		diff[name] = p.PropertyDiff{Kind: kind}
	}
	return infer.DiffResponse{HasChanges: len(diff) > 0, DetailedDiff: diff}, nil
}

// sameValue is deep equality in which nil and empty are the same, as they are to the engine.
func sameValue(a, b reflect.Value) bool {
	if k := a.Kind(); (k == reflect.Map || k == reflect.Slice) && a.Len() == 0 && b.Len() == 0 {
		return true
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}

// Delete removes a container that a killed run may have left.
func (Job) Delete(ctx context.Context, req infer.DeleteRequest[JobState]) (infer.DeleteResponse, error) {
	cli, err := engine(ctx)
	if err != nil {
		return infer.DeleteResponse{}, err
	}
	defer cli.Close()
	return infer.DeleteResponse{}, removeContainer(ctx, cli, req.State.Name)
}

func runJob(ctx context.Context, a JobArgs) error {
	timeout := time.Duration(a.TimeoutSeconds) * time.Second
	if timeout == 0 {
		timeout = defaultJobTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cli, err := engine(ctx)
	if err != nil {
		return err
	}
	defer cli.Close()
	if err := ensureImage(ctx, cli, a.Image); err != nil {
		return err
	}
	// A container of this name is left only by a run that was killed: it may be half-done, and jobs
	// are written to be run again.
	if err := removeContainer(ctx, cli, a.Name); err != nil {
		return err
	}
	id, err := createJobContainer(ctx, cli, a)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		_ = removeContainer(ctx, cli, id)
	}()
	return startAndWait(ctx, cli, id, a, timeout)
}

func createJobContainer(ctx context.Context, cli *client.Client, a JobArgs) (string, error) {
	config := &container.Config{Image: a.Image, Entrypoint: a.Entrypoint, Cmd: a.Command, User: a.User, Labels: a.Labels}
	for _, k := range slices.Sorted(maps.Keys(a.Env)) {
		config.Env = append(config.Env, k+"="+a.Env[k])
	}
	memory := int64(a.MemoryMB)
	if memory == 0 {
		memory = defaultJobMemoryMB
	}
	host := &container.HostConfig{
		ReadonlyRootfs: a.ReadOnly,
		SecurityOpt:    []string{"no-new-privileges:true"},
		CapDrop:        []string{"ALL"},
		Resources:      container.Resources{Memory: memory << 20, MemorySwap: memory << 20},
		LogConfig:      container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "10m", "max-file": "1"}},
	}
	if a.ReadOnly {
		host.Tmpfs = map[string]string{"/tmp": "rw,noexec,nosuid,size=64m"}
	}
	for _, v := range slices.Sorted(maps.Keys(a.Volumes)) {
		target, ro := strings.CutSuffix(a.Volumes[v], ":ro")
		host.Mounts = append(host.Mounts, mount.Mount{Type: mount.TypeVolume, Source: v, Target: target, ReadOnly: ro})
	}
	nets := &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{}}
	host.NetworkMode = "none"
	if len(a.Networks) > 0 {
		// Engines before API 1.44 take one network at creation; the others are connected before start.
		host.NetworkMode = container.NetworkMode(a.Networks[0])
		nets.EndpointsConfig[a.Networks[0]] = &network.EndpointSettings{}
	}
	created, err := cli.ContainerCreate(ctx, config, host, nets, nil, a.Name)
	if err != nil {
		return "", fmt.Errorf("create job container %s: %w", a.Name, explain(err))
	}
	for _, n := range a.Networks[min(1, len(a.Networks)):] {
		if err := cli.NetworkConnect(ctx, n, created.ID, nil); err != nil {
			return "", errors.Join(fmt.Errorf("connect job %s to network %s: %w", a.Name, n, explain(err)), removeContainer(ctx, cli, created.ID))
		}
	}
	return created.ID, nil
}

// startAndWait shows the job's latest line while it runs, and its last lines when it fails.
func startAndWait(ctx context.Context, cli *client.Client, id string, a JobArgs, timeout time.Duration) error {
	waited, waitErr := cli.ContainerWait(ctx, id, container.WaitConditionNextExit)
	if err := cli.ContainerStart(ctx, id, container.StartOptions{}); err != nil {
		return fmt.Errorf("start job %s: %w", a.Name, explain(err))
	}
	tail := make(chan string, 1)
	go func() { tail <- followJob(ctx, cli, id) }()
	select {
	case res := <-waited:
		last := <-tail
		if res.StatusCode != 0 {
			return fmt.Errorf("job %s ended with status %d; its last lines:\n%s", a.Name, res.StatusCode, last)
		}
		return nil
	case err := <-waitErr:
		last := <-tail
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return fmt.Errorf("job %s did not end within %s; its last lines:\n%s", a.Name, timeout, last)
		}
		return fmt.Errorf("wait for job %s: %w", a.Name, explain(err))
	}
}

// followJob returns the last lines once the job's output ends. Jobs are our own programs and the
// upstream's prepare commands, which do not print the secrets they read from files.
func followJob(ctx context.Context, cli *client.Client, id string) string {
	logs, err := cli.ContainerLogs(ctx, id, container.LogsOptions{ShowStdout: true, ShowStderr: true, Follow: true})
	if err != nil {
		return fmt.Sprintf("(no output: %v)", err)
	}
	defer logs.Close()
	show := p.GetLogger(ctx).InfoStatus
	stdout, stderr := &tailWriter{show: show}, &tailWriter{show: show}
	// The stream ends with the container; a cut one is what the caller's wait reports.
	_, _ = stdcopy.StdCopy(stdout, stderr, logs)
	return strings.Join(append(stdout.last(), stderr.last()...), "\n")
}

// tailWriter shows each line and keeps the last ones. Stdout and stderr have one each: the engine does not
// keep their order, and a long stdout must not push the reason out.
type tailWriter struct {
	show  func(string)
	lines []string
	rest  string
}

func (w *tailWriter) Write(b []byte) (int, error) {
	parts := strings.Split(w.rest+string(b), "\n")
	w.rest = parts[len(parts)-1]
	for _, line := range parts[:len(parts)-1] {
		w.add(line)
	}
	return len(b), nil
}

func (w *tailWriter) add(line string) {
	line = strings.TrimRight(line, "\r")
	w.show(line)
	w.lines = append(w.lines, line)
	if len(w.lines) > jobTail {
		w.lines = w.lines[1:]
	}
}

func (w *tailWriter) last() []string {
	if w.rest != "" {
		w.add(w.rest)
		w.rest = ""
	}
	return w.lines
}

func removeContainer(ctx context.Context, cli *client.Client, name string) error {
	err := cli.ContainerRemove(ctx, name, container.RemoveOptions{Force: true, RemoveVolumes: true})
	if err != nil && !cerrdefs.IsNotFound(err) {
		return fmt.Errorf("remove container %s: %w", name, explain(err))
	}
	return nil
}
