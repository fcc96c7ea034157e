package redis

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
	"plantao/runtime/redis/redistest"
)

const (
	alice = "alice-0123456789"
	bob   = "bob---0123456789"

	patience = 20 * time.Second       // for what must happen at last
	tick     = 500 * time.Microsecond // between looks for it
)

// newLocker is a locker of a process of its own. It waits long: only the tests of time want the bound of production.
func newLocker(t *testing.T, url string) *Locker {
	t.Helper()
	return NewLocker(mustOpen(t, Config{URL: url, Timeout: patience}), slog.New(slog.DiscardHandler))
}

func lockOf(id int, fence int64, token string) conversation.LockRequest {
	return conversation.LockRequest{Tenant: "acme", Conversation: conversation.ID(id), Fence: fence, Token: token, TTL: time.Minute}
}

func TestLock(t *testing.T) {
	t.Parallel()
	server := redistest.New(t)
	one, other := newLocker(t, server.URL), newLocker(t, server.URL)
	id := 0
	// step of one of two processes, and what it must come to: nil or one of the domain's errors.
	type step struct {
		do   func(context.Context, conversation.LockRequest) error
		as   string
		at   int64
		want error
	}
	for name, steps := range map[string][]step{
		"held by another": {
			{one.Acquire, alice, 7, nil}, {other.Acquire, bob, 7, conversation.ErrLockHeld},
			{one.Release, alice, 7, nil}, {other.Acquire, bob, 7, nil},
		},
		"kept": {
			{one.Acquire, alice, 7, nil}, {one.Acquire, alice, 7, nil}, {one.Release, alice, 7, nil},
			{one.Release, alice, 7, conversation.ErrLockLost},
		},
		"a higher epoch takes over": {
			{one.Acquire, alice, 7, nil}, {other.Acquire, bob, 8, nil}, {one.Renew, alice, 7, conversation.ErrLockLost},
			{one.Release, alice, 7, conversation.ErrLockLost}, {other.Release, bob, 8, nil},
		},
		"epochs are numbers": {{one.Acquire, alice, 9, nil}, {other.Acquire, bob, 10, nil}, {one.Acquire, alice, 9, conversation.ErrStaleEpoch}},
		"large epochs":       {{one.Acquire, alice, maxFence - 1, nil}, {other.Acquire, bob, maxFence, nil}},
		"a lower epoch is refused": {
			{one.Acquire, alice, 8, nil}, {other.Acquire, bob, 7, conversation.ErrStaleEpoch}, {one.Renew, alice, 8, nil},
		},
		"the holder's own lower epoch too": {{one.Acquire, alice, 8, nil}, {one.Acquire, alice, 7, conversation.ErrStaleEpoch}},
		"the holder raises its epoch": {
			{one.Acquire, alice, 7, nil}, {one.Acquire, alice, 8, nil}, {other.Acquire, bob, 7, conversation.ErrStaleEpoch},
			{one.Renew, alice, 7, nil}, {other.Acquire, bob, 7, conversation.ErrStaleEpoch}, {one.Release, alice, 7, nil},
		},
		"only the token's holder": {
			{one.Acquire, alice, 7, nil}, {other.Renew, bob, 7, conversation.ErrLockLost},
			{other.Release, bob, 7, conversation.ErrLockLost}, {other.Release, bob, 8, conversation.ErrLockLost},
			{one.Release, alice, 7, nil},
		},
		"the end of a token is not the token": {
			{one.Acquire, "x:" + alice, 7, nil}, {other.Release, alice, 7, conversation.ErrLockLost},
			{one.Release, "x:" + alice, 7, nil},
		},
		"nothing held": {{one.Renew, alice, 7, conversation.ErrLockLost}, {one.Release, alice, 7, conversation.ErrLockLost}},
	} {
		id++
		t.Run(name, func(t *testing.T) {
			for i, s := range steps {
				err := s.do(t.Context(), lockOf(id, s.at, s.as))
				if s.want == nil {
					require.NoError(t, err, i)
				} else {
					require.ErrorIs(t, err, s.want, i)
				}
			}
		})
	}
}

