// Package dispatch gives waiting messages to the agent on duty: it routes conversations nobody owns, claims a turn when a
// burst is over, asks the flow until it answers or the deadline passes, and hands the answer to the gate.
//
// The store is the mailbox. A wake-up, from this process or over Redis, only makes the next look come sooner than the
// poll; losing every one of them strands nothing.
package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"plantao/runtime/conversation"
	"plantao/runtime/routing"
)

// Store is what the dispatcher needs kept.
type Store interface {
	conversation.Ownership
	conversation.Turns
	conversation.Processes
}

// Gate sends the answer of a replied turn.
type Gate interface {
	Send(ctx context.Context, t conversation.Turn) conversation.Outcome
}

// Observer counts what the dispatcher does.
type Observer interface {
	// Woken is called for each look at the store; source is local, redis, due or poll.
	Woken(source string)
	// FlowAsked is called for each request to a flow; outcome is answered, retry or refused.
	FlowAsked(outcome string, took time.Duration)
	// TurnEnded is called when this process is through with a turn.
	TurnEnded(outcome string)
}

// Config holds what a Dispatcher needs. Fields without a default are required.
type Config struct {
	Store    Store
	Flow     conversation.Flow
	Router   routing.Router
	Gate     Gate
	Process  conversation.Process
	Key      conversation.TurnKey
	Lease    time.Duration // a turn whose holder is silent for so long is taken over
	Deadline time.Duration // from claim to the last part
	// Poll is how often the store is looked at without a wake-up. Zero means 1 s.
	Poll time.Duration
	// MaxRunning bounds the turns in this process. Zero means 64.
	MaxRunning int
	// Grace is how long turns may go on after Run's context ended before they are handed back. Zero: not at all.
	Grace    time.Duration
	Observer Observer
	Logger   *slog.Logger
}

// Dispatcher runs turns. Make it with New, start it with Run.
type Dispatcher struct {
	c     Config
	wakes chan string // room for one: a second wake-up before the look adds nothing
	slots chan struct{}

	mu   sync.Mutex
	held map[conversation.TurnRef]context.CancelCauseFunc

	turns      sync.WaitGroup
	storeDown  bool // this and overdue are only touched by Run's goroutine
	overdue    bool // the last look left a conversation that was due
	superseded chan struct{}
}

// Causes of a turn's context ending.
var (
	errShutdown  = errors.New("router is shutting down")
	errLeaseLost = errors.New("lease lost")
)

// New makes a Dispatcher.
func New(c Config) *Dispatcher {
	if c.Poll == 0 {
		c.Poll = time.Second
	}
	if c.MaxRunning == 0 {
		c.MaxRunning = 64
	}
	return &Dispatcher{
		c: c, wakes: make(chan string, 1), slots: make(chan struct{}, c.MaxRunning),
		held: map[conversation.TurnRef]context.CancelCauseFunc{}, superseded: make(chan struct{}),
	}
}

// Wake makes the dispatcher look at the store soon. It never blocks.
func (d *Dispatcher) Wake(source string) {
	select {
	case d.wakes <- source:
	default:
	}
}

// Superseded is closed when another process has taken this one's instance name. The process should end: its turns are
// taken over already.
func (d *Dispatcher) Superseded() <-chan struct{} { return d.superseded }

// Run claims and runs turns until ctx ends, then waits for the turns: those not through after Grace are handed back.
func (d *Dispatcher) Run(ctx context.Context) {
	beating, stop := context.WithCancel(context.WithoutCancel(ctx))
	var heart sync.WaitGroup
	heart.Go(func() { d.heartbeat(beating) })
	d.loop(ctx)
	d.drain()
	stop()
	heart.Wait()
}

func (d *Dispatcher) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var lastSweep time.Time
	source := "poll"
	for {
		select {
		case <-ctx.Done():
			return
		case source = <-d.wakes:
		case <-timer.C:
		}
		d.c.Observer.Woken(source)
		sweep := time.Since(lastSweep) >= d.c.Poll
		if sweep {
			lastSweep = time.Now()
		}
		err := d.look(ctx, sweep)
		wait := d.c.Poll
		source = "poll"
		if err == nil {
			wait, source, err = d.nextLook(ctx)
		}
		d.report(ctx, err)
		timer.Reset(wait)
	}
}

// nextLook is the poll interval, or less if a burst window ends before.
func (d *Dispatcher) nextLook(ctx context.Context) (time.Duration, string, error) {
	due, any, err := d.c.Store.NextDue(ctx)
	if err != nil {
		return d.c.Poll, "poll", err
	}
	if !any || due >= d.c.Poll {
		d.overdue = false
		return d.c.Poll, "poll", nil
	}
	// A window that ended since the look is looked at again at once. If it is still there then, another replica is
	// claiming it or every slot is taken: the poll or the end of a turn brings us back.
	if due == 0 && d.overdue {
		return d.c.Poll, "poll", nil
	}
	d.overdue = due == 0
	return due + time.Millisecond, "due", nil
}

// report logs the store's going and coming, not each failed look.
func (d *Dispatcher) report(ctx context.Context, err error) {
	switch {
	case err != nil && ctx.Err() == nil && !d.storeDown:
		d.storeDown = true
		d.c.Logger.ErrorContext(ctx, "store unavailable; messages wait where they are", "err", err)
	case err == nil && d.storeDown:
		d.storeDown = false
		d.c.Logger.InfoContext(ctx, "store is back")
	}
}

