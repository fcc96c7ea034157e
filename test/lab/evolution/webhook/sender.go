// Package webhook delivers events the way upstream does: one goroutine per delivery, so in no order, and with retries that live in
// memory only.
package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"plantao/test/lab/evolution/environment"
	"plantao/test/lab/evolution/store"
)

// Source gives the webhook of an instance, or store.ErrNotFound.
type Source interface {
	Webhook(ctx context.Context, instanceID string) (store.Webhook, error)
}

// Tap lets tests watch deliveries and lose some. All methods may be called at the same time.
type Tap interface {
	// Drop says that this event must never be sent.
	Drop(event string) bool
	// Tried is told of every try, with status 0 when no answer came.
	Tried(d Delivery, status int)
}

// Origin is the instance an event is about.
type Origin struct {
	ID, Name, Token string
	// Sender is the instance's own jid; empty when unknown.
	Sender string
}

// Delivery is one request, ready to be sent as often as needed.
type Delivery struct {
	Event  string
	URL    string
	Header http.Header
	Body   []byte
}

// Sender delivers events. Make it with New.
type Sender struct {
	rules     environment.Webhook
	serverURL string
	expose    bool
	zone      *time.Location
	source    Source
	tap       Tap
	client    *http.Client
	log       *slog.Logger

	life    context.Context
	stop    context.CancelFunc
	pending atomic.Int64

	mu      sync.Mutex // orders the start of deliveries before the wait for their end
	running sync.WaitGroup
}

// New makes a sender that works until Close. Transport may be nil for the default one, tap may be nil.
func New(cfg environment.Config, source Source, tap Tap, transport http.RoundTripper, log *slog.Logger) *Sender {
	life, stop := context.WithCancel(context.Background())
	return &Sender{
		rules: cfg.Webhook, serverURL: cfg.ServerURL, expose: cfg.ExposeTokens, zone: cfg.Zone,
		source: source, tap: tap, log: log, life: life, stop: stop,
		client: &http.Client{Timeout: cfg.Webhook.Timeout, Transport: transport},
	}
}

// Close gives up all deliveries, as the end of upstream's process does, and waits until their goroutines are gone.
func (s *Sender) Close() {
	s.mu.Lock()
	s.stop()
	s.mu.Unlock()
	s.running.Wait()
	s.client.CloseIdleConnections()
}

// Pending is the number of deliveries being tried or waiting for a retry.
func (s *Sender) Pending() int { return int(s.pending.Load()) }

// Emit starts the delivery of an event if the instance's webhook is enabled and subscribed to it. It does not wait for the answer.
func (s *Sender) Emit(ctx context.Context, from Origin, event Event) {
	d, ok, err := s.prepare(ctx, from, event)
	if err != nil {
		s.log.ErrorContext(ctx, "prepare webhook", "instance", from.Name, "event", event.Name, "err", err)
		return
	}
	if !ok || (s.tap != nil && s.tap.Drop(event.Name)) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life.Err() != nil {
		return
	}
	s.pending.Add(1)
	s.running.Go(func() {
		defer s.pending.Add(-1)
		s.deliver(s.life, from.Name, d)
	})
}

func (s *Sender) prepare(ctx context.Context, from Origin, event Event) (d Delivery, ok bool, err error) {
	hook, err := s.source.Webhook(ctx, from.ID)
	if errors.Is(err, store.ErrNotFound) {
		return d, false, nil
	}
	if err != nil {
		return d, false, err
	}
	upper := upperName(event.Name)
	if hook.Enabled == nil || !*hook.Enabled || !slices.Contains(hook.Events, upper) || !absoluteURL.MatchString(hook.URL) {
		return d, false, nil
	}
	now := time.Now()
	body := envelope{
		Event: event.Name, Instance: from.Name, Data: event.Data, Destination: hook.URL, DateTime: DateTime(now, s.zone),
		Sender: from.Sender, ServerURL: s.serverURL,
	}
	if s.expose {
		body.APIKey = &from.Token
	}
	if h := event.History; h != nil {
		body.IsLatest, body.Progress = &h.IsLatest, &h.Progress
	}
	d = Delivery{Event: event.Name, URL: hook.URL, Header: header(hook.Headers, now)}
	if hook.ByEvents != nil && *hook.ByEvents {
		d.URL += "/" + pathName(upper)
	}
	d.Body, err = body.encode()
	return d, err == nil, err
}

// header copies the custom headers and turns jwt_key into a bearer token.
func header(custom map[string]any, now time.Time) http.Header {
	h := http.Header{}
	h.Set("Accept", "application/json, text/plain, */*")
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", "axios")
	for name, value := range custom {
		if name != "jwt_key" {
			h.Set(name, fmt.Sprint(value))
		}
	}
	if key, ok := custom["jwt_key"].(string); ok {
		h.Set("Authorization", "Bearer "+signJWT(key, now))
	}
	return h
}

func (s *Sender) deliver(ctx context.Context, instance string, d Delivery) {
	for try := 1; ; try++ {
		status, err := s.Post(ctx, d)
		if ctx.Err() != nil {
			return
		}
		log := s.log.With("instance", instance, "event", d.Event, "attempt", try, "status", status)
		switch {
		case err == nil && status/100 == 2:
			return
		case err == nil && slices.Contains(s.rules.NonRetryable, status):
			log.ErrorContext(ctx, "webhook refused for good")
			return
		case try >= s.rules.MaxAttempts:
			log.ErrorContext(ctx, "webhook given up", "err", err)
			return
		}
		wait := s.wait(try)
		log.WarnContext(ctx, "webhook failed", "err", err, "wait", wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

// Post sends a delivery once and returns the status; 0 and an error when no answer came.
func (s *Sender) Post(ctx context.Context, d Delivery) (status int, err error) {
	if s.tap != nil {
		defer func() { s.tap.Tried(d, status) }()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.URL, bytes.NewReader(d.Body))
	if err != nil {
		return 0, fmt.Errorf("make request: %w", err)
	}
	req.Header = d.Header.Clone()
	res, err := s.client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("post webhook: %w", err)
	}
	defer res.Body.Close()
	// Like axios, the answer counts once it is read, so that a receiver which stalls in the body is a failure too.
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return 0, fmt.Errorf("read answer: %w", err)
	}
	return res.StatusCode, nil
}

// wait is the pause after the n-th failure: doubled each time up to the maximum, varied by the jitter, never below the first.
func (s *Sender) wait(failures int) time.Duration {
	first := s.rules.InitialDelay
	if !s.rules.Exponential {
		return first
	}
	next := min(float64(first)*math.Pow(2, float64(failures-1)), float64(s.rules.MaxDelay))
	next += next * s.rules.Jitter * (rand.Float64()*2 - 1)
	return max(first, time.Duration(next))
}
