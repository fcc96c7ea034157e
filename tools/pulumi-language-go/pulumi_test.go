//go:build e2e

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// project is a Pulumi project run by the real CLI through this host, with a file backend of its own.
type project struct {
	t   *testing.T
	cli string // the real CLI, beside this host
	dir string
	env []string
}

// newProject needs the real CLI on PATH.
func newProject(t *testing.T) *project {
	t.Helper()
	cli, err := exec.LookPath("pulumi")
	require.NoError(t, err, "run make setup, and make's PATH")
	real, err := filepath.EvalSymlinks(cli)
	require.NoError(t, err)
	tools, err := filepath.Abs("..")
	require.NoError(t, err)

	// The engine takes the host beside its own executable first of all, so both go into one folder.
	bin := t.TempDir()
	if os.Link(real, filepath.Join(bin, "pulumi")) != nil {
		body, err := os.ReadFile(real)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(bin, "pulumi"), body, 0o755))
	}
	build := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(bin, "pulumi-language-go"), ".")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))

	dir := t.TempDir()
	for _, name := range []string{"go.mod", "go.sum"} {
		body, err := os.ReadFile(filepath.Join(tools, name))
		require.NoError(t, err)
		write(t, filepath.Join(dir, name), strings.Replace(string(body), "module plantao/tools", "module program", 1), 0o644)
	}
	p := &project{t: t, cli: filepath.Join(bin, "pulumi"), dir: dir, env: append(os.Environ(),
		"PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"),
		"PULUMI_HOME="+t.TempDir(), "PULUMI_BACKEND_URL=file://"+t.TempDir(), "PULUMI_CONFIG_PASSPHRASE=test",
		"PULUMI_SKIP_UPDATE_CHECK=1", "GOFLAGS=-mod=mod -buildvcs=false")}
	write(t, filepath.Join(dir, "Pulumi.yaml"), "name: program\nruntime: go\n", 0o644)
	p.program("return nil")
	p.must("stack", "init", "test")
	return p
}

// program writes the program's body.
func (p *project) program(body string) {
	write(p.t, filepath.Join(p.dir, "main.go"), `package main

import (
	"errors"
	"os"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/config"
)

var _ = errors.New
var _ = os.Exit
var _ = config.New

func main() {
	pulumi.Run(func(ctx *pulumi.Context) error {
`+body+`
	})
}
`, 0o644)
}

func (p *project) command(args ...string) *exec.Cmd {
	cmd := exec.Command(p.cli, append([]string{"--non-interactive", "--color=never"}, args...)...)
	cmd.Dir, cmd.Env = p.dir, p.env
	return cmd
}

func (p *project) must(args ...string) string {
	p.t.Helper()
	out, err := p.command(args...).CombinedOutput()
	require.NoError(p.t, err, string(out))
	return string(out)
}

func (p *project) fails(args ...string) string {
	p.t.Helper()
	out, err := p.command(args...).CombinedOutput()
	require.Error(p.t, err, string(out))
	require.NotContains(p.t, string(out), "goroutine ", "no Go stack for the user")
	return string(out)
}

func TestRealPulumi(t *testing.T) {
	p := newProject(t)
	p.must("config", "set", "name", "plantão = on duty")
	p.must("config", "set", "--secret", "key", "s3cret")
	p.program(`
		c := config.New(ctx, "")
		ctx.Export("name", pulumi.String(c.Require("name")))
		ctx.Export("key", c.RequireSecret("key"))
		ctx.Export("stack", pulumi.String(ctx.Project()+"/"+ctx.Stack()+"/"+ctx.Organization()))
		ctx.Log.Info("said by the program", nil)
		_, err := os.Stdout.WriteString("printed by the program\n")
		return err`)

	out := p.must("preview")
	require.NotContains(t, out, "from $PATH", "the host is found beside the CLI, without a warning")
	out = p.must("up", "--yes", "--skip-preview")
	require.Contains(t, out, "said by the program")
	require.Contains(t, out, "printed by the program")
	require.NotContains(t, out, "s3cret")
	require.Equal(t, "plantão = on duty", strings.TrimSpace(p.must("stack", "output", "name")))
	require.Equal(t, "program/test/organization", strings.TrimSpace(p.must("stack", "output", "stack")))
	require.Equal(t, "s3cret", strings.TrimSpace(p.must("stack", "output", "--show-secrets", "key")))
	require.Contains(t, p.must("about"), "minimal")

	p.program(`return errors.New("the program's own complaint")`)
	out = p.fails("preview")
	require.Equal(t, 1, strings.Count(out, "the program's own complaint"), "told once:\n%s", out)

	p.program(`os.Exit(7); return nil`)
	require.Contains(t, p.fails("preview"), "the program ended with exit status 7")

	p.program(`return undefinedThing`)
	require.Contains(t, p.fails("preview"), "undefined: undefinedThing")
	p.must("destroy", "--yes", "--skip-preview")
}

// TestInterruptedPulumi sends the CLI what Ctrl-C sends, and sees the program told.
func TestInterruptedPulumi(t *testing.T) {
	p := newProject(t)
	started := filepath.Join(p.dir, "started")
	p.program(`
		if err := os.WriteFile("started", nil, 0o644); err != nil {
			return err
		}
		select {}`)
	cmd := p.command("preview")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Start())
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	running := func() bool { _, err := os.Stat(started); return err == nil }
	for deadline := time.Now().Add(5 * time.Minute); !running(); {
		select {
		case err := <-done:
			t.Fatalf("pulumi ended before its program ran: %v\n%s", err, out.String())
		case <-time.After(50 * time.Millisecond):
			require.True(t, time.Now().Before(deadline), "the program did not start")
		}
	}
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	select {
	case err := <-done:
		require.Error(t, err)
	case <-time.After(time.Minute):
		_ = cmd.Process.Kill()
		t.Fatal("pulumi did not end after an interrupt")
	}
}