// look does everything there is to do now.
func (d *Dispatcher) look(ctx context.Context, sweep bool) error {
	// A conversation that cannot be routed holds up neither the others nor the turns.
	unrouted := d.route(ctx)
	if sweep {
		if err := d.takeAll(ctx, d.c.Store.ReclaimTurn); err != nil {
			return errors.Join(unrouted, err)
		}
	}
	return errors.Join(unrouted, d.takeAll(ctx, d.c.Store.ClaimTurn))
}

// routeBatch is how many unrouted conversations one query lists.
const routeBatch = 100

// maxRouteFailures in a row mean that the store is the trouble, and not a conversation.
const maxRouteFailures = 3

func (d *Dispatcher) route(ctx context.Context) error {
	var failures error
	inARow := 0
	for {
		list, err := d.c.Store.Unrouted(ctx, routeBatch)
		if err != nil {
			return errors.Join(failures, err)
		}
		for _, u := range list {
			decision := d.c.Router.Decide(u)
			err := d.c.Store.Claim(ctx, conversation.Claim{
				Conversation: u.Conversation, IfEpoch: u.Epoch, To: decision.To, State: decision.State,
				Actor: "router", Reason: decision.Reason, RuleVersion: decision.RuleVersion,
			})
			if errors.Is(err, conversation.ErrStaleEpoch) {
				continue // another replica was faster
			}
			if err != nil {
				failures = errors.Join(failures, fmt.Errorf("route conversation %s: %w", u.Conversation, err))
				if inARow++; inARow == maxRouteFailures {
					return failures
				}
				continue
			}
			inARow = 0
			d.c.Logger.InfoContext(ctx, "conversation routed", "conversation", u.Conversation, "channel", u.Channel,
				"owner", decision.To.Kind, "agent", decision.To.ID, "epoch", u.Epoch+1, "reason", decision.Reason)
		}
		// The same ones would be listed again: what failed is tried at the next look.
		if len(list) < routeBatch || failures != nil {
			return failures
		}
	}
}

// takeAll starts turns as long as there are some and a slot is free.
func (d *Dispatcher) takeAll(ctx context.Context, take func(context.Context, conversation.TurnTerms) (conversation.Turn, error)) error {
	terms := conversation.TurnTerms{
		Holder: d.c.Process, Lease: d.c.Lease, Deadline: d.c.Deadline, Sign: d.c.Key.Token,
	}
	for ctx.Err() == nil {
		select {
		case d.slots <- struct{}{}:
		default:
			return nil // the end of a turn wakes us
		}
		turn, err := take(ctx, terms)
		if err != nil {
			<-d.slots
			if errors.Is(err, conversation.ErrNothingDue) {
				return nil
			}
			return err
		}
		d.start(ctx, turn)
	}
	return nil
}

func (d *Dispatcher) start(ctx context.Context, t conversation.Turn) {
	// Turns outlive the claiming loop: they end by themselves, by losing the lease, or when the grace period is over.
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	d.mu.Lock()
	d.held[t.TurnRef] = cancel
	d.mu.Unlock()
	d.turns.Go(func() {
		defer func() {
			d.mu.Lock()
			delete(d.held, t.TurnRef)
			d.mu.Unlock()
			cancel(nil)
			<-d.slots
			d.Wake("local") // messages may have come meanwhile
		}()
		start := time.Now()
		outcome := d.run(ctx, t)
		d.c.Observer.TurnEnded(string(outcome))
		d.c.Logger.InfoContext(ctx, "turn ended", "conversation", t.Conversation, "turn", t.No, "gen", t.Gen,
			"epoch", t.Epoch, "agent", t.Flow, "outcome", outcome, "dur", time.Since(start))
	})
}

func (d *Dispatcher) drain() {
	done := make(chan struct{})
	go func() {
		d.turns.Wait()
		close(done)
	}()
	timer := time.NewTimer(d.c.Grace)
	defer timer.Stop()
	select {
	case <-done:
		return
	case <-timer.C:
	}
	d.mu.Lock()
	for _, cancel := range d.held {
		cancel(errShutdown)
	}
	d.mu.Unlock()
	<-done
}

// heartbeat shows the process alive and keeps its leases, three times in a lease's length.
func (d *Dispatcher) heartbeat(ctx context.Context) {
	reported := false
	for conversation.Pause(ctx, d.c.Lease/3) {
		beat, cancel := context.WithTimeout(ctx, d.c.Lease/3)
		err := d.c.Store.Seen(beat, d.c.Process)
		if errors.Is(err, conversation.ErrSuperseded) && !reported {
			reported = true
			d.c.Logger.ErrorContext(ctx, "another process runs under this instance name; give each replica its own instance_name",
				"instance", d.c.Process.Instance)
			close(d.superseded)
		}
		d.renew(beat)
		cancel()
	}
}

// renew extends the leases of the turns held and drops those that went to somebody else. A failed renewal drops none:
// until a lease is taken over it is still ours, and if it is, the generation refuses us.
func (d *Dispatcher) renew(ctx context.Context) {
	d.mu.Lock()
	held := make([]conversation.TurnRef, 0, len(d.held))
	for t := range d.held {
		held = append(held, t)
	}
	d.mu.Unlock()
	if len(held) == 0 {
		return
	}
	kept, err := d.c.Store.Renew(ctx, d.c.Lease, held)
	if err != nil {
		return
	}
	still := make(map[conversation.TurnRef]bool, len(kept))
	for _, t := range kept {
		still[t] = true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, t := range held {
		if cancel, running := d.held[t]; running && !still[t] {
			cancel(errLeaseLost)
		}
	}
}
