package fault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
	"plantao/runtime/postgres/postgrestest"
	"plantao/runtime/redis/redistest"
)

// A check that never fails proves nothing. So the same clients speak to services that decide by the model's own rules but
// guard their book badly, as is often done, and the same check must say so; and to the same services guarded well, of which
// it must not.

// clerk is a service with a book. Change carries a decision out, under whatever guard it has.
type clerk struct {
	look   func(ctx context.Context, id string) (standing, error)
	change func(ctx context.Context, id string, decide func(standing) (standing, string)) (standing, string, error)
}

// read implements service.
func (k clerk) read(ctx context.Context, id string) (answer, bool) {
	s, err := k.look(ctx, id)
	return answer{Standing: s}, err == nil
}

// do implements service.
func (k clerk) do(ctx context.Context, q request) (answer, bool) {
	s, code, err := k.change(ctx, q.Conversation, func(s standing) (standing, string) { return s.apply(q) })
	switch {
	case err != nil:
		return answer{Unknown: true}, true
	case code == "invalid":
		return answer{Code: code, Partial: true}, false
	}
	return answer{Code: code, Standing: s, Partial: code != ""}, false
}

// check implements service: these services run no turns.
func (clerk) check(context.Context, string) (request, answer, bool) {
	return request{}, answer{}, false
}

var begun = standing{State: "AI_ACTIVE", Owner: "ai:" + flowName, Epoch: 1, Version: 2}

// judged lets clients work and says what the check says.
func (k clerk) judged(t *testing.T, seed uint64) porcupine.CheckResult {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	h := load{service: k, ids: []string{"1", "2"}, clients: 8, ops: 25, pause: 6 * time.Millisecond, seed: seed}.run(ctx)
	require.Greater(t, len(h.ops), 50)
	return h.verify().result
}

// mustFail wants the check to fail within a few histories: a race does not show in each.
func (k clerk) mustFail(t *testing.T) {
	t.Helper()
	for n := range 20 {
		if k.judged(t, uint64(n)) == porcupine.Illegal {
			return
		}
	}
	t.Fatal("20 histories of a broken service passed the check")
}

func (k clerk) mustPass(t *testing.T) {
	t.Helper()
	for n := range 3 {
		require.Equal(t, porcupine.Ok, k.judged(t, uint64(n)))
	}
}

func redisOf(t *testing.T) *goredis.Client {
	t.Helper()
	opt, err := goredis.ParseURL(redistest.New(t).URL)
	require.NoError(t, err)
	c := goredis.NewClient(opt)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// redisLock is a book in Redis behind a lock in Redis, the only guard.
type redisLock struct {
	redis *goredis.Client
	ttl   time.Duration
	// pause is how long a holder may be stopped, as by a garbage collection or a slow disk.
	pause func() time.Duration
	// mine releases only a lock that is still the holder's.
	mine bool
}

func (l redisLock) look(ctx context.Context, id string) (standing, error) {
	text, err := l.redis.Get(ctx, "book:"+id).Bytes()
	if errors.Is(err, goredis.Nil) {
		return begun, nil
	}
	var s standing
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	return s, err
}

func (l redisLock) change(ctx context.Context, id string, decide func(standing) (standing, string)) (standing, string, error) {
	token := uuid.NewString()
	for !l.redis.SetNX(ctx, "lock:"+id, token, l.ttl).Val() {
		if !conversation.Pause(ctx, time.Millisecond) {
			return standing{}, "", ctx.Err()
		}
	}
	s, err := l.look(ctx, id)
	if err != nil {
		return standing{}, "", err
	}
	s, code := decide(s)
	conversation.Pause(ctx, l.pause())
	text, err := json.Marshal(s)
	if err == nil {
		err = l.redis.Set(ctx, "book:"+id, text, 0).Err()
	}
	if !l.mine || l.redis.Get(ctx, "lock:"+id).Val() == token {
		l.redis.Del(ctx, "lock:"+id)
	}
	return s, code, err
}

func TestControlUnfencedLock(t *testing.T) {
	t.Parallel()
	broken := redisLock{redis: redisOf(t), ttl: 10 * time.Millisecond, pause: func() time.Duration {
		if rand.IntN(10) == 0 {
			return 25 * time.Millisecond
		}
		return 0
	}}
	clerk{broken.look, broken.change}.mustFail(t)
	sound := redisLock{redis: redisOf(t), ttl: time.Minute, pause: func() time.Duration { return 0 }, mine: true}
	clerk{sound.look, sound.change}.mustPass(t)
}

// book is a table with a row for each conversation, locked by each change.
type book struct {
	pool *pgxpool.Pool
	// early answers before the commit, which may then not come.
	early bool
	// epoch mints the epoch of a change of owner; nil: the row's, plus one.
	epoch func(ctx context.Context, id string) (int64, error)
	late  sync.WaitGroup
}

func newBook(t *testing.T) *book {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), postgrestest.NewEmpty(t).URL)
	require.NoError(t, err)
	b := &book{pool: pool}
	t.Cleanup(func() {
		b.late.Wait()
		pool.Close()
	})
	_, err = pool.Exec(t.Context(), "create table book (id text primary key, said jsonb not null)")
	require.NoError(t, err)
	for _, id := range []string{"1", "2"} {
		_, err = pool.Exec(t.Context(), "insert into book values ($1, $2)", id, begun)
		require.NoError(t, err)
	}
	return b
}

