package standin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Keys as Sidekiq names them; Chatwoot sets no namespace for them.
const (
	scheduleKey  = "schedule"
	processesKey = "processes"
	cablePrefix  = "chatwoot_production_action_cable:"
)

// queues in the order of config/sidekiq.yml: a worker always takes from the first that is not empty.
var queues = []string{"critical", "high", "medium", "default", "mailers", "action_mailbox_routing", "low", "scheduled_jobs", "deferred", "purgable", "housekeeping", "async_database_migration", "active_storage_analysis", "active_storage_purge", "action_mailbox_incineration"}

// job is one entry of a queue, in Sidekiq's shape.
type job struct {
	Class     string          `json:"class"`
	JID       string          `json:"jid"`
	Queue     string          `json:"queue"`
	CreatedAt float64         `json:"created_at"`
	Executed  int             `json:"executions"`
	Args      json.RawMessage `json:"args"`
}

// enqueue puts a job on its queue, at once or after a wait.
func (a *App) enqueue(ctx context.Context, class, queue string, args any) error {
	raw, err := json.Marshal(args)
	if err != nil {
		return fmt.Errorf("encode job %s: %w", class, err)
	}
	return a.push(ctx, job{Class: class, JID: token(), Queue: queue, CreatedAt: unixFloat(time.Now()), Args: raw}, 0)
}

func (a *App) push(ctx context.Context, j job, wait time.Duration) error {
	raw, err := json.Marshal(j)
	if err != nil {
		return fmt.Errorf("encode job %s: %w", j.Class, err)
	}
	if wait > 0 {
		err = a.redis.ZAdd(ctx, scheduleKey, redis.Z{Score: unixFloat(time.Now().Add(wait)), Member: raw}).Err()
	} else {
		_, err = a.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
			p.SAdd(ctx, "queues", j.Queue)
			p.LPush(ctx, "queue:"+j.Queue, raw)
			return nil
		})
	}
	if err != nil {
		return fmt.Errorf("enqueue %s: %w", j.Class, err)
	}
	return nil
}

func unixFloat(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

// Work is the worker process: it runs jobs until ctx ends, then lets the running ones finish. A job taken from the
// queue by a worker that is killed is lost, as in the open-source Sidekiq.
func (a *App) Work(ctx context.Context) error {
	if err := a.CheckPrepared(ctx); err != nil {
		return err
	}
	a.log.InfoContext(ctx, "worker started", "concurrency", a.env.Concurrency)
	var wg sync.WaitGroup
	for range a.env.Concurrency {
		wg.Go(func() { a.workLoop(ctx) })
	}
	wg.Go(func() { a.every(ctx, 500*time.Millisecond, a.promoteDue) })
	wg.Go(func() { a.every(ctx, 5*time.Second, a.heartbeat) })
	wg.Wait()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := a.redis.SRem(ctx, processesKey, processIdentity()).Err(); err != nil {
		return fmt.Errorf("sign the worker off: %w", err)
	}
	return nil
}

func (a *App) every(ctx context.Context, interval time.Duration, do func(context.Context) error) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if err := do(ctx); err != nil && ctx.Err() == nil {
			a.log.WarnContext(ctx, "redis failed", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (a *App) workLoop(ctx context.Context) {
	keys := make([]string, len(queues))
	for i, q := range queues {
		keys[i] = "queue:" + q
	}
	for ctx.Err() == nil {
		got, err := a.redis.BRPop(ctx, time.Second, keys...).Result()
		if errors.Is(err, redis.Nil) || (err != nil && ctx.Err() != nil) {
			continue
		}
		if err != nil {
			a.log.WarnContext(ctx, "redis failed", "err", err)
			wait(ctx, time.Second)
			continue
		}
		// A job that came with the stop signal is run all the same: it has left the queue.
		var j job
		if err := json.Unmarshal([]byte(got[1]), &j); err != nil {
			a.log.ErrorContext(ctx, "job is not readable", "queue", got[0], "err", err)
			continue
		}
		// Detached, so that a stop signal does not cut a job in two.
		jobCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 25*time.Second)
		if err := a.runJob(jobCtx, j); err != nil {
			a.log.ErrorContext(ctx, "job failed", "class", j.Class, "jid", j.JID, "err", err)
		}
		cancel()
	}
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func (a *App) runJob(ctx context.Context, j job) error {
	switch j.Class {
	case "EventDispatcherJob":
		return runWith(ctx, j, a.dispatch)
	case "WebhookJob", "AgentBots::WebhookJob":
		var d delivery
		if err := json.Unmarshal(j.Args, &d); err != nil {
			return fmt.Errorf("decode %s: %w", j.Class, err)
		}
		return a.deliver(ctx, j, d)
	case "Conversations::ActivityMessageJob":
		return runWith(ctx, j, a.createActivity)
	}
	return fmt.Errorf("uninitialized constant %s (NameError)", j.Class)
}

func runWith[T any](ctx context.Context, j job, run func(context.Context, T) error) error {
	var args T
	if err := json.Unmarshal(j.Args, &args); err != nil {
		return fmt.Errorf("decode %s: %w", j.Class, err)
	}
	return run(ctx, args)
}

// promoteDue moves scheduled jobs whose time has come to their queues.
func (a *App) promoteDue(ctx context.Context) error {
	for {
		now := strconv.FormatFloat(unixFloat(time.Now()), 'f', 6, 64)
		raw, err := popDue.Run(ctx, a.redis, []string{scheduleKey}, now).Text()
		if errors.Is(err, redis.Nil) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("poll scheduled jobs: %w", err)
		}
		var j job
		if err := json.Unmarshal([]byte(raw), &j); err != nil {
			return fmt.Errorf("decode scheduled job: %w", err)
		}
		if err := a.push(context.WithoutCancel(ctx), j, 0); err != nil {
			return err
		}
	}
}

func processIdentity() string {
	host, _ := os.Hostname() // only a name
	return fmt.Sprintf("%s:%d", host, os.Getpid())
}

// heartbeat writes what Sidekiq's does: the set of processes, and a hash per process that expires after a minute.
func (a *App) heartbeat(ctx context.Context) error {
	id := processIdentity()
	_, err := a.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.SAdd(ctx, processesKey, id)
		p.HSet(ctx, id, "beat", unixFloat(time.Now()), "concurrency", a.env.Concurrency)
		p.Expire(ctx, id, time.Minute)
		return nil
	})
	if err != nil {
		return fmt.Errorf("write heartbeat: %w", err)
	}
	return nil
}
