package ingest

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"plantao/runtime/conversation"
)

// Bounds of fetching. A try that is not over when its lease is would be begun by another replica.
const (
	mediaAtOnce   = 2
	mediaLease    = 3 * time.Minute
	mediaTimeout  = 2 * time.Minute
	mediaBackoff  = 2 * time.Second
	mediaMaxDelay = 5 * time.Minute
)

// MediaConfig holds what a Media needs; every field is required.
type MediaConfig struct {
	Store   conversation.Attachments
	Fetcher conversation.Fetcher
	// MaxBytes is the largest content that is kept.
	MaxBytes int64
	// Tries is how often an attachment is asked for before it is given up.
	Tries int
	// Every is how often wanted attachments are looked for without a wake-up.
	Every    time.Duration
	Ready    func() // called when a message no longer waits for its attachment
	Observer MediaObserver
	Logger   *slog.Logger
}

// MediaObserver counts attachments.
type MediaObserver interface {
	// MediaTried is called after each try; outcome is ready, retry or failed.
	MediaTried(outcome string, took time.Duration)
}

// Media fetches attachments of messages that came in, beside the path of the messages: a turn waits for them for a while, and no
// webhook does. The inbox is its queue, so nothing is forgotten.
type Media struct {
	c    MediaConfig
	wake chan struct{}       // room for one
	room *semaphore.Weighted // bytes of attachments in memory: two large ones come one after the other
}

// NewMedia makes a Media; Run works.
func NewMedia(c MediaConfig) *Media {
	return &Media{c: c, wake: make(chan struct{}, 1), room: semaphore.NewWeighted(c.MaxBytes)}
}

// Wake says that there may be an attachment to fetch. It never blocks.
func (m *Media) Wake() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Run fetches until ctx ends. What is being fetched then is begun anew by whoever comes next.
func (m *Media) Run(ctx context.Context) {
	var workers sync.WaitGroup
	for range mediaAtOnce {
		workers.Go(func() {
			for ctx.Err() == nil {
				if !m.one(ctx) {
					m.wait(ctx)
				}
			}
		})
	}
	workers.Wait()
}

func (m *Media) wait(ctx context.Context) {
	timer := time.NewTimer(m.c.Every)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-m.wake:
	case <-timer.C:
	}
}

// one tries one attachment; false if none is due, or the store is away.
func (m *Media) one(ctx context.Context) bool {
	list, err := m.c.Store.WantedMedia(ctx, 1, mediaLease)
	if err != nil || len(list) == 0 {
		return false // the dispatcher's poll reports a database that is down
	}
	m.Wake() // the other one may find another
	w, start := list[0], time.Now()
	log := m.c.Logger.With("conversation", w.Conversation, "inbox", w.Inbox, "attempt", w.Try)
	trying, cancel := context.WithTimeout(ctx, mediaTimeout)
	defer cancel()
	kept, err := m.fetch(trying, w)
	took := time.Since(start)
	switch {
	case err == nil && kept:
		m.c.Observer.MediaTried("ready", took)
		log.DebugContext(ctx, "attachment kept", "dur", took)
		m.c.Ready()
		return true
	case err == nil: // another replica has it
		return true
	case ctx.Err() != nil:
		return false // the lease ends by itself
	}
	var fe *conversation.FetchError
	wait := conversation.Backoff(w.Try, mediaBackoff, mediaMaxDelay)
	outcome := "retry"
	if errors.As(err, &fe) && fe.Final || w.Try >= m.c.Tries {
		outcome, wait = "failed", 0
	}
	m.c.Observer.MediaTried(outcome, took)
	log.WarnContext(ctx, "attachment not fetched", "outcome", outcome, "err", err)
	if err := m.c.Store.MissMedia(ctx, w, wait); err != nil {
		log.WarnContext(ctx, "attachment's try not recorded; it is tried again when its lease ends", "err", err)
		return false
	}
	if outcome == "failed" {
		m.c.Ready()
	}
	return true
}

func (m *Media) fetch(ctx context.Context, w conversation.WantedMedia) (kept bool, err error) {
	if w.Media.Inline {
		if kept, err := m.c.Store.KeepInline(ctx, w, m.c.MaxBytes); kept || err != nil {
			return kept, err
		}
	}
	weight := m.c.MaxBytes // what WhatsApp says of the size is only its word, and what says nothing may be anything
	if said := w.Media.Bytes; said > 0 {
		weight = min(2*said, weight)
	}
	if err := m.room.Acquire(ctx, weight); err != nil {
		return false, err
	}
	defer m.room.Release(weight)
	content, err := m.c.Fetcher.FetchMedia(ctx, w.Channel, w.MessageID, w.Media)
	if err != nil {
		return false, err
	}
	return m.c.Store.KeepMedia(ctx, w, content)
}
