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
	"sync/atomic"
	"time"

	"plantao/runtime/conversation"
	"plantao/runtime/routing"
)

// Store is what the dispatcher needs kept.
type Store interface {
	JudgePromises(ctx context.Context, limit int) ([]conversation.PromiseRecord, error)
	conversation.Ownership
	conversation.Turns
	conversation.Processes
	conversation.Plans
	Say(ctx context.Context, s conversation.Said) (no int, first bool, err error)
	PutMedia(ctx context.Context, tenant string, id conversation.ID, c conversation.Content) (int64, error)
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
	// FlowState is called when a flow is left alone, tried again, or well again; state is open, half-open or closed.
	FlowState(flow, state string)
	// PromiseEnded is called once for each promise that was due; kind is first_response or resolution, state met, broken or void.
	PromiseEnded(sla, kind, state string)
}

// Config holds what a Dispatcher needs. Fields without a default are required.
type Config struct {
	Store    Store
	Flow     conversation.Flow
	Rules    *routing.Book
	Gate     Gate
	Process  conversation.Process
	Key      conversation.TurnKey
	Lease    time.Duration // a turn whose holder is silent for so long is taken over
	Deadline time.Duration // from claim to the last part
	// Poll is how often the store is looked at without a wake-up. Zero means 1 s.
	Poll time.Duration
	// MaxRunning bounds the turns in this process. Zero means 64.
	MaxRunning int
	// Flows bounds what one flow may take of them.
	Flows FlowLimits
	// History is how many messages of the time before a flow is told. Zero: none.
	History int
	// Changed is called after this process changed an owner, or began a turn anew. Nil: nobody is told.
	Changed func()
	// Grace is how long turns may go on after Run's context ended before they are handed back. Zero: not at all.
	Grace    time.Duration
	Observer Observer
	Logger   *slog.Logger
}

