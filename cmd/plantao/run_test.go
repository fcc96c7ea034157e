package main

import (
	"bufio"
	"bytes"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"

	"plantao/cmd/plantao/engine/enginetest"
	"plantao/cmd/plantao/imagelock"
	"plantao/cmd/plantao/text"
	"plantao/infra/upstream"
)

// inMemory is a program that writes to buffers and knows no environment.
func inMemory(t *testing.T) (p *program, out, errs *bytes.Buffer) {
	t.Helper()
	out, errs = new(bytes.Buffer), new(bytes.Buffer)
	p = newProgram()
	p.text, p.out, p.err, p.terminal = text.For(text.English), out, errs, false
	p.getenv = func(string) string { return "" }
	return p, out, errs
}

func projectFolder(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(folder, "infra", "upstream"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(folder, projectFile), []byte("name: plantao\n"), 0o644))
	return folder
}

// pushImage puts an image that says it is the release behind the reference.
func pushImage(t *testing.T, ref, release string) {
	t.Helper()
	base, err := random.Image(64, 1)
	require.NoError(t, err)
	config, err := base.ConfigFile()
	require.NoError(t, err)
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	config.Config = v1.Config{Env: []string{"N8N_VERSION=" + release}}
	image, err := mutate.ConfigFile(base, config)
	require.NoError(t, err)
	tag, err := name.NewTag(ref)
	require.NoError(t, err)
	require.NoError(t, remote.Write(tag, image))
}

func TestImagesLock(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	pushImage(t, host+"/n8n:2.42.1", "2.42.1")

	folder := projectFolder(t)
	lockFile := filepath.Join(folder, filepath.FromSlash(imagelock.Path))
	p, out, errs := inMemory(t)
	p.versions = func() (map[string]upstream.Version, error) {
		return map[string]upstream.Version{"n8n": {Image: host + "/n8n", Tag: "2.42.1", Version: "2.42.1"}}, nil
	}
	lock := func(flags ...string) int {
		out.Reset()
		errs.Reset()
		return run(append([]string{"images", "lock", "--project", folder}, flags...), p)
	}

	require.Equal(t, exitFailed, lock("--check"))
	require.Contains(t, out.String(), "n8n: not locked yet")
	require.NoFileExists(t, lockFile)

	require.Equal(t, exitOK, lock(), errs.String())
	require.Contains(t, out.String(), "2.42.1@sha256:")
	require.Contains(t, errs.String(), "1 images locked in infra/upstream/images.lock.yaml")
	first, err := os.ReadFile(lockFile)
	require.NoError(t, err)

	p.now = func() time.Time { return time.Now().Add(time.Hour) }
	require.Equal(t, exitOK, lock())
	second, err := os.ReadFile(lockFile)
	require.NoError(t, err)
	require.Equal(t, string(first), string(second), "locking again changes nothing")
	require.Equal(t, exitOK, lock("--check"))

	pushImage(t, host+"/n8n:2.42.1", "2.42.1") // the tag moves
	require.Equal(t, exitFailed, lock("--check"))
	require.Contains(t, out.String(), "somebody moved the tag")
	require.Contains(t, errs.String(), "is behind")

	pushImage(t, host+"/n8n:2.42.1", "2.41.1") // and now to an unsafe release
	require.Equal(t, exitFailed, lock("--lang", "pt-BR"))
	require.Contains(t, errs.String(), "contém a versão 2.41.1 (env N8N_VERSION), que não é segura")
	untouched, err := os.ReadFile(lockFile)
	require.NoError(t, err)
	require.Equal(t, string(first), string(untouched))

	server.Close() // no network
	require.Equal(t, exitFailed, lock())
	require.Contains(t, errs.String(), "registry "+host+" does not answer; nothing was written")
	untouched, err = os.ReadFile(lockFile)
	require.NoError(t, err)
	require.Equal(t, string(first), string(untouched))
}