func (b *book) look(ctx context.Context, id string) (s standing, err error) {
	err = b.pool.QueryRow(ctx, "select said from book where id = $1", id).Scan(&s)
	return s, err
}

func (b *book) change(ctx context.Context, id string, decide func(standing) (standing, string)) (after standing, code string, err error) {
	tx, err := b.pool.Begin(ctx)
	if err != nil {
		return standing{}, "", err
	}
	var before standing
	if err = tx.QueryRow(ctx, "select said from book where id = $1 for update", id).Scan(&before); err == nil {
		after, code = decide(before)
		if b.epoch != nil && after.Epoch != before.Epoch {
			after.Epoch, err = b.epoch(ctx, id)
		}
	}
	if err == nil {
		_, err = tx.Exec(ctx, "update book set said = $2 where id = $1", id, after)
	}
	if err != nil {
		return standing{}, "", errors.Join(err, tx.Rollback(context.WithoutCancel(ctx)))
	}
	if !b.early {
		return after, code, tx.Commit(ctx)
	}
	b.late.Go(func() { b.commitLate(context.WithoutCancel(ctx), tx) })
	return after, code, nil
}

// commitLate is what follows an answer that was given too early: the commit comes later, or the process dies before.
func (b *book) commitLate(ctx context.Context, tx pgx.Tx) {
	conversation.Pause(ctx, time.Duration(rand.Int64N(int64(8*time.Millisecond))))
	if rand.IntN(5) == 0 {
		_ = tx.Rollback(ctx)
		return
	}
	_ = tx.Commit(ctx)
}

func TestControlAnswerBeforeCommit(t *testing.T) {
	t.Parallel()
	broken := newBook(t)
	broken.early = true
	clerk{broken.look, broken.change}.mustFail(t)
	sound := newBook(t)
	clerk{sound.look, sound.change}.mustPass(t)
}

// TestControlEpochFromRedis: everything is guarded well, but the epoch is a counter in Redis, and Redis is flushed.
func TestControlEpochFromRedis(t *testing.T) {
	t.Parallel()
	cache := redisOf(t)
	minted := func(t *testing.T) *book {
		b := newBook(t)
		for _, id := range []string{"1", "2"} {
			require.NoError(t, cache.Set(t.Context(), "epoch:"+id, begun.Epoch, 0).Err())
		}
		b.epoch = func(ctx context.Context, id string) (int64, error) { return cache.Incr(ctx, "epoch:"+id).Result() }
		return b
	}
	sound := minted(t)
	clerk{sound.look, sound.change}.mustPass(t)

	broken := minted(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go flushEvery(ctx, cache, 50*time.Millisecond)
	clerk{broken.look, broken.change}.mustFail(t)
}

func flushEvery(ctx context.Context, cache *goredis.Client, every time.Duration) {
	for conversation.Pause(ctx, every) {
		_ = cache.FlushAll(ctx)
	}
}

// TestControlHistory: one wrong answer in a long history is enough.
func TestControlHistory(t *testing.T) {
	t.Parallel()
	sound := newBook(t)
	h := load{service: clerk{sound.look, sound.change}, ids: []string{"1"}, clients: 4, ops: 20, pause: 4 * time.Millisecond}.run(t.Context())
	require.Equal(t, porcupine.Ok, h.verify().result)
	for i, op := range h.ops {
		a := op.Output.(answer)
		if op.Input.(request).Kind != read || i < len(h.ops)/2 {
			continue
		}
		a.Standing.Epoch--
		h.ops[i].Output = a
		require.Equal(t, porcupine.Illegal, h.verify().result, fmt.Sprint("operation ", i))
		h.ops[i].Output = op.Output
		return
	}
	t.Fatal("no read in the second half")
}
