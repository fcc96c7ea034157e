//go:build e2e

package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
	"plantao/runtime/postgres"
	"plantao/runtime/postgres/postgrestest"
	"plantao/runtime/redis/redistest"
	"plantao/test/figure"
)

// process is the shipped router as a process of its own, with a PostgreSQL that flushes, a Redis, and neighbours that answer at once
// and do nothing.
type process struct {
	addr string
	cmd  *exec.Cmd
	flow *clock
}

// clock is a flow that stays silent and notes when it was asked about a message.
type clock struct {
	mu     sync.Mutex
	awaits map[string]chan time.Time
}

func (c *clock) await(id string) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch := make(chan time.Time, 1)
	c.awaits[id] = ch
	return ch
}

func (c *clock) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	var turn struct{ Messages []struct{ ID string } }
	if err := json.NewDecoder(r.Body).Decode(&turn); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	for _, m := range turn.Messages {
		if ch, ok := c.awaits[m.ID]; ok {
			ch <- now
			delete(c.awaits, m.ID)
		}
	}
	c.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"parts":[]}`)
}

func startProcess(t *testing.T, db *postgrestest.Database) *process {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "router")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "plantao/cmd/router")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))

	store, err := postgres.Open(postgres.Config{URL: db.URL, AppName: "bench"})
	require.NoError(t, err)
	defer store.Close()
	_, err = store.UpsertChannel(t.Context(), postgres.ChannelRow{Channel: conversation.Channel{
		Name: loadChannel, Tenant: conversation.DefaultTenant, Flow: "f", HookSecretSHA256: sha256.Sum256([]byte(loadSecret)),
	}, Integration: "EVOLUTION", Number: "5511900000000"})
	require.NoError(t, err)

	p := &process{flow: &clock{awaits: map[string]chan time.Time{}}}
	flows := httptest.NewServer(p.flow)
	t.Cleanup(flows.Close)
	phone := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"instance":{"instanceName":"`+loadChannel+`","state":"open"}}`)
	}))
	t.Cleanup(phone.Close)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p.addr = l.Addr().String()
	require.NoError(t, l.Close())

	p.cmd = exec.Command(binary, "serve")
	p.cmd.Env = os.Environ()
	for key, value := range map[string]string{
		"LISTEN": p.addr, "INSTANCE_NAME": "bench", "DATABASE__URL": db.URL, "REDIS__URL": redistest.New(t).URL, "EVOLUTION__URL": phone.URL,
		"EVOLUTION__API_KEY": "key-of-the-bench", "N8N__URL": flows.URL, "N8N__TOKEN": "token-of-the-bench",
		"TURN__KEY": strings.Repeat("k", 32), "TURN__QUIET": "0s", "LOG_LEVEL": "error",
	} {
		p.cmd.Env = append(p.cmd.Env, "ROUTER_"+key+"="+value)
	}
	var said bytes.Buffer
	p.cmd.Stdout, p.cmd.Stderr = &said, &said
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		if err := p.cmd.Wait(); err != nil || t.Failed() {
			t.Logf("router: %v\n%s", err, said.String())
		}
	})
	ready := &http.Client{Timeout: 2 * time.Second}
	for bound := time.Now().Add(time.Minute); ; {
		res, err := ready.Get("http://" + p.addr + "/readyz")
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return p
			}
		}
		require.True(t, time.Now().Before(bound), "router is not ready: %v\n%s", err, said.String())
		conversation.Pause(t.Context(), 20*time.Millisecond)
	}
}

// TestIngestToTheFlow measures the time from a webhook's first byte to the flow's request, of contacts whom an agent has already,
// beside a bare commit of one row; then what the router costs while nobody writes.
func TestIngestToTheFlow(t *testing.T) {
	rounds, each, idle := 11, 200, 30*time.Second
	if os.Getenv("SMOKE") != "" {
		rounds, each, idle = 3, 100, 5*time.Second
	}
	p, bare := startProcess(t, postgrestest.NewDurable(t)), newBareInserts(t)
	m := &messages{run: "LATENCY0"}
	one := dialClient(t, p.addr, hookHead(), m)
	toFlow := func() time.Duration {
		m.fill(one.message)
		asked := p.flow.await(string(one.bytes[one.id-len(m.run) : one.id+idDigits]))
		begin := time.Now()
		_, err := one.conn.Write(one.bytes)
		require.NoError(t, err)
		require.NoError(t, one.answer())
		select {
		case at := <-asked:
			return at.Sub(begin)
		case <-time.After(30 * time.Second):
			require.Fail(t, "the flow was not asked")
			return 0
		}
	}
	for range loadContacts { // the first message of a contact is routed, too
		toFlow()
	}
	var ours, commits, share []float64
	for range rounds {
		took := make([]time.Duration, each)
		for i := range took {
			took[i] = toFlow()
			conversation.Pause(t.Context(), 5*time.Millisecond) // the turn before has ended: customers are no queue of one
		}
		o, c := quantile(took, 0.5), quantile(bare.commits(t, each), 0.5)
		ours, commits, share = append(ours, o.Seconds()*1e3), append(commits, c.Seconds()*1e3), append(share, float64(o)/float64(c))
	}
	t.Logf("p50 to the flow %.2f ms, of one commit %.2f ms; ratios %.2f", ours, commits, share)
	sheet.Add(figure.Figure{Name: "webhook-to-flow-p50-vs-commit-p50", Value: middle(share), Unit: "ratio", Op: "<=", Target: 3})

	before := cpu(t, p.cmd.Process.Pid)
	conversation.Pause(t.Context(), idle)
	used := cpu(t, p.cmd.Process.Pid) - before
	sheet.Add(figure.Figure{Name: "router-idle-cpu", Value: 100 * used.Seconds() / idle.Seconds(), Unit: "%", Op: "<=", Target: 1})
}

