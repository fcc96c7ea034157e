package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"

	"plantao/runtime/postgres/postgrestest"
	"plantao/runtime/redis/redistest"
)

// process is the real binary.
type process struct {
	running
	cmd    *exec.Cmd
	exited chan error
}

// writeConfig writes the bench's configuration as files, secrets apart.
func (b *bench) writeConfig() string {
	b.t.Helper()
	dir := b.t.TempDir()
	secret := func(name, value string) string {
		path := filepath.Join(dir, name)
		require.NoError(b.t, os.WriteFile(path, []byte(value+"\n"), 0o600))
		return path
	}
	c := map[string]any{
		"instance_name": b.c.InstanceName, "log_level": "debug", "shutdown_grace": b.c.ShutdownGrace.String(),
		"database":  map[string]any{"url": b.c.Database.URL},
		"evolution": map[string]any{"url": b.c.Evolution.URL, "api_key_file": secret("api-key", testAPIKey)},
		"n8n":       map[string]any{"url": b.c.N8N.URL, "token_file": secret("token", testFlowToken)},
		"turn": map[string]any{
			"key_file": secret("key", testTurnKey), "quiet": b.c.Turn.Quiet.String(), "cap": b.c.Turn.Cap.String(),
			"poll": b.c.Turn.Poll.String(), "lease": b.c.Turn.Lease.String(), "deadline": b.c.Turn.Deadline.String(),
		},
	}
	if b.c.Redis.URL != "" {
		c["redis"] = map[string]any{"url": b.c.Redis.URL}
	}
	data, err := yaml.Marshal(c)
	require.NoError(b.t, err)
	path := filepath.Join(dir, "router.yaml")
	require.NoError(b.t, os.WriteFile(path, data, 0o600))
	return path
}

// start runs the real binary until it is ready.
func (b *bench) start(config string) *process {
	b.t.Helper()
	path, err := binary()
	require.NoError(b.t, err)
	address := freeAddress(b.t)
	p := &process{running: running{b: b, url: "http://" + address}, exited: make(chan error, 1)}
	p.cmd = exec.Command(path, "serve", "--config", config, "--listen", address)
	p.cmd.Stdout, p.cmd.Stderr = b.logs, b.logs
	require.NoError(b.t, p.cmd.Start())
	go func() {
		p.exited <- p.cmd.Wait()
		close(p.exited)
	}()
	b.t.Cleanup(p.kill)
	p.awaitReady()
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

func TestKilledBetweenWebhookAndAnswer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.c.Turn.Deadline = 30 * time.Second
	asked := make(chan struct{}, 10)
	b.flow.answer = func(w http.ResponseWriter, r *http.Request, q flowRequest, attempt int) {
		asked <- struct{}{}
		if attempt == 1 {
			<-r.Context().Done() // the first router dies waiting
			return
		}
		reply(w, fmt.Sprintf("geração %d", q.Turn.Gen))
	}
	config := b.writeConfig()
	first := b.start(config)
	require.Equal(t, http.StatusOK, first.post(upsert("A", testCustomer, "oi")).status)
	<-asked
	first.kill()
	require.Equal(t, 1, b.count("select count(*) from inbox where state = 'taken'"))

	second := b.start(config)
	b.settled()
	require.Equal(t, http.StatusOK, second.post(upsert("A", testCustomer, "oi")).status)
	b.settled()
	require.Equal(t, []string{"geração 2"}, b.evo.words())
	require.Equal(t, b.flow.requests()[0].Key, b.flow.requests()[1].Key)
	require.NotEqual(t, b.flow.requests()[0].Turn.Token, b.flow.requests()[1].Turn.Token)
}

func TestKilledRightAfterWebhook(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.c.Turn.Quiet, b.c.Turn.Cap = 5*time.Second, 5*time.Second
	first := b.start(b.writeConfig())
	require.Equal(t, http.StatusOK, first.post(upsert("A", testCustomer, "oi")).status)
	first.kill()
	b.start(b.writeConfig())
	b.settled()
	require.Equal(t, []string{"eco: oi"}, b.evo.words())
}

