//go:build e2e

package provider

import (
	"fmt"
	"os"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/integration"
	"github.com/pulumi/pulumi/sdk/v3/go/property"
	"github.com/stretchr/testify/require"

	"plantao/infra/component"
)

// anImage is one that `make images` made or pulled and that has a shell.
func anImage(t *testing.T) string {
	t.Helper()
	images, err := component.ResolveImages("auto", "../..")
	require.NoError(t, err)
	ref, err := images.Ref("postgres")
	require.NoError(t, err)
	return ref
}

func docker(t *testing.T) *client.Client {
	t.Helper()
	cli, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	require.NoError(t, err)
	t.Cleanup(func() { cli.Close() })
	return cli
}

func create(t *testing.T, s integration.Server, kind string, in map[string]property.Value) (p.CreateResponse, error) {
	t.Helper()
	checked, err := s.Check(p.CheckRequest{Urn: urn(kind), Inputs: property.NewMap(in)})
	require.NoError(t, err)
	require.Empty(t, checked.Failures)
	return s.Create(p.CreateRequest{Urn: urn(kind), Properties: checked.Inputs})
}

func fileInputs(t *testing.T, content string) map[string]property.Value {
	return map[string]property.Value{
		"prefix": property.New(fmt.Sprintf("plantao-test-%d", os.Getpid())), "image": property.New(anImage(t)),
		"uid": property.New(999.0), "gid": property.New(999.0),
		"files": property.New(property.NewMap(map[string]property.Value{
			"password": property.New(content).WithSecret(true), "deep/er/file": property.New("x"),
		})),
	}
}

func TestFileVolumeOnTheEngine(t *testing.T) {
	s, cli := server(t), docker(t)
	inputs := property.NewMap(fileInputs(t, "first"))
	one, err := create(t, s, "FileVolume", fileInputs(t, "first"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = cli.VolumeRemove(t.Context(), one.ID, true) })
	again, err := create(t, s, "FileVolume", fileInputs(t, "first"))
	require.NoError(t, err, "a second create of the same content must complete the first")
	require.Equal(t, one.ID, again.ID)
	require.False(t, one.Properties.Get("name").Secret(), "the volume's name is no secret")

	out, err := create(t, s, "Job", jobInputs(t, map[string]property.Value{
		"entrypoint": argv("sh", "-c", `test "$(cat /run/plantao/password)" = first && test "$(stat -c %u:%g:%a /run/plantao/password)" = 999:999:440 && ! touch /run/plantao/x 2>/dev/null && cat /run/plantao/deep/er/file`),
		"volumes":    property.New(property.NewMap(map[string]property.Value{one.ID: property.New("/run/plantao:ro")})),
		"user":       property.New("999:999"),
	}))
	require.NoError(t, err)
	require.NotEmpty(t, out.Properties.Get("finishedAt").AsString())

	read, err := s.Read(p.ReadRequest{ID: one.ID, Urn: urn("FileVolume"), Properties: one.Properties, Inputs: inputs})
	require.NoError(t, err)
	require.Equal(t, one.ID, read.ID)
	require.NoError(t, s.Delete(p.DeleteRequest{ID: one.ID, Urn: urn("FileVolume"), Properties: one.Properties}))
	read, err = s.Read(p.ReadRequest{ID: one.ID, Urn: urn("FileVolume"), Properties: one.Properties, Inputs: inputs})
	require.NoError(t, err)
	require.Empty(t, read.ID, "a volume that is gone must read as gone")
	require.NoError(t, s.Delete(p.DeleteRequest{ID: one.ID, Urn: urn("FileVolume"), Properties: one.Properties}), "a second delete must succeed")
}

func TestChangedFileReadsAsGone(t *testing.T) {
	s, cli := server(t), docker(t)
	inputs := property.NewMap(fileInputs(t, "mine"))
	one, err := create(t, s, "FileVolume", fileInputs(t, "mine"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = cli.VolumeRemove(t.Context(), one.ID, true) })
	_, err = create(t, s, "Job", jobInputs(t, map[string]property.Value{
		"entrypoint": argv("sh", "-c", "chmod u+w /f /f/password 2>/dev/null; rm -f /f/password; echo other > /f/password"),
		"volumes":    property.New(property.NewMap(map[string]property.Value{one.ID: property.New("/f")})),
		"user":       property.New("999:999"),
	}))
	require.NoError(t, err)
	read, err := s.Read(p.ReadRequest{ID: one.ID, Urn: urn("FileVolume"), Properties: one.Properties, Inputs: inputs})
	require.NoError(t, err)
	require.Empty(t, read.ID)
	require.NoError(t, s.Delete(p.DeleteRequest{ID: one.ID, Urn: urn("FileVolume"), Properties: one.Properties}))
}

func jobInputs(t *testing.T, more map[string]property.Value) map[string]property.Value {
	in := map[string]property.Value{
		"name": property.New(fmt.Sprintf("plantao-test-job-%d", os.Getpid())), "image": property.New(anImage(t)),
		"timeoutSeconds": property.New(60.0),
	}
	for k, v := range more {
		in[k] = v
	}
	return in
}

func argv(words ...string) property.Value {
	var out []property.Value
	for _, w := range words {
		out = append(out, property.New(w))
	}
	return property.New(property.NewArray(out))
}

func TestJobFailureShowsItsLastLines(t *testing.T) {
	s, cli := server(t), docker(t)
	_, err := create(t, s, "Job", jobInputs(t, map[string]property.Value{
		"entrypoint": argv("sh", "-c", "seq 1 100; echo the reason >&2; exit 7"),
	}))
	require.ErrorContains(t, err, "status 7")
	require.ErrorContains(t, err, "the reason")
	require.NotContains(t, err.Error(), "\n50\n")
	_, err = cli.ContainerInspect(t.Context(), fmt.Sprintf("plantao-test-job-%d", os.Getpid()))
	require.Error(t, err, "a failed job left its container")
}

func TestJobThatHangsIsEnded(t *testing.T) {
	s := server(t)
	_, err := create(t, s, "Job", jobInputs(t, map[string]property.Value{
		"entrypoint": argv("sh", "-c", "echo still here; sleep 600"), "timeoutSeconds": property.New(10.0),
	}))
	require.ErrorContains(t, err, "did not end within 10s")
	require.ErrorContains(t, err, "still here")
}

func TestJobReplacesWhatAKilledRunLeft(t *testing.T) {
	s, cli := server(t), docker(t)
	name := fmt.Sprintf("plantao-test-job-%d", os.Getpid())
	_, err := cli.ContainerCreate(t.Context(), &container.Config{Image: anImage(t)}, nil, nil, nil, name)
	require.NoError(t, err)
	_, err = create(t, s, "Job", jobInputs(t, map[string]property.Value{"entrypoint": argv("true")}))
	require.NoError(t, err)
}