func TestHeldErrorSaysBy(t *testing.T) {
	t.Parallel()
	l := newLocker(t, redistest.New(t).URL)
	require.NoError(t, l.Acquire(t.Context(), lockOf(1, 7, alice)))
	var held *conversation.HeldError
	require.ErrorAs(t, l.Acquire(t.Context(), lockOf(1, 7, bob)), &held)
	require.EqualValues(t, 7, held.Fence)
	require.Positive(t, held.Free)
	require.LessOrEqual(t, held.Free, time.Minute)
}

func TestRefusesWhatTheScriptWouldMisread(t *testing.T) {
	t.Parallel()
	l := newLocker(t, "redis://127.0.0.1:1/0")
	for name, change := range map[string]func(*conversation.LockRequest){
		"short token": func(r *conversation.LockRequest) { r.Token = "short" },
		"fence -1":    func(r *conversation.LockRequest) { r.Fence = -1 },
		"fence 2^53":  func(r *conversation.LockRequest) { r.Fence = maxFence + 1 },
		"ttl":         func(r *conversation.LockRequest) { r.TTL = time.Microsecond },
	} {
		r := lockOf(1, 7, alice)
		change(&r)
		require.ErrorIs(t, l.Acquire(t.Context(), r), conversation.ErrInvalid, name)
	}
}

func TestRenewExtends(t *testing.T) {
	t.Parallel()
	l := newLocker(t, redistest.New(t).URL)
	r := lockOf(1, 7, alice)
	require.NoError(t, l.Acquire(t.Context(), r))
	r.TTL = time.Hour
	require.NoError(t, l.Renew(t.Context(), r))
	left, err := l.batcher.client.redis.PTTL(t.Context(), "router:lock:acme:1").Result()
	require.NoError(t, err)
	require.Greater(t, left, time.Minute)
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	server := redistest.New(t)
	one, other := newLocker(t, server.URL), newLocker(t, server.URL)
	short := lockOf(1, 7, alice)
	short.TTL = 50 * time.Millisecond
	require.NoError(t, one.Acquire(t.Context(), short))
	eventually(t, "the lease runs out", func() bool {
		err := other.Acquire(t.Context(), lockOf(1, 7, bob))
		if err != nil {
			require.ErrorIs(t, err, conversation.ErrLockHeld)
		}
		return err == nil
	})
	require.ErrorIs(t, one.Renew(t.Context(), short), conversation.ErrLockLost)
	require.ErrorIs(t, one.Release(t.Context(), short), conversation.ErrLockLost)
	require.NoError(t, other.Renew(t.Context(), lockOf(1, 7, bob)))
}

// What Redis loses is not known to it: both hold the lock with the same fence, and the store decides.
func TestDataLost(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*redistest.Server){
		"flushed":   func(s *redistest.Server) { s.Do("FLUSHALL") },
		"restarted": func(s *redistest.Server) { s.Stop(); s.Start() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.New(t)
			one, other := newLocker(t, server.URL), newLocker(t, server.URL)
			require.NoError(t, one.Acquire(t.Context(), lockOf(1, 7, alice)))
			require.ErrorIs(t, other.Acquire(t.Context(), lockOf(1, 7, bob)), conversation.ErrLockHeld)
			lose(server)
			require.NoError(t, other.Acquire(t.Context(), lockOf(1, 7, bob)))
			require.ErrorIs(t, one.Renew(t.Context(), lockOf(1, 7, alice)), conversation.ErrLockLost)
		})
	}
}

func TestScriptLost(t *testing.T) {
	t.Parallel()
	server := redistest.New(t)
	proxy := server.Proxy()
	l := newLocker(t, proxy.URL)
	require.NoError(t, l.Acquire(t.Context(), lockOf(1, 7, alice)))
	server.Do("SCRIPT", "FLUSH")
	require.Equal(t, 2, sent(t, proxy, func() error { return l.Renew(t.Context(), lockOf(1, 7, alice)) }))
	require.Equal(t, 1, sent(t, proxy, func() error { return l.Release(t.Context(), lockOf(1, 7, alice)) }))
}

