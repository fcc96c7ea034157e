package desk

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"plantao/runtime/chatwoot"
	"plantao/runtime/conversation"
	"plantao/runtime/seal"
)

// Store is what the desk needs kept.
type Store interface {
	conversation.Mirror
	conversation.Speech
	conversation.People
	Do(ctx context.Context, c conversation.Command) (conversation.Result, error)
	Find(ctx context.Context, tenant string, id conversation.ID) (conversation.Conversation, error)
}

// Observer counts what the desk does.
type Observer interface {
	// DeskLooked is called after each look at a conversation: done, failed, waits, lost.
	DeskLooked(outcome string, took time.Duration)
	// DeskShowed is called for each message posted (posted), refused for good (refused), or found there (found).
	DeskShowed(outcome string)
	// DeskHeard is called for each thing people did there: said, take, pass, handback, close, retry.
	DeskHeard(what string)
	// DeskMissed is called with how many conversations a sweep found in which something had gone unnoticed.
	DeskMissed(n int)
}

// Config holds what a Desk needs. Fields without a default are required.
type Config struct {
	Store  Store
	Client *chatwoot.Client
	Sealer *seal.Sealer
	// Silence is after how long without a word the human hands back. Zero means 10 minutes.
	Silence time.Duration
	// Sweep is how often Chatwoot is asked what its webhooks did not tell. Zero means 30 s.
	Sweep time.Duration
	// Poll is how often the store is looked at without a wake-up. Zero means 1 s.
	Poll time.Duration
	// Lease is how long a silent replica keeps a conversation. Zero means 60 s. Calls end at two thirds of it.
	Lease time.Duration
	// Unsure is how long Chatwoot may still be at a request whose answer was lost. Zero means 20 s: it gives up after 15.
	Unsure time.Duration
	// Workers is how many conversations are worked on at once. Zero means 2.
	Workers int
	// MaxMediaBytes bounds an attachment fetched from Chatwoot. Zero means 16 MiB, which is what WhatsApp takes.
	MaxMediaBytes int64
	// Language of notes: pt_BR or en. Empty means pt_BR.
	Language string
	Changed  func() // called when a conversation has another owner
	Spoke    func() // called when there is something to send
	Observer Observer
	Logger   *slog.Logger
}

// Desk is made with New and started with Run.
type Desk struct {
	c     Config
	words words
	wakes chan struct{}   // room for one: the store may have work
	work  chan struct{}   // room for one: a worker should look
	after conversation.ID // where gather goes on; only touched by Run's goroutine

	mu    sync.Mutex
	fails int       // in a row, because of Chatwoot as a whole
	until time.Time // nothing is tried before
}

// New makes a Desk.
func New(c Config) *Desk {
	for _, f := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.Silence, 10 * time.Minute}, {&c.Sweep, 30 * time.Second}, {&c.Poll, time.Second}, {&c.Lease, time.Minute}, {&c.Unsure, 20 * time.Second},
	} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	if c.Workers == 0 {
		c.Workers = 2
	}
	if c.MaxMediaBytes == 0 {
		c.MaxMediaBytes = 16 << 20
	}
	return &Desk{c: c, words: wordsIn(c.Language), wakes: make(chan struct{}, 1), work: make(chan struct{}, 1)}
}

// Wake makes the desk look at the store soon. It never blocks.
func (d *Desk) Wake() { ring(d.wakes) }

func ring(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}

// Run works until ctx ends. A look under way stops at its next call: what it had begun, the next one finishes.
func (d *Desk) Run(ctx context.Context) {
	var workers sync.WaitGroup
	for range d.c.Workers {
		workers.Go(func() { d.worker(ctx) })
	}
	workers.Go(func() { d.sweeps(ctx) })
	poll := time.NewTicker(d.c.Poll)
	defer poll.Stop()
	for ctx.Err() == nil {
		if d.wait() == 0 {
			d.gather(ctx)
			ring(d.work)
		}
		select {
		case <-ctx.Done():
		case <-d.wakes:
		case <-poll.C:
		}
	}
	workers.Wait()
}

func (d *Desk) gather(ctx context.Context) {
	next, err := d.c.Store.GatherShown(ctx, d.after)
	if err != nil && ctx.Err() == nil {
		d.c.Logger.WarnContext(ctx, "what chatwoot does not show yet could not be gathered", "err", err)
	}
	d.after = next // where there are more, the workers have enough to do until the next poll
}

