//go:build e2e

package fault

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"plantao/runtime/conversation"
)

// fault is one thing that goes wrong in a round.
type fault struct {
	name string
	// strike makes it happen and says whether it was really seen to. It ends, and is over, with ctx at the latest.
	strike func(ctx context.Context, c *cluster, rng *rand.Rand) bool
}

const crashName = "postgres crashes and restarts"

// deck is every fault there is.
func deck() []fault {
	faults := []fault{
		{"kill a router", killAny}, {"stop a router past its lease", stopAny}, {"clock of a router jumps by an hour", jumpClock},
		{"redis flushed every 100 ms", flush}, {"redis restarts without data", restartRedis}, {crashName, restartPostgres},
	}
	for _, point := range []string{pointIngested, pointClaimed, pointAnswered, pointReplied, pointPassed, pointWriting, pointWritten, pointVerb} {
		faults = append(faults, at(point, "kill"))
	}
	for _, point := range []string{pointAnswered, pointPassed, pointWriting, pointWritten} {
		faults = append(faults, at(point, "stop"))
	}
	faults = append(faults, at(pointPassed, "delay"))
	for _, statement := range lateStatements {
		faults = append(faults, late(statement))
	}
	for _, s := range []struct {
		store, greeting string
		links           func(*cluster) []*link
	}{
		{"postgres", postgresGreeting, func(c *cluster) []*link { return c.toPG }},
		{"redis", redisGreeting, func(c *cluster) []*link { return c.toRedis }},
	} {
		faults = append(faults,
			fault{s.store + " slow", broken(s.links, s.greeting, slow)}, fault{s.store + " stalls", broken(s.links, s.greeting, stall)},
			fault{s.store + " cut off from a router", broken(s.links, s.greeting, cut)}, fault{s.store + " cut off from all", broken(s.links, s.greeting, cutAll)})
	}
	return faults
}

// deal is the nth hand of so many faults from decks that are shuffled one after the other, so that every fault comes up soon.
// It depends on the seed and n only.
func deal(seed uint64, n, hand int) []fault {
	all := deck()
	var dealt []fault
	for i := n * hand; i < (n+1)*hand; i++ {
		lap := slices.Clone(all)
		rng := rand.New(rand.NewPCG(seed, uint64(i/len(all))))
		rng.Shuffle(len(lap), func(a, b int) { lap[a], lap[b] = lap[b], lap[a] })
		dealt = append(dealt, lap[i%len(all)])
	}
	return dealt
}

// at does something at a failpoint: first at one replica after a few hits, and if nobody comes by, at any.
func at(point, action string) fault {
	return fault{action + " at " + point, func(ctx context.Context, c *cluster, rng *rand.Rand) bool {
		how := action
		if action == "delay" { // longer than the sender trusts its lease: it must not write any more
			how = c.s.lease.String()
		}
		before := c.hits.count()
		defer func() {
			for _, r := range c.replicas {
				r.points.disarm(point)
			}
		}()
		fits := func(h hit) bool { return h.Point == point && h.Action == how }
		c.replicas[rng.IntN(replicas)].points.arm(point, how, 1+rng.IntN(3))
		soon, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		h, ok := c.hits.await(soon, before, fits)
		cancel()
		if !ok {
			for _, r := range c.replicas {
				r.points.arm(point, how, 1)
			}
			h, ok = c.hits.await(ctx, before, fits)
		}
		if ok && action == "stop" {
			conversation.Pause(context.WithoutCancel(ctx), c.s.lease*5/4)
			_ = syscall.Kill(h.PID, syscall.SIGCONT)
		}
		return ok
	}}
}

func killAny(_ context.Context, c *cluster, rng *rand.Rand) bool {
	r := c.replicas[rng.IntN(replicas)]
	before, _ := r.deaths()
	r.kill()
	after, _ := r.deaths()
	return after > before || eventually(context.Background(), "the death is noticed", func() bool {
		after, _ = r.deaths()
		return after > before
	}) == nil
}

func stopAny(ctx context.Context, c *cluster, rng *rand.Rand) bool {
	r := c.replicas[rng.IntN(replicas)]
	pid := r.signal(syscall.SIGSTOP)
	defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
	stopped := eventually(ctx, "the process is stopped", func() bool { return processState(pid) != 'S' && processState(pid) != 'R' }) == nil
	stopped = stopped && processState(pid) == 'T'
	conversation.Pause(context.WithoutCancel(ctx), c.s.lease+time.Duration(rng.Int64N(int64(c.s.lease))))
	return stopped && processState(pid) == 'T'
}

// processState is the state letter of proc(5); zero if there is no such process.
func processState(pid int) byte {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return rest[0]
}

