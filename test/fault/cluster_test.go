package fault

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"plantao/runtime/client"
	"plantao/runtime/conversation"
	"plantao/runtime/postgres"
)

const (
	channelName  = "principal"
	flowName     = "atendimento"
	hookSecret   = "hook-secret-of-the-faults"
	flowToken    = "flow-token-of-the-faults"
	evolutionKey = "api-key-of-the-faults"
	turnKey      = "0123456789abcdef0123456789abcdef"
	replicas     = 3
	// clientTimeout bounds one call. A stopped replica answers nothing for longer.
	clientTimeout = 1500 * time.Millisecond
)

// settings of the routers. Everything a router waits for is short, so that a round is.
type settings struct {
	binary           func() (string, error)
	lease            time.Duration
	deadline         time.Duration
	patience         time.Duration
	evolutionTimeout time.Duration
	quiesce          time.Duration // how long a round's end is waited for; zero: patience
}

// cluster is three routers on loopback, their two stores behind proxies, and the neighbours.
type cluster struct {
	t        testing.TB
	s        settings
	dir      string
	binary   string
	pg       *database
	pool     *pgxpool.Pool // past the proxies: what the checks read
	redis    *cache
	replicas []*replica
	toPG     []*link
	toRedis  []*link
	hits     *hits
	flow     *flow
	phone    *phone
	hooks    *http.Client
	bots     []*client.Client // one for each replica, with no token but a turn's

	mu      sync.Mutex
	clients map[string][]*client.Client // by agent, one for each replica
}

func newCluster(t testing.TB, s settings) *cluster {
	t.Helper()
	binary, err := s.binary()
	require.NoError(t, err)
	if s.quiesce == 0 {
		s.quiesce = patience
	}
	// Not t.TempDir: a unix socket's path must be short.
	dir, err := os.MkdirTemp(baseDir, "run-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	c := &cluster{
		t: t, s: s, dir: dir, binary: binary, pg: startDatabase(t), redis: startCache(t, dir), hits: newHits(),
		hooks: &http.Client{Timeout: clientTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}, clients: map[string][]*client.Client{},
	}
	t.Cleanup(c.hooks.CloseIdleConnections)
	c.openStores()
	c.flow = newFlow(t, func() *client.Client { return c.bots[rand.IntN(replicas)] }, s.deadline)
	c.phone = newPhone(t)
	c.phone.echo = func(s receipt) { go c.post(context.Background(), rand.IntN(replicas), echo(s)) }
	for i := range replicas {
		c.addReplica(i)
	}
	for _, r := range c.replicas {
		c.bots = append(c.bots, c.client(r, ""))
		startReplica(t, r)
	}
	c.ready()
	return c
}

func (c *cluster) openStores() {
	out, err := c.router("migrate")
	require.NoError(c.t, err, out)
	c.pool, err = pgxpool.New(context.Background(), c.pg.url(c.pg.address))
	require.NoError(c.t, err)
	c.t.Cleanup(c.pool.Close)
	store, err := postgres.Open(postgres.Config{URL: c.pg.url(c.pg.address), AppName: "fault"})
	require.NoError(c.t, err)
	defer store.Close()
	_, err = store.UpsertChannel(context.Background(), postgres.ChannelRow{
		Channel: conversation.Channel{Name: channelName, Tenant: conversation.DefaultTenant, Flow: flowName,
			HookSecretSHA256: sha256.Sum256([]byte(hookSecret))},
		Integration: "EVOLUTION", Number: "5511900000000",
	})
	require.NoError(c.t, err)
}