// cpu is what a process has used so far: utime and stime of proc(5), in hundredths of a second.
func cpu(t *testing.T, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(t, err)
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])) // from the third field on
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		require.NoError(t, err)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// TestIngestAmongTheSlow holds 2,000 connections that trickle (slowhttptest) against the router, and measures what Evolution notices:
// each of its webhooks comes by a connection of its own.
func TestIngestAmongTheSlow(t *testing.T) {
	posts := 600
	if os.Getenv("SMOKE") != "" {
		posts = 200
	}
	const slow = 2000
	p := startProcess(t, postgrestest.NewDurable(t))
	m := &messages{run: "SLOWSLOW"}
	once := func(int) error {
		conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(t.Context(), "tcp", p.addr)
		if err != nil {
			return err
		}
		defer conn.Close()
		c := &client{conn: conn, in: bufio.NewReader(conn), message: m.template(hookHead())}
		return c.post(m)
	}
	measure := func() float64 { return quantile(paced(t, posts, 10*time.Millisecond, once), 0.99).Seconds() * 1e3 }
	measure()
	for _, kind := range []struct {
		name, flag string
		under      func() bool // the attack shows
	}{
		{"heads", "-H", func() bool { return files(t, p) >= slow/2 }},
		// Who showed no secret is refused before the body: those are not held but counted.
		{"bodies", "-B", func() bool { return refusals(t, p) >= slow }},
	} {
		alone := measure()
		stop := trickle(t, slow, kind.flag, p.addr)
		for bound := time.Now().Add(time.Minute); !kind.under(); conversation.Pause(t.Context(), 100*time.Millisecond) {
			require.True(t, time.Now().Before(bound), "slow %s did not come: %d files open, %d refused", kind.name, files(t, p), refusals(t, p))
		}
		among := measure()
		memory := memoryOf(t, p.cmd.Process.Pid, "VmHWM")
		stop()
		t.Logf("p99 among %d slow %s %.2f ms, alone %.2f ms; %.1f MB", slow, kind.name, among, alone, float64(memory)/1e6)
		sheet.Add(figure.Figure{Name: "p99-among-slow-" + kind.name + "-vs-alone", Value: among / alone, Unit: "ratio", Op: "<=", Target: 2})
		sheet.Add(figure.Megabytes("router-peak-rss-among-slow-"+kind.name, memory, 64))
	}
}

// trickle lets slowhttptest make so many connections, again and again as the router closes them.
func trickle(t *testing.T, connections int, kind, addr string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			// It needs two descriptors for each connection, which is more than a shell's limit.
			_ = exec.CommandContext(ctx, "prlimit", "--nofile=16384", "slowhttptest", kind, "-c", strconv.Itoa(connections), "-r", "1000",
				"-i", "3", "-l", "600", "-p", "5", "-s", "4096", "-x", "24", "-t", "POST", "-u", "http://"+addr+"/hooks/evolution/"+loadChannel).Run()
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// files is how many files and connections the router has open.
func files(t *testing.T, p *process) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	require.NoError(t, err)
	return len(list)
}

// refusals is how many webhooks without the secret the router has refused.
func refusals(t *testing.T, p *process) int {
	t.Helper()
	res, err := http.Get("http://" + p.addr + "/metrics")
	require.NoError(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	sum := 0
	for _, line := range regexp.MustCompile(`(?m)^router_hook_requests_total\{.*status="401"\} (\d+)$`).FindAllSubmatch(text, -1) {
		n, err := strconv.Atoi(string(line[1]))
		require.NoError(t, err)
		sum += n
	}
	return sum
}
