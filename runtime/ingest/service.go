// Package ingest takes webhooks in: whose they are, what they mean, and their row committed before anybody says 200.
package ingest

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
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
	Store  conversation.Inbox
	Decode func(body []byte) (conversation.Event, error)
	// Verify checks a token that was signed with a key made of the channel's secret.
	Verify func(token string, secretSHA256 [sha256.Size]byte, now time.Time) error
	Own    func() // called after a commit of something written on the channel's own side
	// Happened is called after a commit of an event that says how a channel stands with WhatsApp.
	Happened func(channel string, c conversation.Connection)
	Attached func() // called after a commit of something with an attachment
	Window   conversation.Window
	Wake     func() // called after a commit that gives an agent work
	Observer Observer
	Logger   *slog.Logger
}

// Service is safe for concurrent use.
type Service struct {
	c        Config
	batch    batcher
	lookups  chan struct{}
	mu       sync.Mutex
	channels map[string]cachedChannel
}

type cachedChannel struct {
	conversation.Channel
	read time.Time
}

// New makes a Service.
func New(c Config) *Service {
	return &Service{c: c, batch: batcher{store: c.Store, window: c.Window}, lookups: make(chan struct{}, lookupsAtOnce), channels: map[string]cachedChannel{}}
}

// lookupsAtOnce is how many requests that nothing is known about may ask the database: whoever tries names and secrets does not
// take the connections of those who have one.
const lookupsAtOnce = 2

// Authorize finds the channel and compares the secret's SHA-256 in constant time, or verifies the token. Errors:
// conversation.ErrUnknownChannel, ErrWrongSecret, ErrUnavailable.
func (s *Service) Authorize(ctx context.Context, channel string, p conversation.HookProof) (conversation.Channel, error) {
	var why error
	sum := sha256.Sum256([]byte(p.Secret))
	fits := func(c conversation.Channel) bool {
		if p.Secret != "" && subtle.ConstantTimeCompare(sum[:], c.HookSecretSHA256[:]) == 1 {
			return true
		}
		if p.Token != "" {
			why = s.c.Verify(p.Token, c.HookSecretSHA256, time.Now())
			return why == nil
		}
		return false
	}
	if c, ok := s.cached(channel); ok && fits(c) {
		return c, nil
	}
	c, err := s.lookup(ctx, channel)
	if err != nil {
		return conversation.Channel{}, err
	}
	if !fits(c) {
		return conversation.Channel{}, fmt.Errorf("channel %q: %w", channel, errors.Join(conversation.ErrWrongSecret, why))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.channels[channel] = cachedChannel{Channel: c, read: time.Now()}
	return c, nil
}

func (s *Service) lookup(ctx context.Context, channel string) (conversation.Channel, error) {
	select {
	case s.lookups <- struct{}{}:
		defer func() { <-s.lookups }()
		return s.c.Store.Channel(ctx, channel)
	case <-ctx.Done():
		return conversation.Channel{}, fmt.Errorf("wait to find channel: %w: %w", conversation.ErrUnavailable, ctx.Err())
	}
}

func (s *Service) cached(name string) (conversation.Channel, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.channels[name]
	return c.Channel, ok && time.Since(c.read) < channelTTL
}

// Receive decodes, judges and commits one webhook. When it returns without error the row is in the database, now or from
// before; only a contact's typing has none. Errors: conversation.ErrMalformed, ErrUnavailable.
func (s *Service) Receive(ctx context.Context, ch conversation.Channel, body []byte) (conversation.Receipt, error) {
	e, err := s.c.Decode(body)
	if err != nil {
		return conversation.Receipt{}, err
	}
	e.Tenant, e.Channel, e.Mirror = ch.Tenant, ch.Name, ch.Mirror
	if e.Kind == conversation.KindPresence {
		return s.typing(ctx, e)
	}
	judge(&e)
	r, err := s.batch.add(ctx, e)
	if err != nil {
		return conversation.Receipt{}, err
	}
	failpoint.Hit("ingest.committed")
	state := string(r.State)
	if r.Duplicate {
		state = "duplicate"
	}
	s.c.Observer.Received(string(e.Kind), state)
	if s.c.Logger.Enabled(ctx, slog.LevelDebug) {
		s.c.Logger.DebugContext(ctx, "webhook stored", "channel", ch.Name, "kind", e.Kind, "state", state, "reason", r.Reason,
			"conversation", r.Conversation)
	}
	if c, ok := connectionIn(e); ok && !r.Duplicate {
		s.c.Happened(e.Channel, c)
	}
	if e.Media != nil && !r.Duplicate {
		s.c.Attached()
	}
	switch {
	case r.State == conversation.Pending:
		s.c.Wake()
	case r.Reason == ReasonFromMe:
		s.c.Own()
	}
	return r, nil
}

// typing lets a contact who types finish.
func (s *Service) typing(ctx context.Context, e conversation.Event) (conversation.Receipt, error) {
	r := conversation.Receipt{State: conversation.Ignored, Reason: ReasonPresence}
	if chatReason(e.ChatJID) != "" || e.Instance != "" && e.Instance != e.Channel {
		return r, nil
	}
	err := s.c.Store.ContactTyping(ctx, conversation.Typing{
		Tenant: e.Tenant, Channel: e.Channel, ChatJID: e.ChatJID, FormJID: e.FormJID, Now: e.Type == "composing" || e.Type == "recording",
	}, s.c.Window)
	if err == nil {
		s.c.Observer.Received(string(e.Kind), string(r.State))
	}
	return r, err
}
