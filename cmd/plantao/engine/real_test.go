//go:build e2e

package engine_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	"github.com/stretchr/testify/require"

	"plantao/cmd/plantao/engine"
)

// speaker is a service for the real engine: it says that it starts and one very long line, and waits.
const speaker = `package main

import (
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	fmt.Println("begin")
	fmt.Fprintln(os.Stderr, strings.Repeat("x", 40<<10))
	<-stop
}
`

// TestRealEngine holds the double to the truth: it makes a container on this machine's Docker, looks at
// it, reads its log and follows it through a restart.
func TestRealEngine(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	api, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	require.NoError(t, err)
	defer api.Close()
	stack := fmt.Sprintf("enginetest-%d", os.Getpid())
	id := speak(ctx, t, api, stack)

	e, err := engine.Open()
	require.NoError(t, err)
	defer e.Close()
	info, err := e.Info(ctx)
	require.NoError(t, err)
	require.NotEmpty(t, info.Version)
	require.NotEmpty(t, info.DataRoot)
	require.WithinDuration(t, time.Now(), info.Time, time.Minute)
	has, err := e.HasImage(ctx, "plantao-enginetest/"+stack+":1")
	require.NoError(t, err)
	require.True(t, has)
	has, err = e.HasImage(ctx, "plantao-enginetest/"+stack+":2")
	require.NoError(t, err)
	require.False(t, has)

	heard, ended := newHeard(), make(chan error, 1)
	following, stop := context.WithCancel(ctx)
	go func() {
		ended <- e.Follow(following, engine.Following{Stack: stack, Range: engine.LogRange{Tail: -1}, Emit: heard.emit})
	}()
	said := heard.wait(t, 2)
	require.ElementsMatch(t, []string{"speaker begin", "speaker " + strings.Repeat("x", 40<<10)}, said)

	found, err := e.Containers(ctx, stack)
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.Equal(t, "running", found[0].State)
	require.False(t, found[0].Failing())
	require.Equal(t, uint64(64<<20), found[0].MemoryLimit)
	require.NotZero(t, found[0].MemoryUsed)
	require.Less(t, found[0].MemoryUsed, uint64(64<<20))
	require.Equal(t, "plantao-enginetest/"+stack+":1", found[0].Image)
	require.WithinDuration(t, time.Now(), found[0].Started, time.Minute)

	seconds := 10
	require.NoError(t, api.ContainerRestart(ctx, id, container.StopOptions{Timeout: &seconds}))
	require.Len(t, heard.wait(t, 4), 4, "the lines of the second run, and none twice")
	stop()
	require.NoError(t, <-ended)

	count := 0
	require.NoError(t, e.Logs(ctx, found, engine.LogRange{Tail: -1}, func(engine.Line) error { count++; return nil }))
	require.Equal(t, 4, count)
}

// speak builds the speaker, makes an image of it and runs it; all is removed with the test.
func speak(ctx context.Context, t *testing.T, api *client.Client, stack string) string {
	t.Helper()
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "main.go"), []byte(speaker), 0o644))
	build := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(folder, "speaker"), filepath.Join(folder, "main.go"))
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	program, err := os.ReadFile(filepath.Join(folder, "speaker"))
	require.NoError(t, err)
	var root bytes.Buffer
	archive := tar.NewWriter(&root)
	require.NoError(t, archive.WriteHeader(&tar.Header{Name: "speaker", Mode: 0o755, Size: int64(len(program))}))
	_, err = archive.Write(program)
	require.NoError(t, err)
	require.NoError(t, archive.Close())

	ref := "plantao-enginetest/" + stack + ":1"
	imported, err := api.ImageImport(ctx, image.ImportSource{Source: &root, SourceName: "-"}, ref, image.ImportOptions{})
	require.NoError(t, err)
	var answer bytes.Buffer
	_, err = answer.ReadFrom(imported)
	require.NoError(t, err)
	require.NoError(t, imported.Close())
	made, err := api.ContainerCreate(ctx,
		&container.Config{Image: ref, Cmd: []string{"/speaker"}, Labels: map[string]string{
			engine.LabelStack: stack, engine.LabelService: "speaker", engine.LabelComponent: "speaker",
		}},
		&container.HostConfig{
			NetworkMode: "none", Resources: container.Resources{Memory: 64 << 20},
			RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyUnlessStopped},
		}, nil, nil, stack)
	require.NoError(t, err, answer.String())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		require.NoError(t, api.ContainerRemove(ctx, made.ID, container.RemoveOptions{Force: true, RemoveVolumes: true}))
		_, err := api.ImageRemove(ctx, ref, image.RemoveOptions{Force: true})
		require.NoError(t, err)
	})
	require.NoError(t, api.ContainerStart(ctx, made.ID, container.StartOptions{}))
	return made.ID
}
