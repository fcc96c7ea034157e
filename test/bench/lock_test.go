//go:build e2e

package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/bsm/redislock"
	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	goredis9 "github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
	"plantao/runtime/redis"
	"plantao/runtime/redis/redistest"
	"plantao/test/figure"
)

const (
	lockTTL      = 30 * time.Second
	lockCallers  = 64
	pairsCrowded = 300 // by each of the callers, in a round
	pairsLone    = 300
)

// pair takes and releases the lock of one conversation, which nobody else asks for meanwhile.
type pair func(ctx context.Context, conversation int64) error

// The scripts of the plain locks do what a token-checked lock with a lease cannot do without, and nothing of the fence
// that ours compares: that favours them.
const (
	plainAcquire = `if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end return 0`
	plainRelease = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`
)

// TestLock measures pairs of acquire and release beside other lock clients, on one Redis that keeps its log as in a stack.
func TestLock(t *testing.T) {
	server := redistest.New(t, "--appendonly", "yes", "--appendfsync", "everysec")
	rounds := 7
	if os.Getenv("SMOKE") != "" {
		rounds = 2
	}
	ours := newOurs(t, server)
	others := map[string]pair{
		"rueidis": newRueidis(t, server), "bare": newBare(t, server),
		"redislock": newRedislock(t, server), "redsync": newRedsync(t, server),
	}
	crowded := race(t, ours, others, rounds, lockCallers, pairsCrowded)
	lone := race(t, ours, map[string]pair{"bare": others["bare"]}, 10*rounds, 1, pairsLone)
	t.Logf("%d callers: %s", lockCallers, crowded)
	t.Logf("1 caller: %s", lone)
	t.Logf("ours: %.1f allocations per operation with %d callers", allocations(t, ours), lockCallers)
	sheet.Add(speed("lock-vs-rueidis", crowded, "rueidis", 0.9))
	sheet.Add(speed("lock-vs-redislock", crowded, "redislock", 1.5))
	sheet.Add(speed("lock-vs-redsync", crowded, "redsync", 2))
	sheet.Add(speed("lock-lone-vs-bare", lone, "bare", 0.9))
	for _, trips := range roundTrips(t, server) {
		sheet.Add(trips)
	}
}

// times is the median of a round by contender.
type times map[string]time.Duration

func (m times) String() string {
	var s string
	for _, name := range []string{"ours", "rueidis", "bare", "redislock", "redsync"} {
		if d, ok := m[name]; ok {
			s += fmt.Sprintf("%s %.1f µs  ", name, float64(d.Nanoseconds())/1e3)
		}
	}
	return s + "a pair"
}

// speed is how much faster ours was than another: its time over ours.
func speed(name string, m times, other string, target float64) figure.Figure {
	return figure.Figure{Name: name, Value: float64(m[other]) / float64(m["ours"]), Unit: "ratio", Op: ">=", Target: target}
}

// race runs all contenders in turn, round by round, so that a noisy minute strikes all of them.
func race(t *testing.T, ours pair, others map[string]pair, rounds, callers, pairs int) times {
	t.Helper()
	all := map[string][]time.Duration{}
	for round := range rounds + 1 {
		run := func(name string, p pair) {
			took := undisturbed(t, name, p, callers, pairs)
			if round > 0 { // the first dials and loads scripts
				all[name] = append(all[name], took/time.Duration(callers*pairs))
			}
		}
		run("ours", ours)
		for name, p := range others { // in another order each round
			run(name, p)
		}
	}
	medians := times{}
	for name, took := range all {
		medians[name] = median(took)
	}
	return medians
}

// undisturbed repeats a round in which ours gave Redis up: it does so after 50 ms, which a busy machine may take, and for a
// second after that it would be measured doing nothing. The others wait for longer.
func undisturbed(t *testing.T, name string, p pair, callers, pairs int) time.Duration {
	t.Helper()
	for range 20 {
		took, err := crowd(t, p, callers, pairs)
		if err == nil {
			return took
		}
		require.ErrorIs(t, err, conversation.ErrUnavailable)
		t.Logf("round of %s repeated: %v", name, err)
		require.Eventually(t, func() bool { return p(t.Context(), -1) == nil }, 20*time.Second, 100*time.Millisecond)
	}
	t.Fatal("no round without a stall of Redis")
	return 0
}

// crowd lets callers at p, each on conversations of its own.
func crowd(t *testing.T, p pair, callers, pairs int) (time.Duration, error) {
	t.Helper()
	failed := make(chan error, callers)
	var all sync.WaitGroup
	begin := time.Now()
	for caller := range callers {
		all.Go(func() {
			for range pairs {
				if err := p(t.Context(), mathrand.Int64N(1<<20)*int64(callers)+int64(caller)); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	all.Wait()
	took := time.Since(begin)
	close(failed)
	return took, <-failed
}

// allocations of one operation, of which a pair has two.
func allocations(t *testing.T, p pair) float64 {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	undisturbed(t, "ours", p, lockCallers, pairsCrowded)
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / (2 * lockCallers * pairsCrowded)
}

func openLocker(t *testing.T, url string) *redis.Locker {
	t.Helper()
	client, err := redis.Open(redis.Config{URL: url})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return redis.NewLocker(client, slog.New(slog.DiscardHandler))
}

func request(id int64) conversation.LockRequest {
	return conversation.LockRequest{Tenant: "bench", Conversation: conversation.ID(id), Fence: 7, Token: rand.Text(), TTL: lockTTL}
}

func newOurs(t *testing.T, server *redistest.Server) pair {
	l := openLocker(t, server.URL)
	return func(ctx context.Context, id int64) error {
		r := request(id)
		if err := l.Acquire(ctx, r); err != nil {
			return err
		}
		return l.Release(ctx, r)
	}
}

func newRueidis(t *testing.T, server *redistest.Server) pair {
	opt, err := rueidis.ParseURL(server.URL)
	require.NoError(t, err)
	opt.DisableCache = true
	opt.PipelineMultiplex = -1 // one connection was a tenth faster here than four, the default
	client, err := rueidis.NewClient(opt)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	acquire, release := rueidis.NewLuaScript(plainAcquire), rueidis.NewLuaScript(plainRelease)
	ttl := strconv.FormatInt(lockTTL.Milliseconds(), 10)
	return func(ctx context.Context, id int64) error {
		key, token := []string{lockKey("rueidis", id)}, rand.Text()
		if err := one(acquire.Exec(ctx, client, key, []string{token, ttl}).AsInt64()); err != nil {
			return err
		}
		return one(release.Exec(ctx, client, key, []string{token}).AsInt64())
	}
}

func newBare(t *testing.T, server *redistest.Server) pair {
	client := openGoRedis(t, server)
	acquire, release := goredis9.NewScript(plainAcquire), goredis9.NewScript(plainRelease)
	return func(ctx context.Context, id int64) error {
		key, token := []string{lockKey("bare", id)}, rand.Text()
		if err := one(acquire.Run(ctx, client, key, token, lockTTL.Milliseconds()).Int64()); err != nil {
			return err
		}
		return one(release.Run(ctx, client, key, token).Int64())
	}
}

func newRedislock(t *testing.T, server *redistest.Server) pair {
	locks := redislock.New(openGoRedis(t, server))
	return func(ctx context.Context, id int64) error {
		lock, err := locks.Obtain(ctx, lockKey("redislock", id), lockTTL, nil)
		if err != nil {
			return err
		}
		return lock.Release(ctx)
	}
}

func newRedsync(t *testing.T, server *redistest.Server) pair {
	rs := redsync.New(goredis.NewPool(openGoRedis(t, server)))
	return func(ctx context.Context, id int64) error {
		mutex := rs.NewMutex(lockKey("redsync", id), redsync.WithExpiry(lockTTL), redsync.WithTries(1))
		if err := mutex.LockContext(ctx); err != nil {
			return err
		}
		_, err := mutex.UnlockContext(ctx)
		return err
	}
}

func openGoRedis(t *testing.T, server *redistest.Server) *goredis9.Client {
	t.Helper()
	opt, err := goredis9.ParseURL(server.URL)
	require.NoError(t, err)
	opt.PoolSize = lockCallers // a tenth faster than the default, for which callers wait
	client := goredis9.NewClient(opt)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

func lockKey(of string, id int64) string {
	return "router:lock:" + of + ":" + strconv.FormatInt(id, 10)
}

// one is the answer of a plain script that did what it was asked to.
func one(answer int64, err error) error {
	if err == nil && answer != 1 {
		return fmt.Errorf("answer %d", answer)
	}
	return err
}

// roundTrips counts what a lone acquire and its release send.
func roundTrips(t *testing.T, server *redistest.Server) []figure.Figure {
	t.Helper()
	proxy := server.Proxy()
	l, r := openLocker(t, proxy.URL), request(1)
	count := func(name string, f func(context.Context, conversation.LockRequest) error) figure.Figure {
		before := proxy.Sent()
		require.NoError(t, f(t.Context(), r))
		return figure.Count(name, proxy.Sent()-before, 1)
	}
	// Of a lock nobody holds: the answer says that the connection stands and the script is known.
	require.Eventually(t, func() bool { return errors.Is(l.Renew(t.Context(), r), conversation.ErrLockLost) }, 20*time.Second,
		100*time.Millisecond)
	return []figure.Figure{
		count("lock-round-trips-lone-acquire", l.Acquire),
		count("lock-round-trips-lone-release", l.Release),
	}
}
