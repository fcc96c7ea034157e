// Package devstack brings a whole stack up for tests: the real Pulumi engine, a state folder and a stack
// name of its own, on the machine's Docker, beside whatever else runs there.
package devstack

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/client"
	"github.com/stretchr/testify/require"
)

// commandTimeout ends a pulumi command that hangs; the longest, a first `up`, takes a minute or two.
const commandTimeout = 15 * time.Minute

// Stack is one stack of one test.
type Stack struct {
	// Name of the stack; containers are plantao-<Name>-<service>.
	Name string
	// Root is the project's folder.
	Root string
	// Port the ingress publishes on 127.0.0.1.
	Port int
	// Docker is the engine.
	Docker *client.Client

	env    []string
	mu     sync.Mutex
	output bytes.Buffer
}

// New prepares a stack without bringing it up. When the test ends, the stack is destroyed and its
// configuration file removed, whatever happened.
func New(t *testing.T) *Stack {
	t.Helper()
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(root, "Pulumi.yaml"))
	docker, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	require.NoError(t, err)
	t.Cleanup(func() { docker.Close() })
	_, err = docker.Ping(t.Context())
	require.NoError(t, err, "the end-to-end tests need a Docker Engine; `make setup` installs one")
	s := &Stack{Name: "e2e-" + randomHex(3), Root: root, Port: freePort(t), Docker: docker}
	s.env = append(os.Environ(),
		"PULUMI_BACKEND_URL=file://"+t.TempDir(),
		"PULUMI_CONFIG_PASSPHRASE="+randomHex(16), "PULUMI_CONFIG_PASSPHRASE_FILE=",
		"PULUMI_SKIP_UPDATE_CHECK=1", "NO_COLOR=1")
	s.writeConfig(t)
	s.MustPulumi(t, "stack", "init", s.Name)
	t.Cleanup(func() { s.destroy(t) })
	return s
}

func (s *Stack) configFile() string { return filepath.Join(s.Root, "Pulumi."+s.Name+".yaml") }

// writeConfig takes the dev stack's file with another port, and with rules.
func (s *Stack) writeConfig(t *testing.T) {
	t.Helper()
	dev, err := os.ReadFile(filepath.Join(s.Root, "Pulumi.dev.yaml"))
	require.NoError(t, err)
	text := regexp.MustCompile(`(?m)^encryptionsalt:.*\n`).ReplaceAllString(string(dev), "")
	text = regexp.MustCompile(`plantao:port: ".*"`).ReplaceAllString(text, fmt.Sprintf("plantao:port: %q\n  plantao:rules: test/e2e/testdata/rules.yaml", fmt.Sprint(s.Port)))
	require.Contains(t, text, fmt.Sprint(s.Port), "Pulumi.dev.yaml has no plantao:port line to replace")
	require.NoError(t, os.WriteFile(s.configFile(), []byte(text), 0o600))
	t.Cleanup(func() { _ = os.Remove(s.configFile()) })
}

// Set writes one setting into the stack's file.
func (s *Stack) Set(t *testing.T, key, value string) {
	t.Helper()
	s.MustPulumi(t, "config", "set", "--stack", s.Name, key, value)
}

// Unset removes one setting.
func (s *Stack) Unset(t *testing.T, key string) {
	t.Helper()
	s.MustPulumi(t, "config", "rm", "--stack", s.Name, key)
}

// Run is one pulumi command and its outcome.
type Run struct {
	Out  string
	Took time.Duration
	Err  error
}

// Pulumi runs the command line tool in the project's folder, as an operator would. env entries come last.
func (s *Stack) Pulumi(ctx context.Context, env []string, args ...string) Run {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "pulumi", append([]string{"--non-interactive", "--color", "never"}, args...)...)
	cmd.Dir = s.Root
	cmd.Env = append(append([]string{}, s.env...), env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	begin := time.Now()
	err := cmd.Run()
	run := Run{Out: out.String(), Took: time.Since(begin), Err: err}
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(&s.output, "$ pulumi %s\n%s\n", strings.Join(args, " "), run.Out)
	return run
}