func TestKilledWhileSending(t *testing.T) {
	t.Parallel()
	for _, delivered := range []bool{true, false} {
		t.Run(fmt.Sprintf("delivered %v", delivered), func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.flow.answer = func(w http.ResponseWriter, _ *http.Request, _ flowRequest, _ int) { reply(w, "um", "dois") }
			onTheWire := make(chan struct{}, 1)
			b.evo.before = func(_ http.ResponseWriter, r *http.Request, s sentText, attempt int) bool {
				if attempt > 1 {
					return false
				}
				if delivered {
					b.evo.record(s)
				}
				onTheWire <- struct{}{}
				<-r.Context().Done()
				return true
			}
			config := b.writeConfig()
			first := b.start(config)
			require.Equal(t, http.StatusOK, first.post(upsert("A", testCustomer, "oi")).status)
			<-onTheWire
			first.kill()
			require.Equal(t, "sending", b.text("select state from outbox where part = 1"))

			second := b.start(config)
			if delivered {
				b.settled()
				require.Equal(t, []string{"um", "dois"}, b.evo.words())
				return
			}
			b.eventually("read back in vain", func() bool { return b.count("select max(checks) from outbox") >= 2 })
			require.Equal(t, http.StatusOK, second.post(upsert("B", testCustomer, "oi?")).status)
			require.Equal(t, "ambiguous", b.text("select state from turn"))
			require.Empty(t, b.evo.words())
			require.Len(t, b.flow.requests(), 1)
		})
	}
}

func TestShutdownLetsTurnsFinish(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	asked, release := make(chan struct{}, 1), make(chan struct{})
	b.flow.answer = func(w http.ResponseWriter, _ *http.Request, _ flowRequest, _ int) {
		asked <- struct{}{}
		<-release
		reply(w, "pronto")
	}
	p := b.start(b.writeConfig())
	require.Equal(t, http.StatusOK, p.post(upsert("A", testCustomer, "oi")).status)
	<-asked
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	b.eventually("draining", func() bool { return strings.Contains(p.get("/readyz").body, "shutting down") })
	require.Equal(t, http.StatusOK, p.post(upsert("B", "5511977776666@s.whatsapp.net", "oi")).status, "hooks are stored to the end")
	close(release)
	require.NoError(t, <-p.exited)
	require.Equal(t, []string{"pronto"}, b.evo.words())
	require.Equal(t, 1, b.count("select count(*) from inbox where state = 'pending'"), "no new turn is claimed")
}

func TestShutdownHandsTurnsBack(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.c.ShutdownGrace = 0
	b.c.Turn.Lease, b.c.Turn.Deadline = time.Minute, 2*time.Minute
	asked := make(chan struct{}, 10)
	b.flow.answer = func(w http.ResponseWriter, r *http.Request, q flowRequest, attempt int) {
		asked <- struct{}{}
		if attempt == 1 {
			<-r.Context().Done()
			return
		}
		reply(w, "pronto")
	}
	first := b.serveReady()
	require.Equal(t, http.StatusOK, first.post(upsert("A", testCustomer, "oi")).status)
	<-asked
	b.c.InstanceName = "router-2"
	b.serveReady()
	require.NoError(t, first.stop())
	b.settled() // within patience, far below the lease
	require.Equal(t, []string{"pronto"}, b.evo.words())
}

func TestTwoReplicasAndOneInstanceName(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	first := b.serveReady()
	b.c.InstanceName = "router-2"
	second := b.serveReady()
	for i := range 10 {
		r := []*running{first, second}[i%2]
		require.Equal(t, http.StatusOK, r.post(upsert(fmt.Sprint("A", i), fmt.Sprintf("55119888800%02d@s.whatsapp.net", i), "oi")).status)
	}
	b.settled()
	require.Len(t, b.evo.words(), 10)

	third := b.serveReady()
	require.ErrorContains(t, second.ended(), "another process runs under this instance name")
	require.Equal(t, http.StatusOK, third.post(upsert("Z", testCustomer, "oi")).status)
	b.settled()
	require.Len(t, b.evo.words(), 11)
}

