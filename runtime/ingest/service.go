// Package ingest takes webhooks in: whose they are, what they mean, and their row committed before anybody says 200.
package ingest

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"plantao/runtime/conversation"
	"plantao/runtime/failpoint"
)

// channelTTL is how long a channel is believed without asking the database again. A secret that does not fit is always
// checked against the database, so a rotated secret works at once.
const channelTTL = 5 * time.Second

// Observer counts what arrives.
type Observer interface {
	// Received is called once for each committed webhook; state is "duplicate" for one seen before.
	Received(kind, state string)
}

// Config holds what a Service needs; every field is required.
type Config struct {
	Store    conversation.Inbox
	Decode   func(body []byte) (conversation.Event, error)
	Window   conversation.Window
	Wake     func() // called after a commit that gives an agent work
	Observer Observer
	Logger   *slog.Logger
}

// Service is safe for concurrent use.
type Service struct {
	c        Config
	mu       sync.Mutex
	channels map[string]cachedChannel
}

type cachedChannel struct {
	conversation.Channel
	read time.Time
}

// New makes a Service.
func New(c Config) *Service {
	return &Service{c: c, channels: map[string]cachedChannel{}}
}

// Authorize finds the channel and compares the secret's SHA-256 in constant time. Errors: conversation.ErrUnknownChannel,
// ErrWrongSecret, ErrUnavailable.
func (s *Service) Authorize(ctx context.Context, channel, secret string) (conversation.Channel, error) {
	sum := sha256.Sum256([]byte(secret))
	fits := func(c conversation.Channel) bool {
		return subtle.ConstantTimeCompare(sum[:], c.HookSecretSHA256[:]) == 1 && secret != ""
	}
	if c, ok := s.cached(channel); ok && fits(c) {
		return c, nil
	}
	c, err := s.c.Store.Channel(ctx, channel)
	if err != nil {
		return conversation.Channel{}, err
	}
	if !fits(c) {
		return conversation.Channel{}, fmt.Errorf("channel %q: %w", channel, conversation.ErrWrongSecret)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.channels[channel] = cachedChannel{Channel: c, read: time.Now()}
	return c, nil
}

func (s *Service) cached(name string) (conversation.Channel, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.channels[name]
	return c.Channel, ok && time.Since(c.read) < channelTTL
}

// Receive decodes, judges and commits one webhook. When it returns without error the row is in the database, now or from
// before. Errors: conversation.ErrMalformed, ErrUnavailable.
func (s *Service) Receive(ctx context.Context, ch conversation.Channel, body []byte) (conversation.Receipt, error) {
	e, err := s.c.Decode(body)
	if err != nil {
		return conversation.Receipt{}, err
	}
	e.Tenant, e.Channel = ch.Tenant, ch.Name
	e.State, e.Reason = judge(e)
	r, err := s.c.Store.Receive(ctx, e, s.c.Window)
	if err != nil {
		return conversation.Receipt{}, err
	}
	failpoint.Hit("ingest.committed")
	state := string(r.State)
	if r.Duplicate {
		state = "duplicate"
	}
	s.c.Observer.Received(string(e.Kind), state)
	s.c.Logger.DebugContext(ctx, "webhook stored", "channel", ch.Name, "kind", e.Kind, "state", state, "reason", r.Reason,
		"conversation", r.Conversation)
	if r.State == conversation.Pending {
		s.c.Wake()
	}
	return r, nil
}