// Dispatcher runs turns. Make it with New, start it with Run.
type Dispatcher struct {
	c     Config
	flows *flows
	wakes chan string // room for one: a second wake-up before the look adds nothing
	slots chan struct{}

	checks chan struct{} // room for one: the turns held should be looked at now

	mu       sync.Mutex
	held     map[conversation.TurnRef]*holding
	channels map[string]int // turns held, by channel; one that was seen once stays

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

// holding is a turn in this process's hands, and what the heartbeat learns about it.
type holding struct {
	end      context.CancelCauseFunc
	answered chan struct{} // closed when the flow's answer came by another way than its response
	once     sync.Once
	expires  atomic.Int64 // nanoseconds after start: the deadline on the monotonic clock
	start    time.Time
}

func newHolding(end context.CancelCauseFunc, expires time.Time) *holding {
	h := &holding{end: end, answered: make(chan struct{}), start: time.Now()}
	h.expire(expires)
	return h
}

func (h *holding) expire(at time.Time) { h.expires.Store(int64(at.Sub(h.start))) }
func (h *holding) deadline() time.Time { return h.start.Add(time.Duration(h.expires.Load())) }
func (h *holding) answer()             { h.once.Do(func() { close(h.answered) }) }

// New makes a Dispatcher.
func New(c Config) *Dispatcher {
	if c.Poll == 0 {
		c.Poll = time.Second
	}
	if c.MaxRunning == 0 {
		c.MaxRunning = 64
	}
	if c.Changed == nil {
		c.Changed = func() {}
	}
	return &Dispatcher{
		c: c, flows: newFlows(c.Flows, c.Observer.FlowState), wakes: make(chan string, 1), slots: make(chan struct{}, c.MaxRunning),
		checks: make(chan struct{}, 1), held: map[conversation.TurnRef]*holding{}, channels: map[string]int{}, superseded: make(chan struct{}),
	}
}

// Wake makes the dispatcher look at the store soon. It never blocks.
func (d *Dispatcher) Wake(source string) {
	select {
	case d.wakes <- source:
	default:
	}
}

// Check makes the dispatcher look soon whether the turns it holds are still its own, and whether one was answered: a
// conversation has changed owner, or a flow has answered by the API. It never blocks.
func (d *Dispatcher) Check() {
	select {
	case d.checks <- struct{}{}:
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
	due, any, err := d.c.Store.NextDue(ctx, d.flows.busy()...)
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

// look does everything there is to do now. Turns come first: of those who wait, most have an agent already.
func (d *Dispatcher) look(ctx context.Context, sweep bool) error {
	var failures error
	if sweep {
		failures = errors.Join(d.expire(ctx), d.judge(ctx))
		if err := d.takeAll(ctx, d.c.Store.ReclaimTurn); err != nil {
			return errors.Join(failures, err)
		}
	}
	claim := func() { failures = errors.Join(failures, d.takeAll(ctx, d.c.Store.ClaimTurn)) }
	claim()
	// A conversation that cannot be routed holds up neither the others nor the turns.
	routed, err := d.route(ctx)
	failures = errors.Join(failures, err)
	if routed || sweep {
		failures = errors.Join(failures, d.further(ctx))
	}
	if routed {
		claim()
	}
	return errors.Join(failures, d.takeAll(ctx, d.restart), d.follow(ctx))
}

// restart breaks off a turn for the sake of what was written meanwhile. Whoever has it, here or elsewhere, stops asking.
func (d *Dispatcher) restart(ctx context.Context, terms conversation.TurnTerms) (conversation.Turn, error) {
	t, err := d.c.Store.RestartTurn(ctx, terms)
	if err == nil {
		d.c.Logger.InfoContext(ctx, "turn begun anew with what was written meanwhile", "conversation", t.Conversation, "turn", t.No)
		d.Check()
		d.c.Changed()
	}
	return t, err
}

// followBatch is how many things that follow turns one query lists.
const followBatch = 100

// follow does what agents wanted done when their answer was sent. The epoch of the turn makes it void if the conversation went
// to somebody else meanwhile, and the turn's own key makes it happen once, wherever a router was killed.
func (d *Dispatcher) follow(ctx context.Context) error {
	list, err := d.c.Store.Followings(ctx, followBatch)
	if err != nil {
		return err
	}
	var failures error
	for _, f := range list {
		c := f.Then.Command(f.TurnRef, f.Agent)
		result, err := d.c.Store.Do(ctx, c)
		if errors.Is(err, conversation.ErrAtCapacity) || f.Verb == conversation.VerbPass && errors.Is(err, conversation.ErrInvalid) {
			// The agent has no ear any more for another choice: any human may go on. Left with it, its messages would come again.
			c.To = conversation.Owner{Kind: conversation.OwnedByQueue}
			c.Key += "/queue"
			result, err = d.c.Store.Do(ctx, c)
		}
		switch {
		case err == nil:
			d.c.Logger.InfoContext(ctx, "done after the answer, as the agent wanted", "conversation", f.Conversation, "turn", f.No, "verb",
				f.Verb, "owner", result.Conversation.Owner, "state", result.Conversation.State, "epoch", result.Conversation.Epoch)
			d.c.Changed()
			d.Wake("local")
		case final(err):
			d.c.Logger.WarnContext(ctx, "not done after the answer, though the agent wanted it", "conversation", f.Conversation,
				"turn", f.No, "verb", f.Verb, "err", err)
		default:
			failures = errors.Join(failures, fmt.Errorf("%s after turn %s/%d: %w", f.Verb, f.Conversation, f.No, err))
			continue
		}
		failures = errors.Join(failures, d.c.Store.Followed(ctx, f.TurnRef))
	}
	return failures
}

// final says that a verb will be refused however often it is tried.
func final(err error) bool {
	return outrun(err) || errors.Is(err, conversation.ErrInvalid) || errors.Is(err, conversation.ErrNotOwner) ||
		errors.Is(err, conversation.ErrKeyReused) || errors.Is(err, conversation.ErrNotFound)
}

// routeBatch is how many unrouted conversations one query lists.
const routeBatch = 100

// maxRouteFailures in a row mean that the store is the trouble, and not a conversation.
const maxRouteFailures = 3

// route gives every conversation without an owner to an agent, and says whether it gave any.
func (d *Dispatcher) route(ctx context.Context) (routed bool, failures error) {
	inARow := 0
	for {
		list, err := d.c.Store.Unrouted(ctx, routeBatch)
		if err != nil {
			return routed, errors.Join(failures, err)
		}
		for _, u := range list {
			decision, err := d.c.Rules.Decide(ctx, u)
			var result conversation.Result
			if err == nil {
				result, err = d.claim(ctx, u, decision)
			}
			if outrun(err) {
				continue // another replica was faster
			}
			if err != nil {
				failures = errors.Join(failures, fmt.Errorf("route conversation %s: %w", u.Conversation, err))
				if inARow++; inARow == maxRouteFailures {
					return routed, failures
				}
				continue
			}
			inARow, routed = 0, true
			d.c.Logger.InfoContext(ctx, "conversation routed", "conversation", u.Conversation, "channel", u.Channel,
				"owner", result.Conversation.Owner, "epoch", result.Conversation.Epoch, "reason", decision.Reason, "rules", decision.RuleVersion)
			for _, f := range decision.Failed {
				d.c.Logger.WarnContext(ctx, "a rule's condition could not be told, and so did not hold", "conversation", u.Conversation,
					"rules", decision.RuleVersion, "rule", f.Rule, "err", f.Err)
			}
		}
		// The same ones would be listed again: what failed is tried at the next look.
		if len(list) < routeBatch || failures != nil {
			return routed, failures
		}
	}
}

// claim gives the conversation to whom the rules chose, or to the human queue when that agent has no room.
func (d *Dispatcher) claim(ctx context.Context, u conversation.Unrouted, to routing.Decision) (conversation.Result, error) {
	c := conversation.Command{
		Verb: conversation.VerbClaim, Tenant: u.Tenant, Conversation: u.Conversation, IfEpoch: u.Epoch, Actor: conversation.Router,
		To: to.To, Reason: to.Reason, RuleVersion: to.RuleVersion, Say: to.Say, Plan: to.Plan,
	}
	c.Promises = to.Promises
	result, err := d.c.Store.Do(ctx, c)
	if errors.Is(err, conversation.ErrAtCapacity) {
		c.To, c.Reason, c.Say = conversation.Owner{Kind: conversation.OwnedByQueue}, conversation.ReasonAtCapacity, ""
		if c.Plan != nil && !c.Plan.Last() { // it has another target
			plan := *c.Plan
			plan.Next, plan.Wait = true, soonest
			c.Plan = &plan
		} else {
			c.Plan = nil
		}
		result, err = d.c.Store.Do(ctx, c)
	}
	return result, err
}

// outrun says that the conversation moved on while we looked at it: somebody else has done what there was to do.
func outrun(err error) bool {
	return errors.Is(err, conversation.ErrStaleEpoch) || errors.Is(err, conversation.ErrWrongState) ||
		errors.Is(err, conversation.ErrNotYet)
}

// expireBatch is how many overdue verbs one query lists.
const expireBatch = 100

// expire carries out what time has brought: offers and requests nobody answered, humans who fell silent.
func (d *Dispatcher) expire(ctx context.Context) error {
	list, err := d.c.Store.Overdue(ctx, expireBatch)
	if err != nil {
		return err
	}
	var failures error
	for _, c := range list {
		result, err := d.c.Store.Do(ctx, c)
		if errors.Is(err, conversation.ErrAtCapacity) {
			// Nobody waits for the answer of a timer: any human may go on.
			c.Verb, c.To = conversation.VerbPass, conversation.Owner{Kind: conversation.OwnedByQueue}
			result, err = d.c.Store.Do(ctx, c)
		}
		switch {
		case outrun(err):
		case err != nil:
			failures = errors.Join(failures, fmt.Errorf("%s conversation %s: %w", c.Verb, c.Conversation, err))
		default:
			d.c.Logger.InfoContext(ctx, "time brought a change", "conversation", c.Conversation, "verb", c.Verb,
				"owner", result.Conversation.Owner, "state", result.Conversation.State, "epoch", result.Conversation.Epoch)
		}
	}
	return failures
}

// judgeBatch is how many promises one query judges.
const judgeBatch = 100

// judge has the store say of promises that are due whether they were met, and tells of it. A router killed in between has told nobody,
// but the store knows, and so does Chatwoot.
func (d *Dispatcher) judge(ctx context.Context) error {
	for {
		list, err := d.c.Store.JudgePromises(ctx, judgeBatch)
		if err != nil {
			return err
		}
		for _, p := range list {
			d.c.Observer.PromiseEnded(p.Name, string(p.Kind), string(p.State))
			if p.State == conversation.PromiseBroken {
				d.c.Logger.WarnContext(ctx, "sla broken", "conversation", p.Conversation, "sla", p.Name, "kind", p.Kind, "due", p.Due)
			}
		}
		if len(list) < judgeBatch {
			return nil
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
		terms.Busy, terms.Crowded = d.flows.busy(), d.crowded()
		turn, err := take(ctx, terms)
		if errors.Is(err, conversation.ErrNothingDue) && len(terms.Crowded) > 0 {
			terms.Crowded = nil // nobody else waits
			turn, err = take(ctx, terms)
		}
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
	t.Trace = d.c.Key.Trace(t.TurnRef)
	d.flows.began(t.Flow)
	h := newHolding(cancel, t.Expires)
	d.mu.Lock()
	d.held[t.TurnRef] = h
	d.channels[t.Channel]++
	d.mu.Unlock()
	d.turns.Go(func() {
		defer func() {
			d.mu.Lock()
			delete(d.held, t.TurnRef)
			d.channels[t.Channel]--
			d.mu.Unlock()
			cancel(nil)
			d.flows.ended(t.Flow)
			<-d.slots
			d.Wake("local") // messages may have come meanwhile
		}()
		start := time.Now()
		outcome := d.run(ctx, t, h)
		d.c.Observer.TurnEnded(string(outcome))
		d.c.Logger.InfoContext(ctx, "turn ended", "conversation", t.Conversation, "turn", t.No, "gen", t.Gen,
			"epoch", t.Epoch, "agent", t.Flow, "outcome", outcome, "trace", t.Trace.String(),
			"dur", time.Since(start))
	})
}

// crowdedFrom is how many turns a channel has at least when others come first.
const crowdedFrom = 3

// crowded lists the channel that has more than half of the turns held, where there are others: of a flood, the customers of another
// channel wait no longer than until the next turn ends.
func (d *Dispatcher) crowded() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.channels) < 2 {
		return nil
	}
	for name, n := range d.channels {
		if n >= crowdedFrom && 2*n > len(d.held) {
			return []string{name}
		}
	}
	return nil
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
	for _, h := range d.held {
		h.end(errShutdown)
	}
	d.mu.Unlock()
	<-done
}

// heartbeat shows the process alive and keeps its leases, three times in a lease's length, and looks at the turns held
// whenever Check says so.
func (d *Dispatcher) heartbeat(ctx context.Context) {
	reported := false
	ticker := time.NewTicker(d.c.Lease / 3)
	defer ticker.Stop()
	for {
		alive := false
		select {
		case <-ctx.Done():
			return
		case <-d.checks:
		case <-ticker.C:
			alive = true
		}
		beat, cancel := context.WithTimeout(ctx, d.c.Lease/3)
		if alive {
			err := d.c.Store.Seen(beat, d.c.Process)
			if errors.Is(err, conversation.ErrSuperseded) && !reported {
				reported = true
				d.c.Logger.ErrorContext(ctx, "another process runs under this instance name; give each replica its own instance_name",
					"instance", d.c.Process.Instance)
				close(d.superseded)
			}
		}
		d.renew(beat)
		cancel()
	}
}

// renew extends the leases of the turns held and drops those that went to somebody else or are over. A failed renewal drops
// none: until a lease is taken over it is still ours, and if it is, the generation refuses us.
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
	asked := time.Now() // before the database computes what remains: the local deadline is never the later one
	kept, err := d.c.Store.Renew(ctx, d.c.Lease, held)
	if err != nil {
		return
	}
	still := make(map[conversation.TurnRef]conversation.Holding, len(kept))
	for _, t := range kept {
		still[t.TurnRef] = t
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, t := range held {
		h, running := d.held[t]
		now, ours := still[t]
		switch {
		case !running:
		case !ours:
			h.end(errLeaseLost)
		default:
			h.expire(asked.Add(now.Remains))
			if now.State != conversation.TurnRunning {
				h.answer()
			}
		}
	}
}
