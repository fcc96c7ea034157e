package diagnosis

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/cmd/plantao/engine"
	"plantao/cmd/plantao/engine/enginetest"
	"plantao/cmd/plantao/text"
	"plantao/infra/upstream"
)

// healthy is a machine on which every check is ok; tests spoil one thing.
func healthy(t *testing.T, pretend enginetest.Engine) *Machine {
	t.Helper()
	project, data := t.TempDir(), t.TempDir()
	if pretend.DataRoot == "" {
		pretend.DataRoot = data
	}
	pretend.Images = append(pretend.Images, "plantao-lab/n8n:1")
	double := enginetest.Start(pretend, t.Errorf)
	t.Cleanup(double.Close)
	t.Setenv("DOCKER_HOST", double.Host())
	e, err := engine.Open()
	require.NoError(t, err)
	t.Cleanup(func() { _ = e.Close() })

	write(t, filepath.Join(project, ".plantao", "images.json"), 0o644, `{"source":"lab","images":{"n8n":"plantao-lab/n8n:1"}}`)
	write(t, filepath.Join(project, "bin", "pulumi-resource-plantao"), 0o755, "")
	write(t, filepath.Join(project, "proc", "meminfo"), 0o644, "MemTotal: 8000000 kB\nMemAvailable: 6000000 kB\nSwapTotal: 0 kB\n")
	write(t, filepath.Join(project, "home", "plugins", "resource-docker-v4.10.0", "pulumi-resource-docker"), 0o755, "")
	write(t, filepath.Join(project, "passphrase"), 0o600, "secret\n")
	return &Machine{
		Project: project, Stack: "dev", Port: 8080, Purpose: Up, Engine: e,
		Getenv:     func(string) string { return "" },
		LookPath:   present("pulumi", "pulumi-language-go", "dockerd", "postgres", "redis-server"),
		Passphrase: filepath.Join(project, "passphrase"), PulumiHome: filepath.Join(project, "home"),
		Versions: pinned("2.42.1"), Safe: safeTable, Proc: filepath.Join(project, "proc"), Root: true, CPUs: 2,
		Disk:   func(string) (Space, error) { return Space{FreeBytes: 40 * gib, FreeFiles: 5e6, TotalFiles: 9e6}, nil },
		Clock:  func() (bool, error) { return true, nil },
		Now:    time.Now,
		Listen: func(context.Context, string) error { return nil },
	}
}

func write(t *testing.T, path string, mode fs.FileMode, body string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(body), mode))
	require.NoError(t, os.Chmod(path, mode))
}

func present(programs ...string) func(string) (string, error) {
	return func(name string) (string, error) {
		for _, program := range programs {
			if program == name {
				return "/opt/bin/" + name, nil
			}
		}
		return "", fs.ErrNotExist
	}
}

func pinned(n8n string) func() (map[string]upstream.Version, error) {
	return func() (map[string]upstream.Version, error) {
		return map[string]upstream.Version{"n8n": {Image: "n8nio/n8n", Tag: n8n, Version: n8n}}, nil
	}
}

func safeTable() ([]upstream.SafeVersion, error) {
	return []upstream.SafeVersion{{Component: "n8n", Records: []string{"CVE-2026-110852"}, Safe: []string{">=2.42.1"}}}, nil
}

// finding is what the check of that id finds, its sentences in English.
func finding(t *testing.T, m *Machine, id string) (level Level, found, fix string) {
	t.Helper()
	for _, r := range Run(t.Context(), m.Checks()) {
		if r.Check.ID == id {
			say := text.For(text.English)
			return r.Finding.Level, say.Render(r.Finding.Found), say.Render(r.Finding.Fix)
		}
	}
	t.Fatalf("no check %q", id)
	return
}

func TestAHealthyMachine(t *testing.T) {
	m := healthy(t, enginetest.Engine{})
	results := Run(t.Context(), m.Checks())
	for _, r := range results {
		require.Equal(t, OK, r.Finding.Level, "%s: %s", r.Check.ID, text.For(text.English).Render(r.Finding.Found))
		require.NotEmpty(t, text.For(text.Portuguese).Say(r.Check.Why))
		require.True(t, r.Finding.Fix.IsZero(), r.Check.ID)
	}
	require.Equal(t, OK, Worst(results))
}

