// Package channel watches over the channels: how each stands with WhatsApp, and whether webhooks of it were lost.
//
// Evolution tells of an end only when no reconnection follows; short drops are silent (facts §8.7). So each replica asks for itself, every
// so often and whenever an event says that something happened. What it finds is in the channel's row, where the later look counts and the
// replica that changes it tells the operator, once.
package channel

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"plantao/runtime/conversation"
)

// MonitorConfig holds what a Monitor needs; every field is required.
type MonitorConfig struct {
	Store conversation.Lines
	Phone conversation.Phone
	// Poll is how often Evolution is asked for each channel.
	Poll time.Duration
	// Refresh is how often the store is read, so that one replica knows what another has found.
	Refresh time.Duration
	Logger  *slog.Logger
}

// Monitor is safe for concurrent use.
type Monitor struct {
	c     MonitorConfig
	hints chan hint

	mu      sync.Mutex
	lines   map[string]line
	changed chan struct{} // closed, and made anew, when a channel's state changes
}

type line struct {
	state  conversation.ConnectionState
	silent int // how often in a row Evolution did not answer
}

// hint is an event that says how a channel stands.
type hint struct {
	channel string
	conversation.Connection
}

// maxHints is how many events may wait to be looked into; more tell nothing new.
const maxHints = 64

// NewMonitor makes a Monitor; Run works.
func NewMonitor(c MonitorConfig) *Monitor {
	return &Monitor{c: c, hints: make(chan hint, maxHints), lines: map[string]line{}, changed: make(chan struct{})}
}

// Happened tells of an event of a channel's. Events come in any order and late, so the state in it is no more than a reason to ask. It
// never blocks.
func (m *Monitor) Happened(channel string, c conversation.Connection) {
	select {
	case m.hints <- hint{channel, c}:
	default:
	}
}

// Await waits until the channel is connected, or not known not to be; false if ctx ended first.
func (m *Monitor) Await(ctx context.Context, channel string) bool {
	for {
		m.mu.Lock()
		l, changed := m.lines[channel], m.changed
		m.mu.Unlock()
		if usable(l.state) {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-changed:
		}
	}
}

func usable(s conversation.ConnectionState) bool {
	return s == "" || s == conversation.ConnectionUnknown || s == conversation.ConnectionOpen
}

// Connected says of each channel whether it is connected, as far as this replica can see.
func (m *Monitor) Connected() map[string]bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make(map[string]bool, len(m.lines))
	for name, l := range m.lines {
		all[name] = l.state == conversation.ConnectionOpen && l.silent < silentAfter
	}
	return all
}

// silentAfter is after how many unanswered questions a channel no longer counts as connected.
const silentAfter = 2

// Run works until ctx ends.
func (m *Monitor) Run(ctx context.Context) {
	refresh := time.NewTicker(m.c.Refresh)
	defer refresh.Stop()
	var polled time.Time
	for {
		m.refresh(ctx)
		if polled.IsZero() || time.Since(polled) >= m.c.Poll {
			if m.pollAll(ctx) {
				polled = time.Now()
			}
		}
		select {
		case <-ctx.Done():
			return
		case h := <-m.hints:
			m.look(ctx, h)
		case <-refresh.C:
		}
	}
}

// refresh reads what is known. A database that is down is reported by the dispatcher's poll.
func (m *Monitor) refresh(ctx context.Context) {
	list, err := m.c.Store.Lines(ctx, "")
	if err != nil {
		return
	}
	known := make(map[string]bool, len(list))
	for _, l := range list {
		known[l.Name] = true
		m.set(l.Name, func(l2 *line) { l2.state = l.State })
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range m.lines {
		if !known[name] {
			delete(m.lines, name)
		}
	}
}

func (m *Monitor) set(name string, change func(*line)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.lines[name]
	after := before
	change(&after)
	m.lines[name] = after
	if after.state != before.state {
		close(m.changed)
		m.changed = make(chan struct{})
	}
}

// pollAll asks for each channel; false if none is known yet.
func (m *Monitor) pollAll(ctx context.Context) bool {
	m.mu.Lock()
	names := make([]string, 0, len(m.lines))
	for name := range m.lines {
		names = append(names, name)
	}
	m.mu.Unlock()
	var asking sync.WaitGroup
	for _, name := range names {
		asking.Go(func() { m.ask(ctx, name, nil) })
	}
	asking.Wait()
	return len(names) > 0
}

// look looks into an event.
func (m *Monitor) look(ctx context.Context, h hint) {
	m.mu.Lock()
	_, known := m.lines[h.channel]
	m.mu.Unlock()
	if !known {
		return
	}
	m.ask(ctx, h.channel, &h)
	if h.State == conversation.ConnectionOpen {
		// It may have been away so shortly that nobody saw it.
		if err := m.c.Store.SweepSoon(ctx, h.channel); err != nil {
			m.c.Logger.WarnContext(ctx, "sweep not asked for; the next one comes by itself", "channel", h.channel, "err", err)
		}
	}
}

// ask asks how the channel stands and writes it down. What an event said counts where Evolution says the same, for the reason it gives,
// and where Evolution does not answer.
func (m *Monitor) ask(ctx context.Context, name string, h *hint) {
	start := time.Now()
	now, err := m.c.Phone.Connection(ctx, name)
	if ctx.Err() != nil {
		return
	}
	silent := err != nil
	m.set(name, func(l *line) {
		switch {
		case !silent:
			l.silent = 0
		default:
			if l.silent++; l.silent == silentAfter {
				m.c.Logger.WarnContext(ctx, "evolution does not say how the channel stands", "channel", name, "err", err)
			}
		}
	})
	switch {
	case silent && h == nil:
		return
	case silent:
		now = h.Connection
	case h != nil && h.State == now.State:
		now.Reason = h.Reason
	}
	before, changed, err := m.c.Store.SetConnection(ctx, name, now, time.Since(start))
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			m.c.Logger.WarnContext(ctx, "connection of channel not recorded", "channel", name, "err", err)
		}
		return
	}
	if changed {
		m.set(name, func(l *line) { l.state = now.State })
		if before.State != now.State {
			m.tell(ctx, name, before, now)
		}
	}
}

// tell tells the operator. Only the replica whose look changed the row gets here.
func (m *Monitor) tell(ctx context.Context, name string, before, now conversation.Connection) {
	log := m.c.Logger.With("channel", name, "before", before.State, "reason", now.Reason)
	switch {
	case now.State == conversation.ConnectionOpen:
		log.InfoContext(ctx, "channel is connected to WhatsApp")
	case now.Reason == conversation.ReasonNoInstance:
		log.ErrorContext(ctx, "channel has no instance in Evolution: nothing comes in and nothing goes out; run `router wire`, which makes it, "+
			"and pair it with `plantao channel qr`")
	case now.State == conversation.ConnectionConnecting:
		log.WarnContext(ctx, "channel is not connected to WhatsApp; if it does not come back, pair it with `plantao channel qr`")
	default:
		log.ErrorContext(ctx, "channel is not connected to WhatsApp: nothing comes in and nothing goes out; pair it with `plantao channel qr`")
	}
}