// One that goes wrong in a batch does not keep the others from being done.
func TestErrorOfOneStep(t *testing.T) {
	t.Parallel()
	server := redistest.New(t)
	l := newLocker(t, server.URL)
	server.Do("SET", "router:lock:acme:1", "somebody else's")
	server.Do("LPUSH", "router:lock:acme:2", "a list")
	held := holdBatches(&l.batcher)
	var answers []<-chan error
	for _, id := range []int{1, 2, 3} {
		answers = append(answers, held.ask(t.Context(), l.Acquire, lockOf(id, 7, alice)))
	}
	held.flush()
	require.ErrorIs(t, <-answers[0], conversation.ErrUnavailable)
	require.ErrorIs(t, <-answers[1], conversation.ErrUnavailable)
	require.NoError(t, <-answers[2])
	require.ErrorIs(t, l.Release(t.Context(), lockOf(1, 7, alice)), conversation.ErrLockLost)
	require.ErrorIs(t, l.Release(t.Context(), lockOf(2, 7, alice)), conversation.ErrUnavailable)
}

// The rights of the router's user, as in templates/redis/redis.conf.
func TestRightsOfTheRouter(t *testing.T) {
	t.Parallel()
	server := redistest.New(t)
	server.Do(strings.Fields("ACL SETUSER router on >s3cr3t resetkeys ~router:* resetchannels &router:* " +
		"+@all -@admin -@dangerous -select -swapdb -move -copy +select|4 +info")...)
	url := strings.Replace(strings.TrimSuffix(server.URL, "0"), "//", "//router@", 1) + "4"
	l := NewLocker(mustOpen(t, Config{URL: url, Password: "s3cr3t", Timeout: patience}), slog.New(slog.DiscardHandler))
	require.NoError(t, l.Acquire(t.Context(), lockOf(1, 7, alice)))
	require.ErrorIs(t, l.Acquire(t.Context(), lockOf(1, 7, bob)), conversation.ErrLockHeld)
	require.NoError(t, l.Renew(t.Context(), lockOf(1, 7, alice)))
	require.NoError(t, l.Release(t.Context(), lockOf(1, 7, alice)))
}

func TestRedisDown(t *testing.T) {
	t.Parallel()
	server := redistest.New(t)
	var log syncBuffer
	l := NewLocker(mustOpen(t, Config{URL: server.URL}), slog.New(slog.NewTextHandler(&log, nil)))
	r := lockOf(1, 7, alice)
	eventually(t, "acquired", func() bool { return l.Acquire(t.Context(), r) == nil })
	server.Stop()
	for range tripAfter {
		require.ErrorIs(t, l.Renew(t.Context(), r), conversation.ErrUnavailable)
	}
	const many = 1000
	begin := time.Now()
	for range many {
		require.ErrorIs(t, l.Renew(t.Context(), r), conversation.ErrUnavailable)
	}
	each := time.Since(begin) / many
	t.Logf("with the breaker open an operation fails in %s", each)
	require.Less(t, each, time.Millisecond)
	require.Equal(t, 1, strings.Count(log.String(), "does not answer"), log.String())

	server.Start()
	eventually(t, "redis is found again", func() bool { return l.Acquire(t.Context(), r) == nil })
	require.Equal(t, 1, strings.Count(log.String(), "does not answer"), log.String())
	require.Equal(t, 1, strings.Count(log.String(), "answers again"), log.String())
}

// A refusal is an answer.
func TestRefusalsDoNotOpenTheBreaker(t *testing.T) {
	t.Parallel()
	server := redistest.New(t)
	l := newLocker(t, server.URL)
	require.NoError(t, l.Acquire(t.Context(), lockOf(1, 7, alice)))
	for range 3 * tripAfter {
		require.ErrorIs(t, l.Acquire(t.Context(), lockOf(1, 7, bob)), conversation.ErrLockHeld)
	}
	server.Do("CONFIG", "SET", "maxmemory", "1") // every script that writes is refused as a whole
	for range 3 * tripAfter {
		require.ErrorIs(t, l.Acquire(t.Context(), lockOf(2, 7, bob)), conversation.ErrUnavailable)
	}
	server.Do("CONFIG", "SET", "maxmemory", "0")
	require.NoError(t, l.Acquire(t.Context(), lockOf(2, 7, bob)))
}