func (d *Desk) worker(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.work:
		}
		for ctx.Err() == nil && d.wait() == 0 {
			found, err := d.Once(ctx)
			if err != nil && ctx.Err() == nil {
				d.c.Logger.WarnContext(ctx, "no conversation could be taken in hand for chatwoot", "err", err)
			}
			if !found || err != nil {
				break
			}
			ring(d.work) // there may be more: the others help
		}
	}
}

// Once takes one conversation in hand and brings it up to date; false if none is due. An error is the store's: one of Chatwoot's is kept
// with the conversation, which is tried again later.
func (d *Desk) Once(ctx context.Context) (bool, error) {
	start := time.Now()
	s, err := d.c.Store.NextShown(ctx, d.c.Lease)
	if errors.Is(err, conversation.ErrNothingDue) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	p := &pass{d: d, s: s, began: start, log: d.c.Logger.With("conversation", s.Conversation)}
	p.trust(start)
	return true, d.end(ctx, p, p.run(ctx), start)
}

// end gives the conversation back, and says when it is to be looked at again.
func (d *Desk) end(ctx context.Context, p *pass, err error, start time.Time) error {
	var (
		pause   *pauseError
		end     = conversation.ShowEnd{After: p.later}
		outcome = "done"
	)
	switch {
	case err == nil:
		d.reached()
	case errors.Is(err, conversation.ErrSuperseded):
		d.c.Observer.DeskLooked("lost", time.Since(start))
		return nil
	case errors.As(err, &pause):
		outcome, end = "waits", conversation.ShowEnd{Failed: true, Waits: true, After: pause.after, Reason: pause.reason}
	case ctx.Err() != nil:
		outcome, end = "waits", conversation.ShowEnd{Failed: true, Waits: true, Reason: "shutdown"}
	default:
		outcome, end = "failed", conversation.ShowEnd{Failed: true, After: conversation.Backoff(p.s.Attempts+1, time.Second, 5*time.Minute), Reason: p.step}
		if p.s.Posting != "" && chatwoot.Unsure(err) {
			end.After = max(end.After, d.c.Unsure)
		}
		if chatwoot.Unreachable(err) && !p.ours {
			d.missed(ctx, err)
		}
		p.log.WarnContext(ctx, "chatwoot does not show a conversation as it is; it is tried again", "at", p.step, "attempt", p.s.Attempts+1, "err", err)
	}
	d.c.Observer.DeskLooked(outcome, time.Since(start))
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return d.c.Store.EndShown(ending, p.s, end)
}

// wait is how long nothing should be tried.
func (d *Desk) wait() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return max(0, time.Until(d.until))
}

// missed opens the breaker: with Chatwoot down each conversation would wait for its own time-out.
func (d *Desk) missed(ctx context.Context, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if time.Now().Before(d.until) {
		return // several workers saw the same
	}
	d.fails++
	if d.fails == 1 {
		d.c.Logger.ErrorContext(ctx, "chatwoot cannot be used; the mirror waits, WhatsApp does not", "err", err)
	}
	d.until = time.Now().Add(conversation.Backoff(d.fails, d.c.Poll/2+1, 30*time.Second))
}

func (d *Desk) reached() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fails > 0 {
		d.c.Logger.Info("chatwoot can be used again", "failures", d.fails)
	}
	d.fails, d.until = 0, time.Time{}
}

// pauseError is a wait that is nobody's failure.
type pauseError struct {
	after  time.Duration
	reason string
}

func (e *pauseError) Error() string { return e.reason }

// access opens the secrets of the channel's desk.
func (d *Desk) access(ctx context.Context, channel string) (chatwoot.Access, int64, error) {
	row, err := d.c.Store.Desk(ctx, channel)
	if err != nil {
		return chatwoot.Access{}, 0, err
	}
	a, err := d.open(row)
	return a, row.Bot, err
}

func (d *Desk) open(row conversation.Desk) (chatwoot.Access, error) {
	s, err := Open(d.c.Sealer, row)
	if err != nil {
		return chatwoot.Access{}, err
	}
	return chatwoot.Access{Account: row.Account, Inbox: row.Inbox, BotToken: s.BotToken, UserToken: s.UserToken}, nil
}
