package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/constant"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
)

func programInfo(t *testing.T, root string, opts map[string]any) *pulumirpc.ProgramInfo {
	t.Helper()
	o, err := structpb.NewStruct(opts)
	require.NoError(t, err)
	return &pulumirpc.ProgramInfo{RootDirectory: root, ProgramDirectory: root, EntryPoint: ".", Options: o}
}

func write(t *testing.T, path, body string, mode os.FileMode) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(body), mode))
}

func TestOptions(t *testing.T) {
	got, err := parseOptions(programInfo(t, "/p", map[string]any{"buildTarget": "bin/x", "other": 1}))
	require.NoError(t, err)
	require.Equal(t, options{BuildTarget: "bin/x"}, got)

	_, err = parseOptions(programInfo(t, "/p", map[string]any{"buildTarget": "bin/x", "binary": "y"}))
	require.ErrorContains(t, err, "exclude each other")
	_, err = parseOptions(programInfo(t, "/p", map[string]any{"binary": true}))
	require.ErrorContains(t, err, "must be a string")
	_, err = parseOptions(nil)
	require.NoError(t, err)
}

func TestBinaryIsFoundFromProgramThenProjectThenPath(t *testing.T) {
	root := t.TempDir()
	infra := filepath.Join(root, "infra")
	onPath := t.TempDir()
	t.Setenv("PATH", onPath)
	write(t, filepath.Join(onPath, "program"), "", 0o755)

	got, err := findBinary("program", infra, root)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(onPath, "program"), got)

	write(t, filepath.Join(root, "program"), "", 0o755)
	got, err = findBinary("program", infra, root)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(root, "program"), got)

	write(t, filepath.Join(infra, "program"), "", 0o755)
	got, err = findBinary("./program", infra, root)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(infra, "program"), got)

	_, err = findBinary("bin/none", infra, root)
	require.ErrorContains(t, err, filepath.Join(root, "bin/none"))
	require.ErrorContains(t, err, "build it first")
}

// exited returns how a process ended that exits with a status.
func exited(t *testing.T, code string) error {
	t.Helper()
	return exec.Command("sh", "-c", "exit "+code).Run()
}

func TestHowAProgramEnded(t *testing.T) {
	ctx := context.Background()
	resp, err := runResult(ctx, nil)
	require.NoError(t, err)
	require.Empty(t, resp.GetError())
	require.False(t, resp.GetBail())

	require.Equal(t, 32, constant.ExitStatusLoggedError)
	resp, err = runResult(ctx, exited(t, "32"))
	require.NoError(t, err)
	require.True(t, resp.GetBail(), "the program has told its error")
	require.Empty(t, resp.GetError())

	resp, err = runResult(ctx, exited(t, "3"))
	require.NoError(t, err)
	require.Equal(t, "the program ended with exit status 3", resp.GetError())

	resp, err = runResult(ctx, errors.New("exec format error"))
	require.NoError(t, err)
	require.Contains(t, resp.GetError(), "exec format error")

	stopped, cancel := context.WithCancel(ctx)
	cancel()
	_, err = runResult(stopped, exited(t, "1"))
	require.Equal(t, codes.Canceled, status.Code(err))
}

func TestEnvironmentOfTheProgram(t *testing.T) {
	env, err := runEnvironment(&pulumirpc.RunRequest{
		Project: "p", Stack: "dev", Organization: "organization", DryRun: true, Parallel: 16, MonitorAddress: "127.0.0.1:1",
		Config: map[string]string{"p:key": "a=b"}, ConfigSecretKeys: []string{"p:key"},
		Info: &pulumirpc.ProgramInfo{RootDirectory: "/root of it"},
	}, "127.0.0.1:2")
	require.NoError(t, err)
	require.ElementsMatch(t, []string{
		"PULUMI_PROJECT=p", "PULUMI_STACK=dev", "PULUMI_ORGANIZATION=organization", "PULUMI_ROOT_DIRECTORY=/root of it",
		`PULUMI_CONFIG={"p:key":"a=b"}`, `PULUMI_CONFIG_SECRET_KEYS=["p:key"]`, "PULUMI_DRY_RUN=true", "PULUMI_PARALLEL=16",
		"PULUMI_MONITOR=127.0.0.1:1", "PULUMI_ENGINE=127.0.0.1:2",
	}, env)

	env, err = runEnvironment(&pulumirpc.RunRequest{}, "e")
	require.NoError(t, err)
	require.Contains(t, env, "PULUMI_CONFIG={}")
	require.Contains(t, env, "PULUMI_CONFIG_SECRET_KEYS=[]")
}

// goProgram makes a module that requires provider SDKs: one in a vendor-like replaced folder, one without a manifest.
func goProgram(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	write(t, filepath.Join(root, "go.mod"), `module program

go 1.26

require (
	example.com/pulumi-thing/sdk/v4 v4.1.0
	example.com/plain v1.0.0
	example.com/pulumi-indirect/sdk v0.3.0 // indirect
)

replace (
	example.com/pulumi-thing/sdk/v4 => ./thing
	example.com/plain => ./plain
	example.com/pulumi-indirect/sdk v0.3.0 => ./indirect
)
`, 0o644)
	write(t, filepath.Join(root, "thing", "go", "thing", "pulumi-plugin.json"), `{"resource":true,"name":"thing","version":"4.1.0","server":"https://example.com"}`, 0o644)
	write(t, filepath.Join(root, "plain", "plain.go"), "package plain", 0o644)
	write(t, filepath.Join(root, "indirect", "pulumi-plugin.json"), `{"resource":true}`, 0o644)
	write(t, filepath.Join(root, "infra", "main.go"), "package main\nfunc main() {}", 0o644)
	return root
}