func TestStalledRedis(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]func(*testing.T) string{
		"frozen": func(t *testing.T) string {
			server := redistest.New(t)
			server.Freeze()
			return server.URL
		},
		"accepts and is silent": func(t *testing.T) string {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			t.Cleanup(func() { listener.Close() })
			return "redis://" + listener.Addr().String() + "/0"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := NewLocker(mustOpen(t, Config{URL: url(t)}), slog.New(slog.DiscardHandler))
			var all sync.WaitGroup
			for id := range 20 { // one leads, the others wait behind it
				all.Go(func() {
					begin := time.Now()
					if err := l.Acquire(t.Context(), lockOf(id, 7, alice)); !errors.Is(err, conversation.ErrUnavailable) {
						t.Errorf("acquire: %v", err)
					}
					if took := time.Since(begin); took > 5*defaultTimeout { // slack for a busy machine
						t.Errorf("waited %s", took)
					}
				})
			}
			all.Wait()
		})
	}
}

// A Redis that froze and goes on is used again, though a connection to it timed out.
func TestThaw(t *testing.T) {
	t.Parallel()
	server := redistest.New(t)
	l := NewLocker(mustOpen(t, Config{URL: server.URL}), slog.New(slog.DiscardHandler))
	r := lockOf(1, 7, alice)
	eventually(t, "acquired", func() bool { return l.Acquire(t.Context(), r) == nil })
	server.Freeze()
	require.ErrorIs(t, l.Renew(t.Context(), r), conversation.ErrUnavailable)
	server.Thaw()
	eventually(t, "renewed", func() bool { return l.Renew(t.Context(), r) == nil })
}

func TestLoneCallerSendsOnce(t *testing.T) {
	t.Parallel()
	proxy := redistest.New(t).Proxy()
	l := newLocker(t, proxy.URL)
	r := lockOf(1, 7, alice)
	require.NoError(t, l.Acquire(t.Context(), r), "dials, and brings the script")
	for name, f := range map[string]func(context.Context, conversation.LockRequest) error{"acquire": l.Acquire, "renew": l.Renew} {
		require.Equal(t, 1, sent(t, proxy, func() error { return f(t.Context(), r) }), name)
	}
	require.Equal(t, 1, sent(t, proxy, func() error { return l.Release(t.Context(), r) }))
}

func TestConcurrentCallersShareTrips(t *testing.T) {
	t.Parallel()
	proxy := redistest.New(t).Proxy()
	l := newLocker(t, proxy.URL)
	require.NoError(t, l.Acquire(t.Context(), lockOf(0, 7, alice)))
	held := holdBatches(&l.batcher)
	var answers []<-chan error
	for id := range maxBatch + 1 {
		answers = append(answers, held.ask(t.Context(), l.Acquire, lockOf(id+1, 7, alice)))
	}
	require.Equal(t, 2, sent(t, proxy, func() error { held.flush(); return nil }), "one more than a batch holds")
	for _, answer := range answers {
		require.NoError(t, <-answer)
	}
}