func TestFindings(t *testing.T) {
	for name, c := range map[string]struct {
		check  string
		engine enginetest.Engine
		spoil  func(*testing.T, *Machine)
		level  Level
		found  string
		fix    string
	}{
		"an old engine": {
			"docker", enginetest.Engine{Version: "19.03", API: "1.40"}, nil, Fail, "API 1.40", "1.41",
		},
		"a wasteful storage driver": {
			"docker", enginetest.Engine{Driver: "vfs"}, nil, Warn, "storage vfs", "overlay2",
		},
		"an engine that could not be opened": {
			"docker", enginetest.Engine{}, func(_ *testing.T, m *Machine) { m.Engine, m.EngineError = nil, errors.New("bad DOCKER_HOST") },
			Fail, "bad DOCKER_HOST", "docker version",
		},
		"disk that will not last": {
			"disk", enginetest.Engine{}, space(Space{FreeBytes: 7 * gib}), Warn, "7.0 GB free", "docker system prune",
		},
		"registry images need less disk": {
			"disk", enginetest.Engine{}, func(t *testing.T, m *Machine) {
				space(Space{FreeBytes: 7 * gib})(t, m)
				write(t, filepath.Join(m.Project, ".plantao", "images.json"), 0o644, `{"source":"registry","images":{}}`)
			}, OK, "6.0 GB wanted", "",
		},
		"no disk": {
			"disk", enginetest.Engine{}, space(Space{FreeBytes: gib}), Fail, "1.0 GB free", "docker system prune",
		},
		"no inodes": {
			"disk", enginetest.Engine{}, space(Space{FreeBytes: 40 * gib, FreeFiles: 1000, TotalFiles: 9e6}), Warn, "1000 more files", "prune",
		},
		"docker elsewhere": {
			"disk", enginetest.Engine{DataRoot: "/nowhere/docker"}, nil, OK, "another machine", "",
		},
		"little memory": {
			"memory", enginetest.Engine{}, meminfo("MemTotal: 2000000 kB\nSwapTotal: 0 kB\n"), Warn, "1.9 GB in all", "swapon",
		},
		"little memory with swap": {
			"memory", enginetest.Engine{}, meminfo("MemTotal: 2000000 kB\nSwapTotal: 8000000 kB\n"), Warn, "swap 7.6 GB", "4 GB or more",
		},
		"one CPU": {
			"cpu", enginetest.Engine{}, func(_ *testing.T, m *Machine) { m.CPUs = 1 }, Warn, "CPUs: 1", "two CPUs",
		},
		"our own ingress on the port": {
			"port", enginetest.Engine{Containers: []enginetest.Container{{Stack: "dev", Service: "ingress", Ports: []int{8080}}}},
			nil, OK, "ingress of stack dev", "",
		},
		"another stack on the port": {
			"port", enginetest.Engine{Containers: []enginetest.Container{{Stack: "prod", Service: "ingress", Ports: []int{8080}}}},
			nil, Fail, "held by stack prod", "plantao:port 8090",
		},
		"another container on the port": {
			"port", enginetest.Engine{Containers: []enginetest.Container{{Name: "web", Image: "nginx:1", Ports: []int{8080}}}},
			nil, Fail, "container web (nginx:1)", "docker stop web",
		},
		"a hidden process on the port": {
			"port", enginetest.Engine{}, func(_ *testing.T, m *Machine) { m.Root, m.Listen = false, refuse(syscall.EADDRINUSE) },
			Fail, "another user", "ss -ltnp 'sport = :8080'",
		},
		"a low port nobody holds": {
			"port", enginetest.Engine{}, func(_ *testing.T, m *Machine) { m.Port, m.Listen = 80, refuse(syscall.EACCES) }, OK, "80 is free", "",
		},
		"no images yet": {
			"images", enginetest.Engine{}, func(t *testing.T, m *Machine) { require.NoError(t, os.RemoveAll(filepath.Join(m.Project, ".plantao"))) },
			Warn, "none prepared yet", "make up",
		},
		"an image that is gone": {
			"images", enginetest.Engine{}, func(t *testing.T, m *Machine) {
				write(t, filepath.Join(m.Project, ".plantao", "images.json"), 0o644, `{"source":"lab","images":{"n8n":"plantao-lab/n8n:2"}}`)
			}, Warn, "missing: n8n", "make up",
		},
		"a broken list of images": {
			"images", enginetest.Engine{}, func(t *testing.T, m *Machine) {
				write(t, filepath.Join(m.Project, ".plantao", "images.json"), 0o644, `{"source":`)
			}, Fail, "images.json", "make up",
		},
		"outside of the project": {
			"images", enginetest.Engine{}, func(_ *testing.T, m *Machine) { m.Project = "" }, Warn, "not in the project", "--project",
		},
		"an unsafe version": {
			"versions", enginetest.Engine{}, func(_ *testing.T, m *Machine) { m.Versions = pinned("2.41.9") },
			Fail, "n8n 2.41.9 (>=2.42.1; CVE-2026-110852)", "versions.yaml",
		},
		"no pulumi": {
			"pulumi", enginetest.Engine{}, func(_ *testing.T, m *Machine) { m.LookPath = present() }, Fail, "not on PATH", "make setup",
		},
		"no language host": {
			"pulumi", enginetest.Engine{}, func(_ *testing.T, m *Machine) { m.LookPath = present("pulumi") },
			Fail, "plugins missing: pulumi-language-go", "make setup",
		},
		"no passphrase": {
			"passphrase", enginetest.Engine{}, func(t *testing.T, m *Machine) { require.NoError(t, os.Remove(m.Passphrase)) },
			Fail, "does not exist", "plantao passphrase init",
		},
		"a passphrase file that is gone": {
			"passphrase", enginetest.Engine{}, env("PULUMI_CONFIG_PASSPHRASE_FILE", "/nowhere/passphrase"), Fail, "/nowhere/passphrase", "unset",
		},
		"a passphrase from the environment": {
			"passphrase", enginetest.Engine{}, env("PULUMI_CONFIG_PASSPHRASE", "secret"), OK, "from PULUMI_CONFIG_PASSPHRASE", "",
		},
		"an open passphrase file": {
			"passphrase", enginetest.Engine{}, func(t *testing.T, m *Machine) { require.NoError(t, os.Chmod(m.Passphrase, 0o644)) },
			Warn, "may be read by others (-rw-r--r--)", "chmod 600",
		},
		"an empty passphrase file": {
			"passphrase", enginetest.Engine{}, func(t *testing.T, m *Machine) { write(t, m.Passphrase, 0o600, "") }, Fail, "is empty", "backup",
		},
		"a clock nobody keeps": {
			"clock", enginetest.Engine{}, func(_ *testing.T, m *Machine) { m.Clock = func() (bool, error) { return false, nil } },
			Warn, "nothing keeps it right", "timedatectl",
		},
		"clocks apart": {
			"clock", enginetest.Engine{}, func(_ *testing.T, m *Machine) { m.Now = func() time.Time { return time.Now().Add(time.Hour) } },
			Warn, "are 1h0m0s apart", "timedatectl",
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := healthy(t, c.engine)
			if c.spoil != nil {
				c.spoil(t, m)
			}
			level, found, fix := finding(t, m, c.check)
			require.Equal(t, c.level, level, found)
			require.Contains(t, found, c.found)
			require.Contains(t, fix, c.fix)
			require.Equal(t, level == OK, fix == "", "a finding that is not ok says how to fix it")
			require.NotContains(t, found+fix, "\n")
			require.NotContains(t, found+fix, "%!")
		})
	}
}