func TestRequiredPackages(t *testing.T) {
	root := goProgram(t)
	h := newHost(t.Context(), "")
	resp, err := h.GetRequiredPackages(t.Context(), &pulumirpc.GetRequiredPackagesRequest{Info: &pulumirpc.ProgramInfo{ProgramDirectory: filepath.Join(root, "infra")}})
	require.NoError(t, err)
	require.Len(t, resp.GetPackages(), 2)
	thing, indirect := resp.GetPackages()[0], resp.GetPackages()[1]
	require.Equal(t, "thing", thing.GetName())
	require.Equal(t, "4.1.0", thing.GetVersion())
	require.Equal(t, "resource", thing.GetKind())
	require.Equal(t, "https://example.com", thing.GetServer())
	require.Equal(t, "indirect", indirect.GetName(), "the path names it where the manifest does not")
	require.Equal(t, "v0.3.0", indirect.GetVersion())

	plugins, err := h.GetRequiredPlugins(t.Context(), &pulumirpc.GetRequiredPluginsRequest{Info: &pulumirpc.ProgramInfo{ProgramDirectory: root}}) //nolint:staticcheck // older engines call it
	require.NoError(t, err)
	require.Len(t, plugins.GetPlugins(), 2)
}

func TestProgramOutsideAnyModule(t *testing.T) {
	h := newHost(t.Context(), "")
	resp, err := h.GetRequiredPackages(t.Context(), &pulumirpc.GetRequiredPackagesRequest{Info: &pulumirpc.ProgramInfo{ProgramDirectory: t.TempDir()}})
	require.NoError(t, err)
	require.Empty(t, resp.GetPackages())
	_, err = h.GetProgramDependencies(t.Context(), &pulumirpc.GetProgramDependenciesRequest{Info: &pulumirpc.ProgramInfo{ProgramDirectory: t.TempDir()}})
	require.ErrorContains(t, err, "go mod init")
}

func TestBrokenManifestIsAnError(t *testing.T) {
	root := goProgram(t)
	write(t, filepath.Join(root, "thing", "go", "thing", "pulumi-plugin.json"), `{`, 0o644)
	h := newHost(t.Context(), "")
	_, err := h.GetRequiredPackages(t.Context(), &pulumirpc.GetRequiredPackagesRequest{Info: &pulumirpc.ProgramInfo{ProgramDirectory: root}})
	require.ErrorContains(t, err, "pulumi-plugin.json")
}

func TestPackageOfAModuleNamedByNothing(t *testing.T) {
	_, err := packageOf(module.Version{Path: "example.com/x", Version: "v1.0.0"}, &plugin.PulumiPluginJSON{Resource: true})
	require.ErrorContains(t, err, "example.com/x")
	pkg, err := packageOf(module.Version{Path: "example.com/pulumi-x/sdk", Version: "v0.0.0-20260101000000-abcdefabcdef"}, &plugin.PulumiPluginJSON{
		Resource: true, Parameterization: &plugin.PulumiParameterizationJSON{Name: "p", Version: "1.0.0", Value: []byte("v")},
	})
	require.NoError(t, err)
	require.Empty(t, pkg.GetVersion(), "a commit is no release")
	require.Equal(t, "p", pkg.GetParameterization().GetName())
}

func TestDependencies(t *testing.T) {
	h := newHost(t.Context(), "")
	req := &pulumirpc.GetProgramDependenciesRequest{Info: &pulumirpc.ProgramInfo{ProgramDirectory: goProgram(t)}}
	resp, err := h.GetProgramDependencies(t.Context(), req)
	require.NoError(t, err)
	require.Len(t, resp.GetDependencies(), 2)
	require.Empty(t, resp.GetDependencies()[0].GetVersion(), "replaced by a folder")
	req.TransitiveDependencies = true
	resp, err = h.GetProgramDependencies(t.Context(), req)
	require.NoError(t, err)
	require.Len(t, resp.GetDependencies(), 3)
}

func TestAboutNamesItselfMinimal(t *testing.T) {
	about, err := newHost(t.Context(), "").About(t.Context(), &pulumirpc.AboutRequest{})
	require.NoError(t, err)
	require.Contains(t, about.GetVersion(), "minimal")
	require.Contains(t, about.GetVersion(), "go1.")
	out, err := json.Marshal(about.GetMetadata())
	require.NoError(t, err)
	require.Contains(t, string(out), "minimal")
}

func TestWithoutGoItSaysWhatToDo(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := newHost(t.Context(), "").About(t.Context(), &pulumirpc.AboutRequest{})
	require.ErrorContains(t, err, "install Go")
}

func TestRunBeforeTheEngineIsKnown(t *testing.T) {
	h := newHost(t.Context(), "")
	_, err := h.Run(t.Context(), &pulumirpc.RunRequest{})
	require.Equal(t, codes.FailedPrecondition, status.Code(err))
	_, err = h.Handshake(t.Context(), &pulumirpc.LanguageHandshakeRequest{EngineAddress: "127.0.0.1:1"})
	require.NoError(t, err)
	resp, err := h.Run(t.Context(), &pulumirpc.RunRequest{Info: programInfo(t, t.TempDir(), map[string]any{"binary": "none"})})
	require.NoError(t, err)
	require.Contains(t, resp.GetError(), "build it first")
}