func TestCallerLeaves(t *testing.T) {
	t.Parallel()
	r := lockOf(1, 7, alice)
	setup := func(t *testing.T) (*redistest.Proxy, *Locker, *heldBatches, context.Context, context.CancelFunc) {
		proxy := redistest.New(t).Proxy()
		l := newLocker(t, proxy.URL)
		require.NoError(t, l.Acquire(t.Context(), lockOf(2, 7, alice)), "dials")
		ctx, cancel := context.WithCancel(t.Context())
		return proxy, l, holdBatches(&l.batcher), ctx, cancel
	}
	t.Run("before its operation is sent", func(t *testing.T) {
		t.Parallel()
		proxy, l, held, ctx, cancel := setup(t)
		answer := held.ask(ctx, l.Acquire, r)
		cancel()
		require.ErrorIs(t, <-answer, context.Canceled)
		require.Zero(t, sent(t, proxy, func() error { held.flush(); return nil }))
		require.ErrorIs(t, l.Release(t.Context(), r), conversation.ErrLockLost)
	})
	t.Run("with its acquire under way", func(t *testing.T) {
		t.Parallel()
		_, l, held, ctx, cancel := setup(t)
		answer := held.ask(ctx, l.Acquire, r)
		l.batcher.take()
		cancel()
		require.ErrorIs(t, <-answer, context.Canceled)
		held.answerBatch(t)
		held.flush()
		require.NoError(t, l.Acquire(t.Context(), lockOf(1, 7, bob)), "it was released")
	})
	t.Run("and tries again at once", func(t *testing.T) {
		t.Parallel()
		_, l, held, ctx, cancel := setup(t)
		answer := held.ask(ctx, l.Acquire, r)
		l.batcher.take()
		cancel()
		require.ErrorIs(t, <-answer, context.Canceled)
		again := held.ask(t.Context(), l.Acquire, r)
		held.answerBatch(t)
		held.flush()
		require.NoError(t, <-again)
		require.NoError(t, l.Renew(t.Context(), r), "the first was released before the second was acquired")
	})
	t.Run("keeping what it held", func(t *testing.T) {
		t.Parallel()
		_, l, held, ctx, cancel := setup(t)
		before := held.ask(t.Context(), l.Acquire, r)
		held.flush()
		require.NoError(t, <-before)
		held = holdBatches(&l.batcher)
		answer := held.ask(ctx, l.Acquire, r)
		l.batcher.take()
		cancel()
		require.ErrorIs(t, <-answer, context.Canceled)
		held.answerBatch(t)
		held.flush()
		require.NoError(t, l.Renew(t.Context(), r))
	})
	t.Run("before it asks", func(t *testing.T) {
		t.Parallel()
		l := newLocker(t, "redis://127.0.0.1:1/0")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, l.Acquire(ctx, r), context.Canceled)
	})
}

// 64 callers in two processes, and four locks.
func TestMutualExclusion(t *testing.T) {
	t.Parallel()
	server := redistest.New(t)
	lockers := []*Locker{newLocker(t, server.URL), newLocker(t, server.URL)}
	const callers, entries, keys = 64, 20, 4
	var inside sections
	var all sync.WaitGroup
	for caller := range callers {
		all.Go(func() {
			l, id := lockers[caller%len(lockers)], caller%keys
			for range entries {
				r := lockOf(id, 7, rand.Text())
				for err := l.Acquire(t.Context(), r); err != nil; err = l.Acquire(t.Context(), r) {
					if !errors.Is(err, conversation.ErrLockHeld) {
						t.Errorf("acquire: %v", err)
						return
					}
				}
				inside.enter(id)
				runtime.Gosched()
				inside.leave(id)
				if err := l.Release(t.Context(), r); err != nil {
					t.Errorf("release: %v", err)
					return
				}
			}
		})
	}
	all.Wait()
	require.EqualValues(t, callers*entries, inside.entries.Load())
	require.Zero(t, inside.overlaps.Load())
}

// The counter of TestMutualExclusion can tell: a lock that is deleted by whoever had it once lets two in.
func TestLateRelease(t *testing.T) {
	t.Parallel()
	server := redistest.New(t)
	require.EqualValues(t, 0, lateRelease(t, newLocker(t, server.URL)))
	require.EqualValues(t, 1, lateRelease(t, careless{newLocker(t, server.URL).batcher.client.redis}))
}