// MustPulumi is Pulumi that must succeed.
func (s *Stack) MustPulumi(t *testing.T, args ...string) Run {
	t.Helper()
	run := s.Pulumi(t.Context(), nil, args...)
	require.NoError(t, run.Err, "pulumi %s:\n%s", strings.Join(args, " "), run.Out)
	return run
}

// Output is everything that pulumi printed so far.
func (s *Stack) Output() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.output.String()
}

// MustUp brings the stack up.
func (s *Stack) MustUp(t *testing.T) Run {
	t.Helper()
	return s.MustPulumi(t, "up", "--yes", "--skip-preview", "--stack", s.Name)
}

// MustPreview runs `preview`.
func (s *Stack) MustPreview(t *testing.T) Run {
	t.Helper()
	return s.MustPulumi(t, "preview", "--stack", s.Name)
}

// changeLine is a line of the summary such as "    ~ 6 updated" or "    +-1 to replace".
var changeLine = regexp.MustCompile(`(?m)^\s+[+~-]{1,2}\s?(\d+) (?:to )?[a-z]+`)

// Changes is how many resources an `up` changed or a `preview` would change.
func (r Run) Changes(t *testing.T) int {
	t.Helper()
	_, summary, found := strings.Cut(r.Out, "\nResources:\n")
	require.True(t, found, "no summary in:\n%s", r.Out)
	total := 0
	for _, m := range changeLine.FindAllStringSubmatch(summary, -1) {
		n, err := strconv.Atoi(m[1])
		require.NoError(t, err)
		total += n
	}
	require.True(t, total > 0 || strings.Contains(summary, "unchanged"), "the summary names neither changes nor unchanged resources:\n%s", summary)
	return total
}

// MustDestroy takes the stack down.
func (s *Stack) MustDestroy(t *testing.T) Run {
	t.Helper()
	return s.MustPulumi(t, "destroy", "--yes", "--skip-preview", "--stack", s.Name)
}

// destroy is the clean-up: it runs with a context of its own, since the test's is over.
func (s *Stack) destroy(t *testing.T) {
	if t.Failed() {
		s.logContainers(t)
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	if run := s.Pulumi(ctx, nil, "destroy", "--yes", "--skip-preview", "--stack", s.Name); run.Err != nil {
		t.Errorf("destroy stack %s: %v\n%s", s.Name, run.Err, run.Out)
	}
}

// MustSecrets are the values that the state holds as secrets, by resource.
func (s *Stack) MustSecrets(t *testing.T) map[string]string {
	t.Helper()
	run := s.Pulumi(t.Context(), nil, "stack", "export", "--show-secrets", "--stack", s.Name)
	require.NoError(t, run.Err)
	// The export shows secrets by design: it is not part of what must be free of them.
	s.forget(run.Out)
	var export struct {
		Deployment struct {
			Resources []struct {
				URN     string
				Type    string
				Outputs map[string]json.RawMessage
			}
		}
	}
	require.NoError(t, json.Unmarshal([]byte(run.Out), &export))
	secrets := map[string]string{}
	for _, r := range export.Deployment.Resources {
		if r.Type != "plantao:index:Secret" {
			continue
		}
		name := r.URN[strings.LastIndex(r.URN, "::")+2:]
		for _, output := range []string{"value", "bcryptHash"} {
			if v := secretText(t, r.Outputs[output]); v != "" {
				secrets[name+"."+output] = v
			}
		}
	}
	require.NotEmpty(t, secrets)
	return secrets
}

// secretText reads a secret of an export with --show-secrets: {"4dabf…": "1b47…", "plaintext": "\"…\""}.
func secretText(t *testing.T, raw json.RawMessage) string {
	t.Helper()
	if len(raw) == 0 {
		return ""
	}
	var wrapped struct{ Plaintext string }
	require.NoError(t, json.Unmarshal(raw, &wrapped))
	var text string
	require.NoError(t, json.Unmarshal([]byte(wrapped.Plaintext), &text))
	return text
}

func (s *Stack) forget(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := strings.ReplaceAll(s.output.String(), text, "")
	s.output.Reset()
	s.output.WriteString(kept)
}

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	// crypto/rand never fails on a supported system; it ends the program if it does.
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