func jumpClock(ctx context.Context, c *cluster, rng *rand.Rand) bool {
	p := c.replicas[rng.IntN(replicas)].points
	off := time.Hour
	if rng.IntN(2) == 0 {
		off = -time.Hour
	}
	now, err := p.setClock(ctx, off)
	conversation.Pause(ctx, time.Second)
	back, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_, _ = p.setClock(back, 0) // a process that was killed meanwhile starts with the right one
	return err == nil && time.Since(now.Add(-off)).Abs() < time.Minute
}

func flush(ctx context.Context, c *cluster, _ *rand.Rand) bool {
	done := 0
	for ctx.Err() == nil {
		if c.redis.FlushAll(ctx).Err() == nil {
			done++
		}
		conversation.Pause(ctx, 100*time.Millisecond)
	}
	return done > 1
}

func restartRedis(ctx context.Context, c *cluster, rng *rand.Rand) bool {
	mark := fmt.Sprint("mark-", rng.Int64())
	err := c.redis.Set(ctx, mark, 1, 0).Err()
	c.redis.stop()
	conversation.Pause(ctx, time.Duration(rng.Int64N(int64(300*time.Millisecond))))
	if err := c.redis.start(); err != nil {
		c.t.Error(err)
		return false
	}
	gone := c.redis.Exists(context.WithoutCancel(ctx), mark).Val() == 0
	return err == nil && gone
}

func restartPostgres(ctx context.Context, c *cluster, _ *rand.Rand) bool {
	before, _ := os.ReadFile(c.pg.logPath())
	c.pg.crash()
	if err := c.pg.start(); err != nil {
		c.t.Error(err)
		return false
	}
	after, _ := os.ReadFile(c.pg.logPath())
	return bytes.Contains(after[len(before):], []byte("database system was not properly shut down"))
}

// lateStatements are the statements whose answers matter, by their files.
var lateStatements = []string{"receive", "reply", "pass", "unsent", "sent", "unknown", "write_verb", "commit"}

// late lets PostgreSQL hear one statement late: its client is turned off before there is an answer, repeats itself on another
// connection, and then what it said first is carried out. Evolution is busy meanwhile, so that there is much to repeat.
func late(statement string) fault {
	return fault{"postgres hears " + statement + " late", func(ctx context.Context, c *cluster, rng *rand.Rand) bool {
		text := statement
		if file, err := os.ReadFile("../../runtime/postgres/sql/" + statement + ".sql"); err == nil {
			text, _, _ = strings.Cut(string(file), "\n") // says what the statement is for
		}
		t := &trap{text: text, delay: time.Duration(rng.Int64N(int64(700 * time.Millisecond))), sprung: make(chan struct{})}
		c.phone.busy(true)
		for _, l := range c.toPG {
			l.relay.lay(t)
		}
		defer func() {
			c.phone.busy(false)
			for _, l := range c.toPG {
				l.relay.lift(t)
			}
		}()
		select {
		case <-t.sprung:
			return true
		case <-ctx.Done():
			return false
		}
	}}
}

// breakage is how a link is broken, and what a probe must find then.
type breakage struct {
	all   bool
	do    func(*link) error
	found func(took time.Duration, err error) bool
}

const slowness = 80 * time.Millisecond

var (
	slow   = breakage{true, func(l *link) error { return l.slow(slowness) }, func(took time.Duration, err error) bool { return err == nil && took > slowness/2 }}
	stall  = breakage{false, (*link).stall, isBroken}
	cut    = breakage{false, func(l *link) error { l.cut(); return nil }, isBroken}
	cutAll = breakage{true, cut.do, isBroken}
)

func isBroken(_ time.Duration, err error) bool { return err != nil }

// broken breaks links to a store for a while.
func broken(links func(*cluster) []*link, greeting string, b breakage) func(context.Context, *cluster, *rand.Rand) bool {
	return func(ctx context.Context, c *cluster, rng *rand.Rand) bool {
		victims := links(c)
		if !b.all {
			i := rng.IntN(replicas)
			victims = victims[i : i+1]
		}
		var seen, failed bool
		var each sync.WaitGroup
		for _, l := range victims {
			if err := b.do(l); err != nil {
				failed = true // another fault has it already
			}
		}
		each.Go(func() { seen = b.found(victims[0].probe(greeting)) })
		conversation.Pause(ctx, 200*time.Millisecond+time.Duration(rng.Int64N(int64(400*time.Millisecond))))
		each.Wait()
		for _, l := range victims {
			if err := l.mend(); err != nil {
				c.t.Error(err)
			}
		}
		return seen && !failed
	}
}
