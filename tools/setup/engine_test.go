package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fakeEngine answers /version on a socket and returns its address.
func fakeEngine(t *testing.T, version string) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "d.sock")
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"Version": version})
	})
	server := &http.Server{Handler: mux}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return "unix://" + socket
}

func newTestSetup(t *testing.T, env map[string]string) (*setup, *syncBuffer) {
	t.Helper()
	r, said := newTestReporter(t)
	if env["DOCKER_CONFIG"] == "" {
		env["DOCKER_CONFIG"] = t.TempDir()
	}
	return &setup{
		report: r, cache: newCache(filepath.Join(t.TempDir(), "plantao"), r), home: t.TempDir(), downloads: "http://127.0.0.1:1",
		env: func(name string) string { return env[name] },
	}, said
}

func TestEngineOfDockerHost(t *testing.T) {
	host := fakeEngine(t, "20.10.24")
	s, said := newTestSetup(t, map[string]string{"DOCKER_HOST": host})
	require.NoError(t, s.engine(t.Context()))
	require.Contains(t, said.String(), "running engine 20.10.24")
	require.Contains(t, said.String(), host)
}

func TestEngineOfDockerHostThatIsDown(t *testing.T) {
	s, _ := newTestSetup(t, map[string]string{"DOCKER_HOST": "unix:///nonexistent/docker.sock"})
	err := s.engine(t.Context())
	var told *toldError
	require.ErrorAs(t, err, &told)
	require.Equal(t, keyEngineHostDown, told.key, "an engine somebody chose is not replaced by another")
	require.Contains(t, told.args, "DOCKER_HOST")
}

func TestEngineThatIsNone(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "d.sock")
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	server := &http.Server{Handler: http.NotFoundHandler()}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	s, _ := newTestSetup(t, map[string]string{})
	_, err = s.engineVersion(t.Context(), "unix://"+socket)
	require.ErrorContains(t, err, "404")
}

func TestEngineOfADockerContext(t *testing.T) {
	host := fakeEngine(t, "29.0.1")
	dir := t.TempDir()
	sum := sha256.Sum256([]byte("colima"))
	meta := filepath.Join(dir, "contexts", "meta", hex.EncodeToString(sum[:]))
	require.NoError(t, os.MkdirAll(meta, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(meta, "meta.json"), []byte(`{"Name":"colima","Endpoints":{"docker":{"Host":"`+host+`"}}}`), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"currentContext":"colima"}`), 0o644))

	s, said := newTestSetup(t, map[string]string{"DOCKER_CONFIG": dir})
	require.NoError(t, s.engine(t.Context()))
	require.Contains(t, said.String(), "colima")
	var out syncBuffer
	require.NoError(t, s.printEnv(t.Context(), &out))
	require.Contains(t, out.String(), "export DOCKER_HOST='"+host+"'\n")
	require.Contains(t, out.String(), "export PATH='"+s.cache.bin()+"':\"$PATH\"\n")

	s, _ = newTestSetup(t, map[string]string{"DOCKER_CONFIG": dir, "DOCKER_CONTEXT": "default"})
	require.Equal(t, defaultEngine, s.engineAddress().Host, "DOCKER_CONTEXT wins over the current context")
}

func TestOSRelease(t *testing.T) {
	for body, want := range map[string]bool{
		"ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n": true,
		"ID=ubuntu\nID_LIKE=debian\n":                                 true,
		"ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n":                   true,
		"ID=fedora\n":                         false,
		"ID=arch\nPRETTY_NAME='Arch Linux'\n": false,
		"":                                    false,
	} {
		_, debian := parseOSRelease(body)
		require.Equal(t, want, debian, body)
	}
	pretty, _ := parseOSRelease("PRETTY_NAME='Arch Linux'\n")
	require.Equal(t, "Arch Linux", pretty)
}

func TestAliveKnowsAProcessByItsName(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	require.NoError(t, cmd.Start())
	require.True(t, alive(cmd.Process.Pid, "sleep") || alive(cmd.Process.Pid, "coreutils"))
	require.False(t, alive(cmd.Process.Pid, "dockerd"), "a pid that another program has by now")
	require.NoError(t, cmd.Process.Kill())
	require.Eventually(t, func() bool { return !alive(cmd.Process.Pid, "sleep") }, 10*time.Second, 10*time.Millisecond, "dead, though not waited for yet")
	_ = cmd.Wait()
	require.False(t, alive(cmd.Process.Pid, "sleep"))
	require.False(t, alive(0, "sleep"))
}

func TestPidFileOfADeadEngineIsCleared(t *testing.T) {
	s, _ := newTestSetup(t, map[string]string{})
	require.NoError(t, os.MkdirAll(s.cache.root, 0o755))
	for _, body := range []string{strconv.Itoa(os.Getpid()), "4194304", "garbage"} {
		require.NoError(t, os.WriteFile(s.enginePid(), []byte(body), 0o644))
		s.clearDeadEngine()
		require.NoFileExists(t, s.enginePid(), "pid file with %q", body)
	}
}

func TestEngineConfigKeepsTheMachinesSettings(t *testing.T) {
	s, _ := newTestSetup(t, map[string]string{})
	read := func(machines string) map[string]any {
		path, err := s.writeEngineConfig(machines)
		require.NoError(t, err)
		body, err := os.ReadFile(path)
		require.NoError(t, err)
		var out map[string]any
		require.NoError(t, json.Unmarshal(body, &out))
		return out
	}
	plain := read(filepath.Join(t.TempDir(), "none.json"))
	require.Equal(t, true, plain["live-restore"])
	require.Equal(t, map[string]any{"max-size": "10m", "max-file": "3"}, plain["log-opts"])

	machines := filepath.Join(t.TempDir(), "daemon.json")
	require.NoError(t, os.WriteFile(machines, []byte(`{"live-restore":false,"log-driver":"journald","mtu":1400,"data-root":"/srv","hosts":["tcp://x"]}`), 0o644))
	require.Equal(t, map[string]any{"live-restore": false, "log-driver": "journald", "mtu": 1400.0}, read(machines))

	require.NoError(t, os.WriteFile(machines, []byte(`{broken`), 0o644))
	_, err := s.writeEngineConfig(machines)
	require.ErrorContains(t, err, machines)
}

func TestEngineLogIsPutAsideWhenLarge(t *testing.T) {
	s, _ := newTestSetup(t, map[string]string{})
	require.NoError(t, os.MkdirAll(filepath.Dir(s.engineLog()), 0o755))
	require.NoError(t, os.WriteFile(s.engineLog(), nil, 0o644))
	require.NoError(t, os.Truncate(s.engineLog(), maxEngineLog+1))
	file, err := s.openEngineLog()
	require.NoError(t, err)
	defer file.Close()
	require.FileExists(t, s.engineLog()+".1")
	info, err := file.Stat()
	require.NoError(t, err)
	require.Zero(t, info.Size())
}