// router runs a command of the router to its end.
func (c *cluster) router(args ...string) (string, error) {
	cmd := exec.Command(c.binary, args...)
	cmd.Env = append(os.Environ(), "ROUTER_DATABASE__URL="+c.pg.url(c.pg.address))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c *cluster) addReplica(i int) {
	name := fmt.Sprintf("router-%d", i+1)
	address, err := freeAddress()
	require.NoError(c.t, err)
	toPG := newLink(c.t, name+"-postgres", c.pg.address)
	toPG.follow(c.t)
	toRedis := newLink(c.t, name+"-redis", c.redis.address)
	r := &replica{name: name, url: "http://" + address, binary: c.binary, log: logPath(c.dir, name), points: newPoints(c.t, c.dir, name, c.hits)}
	r.env = []string{"PLANTAO_FAILPOINTS=" + r.points.path}
	for key, value := range map[string]string{
		"LISTEN": address, "INSTANCE_NAME": name, "DATABASE__URL": c.pg.url(toPG.address), "REDIS__URL": "redis://" + toRedis.address + "/0",
		"EVOLUTION__URL": c.phone.URL, "EVOLUTION__API_KEY": evolutionKey, "EVOLUTION__TIMEOUT": c.s.evolutionTimeout.String(),
		"N8N__URL": c.flow.URL, "N8N__TOKEN": flowToken, "TURN__KEY": turnKey, "TURN__DEADLINE": c.s.deadline.String(),
		"TURN__LEASE": c.s.lease.String(), "TURN__QUIET": "20ms", "TURN__CAP": "100ms", "TURN__POLL": "100ms",
		"TURN__PATIENCE": c.s.patience.String(), "API__RATE": "100000", "API__BURST": "100000", "API__MAX_TURN": "10m",
	} {
		r.env = append(r.env, "ROUTER_"+key+"="+value)
	}
	c.replicas, c.toPG, c.toRedis = append(c.replicas, r), append(c.toPG, toPG), append(c.toRedis, toRedis)
}

// as are clients of an agent, one for each replica, with a token made by the router's own command.
func (c *cluster) as(agent string) []*client.Client {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if list, ok := c.clients[agent]; ok {
		return list
	}
	args := []string{"token", "create", "--name", agent, "--agent", agent, "--scope", "conversation:read", "--scope", "conversation:act"}
	if strings.HasPrefix(agent, "operator:") {
		args = append(args, "--scope", "conversation:operate")
	}
	out, err := c.router(args...)
	require.NoError(c.t, err, out)
	for _, r := range c.replicas {
		c.clients[agent] = append(c.clients[agent], c.client(r, strings.TrimSpace(out)))
	}
	return c.clients[agent]
}

func (c *cluster) client(r *replica, token string) *client.Client {
	c.t.Helper()
	cl, err := client.New(client.Config{URL: r.url, Token: token, Timeout: clientTimeout})
	require.NoError(c.t, err)
	c.t.Cleanup(cl.Close)
	return cl
}

// post sends a webhook to a replica as Evolution does. A status of zero means that nobody answered.
func (c *cluster) post(ctx context.Context, replica int, body string) int {
	return postTo(ctx, c.hooks, c.replicas[replica].url, body)
}

// heal takes every fault away and waits until all replicas are ready.
func (c *cluster) heal(ctx context.Context) error {
	for i, r := range c.replicas {
		r.points.disarm()
		r.signal(syscall.SIGCONT)
		for _, l := range []*link{c.toPG[i], c.toRedis[i]} {
			if err := l.mend(); err != nil {
				return err
			}
		}
	}
	for _, r := range c.replicas {
		if err := r.awaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) ready() {
	c.t.Helper()
	if err := c.heal(context.Background()); err != nil {
		c.t.Fatalf("%v\n%s", err, c.logs(4<<10))
	}
}

// logs are the ends of all logs.
func (c *cluster) logs(bytes int) string {
	var all strings.Builder
	for _, r := range c.replicas {
		fmt.Fprintf(&all, "--- %s\n%s\n", r.name, tail(r.log, bytes))
	}
	fmt.Fprintf(&all, "--- postgresql\n%s\n", tail(c.pg.logPath(), bytes/2))
	return all.String()
}

// hasCheck says whether this router can check its database itself.
func (c *cluster) hasCheck() bool {
	out, err := c.router("help")
	return err == nil && strings.Contains(out, "\n  check ")
}
