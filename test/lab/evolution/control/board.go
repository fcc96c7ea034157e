// Package control is the tests' hand on the stand-in: what was sent out, faults for the next sends, lost and repeated webhooks.
//
// None of it exists in Evolution API. It is served on a port of its own, under /lab, and only when LAB_CONTROL_ADDR is set.
package control

import (
	"context"
	"slices"
	"sync"
	"time"

	"plantao/test/lab/evolution/jid"
	"plantao/test/lab/evolution/webhook"
)

// keep bounds what is remembered of the past, so that a long run does not eat memory.
const keep = 10_000

// Action is what goes wrong with a send.
type Action string

// The actions of a Fault.
const (
	Hold   Action = "hold"   // wait until release
	Delay  Action = "delay"  // wait delay_ms
	Status Action = "status" // answer with a status of 400 or more
	Close  Action = "close"  // close the connection without an answer
)

// Fault is what to do to the next sends. The zero value does nothing.
type Fault struct {
	Action Action `json:"action"`
	// After acts after the message was stored, sent and told to the webhook, so that the caller does not learn of a success.
	After bool `json:"after,omitempty"`
	// Count is how many sends it still binds; 0 in a request means 1.
	Count int `json:"count"`
	// Number binds only sends to that number (digits or jid); empty means any.
	Number string `json:"number,omitempty"`
	// DelayMS is the wait of action delay, in milliseconds.
	DelayMS int `json:"delay_ms,omitempty"`
	// Status and Message are the answer of action status. A nil message means the words of the status.
	Status  int   `json:"status,omitempty"`
	Message []any `json:"message,omitempty"`
}

// Sent is one message that left for a customer.
type Sent struct {
	Instance    string `json:"instance"`
	Number      string `json:"number"`
	RemoteJID   string `json:"remoteJid"`
	ID          string `json:"id"`
	MessageType string `json:"messageType"`
	Text        string `json:"text,omitempty"`
	// At is when it left: after the delay of the call, before the answer.
	At time.Time `json:"at"`
}

// Try is one request to a webhook. Status 0 means no answer came.
type Try struct {
	Event  string    `json:"event"`
	URL    string    `json:"url"`
	Status int       `json:"status"`
	At     time.Time `json:"at"`
}

type drop struct {
	event string // "" means any
	count int    // below 0 means no end
}

// Board holds what tests asked for and what they want to know. The zero value is ready; it is safe for concurrent use.
type Board struct {
	mu      sync.Mutex
	faults  []Fault
	release chan struct{} // closed to let held sends go; nil while none was ever held
	holding int
	sent    []Sent
	absent  map[string]bool // users that are not on WhatsApp
	drops   []drop
	tries   []Try
	last    map[string]webhook.Delivery // by event; "" is the last of all

	shown    shown
	contents []content
	offline  []Incoming // kept by WhatsApp for phones that are not connected
}

// NextFault takes the fault that binds a send to number, if any.
func (b *Board) NextFault(number string) Fault {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, f := range b.faults {
		if f.Number != "" && jid.User(jid.Create(f.Number)) != jid.User(jid.Create(number)) {
			continue
		}
		if b.faults[i].Count--; b.faults[i].Count <= 0 {
			b.faults = slices.Delete(b.faults, i, i+1)
		}
		return f
	}
	return Fault{}
}

// Await blocks a held send until Release or the end of ctx.
func (b *Board) Await(ctx context.Context) {
	b.mu.Lock()
	if b.release == nil {
		b.release = make(chan struct{})
	}
	released := b.release
	b.holding++
	b.mu.Unlock()
	select {
	case <-released:
	case <-ctx.Done():
	}
	b.mu.Lock()
	b.holding--
	b.mu.Unlock()
}

// Release lets all held sends go and returns how many there were.
func (b *Board) Release() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.release != nil {
		close(b.release)
		b.release = nil
	}
	return b.holding
}

// AddFault binds the next sends.
func (b *Board) AddFault(f Fault) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f.Count = max(f.Count, 1)
	b.faults = append(b.faults, f)
}

// ClearFaults forgets all faults and lets held sends go.
func (b *Board) ClearFaults() {
	b.mu.Lock()
	b.faults = nil
	b.mu.Unlock()
	b.Release()
}

// Faults tells which faults wait and how many sends are held.
func (b *Board) Faults() (waiting []Fault, holding int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.faults), b.holding
}

// Record remembers a message that left.
func (b *Board) Record(s Sent) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent = bounded(append(b.sent, s))
}

// Sent lists messages in the order they left. Empty arguments do not filter; number may be digits or a jid.
func (b *Board) Sent(instance, number string) []Sent {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := []Sent{}
	for _, s := range b.sent {
		if instance != "" && s.Instance != instance {
			continue
		}
		if number != "" && jid.User(jid.Create(s.Number)) != jid.User(jid.Create(number)) {
			continue
		}
		out = append(out, s)
	}
	return out
}

// ForgetSent empties the list.
func (b *Board) ForgetSent() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent = nil
}

// SetAbsent says which numbers are not on WhatsApp; all others are.
func (b *Board) SetAbsent(numbers []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.absent = make(map[string]bool, len(numbers))
	for _, n := range numbers {
		b.absent[jid.User(jid.Create(n))] = true
	}
}

// Absent tells whether a jid is not on WhatsApp.
func (b *Board) Absent(j string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.absent[jid.User(j)]
}

// AddDrop loses the next count events of that name ("" any); a count below 0 loses all, 0 stops losing any.
func (b *Board) AddDrop(event string, count int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drops = slices.DeleteFunc(b.drops, func(d drop) bool { return d.event == event })
	if count != 0 {
		b.drops = append(b.drops, drop{event: event, count: count})
	}
}

// Drop implements webhook.Tap.
func (b *Board) Drop(event string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, d := range b.drops {
		if d.event != "" && d.event != event {
			continue
		}
		if b.drops[i].count--; b.drops[i].count == 0 {
			b.drops = slices.Delete(b.drops, i, i+1)
		}
		return true
	}
	return false
}

// Tried implements webhook.Tap.
func (b *Board) Tried(d webhook.Delivery, status int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.last == nil {
		b.last = make(map[string]webhook.Delivery)
	}
	b.last[""], b.last[d.Event] = d, d
	b.tries = bounded(append(b.tries, Try{Event: d.Event, URL: d.URL, Status: status, At: time.Now()}))
}

// Tries lists the requests to webhooks, oldest first.
func (b *Board) Tries() []Try {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]Try{}, b.tries...)
}

// Last returns the delivery tried last, of that event or of any ("").
func (b *Board) Last(event string) (d webhook.Delivery, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	d, ok = b.last[event]
	return d, ok
}

func bounded[T any](list []T) []T {
	if len(list) > keep {
		return slices.Delete(list, 0, len(list)-keep)
	}
	return list
}