// follow starts a command that goes on until interrupted, and hands over what it writes.
func follow(t *testing.T, p *program, args ...string) (lines *bufio.Scanner, code chan int) {
	t.Helper()
	reader, writer := io.Pipe()
	t.Cleanup(func() { _ = reader.Close() })
	p.out = writer
	code = make(chan int, 1)
	go func() {
		got := run(args, p)
		_ = writer.Close()
		code <- got
	}()
	return bufio.NewScanner(reader), code
}

func interrupt(t *testing.T, lines *bufio.Scanner, code chan int) {
	t.Helper()
	require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGINT))
	for lines.Scan() { // drain what is still on its way, so that the writer ends
	}
	require.Equal(t, exitInterrupted, <-code)
}

func TestLogsFollowUntilInterrupted(t *testing.T) {
	double := enginetest.Start(enginetest.Engine{Containers: []enginetest.Container{
		{Stack: "dev", Service: "n8n", Log: []enginetest.Line{{Text: "past"}}},
	}}, t.Errorf)
	defer double.Close()
	t.Setenv("DOCKER_HOST", double.Host())
	p, _, errs := inMemory(t)
	lines, code := follow(t, p, "logs", "-f", "n8n")
	require.True(t, lines.Scan())
	require.Equal(t, "n8n | past", lines.Text())
	double.Write("n8n", "now")
	require.True(t, lines.Scan())
	require.Equal(t, "n8n | now", lines.Text())
	interrupt(t, lines, code)
	require.Empty(t, errs.String())
}

func TestStatusWatchUntilInterrupted(t *testing.T) {
	double := enginetest.Start(enginetest.Engine{Containers: []enginetest.Container{{Stack: "dev", Service: "n8n", Image: "n8n:1"}}}, t.Errorf)
	defer double.Close()
	t.Setenv("DOCKER_HOST", double.Host())
	p, _, _ := inMemory(t)
	lines, code := follow(t, p, "status", "--watch", "--json")
	for range 2 { // one document a line, again and again
		require.True(t, lines.Scan())
		require.Contains(t, lines.Text(), `"service":"n8n"`)
	}
	interrupt(t, lines, code)
}

func TestColoursAreForTerminalsAndStable(t *testing.T) {
	double := enginetest.Start(enginetest.Engine{Containers: []enginetest.Container{
		{Stack: "dev", Service: "n8n", Image: "n8n:1", Log: []enginetest.Line{{Text: "a"}, {Text: "b"}}},
	}}, t.Errorf)
	defer double.Close()
	t.Setenv("DOCKER_HOST", double.Host())
	p, out, _ := inMemory(t)
	p.terminal = true
	require.Equal(t, exitOK, run([]string{"logs"}, p))
	first, second, _ := strings.Cut(strings.TrimSpace(out.String()), "\n")
	require.Regexp(t, "^\x1b\\[\\d+mn8n \\|\x1b\\[0m a$", first)
	require.Equal(t, strings.TrimSuffix(first, "a"), strings.TrimSuffix(second, "b"))

	out.Reset()
	p.getenv = func(name string) string { return map[string]string{"NO_COLOR": "1"}[name] }
	require.Equal(t, exitOK, run([]string{"logs"}, p))
	require.NotContains(t, out.String(), "\x1b")
}

func TestAReaderThatHasSeenEnoughIsNoFailure(t *testing.T) {
	double := enginetest.Start(enginetest.Engine{Containers: []enginetest.Container{
		{Stack: "dev", Service: "n8n", Log: []enginetest.Line{{Text: "a"}}},
	}}, t.Errorf)
	defer double.Close()
	t.Setenv("DOCKER_HOST", double.Host())
	p, _, errs := inMemory(t)
	p.out = brokenPipe{}
	require.Equal(t, exitOK, run([]string{"logs"}, p), errs.String())
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func TestSpan(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"0s": 0, "45s": 45 * time.Second, "1m0s": 59*time.Second + 700*time.Millisecond, "3m20s": 200 * time.Second,
		"5h12m": 5*time.Hour + 12*time.Minute + 40*time.Second, "3d4h": 76 * time.Hour,
	} {
		require.Equal(t, want, span(d))
	}
}
