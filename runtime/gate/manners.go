package gate

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"plantao/runtime/conversation"
)

const (
	// mannersAtOnce bounds the calls under way: each lasts as long as what it shows.
	mannersAtOnce = 32
	// maxTyping is how long typing is shown by one call.
	maxTyping = 20 * time.Second
	// mannersTimeout is how much longer than what it shows a call may take.
	mannersTimeout = 10 * time.Second
)

// manners does what is nice and not needed, in the background: nobody waits for it, and its failures are nobody's trouble.
type manners struct {
	to     conversation.Manners
	log    *slog.Logger
	slots  chan struct{}
	ctx    context.Context // ends with the gate: the calls belong to no turn
	cancel context.CancelFunc

	mu      sync.Mutex // orders the start of a call before the wait for its end
	running sync.WaitGroup
}

func newManners(to conversation.Manners, log *slog.Logger) *manners {
	if to == nil {
		return nil
	}
	m := &manners{to: to, log: log, slots: make(chan struct{}, mannersAtOnce)}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m
}

func (m *manners) close() {
	if m == nil {
		return
	}
	m.mu.Lock()
	m.cancel()
	m.mu.Unlock()
	m.running.Wait()
}

func (m *manners) start(what string, lasts time.Duration, do func(context.Context) error) {
	if m == nil {
		return
	}
	select {
	case m.slots <- struct{}{}:
	default:
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ctx.Err() != nil {
		<-m.slots
		return
	}
	m.running.Go(func() {
		defer func() { <-m.slots }()
		ctx, cancel := context.WithTimeout(m.ctx, lasts+mannersTimeout)
		defer cancel()
		if err := do(ctx); err != nil {
			m.log.DebugContext(ctx, what+" not shown", "err", err)
		}
	})
}

// typing shows that a part is being typed, or spoken.
func (m *manners) typing(t conversation.Turn, p conversation.QueuedPart, d time.Duration) {
	d = min(d, maxTyping)
	recording := p.Media != nil && p.Media.Kind == conversation.MediaAudio
	m.start("typing", d, func(ctx context.Context) error {
		return m.to.ShowTyping(ctx, t.Channel, t.Contact.JID, recording, d)
	})
}

// read marks the messages as read that are being answered.
func (m *manners) read(t conversation.Turn) {
	var ids []string
	for _, message := range t.Messages {
		if !strings.Contains(message.ID, "/") { // an edit is no message of its own
			ids = append(ids, message.ID)
		}
	}
	if len(ids) == 0 {
		return
	}
	m.start("read mark", 0, func(ctx context.Context) error { return m.to.MarkRead(ctx, t.Channel, t.Contact.JID, ids) })
}