func space(s Space) func(*testing.T, *Machine) {
	return func(_ *testing.T, m *Machine) { m.Disk = func(string) (Space, error) { return s, nil } }
}

func meminfo(body string) func(*testing.T, *Machine) {
	return func(t *testing.T, m *Machine) { write(t, filepath.Join(m.Proc, "meminfo"), 0o644, body) }
}

func env(name, value string) func(*testing.T, *Machine) {
	return func(_ *testing.T, m *Machine) {
		m.Getenv = func(asked string) string {
			if asked == name {
				return value
			}
			return ""
		}
	}
}

func refuse(errno syscall.Errno) func(context.Context, string) error {
	return func(_ context.Context, address string) error { return fmt.Errorf("listen %s: %w", address, errno) }
}

func TestNoDocker(t *testing.T) {
	m := healthy(t, enginetest.Engine{})
	say := text.For(text.English)
	for name, c := range map[string]struct {
		err    engine.UnreachableError
		spoil  func(*testing.T, *Machine)
		found  string
		fixing string
	}{
		"not installed":    {engine.UnreachableError{Host: "unix:///x", Absent: true}, func(_ *testing.T, m *Machine) { m.LookPath = present() }, "none is installed", "make setup"},
		"not running":      {engine.UnreachableError{Host: "unix:///x", Absent: true}, func(_ *testing.T, m *Machine) { m.LookPath = present("dockerd") }, "does not answer", "systemctl start docker"},
		"not allowed":      {engine.UnreachableError{Host: "unix:///x", Denied: true}, nil, "may not open unix:///x", "usermod -aG docker"},
		"away by its name": {engine.UnreachableError{Host: "tcp://x"}, env("DOCKER_HOST", "tcp://x"), "does not answer at tcp://x", "unset DOCKER_HOST"},
	} {
		t.Run(name, func(t *testing.T) {
			m := *m
			if c.spoil != nil {
				c.spoil(t, &m)
			}
			got := m.noDocker(&c.err)
			require.Equal(t, Fail, got.Level)
			require.Contains(t, say.Render(got.Found), c.found)
			require.Contains(t, say.Render(got.Fix), c.fixing)
		})
	}
}

