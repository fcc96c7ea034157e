package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"

	"plantao/cmd/plantao/engine/enginetest"
	"plantao/infra/upstream"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"plantao": func() { os.Exit(run(os.Args[1:], scripted())) }})
}

// scripted is the program with pinned versions that a script wrote to $WORK/versions.yaml, where it did; the time $NOW, where a
// script set it; and no patience.
func scripted() *program {
	p := newProgram()
	p.backoff = func(int) time.Duration { return time.Millisecond }
	if now, err := time.Parse(time.RFC3339, os.Getenv("NOW")); err == nil {
		p.now = func() time.Time { return now }
	}
	body, err := os.ReadFile(filepath.Join(os.Getenv("WORK"), "versions.yaml"))
	if err == nil {
		p.versions = func() (versions map[string]upstream.Version, err error) {
			return versions, yaml.Unmarshal(body, &versions)
		}
	}
	return p
}

// TestScripts runs the transcripts of testdata. Their own commands:
//
//	docker FILE       a double of the Docker Engine as FILE describes it; sets DOCKER_HOST
//	router FILE       a double of the router as FILE describes it; sets ROUTER and ROUTER_PORT
//	requests FILE     writes what the router was asked since it started
//	exits N CMD…      CMD must exit with exactly N
//	occupy            something listens on 127.0.0.1:$PORT
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("DOCKER_HOST", "unix://"+filepath.Join(env.WorkDir, "docker.sock"))
			env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, "config"))
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("TZ", "UTC")
			// A program under the race detector sleeps a second when it ends, unless told not to.
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			port, err := freePort()
			env.Setenv("PORT", strconv.Itoa(port))
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"docker": startDocker, "router": startRouter, "requests": writeRequests, "exits": exits, "occupy": occupy,
		},
	})
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return listener.Addr().(*net.TCPAddr).Port, listener.Close()
}

func startDocker(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: docker FILE")
	}
	var pretend enginetest.Engine
	ts.Check(yaml.Unmarshal([]byte(os.Expand(ts.ReadFile(args[0]), ts.Getenv)), &pretend))
	if pretend.DataRoot == "" {
		pretend.DataRoot = ts.Getenv("WORK")
	}
	double := enginetest.Start(pretend, func(format string, args ...any) { ts.Logf("FAIL: "+format, args...) })
	ts.Defer(double.Close)
	ts.Setenv("DOCKER_HOST", double.Host())
}

// routers are the running doubles by the folder of their script.
var routers sync.Map

func startRouter(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: router FILE")
	}
	var script routerScript
	ts.Check(yaml.Unmarshal([]byte(ts.ReadFile(args[0])), &script))
	double := newRouterDouble(script)
	ts.Defer(double.Close)
	routers.Store(ts.Getenv("WORK"), double)
	_, port, err := net.SplitHostPort(double.Listener.Addr().String())
	ts.Check(err)
	ts.Setenv("ROUTER", double.URL)
	ts.Setenv("ROUTER_PORT", port)
}

func writeRequests(ts *testscript.TestScript, _ bool, args []string) {
	double, running := routers.Load(ts.Getenv("WORK"))
	if len(args) != 1 || !running {
		ts.Fatalf("usage, after router: requests FILE")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(double.(*routerDouble).requests()), 0o600))
}

func exits(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("run %q: %v", args[1:], err)
		}
		code = exit.ExitCode()
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("%q exits with %d, not %s", args[1:], code, args[0])
	}
}

func occupy(ts *testscript.TestScript, _ bool, _ []string) {
	listener, err := net.Listen("tcp", "127.0.0.1:"+ts.Getenv("PORT"))
	ts.Check(err)
	ts.Defer(func() { _ = listener.Close() })
}

func TestExitCodes(t *testing.T) {
	for code, err := range map[int]error{
		exitOK: nil, exitFailed: errTold, exitUsage: usage("FlagUnknown", "--x"), exitNotFound: notFound("ProjectNeeded"),
		exitHeld: failure{errHeld, errors.New("x")},
	} {
		require.Equal(t, code, exitCode(err))
	}
}
