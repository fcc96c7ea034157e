package fault

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"plantao/runtime/conversation"
)

// message is what a customer wrote.
type message struct {
	ID    string
	Text  string
	Tries int
	Acked bool // some replica answered 200 to it
}

// customer writes messages, and Evolution delivers them: it repeats what was not answered with 200, and now and then what was.
type customer struct {
	JID  string
	post func(ctx context.Context, body string) int
	rng  *rand.Rand // of the customer's own goroutine

	mu       sync.Mutex
	messages []*message
}

// write sends so many messages with pauses up to the given one. It stops to begin new ones when writing ends; what is begun is
// delivered until delivering ends.
func (u *customer) write(writing, delivering context.Context, prefix string, n int, pause time.Duration) {
	var all sync.WaitGroup
	for i := range n {
		if i > 0 && !conversation.Pause(writing, time.Duration(u.rng.Int64N(int64(pause)+1))) {
			break
		}
		m := &message{ID: prefix + string(rune('A'+i%26)) + string(rune('a'+i/26)), Text: "oi"}
		u.mu.Lock()
		u.messages = append(u.messages, m)
		u.mu.Unlock()
		again := u.rng.IntN(10) == 0
		all.Go(func() { u.deliver(delivering, m, again) })
	}
	all.Wait()
}

// deliver posts a message until it is answered with 200.
func (u *customer) deliver(ctx context.Context, m *message, again bool) {
	body := upsert(m.ID, u.JID, m.Text)
	for try := 1; ctx.Err() == nil; try++ {
		u.mu.Lock()
		m.Tries = try
		u.mu.Unlock()
		if u.post(ctx, body) == http.StatusOK {
			u.mu.Lock()
			m.Acked = true
			u.mu.Unlock()
			if again {
				u.post(ctx, body)
			}
			return
		}
		conversation.Pause(ctx, conversation.Backoff(try, 20*time.Millisecond, 300*time.Millisecond))
	}
}

// acked are the ids of the messages that were answered with 200.
func (u *customer) acked() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	var ids []string
	for _, m := range u.messages {
		if m.Acked {
			ids = append(ids, m.ID)
		}
	}
	return ids
}