// lateRelease has a first caller overstay its lease and release when a second is inside, and counts how often a third gets
// in too.
func lateRelease(t *testing.T, l conversation.Locker) int32 {
	t.Helper()
	var inside sections
	first, second, third := lockOf(1, 7, rand.Text()), lockOf(1, 7, rand.Text()), lockOf(1, 7, rand.Text())
	first.TTL = 20 * time.Millisecond
	require.NoError(t, l.Acquire(t.Context(), first))
	eventually(t, "the first lease runs out", func() bool { return l.Acquire(t.Context(), second) == nil })
	inside.enter(1)
	_ = l.Release(t.Context(), first)
	if l.Acquire(t.Context(), third) == nil {
		inside.enter(1)
	}
	_ = l.Release(t.Context(), second)
	return inside.overlaps.Load()
}

// careless is the lock that many write: no fence, and a release that deletes.
type careless struct{ redis *redis.Client }

func (c careless) Acquire(ctx context.Context, r conversation.LockRequest) error {
	err := c.redis.SetArgs(ctx, "careless", r.Token, redis.SetArgs{Mode: "NX", TTL: r.TTL}).Err()
	if errors.Is(err, redis.Nil) {
		return conversation.ErrLockHeld
	}
	return err
}

func (careless) Renew(context.Context, conversation.LockRequest) error { return nil }

func (c careless) Release(ctx context.Context, _ conversation.LockRequest) error {
	return c.redis.Del(ctx, "careless").Err()
}

// sections counts who is between a lock's acquire and its release.
type sections struct {
	inside            [8]atomic.Int32
	entries, overlaps atomic.Int32
}

func (s *sections) enter(id int) {
	s.entries.Add(1)
	if s.inside[id].Add(1) > 1 {
		s.overlaps.Add(1)
	}
}

func (s *sections) leave(id int) { s.inside[id].Add(-1) }

// Not parallel: it counts the goroutines of the process.
func TestLeavesNoGoroutine(t *testing.T) {
	server := redistest.New(t)
	client, err := Open(Config{URL: server.URL, Timeout: patience})
	require.NoError(t, err)
	l := NewLocker(client, slog.New(slog.DiscardHandler))
	before := runtime.NumGoroutine()
	var all sync.WaitGroup
	for id := range 50 {
		all.Go(func() {
			for range 20 {
				if err := l.Acquire(t.Context(), lockOf(id, 7, alice)); err != nil {
					t.Errorf("acquire: %v", err)
				}
			}
		})
	}
	all.Wait()
	server.Stop()
	for range 2 * tripAfter {
		require.ErrorIs(t, l.Acquire(t.Context(), lockOf(1, 7, alice)), conversation.ErrUnavailable)
	}
	require.NoError(t, client.Close())
	// The server's own, which waits for its end, is gone too.
	eventually(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= before })
}

// heldBatches is a batcher that believes a batch is under way, until the test sends one.
type heldBatches struct{ b *batcher }

func holdBatches(b *batcher) *heldBatches {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.flushing {
		panic("a batch is under way")
	}
	b.flushing = true
	return &heldBatches{b}
}

// ask queues an operation and returns when it is queued.
func (h *heldBatches) ask(ctx context.Context, f func(context.Context, conversation.LockRequest) error, r conversation.LockRequest) <-chan error {
	queued := func() int {
		h.b.mu.Lock()
		defer h.b.mu.Unlock()
		return len(h.b.queue)
	}
	before, answer := queued(), make(chan error, 1)
	go func() { answer <- f(ctx, r) }()
	for queued() == before {
		runtime.Gosched()
	}
	return answer
}

// answerBatch does what flush does after take.
func (h *heldBatches) answerBatch(t *testing.T) {
	t.Helper()
	answers, err := h.b.send()
	require.NoError(t, err)
	h.b.settle(answers)
}

// flush sends what is queued.
func (h *heldBatches) flush() {
	for h.b.more() {
		h.b.flush()
	}
}

// sent is what f sends through the proxy.
func sent(t *testing.T, p *redistest.Proxy, f func() error) int {
	t.Helper()
	before := p.Sent()
	require.NoError(t, f())
	return p.Sent() - before
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
		time.Sleep(tick)
	}
}

// syncBuffer is a log that is written and read at the same time.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
