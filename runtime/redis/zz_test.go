package redis

import (
	"context"
	"crypto/rand"
	"log/slog"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"plantao/runtime/conversation"
	"plantao/runtime/redis/redistest"
)

func BenchmarkLone(b *testing.B) {
	server := redistest.New(b, "--appendonly", "yes", "--appendfsync", "everysec")
	c, _ := Open(Config{URL: server.URL})
	defer c.Close()
	l := NewLocker(c, slog.New(slog.DiscardHandler))
	opt, _ := goredis.ParseURL(server.URL)
	bare := goredis.NewClient(opt)
	acq := goredis.NewScript(`if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end return 0`)
	rel := goredis.NewScript(`if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`)
	own := goredis.NewScript(lockScript)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	run := map[string]func(){
		"1ours": func() {
			r := conversation.LockRequest{Tenant: "bench", Conversation: 1, Fence: 7, Token: rand.Text(), TTL: 30 * time.Second}
			if l.Acquire(ctx, r) != nil || l.Release(ctx, r) != nil {
				b.Fatal()
			}
		},
		"2bare": func() {
			k, t := []string{"router:lock:k:1"}, rand.Text()
			if acq.Run(ctx, bare, k, t, 30000).Err() != nil || rel.Run(ctx, bare, k, t).Err() != nil {
				b.Fatal()
			}
		},
		"3bareOwnScript": func() {
			k, t := []string{"router:lock:k:2"}, "7:"+rand.Text()
			if own.Run(ctx, bare, k, "acquire", t, 30000).Err() != nil || own.Run(ctx, bare, k, "release", t, 0).Err() != nil {
				b.Fatal()
			}
		},
		"4bareOurClient": func() {
			k, t := []string{"router:lock:k:1"}, rand.Text()
			if acq.Run(ctx, c.redis, k, t, 30000).Err() != nil || rel.Run(ctx, c.redis, k, t).Err() != nil {
				b.Fatal()
			}
		},
		"5bareGoroutine": func() {
			k, t := []string{"router:lock:k:1"}, rand.Text()
			done := make(chan error, 1)
			go func() { done <- acq.Run(ctx, bare, k, t, 30000).Err() }()
			<-done
			go func() { done <- rel.Run(ctx, bare, k, t).Err() }()
			<-done
		},
	}
	for _, n := range []string{"1ours", "2bare", "3bareOwnScript", "4bareOurClient", "5bareGoroutine"} {
		b.Run(n, func(b *testing.B) {
			for range b.N {
				run[n]()
			}
		})
	}
}