func TestThePortsHolderIsNamed(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	m := healthy(t, enginetest.Engine{})
	m.Port, m.Proc = listener.Addr().(*net.TCPAddr).Port, "/proc"
	m.Listen = func(_ context.Context, address string) error {
		l, err := net.Listen("tcp", address)
		if err == nil {
			l.Close()
		}
		return err
	}
	level, found, _ := finding(t, m, "port")
	require.Equal(t, Fail, level)
	require.Contains(t, found, fmt.Sprintf("(pid %d)", os.Getpid()))
	name, err := os.ReadFile("/proc/self/comm")
	require.NoError(t, err)
	require.Contains(t, found, strings.TrimSpace(string(name)))
}

func TestASilentDockerCostsItsDeadline(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts in the kernel, answers never
	require.NoError(t, err)
	defer silent.Close()
	m := healthy(t, enginetest.Engine{})
	t.Setenv("DOCKER_HOST", "tcp://"+silent.Addr().String())
	m.Engine, err = engine.Open()
	require.NoError(t, err)
	defer m.Engine.Close()
	begun := time.Now()
	level, found, _ := finding(t, m, "docker")
	require.Less(t, time.Since(begun), 2*time.Second)
	require.Equal(t, Fail, level)
	require.Contains(t, found, "does not answer")
}

func TestACheckThatHangsIsThrownAway(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	got := Run(t.Context(), []Check{{ID: "hangs", Why: text.WhyDisk, Run: func(context.Context) Finding {
		<-release
		return Finding{}
	}}})
	require.Equal(t, Warn, got[0].Finding.Level)
	require.Equal(t, text.CheckLate, got[0].Finding.Found.Key)
}

func TestForPicksByPurpose(t *testing.T) {
	m := healthy(t, enginetest.Engine{})
	ids := func(purpose Purpose) (out []string) {
		for _, c := range For(purpose, m.Checks()) {
			out = append(out, c.ID)
		}
		return out
	}
	require.Equal(t, []string{"docker", "disk", "memory", "port", "pulumi", "passphrase"}, ids(Preflight))
	require.Equal(t, []string{"disk", "memory", "cpu", "versions", "services", "clock"}, ids(Test))
	require.NotContains(t, ids(Up), "services")
}

func TestDiskOfAFolderThatIsNotThereYet(t *testing.T) {
	got, err := Disk(filepath.Join(t.TempDir(), "not", "yet"))
	require.NoError(t, err)
	require.NotZero(t, got.FreeBytes)
}
