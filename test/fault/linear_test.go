package fault

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
	"plantao/test/figure"
)

// TestLinearizable: what clients of three replicas see is what one clerk with one book would tell them, one after the other,
// through kills, a flushed Redis and broken connections.
func TestLinearizable(t *testing.T) {
	c := newCluster(t, calm)
	seed := rand.Uint64N(1_000_000)
	ops, slowest, told := 0, time.Duration(0), map[string]int{}
	for n := range histories() {
		h, fault := record(t, c, seed, n)
		v := h.verify()
		ops, slowest = ops+len(h.ops), max(slowest, v.took)
		h.count(told)
		if v.result != porcupine.Ok {
			t.Fatalf("history %d, seed %d, with %s: %s after %s; see %s\n%s", n, seed, fault, v.result, v.took, v.picture(t), c.logs(8<<10))
		}
	}
	t.Logf("%d histories with %d operations, seed %d; the slowest check took %s; %v", histories(), ops, seed, slowest, told)
	sheet.Add(figure.Count("linearizable-histories", histories(), histories()))
	sheet.Add(figure.Seconds("linearizability-check-slowest", slowest, time.Second))
}

// calm has routers that change nothing by themselves but give a waiting conversation to the flow: all else the model would
// have to guess.
var calm = settings{
	binary: withFailpoints, lease: 600 * time.Millisecond, deadline: 5 * time.Minute, patience: time.Hour, evolutionTimeout: 2 * time.Second,
}

// mild are the faults of a history. Each is over when it returns.
var mild = []struct {
	name string
	do   func(ctx context.Context, c *cluster, rng *rand.Rand)
}{
	{"no fault", func(context.Context, *cluster, *rand.Rand) {}},
	{"a kill between commit and answer", func(_ context.Context, c *cluster, rng *rand.Rand) {
		c.replicas[rng.IntN(replicas)].points.arm(pointVerb, "kill", 1+rng.IntN(4))
	}},
	{"a kill", func(_ context.Context, c *cluster, rng *rand.Rand) { c.replicas[rng.IntN(replicas)].kill() }},
	{"redis flushed", func(ctx context.Context, c *cluster, _ *rand.Rand) {
		for range 5 {
			_ = c.redis.FlushAll(ctx)
			conversation.Pause(ctx, 100*time.Millisecond)
		}
	}},
	{"postgres cut off", func(ctx context.Context, c *cluster, rng *rand.Rand) { blink(ctx, c, c.toPG[rng.IntN(replicas)]) }},
	{"redis cut off", func(ctx context.Context, c *cluster, rng *rand.Rand) { blink(ctx, c, c.toRedis[rng.IntN(replicas)]) }},
}

func blink(ctx context.Context, c *cluster, l *link) {
	l.cut()
	conversation.Pause(ctx, 100*time.Millisecond)
	if err := l.mend(); err != nil {
		c.t.Error(err)
	}
}

// record makes the nth history: eight clients on three conversations of their own, while customers write and something goes
// wrong.
func record(t *testing.T, c *cluster, seed uint64, n int) (*history, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	rng, moods := rand.New(rand.NewPCG(seed, uint64(n))), rand.New(rand.NewPCG(seed, uint64(n)<<8))
	for _, a := range actors {
		c.as(a) // tokens are made here: a client's goroutine may not fail the test
	}
	service := &routers{c: c, turns: map[string]asked{}, from: len(c.flow.requests(0))}
	fromAsked, fromReceipt := service.from, len(c.phone.receipts(0))
	ids := c.answered(ctx, t, n, 3)
	c.flow.behave(func(flowRequest) manner { // slow enough to be asked about
		return manner{Think: time.Duration(moods.Int64N(int64(150 * time.Millisecond))), Parts: 2, Typing: 20 * time.Millisecond, Way: inResponse}
	})
	defer c.flow.behave(func(flowRequest) manner { return manner{Parts: 1, Way: inResponse} })
	writing, done := context.WithCancel(ctx)
	var others sync.WaitGroup
	for i := range ids {
		u := &customer{JID: jid(n*10 + i), rng: rand.New(rand.NewPCG(seed, uint64(n*10+i))), post: func(ctx context.Context, body string) int {
			return c.post(ctx, rand.IntN(replicas), body)
		}}
		others.Go(func() { u.write(writing, writing, fmt.Sprintf("h%d-%d-", n, i), 1000, 150*time.Millisecond) })
	}
	fault := mild[n%len(mild)]
	others.Go(func() {
		conversation.Pause(ctx, 100*time.Millisecond)
		fault.do(ctx, c, rng)
	})
	h := load{service: service, ids: ids, clients: 8, ops: 20, pause: 50 * time.Millisecond, seed: seed + uint64(n)}.run(ctx)
	done()
	others.Wait()
	service.sends(h, fromAsked, fromReceipt)
	require.NoError(t, c.heal(t.Context())) // which has a bound of its own
	return h, fault.name
}

// answered are fresh conversations the AI has just answered in.
func (c *cluster) answered(ctx context.Context, t *testing.T, n, many int) []string {
	t.Helper()
	var ids []string
	for i := range many {
		require.Equal(t, 200, c.post(ctx, i%replicas, upsert(fmt.Sprintf("h%d-%d-first", n, i), jid(n*10+i), "oi")))
		require.NoError(t, eventually(ctx, "the AI has it", func() bool {
			var id string
			err := c.pool.QueryRow(ctx, "select id::text from conversation where chat_jid = $1 and owner_kind = 'ai'", jid(n*10+i)).Scan(&id)
			if err != nil {
				return false
			}
			ids = append(ids, id)
			return true
		}))
	}
	return ids
}