func TestRedisOnlyAccelerates(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	server := redistest.New(t)
	b.c.Redis.URL = server.URL
	r := b.serveReady()
	say := func(id string) {
		t.Helper()
		require.Equal(t, http.StatusOK, r.post(upsert(id, testCustomer, id)).status)
		b.settled()
	}
	up := func(want string) func() bool {
		return func() bool { return strings.Contains(r.get("/metrics").body, "router_redis_up "+want+"\n") }
	}
	b.eventually("redis up", up("1"))
	say("A")
	server.Do("FLUSHALL")
	say("B")
	server.Stop()
	b.eventually("redis down", up("0"))
	say("C")
	require.Equal(t, http.StatusOK, r.get("/readyz").status, "a router without redis is ready")
	server.Start()
	b.eventually("redis up again", up("1"))
	say("D")
	require.Equal(t, []string{"eco: A", "eco: B", "eco: C", "eco: D"}, b.evo.words())
	require.Equal(t, 1, strings.Count(b.logs.String(), "redis is down"), "one line when it goes")
	require.Equal(t, 2, strings.Count(b.logs.String(), "redis is up"), "one line each time it comes")
}

func TestWakeUpReachesTheOtherReplica(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.c.Redis.URL = redistest.New(t).URL
	b.c.Turn.Poll = time.Minute
	b.c.Turn.Quiet, b.c.Turn.Cap = 0, 0
	other := b.serveReady()
	b.eventually("redis up", func() bool { return strings.Contains(other.get("/metrics").body, "router_redis_up 1\n") })
	b.c.InstanceName = "router-2"
	r := b.serveReady()
	b.eventually("redis up", func() bool { return strings.Contains(r.get("/metrics").body, "router_redis_up 1\n") })
	require.Equal(t, http.StatusOK, r.post(upsert("A", testCustomer, "oi")).status)
	b.settled()
	b.eventually("the other woken", func() bool {
		return strings.Contains(other.get("/metrics").body, `router_wakeups_total{source="redis"}`)
	})
}

// What an idle router may take. Its own memory is what the machine has to find for each replica; the rest of the resident set
// is the program's file in the page cache, which the replicas share and the kernel takes back when it needs to: it is
// bounded by the program's size.
const (
	maxIdleOwn = 10_000_000
	maxBinary  = 32_000_000
)

func TestIdleMemoryAndSize(t *testing.T) {
	b := newBench(t)
	b.c.Redis.URL = redistest.New(t).URL
	b.c.Turn.Poll = time.Second
	p := b.start(b.writeConfig())
	b.eventually("redis up", func() bool { return strings.Contains(p.get("/metrics").body, "router_redis_up 1\n") })
	require.Equal(t, http.StatusOK, p.post(upsert("A", testCustomer, "oi")).status)
	b.settled()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	require.NoError(t, err)
	kB := map[string]int{}
	for line := range bytes.Lines(data) {
		if f := bytes.Fields(line); bytes.HasSuffix(line, []byte("kB\n")) {
			kB[string(f[0])], err = strconv.Atoi(string(f[1]))
			require.NoError(t, err)
		}
	}
	path, err := binary()
	require.NoError(t, err)
	info, err := os.Stat(path)
	require.NoError(t, err)
	t.Logf("idle: %d kB of its own, %d kB resident, binary %d bytes", kB["RssAnon:"], kB["VmRSS:"], info.Size())
	require.Less(t, kB["RssAnon:"]*1024, maxIdleOwn)
	require.Less(t, info.Size(), int64(maxBinary))
}

func TestMigrateTwice(t *testing.T) {
	t.Parallel()
	path, err := binary()
	require.NoError(t, err)
	db := postgrestest.NewEmpty(t)
	config := filepath.Join(t.TempDir(), "router.yaml")
	require.NoError(t, os.WriteFile(config, []byte("database: {url: "+strconv.Quote(db.URL)+"}\n"), 0o600))
	type result struct {
		out []byte
		err error
	}
	results := make(chan result, 2)
	for range 2 { // at once: one does it, the other waits and finds it done
		go func() {
			out, err := exec.Command(path, "migrate", "--config", config).CombinedOutput()
			results <- result{out, err}
		}()
	}
	all := ""
	for range 2 {
		r := <-results
		require.NoError(t, r.err, string(r.out))
		all += string(r.out)
	}
	require.Equal(t, 1, strings.Count(all, "applied 00001_router.sql"), all)
	out, err := exec.Command(path, "migrate", "--config", config).CombinedOutput()
	require.NoError(t, err)
	require.Equal(t, "nothing to do: the schema is current\n", string(out))
	require.NoError(t, db.Store(t).CheckSchema(t.Context()))
}
