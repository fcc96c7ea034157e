package simulate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"plantao/runtime/conversation"
	"plantao/runtime/ingest"
	"plantao/runtime/postgres"
	"plantao/runtime/routing"
)

// What a replica is configured with, in hours of the simulation.
const (
	leaseHours    = 24
	trustHours    = leaseHours * 2 / 3 // as the gate: local trust ends before the lease
	deadlineHours = 96
	quietHours    = 6
	capHours      = 12
)

func hours(n int) time.Duration { return time.Duration(n) * time.Hour }

// replica is one slot. What it remembers is gone when it dies.
type replica struct {
	name    string
	w       *world
	store   *postgres.Store
	line    *line
	ingest  *ingest.Service
	process conversation.Process
	up      bool
	frozen  int  // steps it does not act for
	doomed  bool // it dies at the end of this step

	channels map[string]conversation.Channel
	tasks    []*task
	unrouted []conversation.Unrouted      // as it last read them
	overdue  []conversation.Command       // likewise
	doubtful []conversation.AmbiguousPart // likewise
	silent   []conversation.AmbiguousPart // likewise
}

// observer hears nothing.
type observer struct{}

func (observer) Received(string, string) {}

// start boots a new process in the slot.
func (r *replica) start() error {
	w := r.w
	r.line = &line{w: w, r: r}
	if err := r.connect(); err != nil {
		return err
	}
	r.ingest = ingest.New(ingest.Config{
		Own: func() {}, Happened: func(string, conversation.Connection) {},
		Store: r.line, Decode: decode, Window: conversation.Window{Quiet: hours(quietHours), Cap: hours(capHours)},
		Wake: func() {}, Observer: observer{}, Logger: slog.New(slog.DiscardHandler),
	})
	r.process = conversation.Process{Instance: r.name, Boot: w.uuid()}
	if err := r.store.Boot(w.ctx, r.process); err != nil {
		return err
	}
	r.channels = map[string]conversation.Channel{}
	for _, c := range channels {
		found, err := r.store.Channel(w.ctx, c.Name)
		if err != nil {
			return err
		}
		r.channels[c.Name] = found
	}
	r.up, r.frozen, r.doomed = true, 0, false
	return nil
}

func (r *replica) connect() error {
	store, err := postgres.Open(r.w.scratch.Config)
	if err != nil {
		return err
	}
	r.store, r.line.Store = store, r.w.plant(r.w.scratch.Config, store)
	return nil
}

// reconnect is what happens to a process that lives when the database has moved.
func (r *replica) reconnect() error {
	if !r.up {
		return nil
	}
	r.close()
	if err := r.connect(); err != nil {
		return err
	}
	return r.store.Ping(r.w.ctx)
}

// decode is the neighbour's decoding of a webhook.
func decode(body []byte) (conversation.Event, error) {
	var e conversation.Event
	if err := json.Unmarshal(body, &e); err != nil {
		return e, fmt.Errorf("%w: %w", conversation.ErrMalformed, err)
	}
	e.Body = body
	return e, nil
}

// die ends the process. What it was writing may have arrived, may arrive later, or never does.
func (r *replica) die() {
	for _, t := range r.tasks {
		if t.stage != onWire {
			continue
		}
		m := r.w.phone.send(t)
		switch r.w.draw(3) {
		case 0:
			r.w.phone.arrive(r.w, m)
		case 1:
			r.w.phone.wire = append(r.w.phone.wire, m)
		}
	}
	r.close()
	r.up, r.doomed, r.frozen = false, false, 0
	r.tasks, r.unrouted, r.overdue, r.doubtful, r.silent = nil, nil, nil, nil, nil
}

// close frees the slot's connections.
func (r *replica) close() {
	if r.store != nil {
		r.store.Close()
		r.store = nil
	}
}

func (r *replica) terms() conversation.TurnTerms {
	return conversation.TurnTerms{Holder: r.process, Lease: hours(leaseHours), Deadline: hours(deadlineHours), Sign: r.w.key.Token}
}

// route reads which conversations have no owner, or gives one of those it read away, as dispatch does.
func (r *replica) route() string {
	if len(r.unrouted) == 0 {
		list, err := r.line.Unrouted(r.w.ctx, 100)
		if err != nil {
			r.w.broken(err)
		}
		if r.unrouted = list; len(list) == 0 {
			return ""
		}
		return fmt.Sprintf("%s reads %d unrouted", r.name, len(list))
	}
	u := r.unrouted[0]
	r.unrouted = r.unrouted[1:]
	to := routing.Decide(u, nil)
	c := conversation.Command{
		Verb: conversation.VerbClaim, Tenant: u.Tenant, Conversation: u.Conversation, IfEpoch: u.Epoch, Actor: conversation.Router,
		To: to.To, Reason: to.Reason, RuleVersion: to.RuleVersion,
	}
	result, err := r.line.Do(r.w.ctx, c)
	if errors.Is(err, conversation.ErrAtCapacity) {
		c.To, c.Reason = conversation.Owner{Kind: conversation.OwnedByQueue}, conversation.ReasonAtCapacity
		result, err = r.line.Do(r.w.ctx, c)
	}
	return fmt.Sprintf("%s routes conversation %s of epoch %d to %s", r.name, u.Conversation, u.Epoch, c.To) + done(result, err)
}

// timers reads what time has brought, or carries out some of what it read.
func (r *replica) timers() string {
	if len(r.overdue) == 0 {
		list, err := r.line.Overdue(r.w.ctx, 100)
		if err != nil {
			r.w.broken(err)
		}
		if r.overdue = list; len(list) == 0 {
			return ""
		}
		return fmt.Sprintf("%s reads %d overdue", r.name, len(list))
	}
	c := r.overdue[0]
	r.overdue = r.overdue[1:]
	result, err := r.line.Do(r.w.ctx, c)
	if errors.Is(err, conversation.ErrAtCapacity) {
		c.Verb, c.To = conversation.VerbPass, conversation.Owner{Kind: conversation.OwnedByQueue}
		result, err = r.line.Do(r.w.ctx, c)
	}
	return fmt.Sprintf("%s lets time %s conversation %s of epoch %d", r.name, c.Verb, c.Conversation, c.IfEpoch) + done(result, err)
}

func (r *replica) claim() string {
	t, err := r.line.ClaimTurn(r.w.ctx, r.terms())
	return r.hold("claims", t, err)
}

func (r *replica) reclaim() string {
	t, err := r.line.ReclaimTurn(r.w.ctx, r.terms())
	return r.hold("reclaims", t, err)
}

func (r *replica) hold(verb string, t conversation.Turn, err error) string {
	switch {
	case errors.Is(err, conversation.ErrNothingDue):
		return ""
	case err != nil:
		return fmt.Sprintf("%s %s a turn", r.name, verb) + outcome(err)
	}
	held := &task{Turn: t, expires: r.w.hour + wholeHours(time.Until(t.Expires)), stage: asking}
	switch {
	case t.Stale:
		held.stage = cancelling
	case t.State == conversation.TurnReplied:
		held.stage = listing
	}
	r.tasks = append(r.tasks, held)
	return fmt.Sprintf("%s %s turn %s/%d gen %d, epoch %d, %d messages: %s", r.name, verb, t.Conversation, t.No, t.Gen, t.Epoch,
		len(t.Messages), held.stage)
}

// wholeHours undoes what the round took so far.
func wholeHours(d time.Duration) int { return int((d + 30*time.Minute) / time.Hour) }

// heartbeat shows the process alive, renews the leases of its turns, and drops those it lost unless a part's fate is to be told.
func (r *replica) heartbeat() string {
	if err := r.line.Seen(r.w.ctx, r.process); err != nil {
		r.w.broken(err)
	}
	if len(r.tasks) == 0 {
		return ""
	}
	held := make([]conversation.TurnRef, 0, len(r.tasks))
	for _, t := range r.tasks {
		held = append(held, t.TurnRef)
	}
	kept, err := r.line.Renew(r.w.ctx, hours(leaseHours), held)
	what := fmt.Sprintf("%s renews %d turns", r.name, len(held))
	if err != nil {
		return what + outcome(err)
	}
	for _, t := range slices.Clone(r.tasks) {
		i := slices.IndexFunc(kept, func(h conversation.Holding) bool { return h.TurnRef == t.TurnRef })
		switch {
		case i >= 0:
			t.expires = r.w.hour + wholeHours(kept[i].Remains)
			if t.stage == asking && kept[i].State != conversation.TurnRunning {
				t.stage = listing // answered by the API
			}
		default:
			r.leave(t, true)
		}
	}
	return fmt.Sprintf("%s, keeps %d", what, len(kept))
}

func (r *replica) drop(t *task) {
	r.tasks = slices.DeleteFunc(r.tasks, func(other *task) bool { return other == t })
}

// readBack reads which parts are in doubt, or looks for one of those it read, as gate does.
func (r *replica) readBack() string {
	if len(r.doubtful) == 0 {
		return r.doubts()
	}
	p := r.doubtful[0]
	r.doubtful = r.doubtful[1:]
	key := partKey{turnKey{p.Conversation, p.No}, p.Part}
	what := fmt.Sprintf("%s looks for part %d of turn %s", r.name, p.Part, key.turnKey)
	for _, d := range r.w.phone.since(p.Channel, p.ChatJID, r.w.oracle.intents[key]) {
		if d.Text != p.Text {
			continue
		}
		proved, err := r.line.Prove(r.w.ctx, p, d)
		if err != nil {
			return what + outcome(err)
		}
		if proved {
			return what + ": proved by " + d.MessageID
		}
	}
	return what + ": not found"
}

// undecided reads which conversations an AI is silent in, or gives one of those it read to any human, as gate does. How long ago
// the part was let out is not looked at: patience is none here.
func (r *replica) undecided() string {
	if len(r.silent) == 0 {
		list, err := r.line.Undecided(r.w.ctx, 0, 20)
		r.w.broken(err)
		if r.silent = list; len(list) == 0 {
			return ""
		}
		return fmt.Sprintf("%s reads %d undecided", r.name, len(list))
	}
	p := r.silent[0]
	r.silent = r.silent[1:]
	result, err := r.line.Do(r.w.ctx, conversation.Command{
		Verb: conversation.VerbQueue, Tenant: p.Tenant, Conversation: p.Conversation, IfEpoch: p.Epoch, Actor: conversation.Router,
		To: conversation.Owner{Kind: conversation.OwnedByQueue}, Reason: conversation.ReasonAmbiguous,
	})
	return fmt.Sprintf("%s gives conversation %s of epoch %d to the queue", r.name, p.Conversation, p.Epoch) + done(result, err)
}

func (r *replica) doubts() string {
	list, err := r.line.CheckAmbiguous(r.w.ctx, 20)
	if err != nil {
		r.w.broken(err)
	}
	if len(list) == 0 {
		return ""
	}
	slices.SortFunc(list, func(a, b conversation.AmbiguousPart) int { return int(a.Conversation - b.Conversation) })
	for _, p := range list {
		r.w.exec(nextLookSQL, p.Conversation, p.No, p.Part)
	}
	r.doubtful = list
	return fmt.Sprintf("%s reads %d parts in doubt", r.name, len(list))
}

// letGo hands a turn back, as a router that shuts down does.
func (r *replica) letGo() string {
	for _, t := range r.tasks {
		if r.leave(t, false) {
			return fmt.Sprintf("%s lets turn %s/%d go", r.name, t.Conversation, t.No)
		}
	}
	return ""
}

// leave ends the work on a turn that is not in the middle of something, and says whether it did. A part that was tried is put
// back first: its last try may have been committed after all.
func (r *replica) leave(t *task, lost bool) bool {
	if t.stage != asking && t.stage != listing && t.stage != passing {
		return false
	}
	t.lost = lost
	switch {
	case t.stage == passing && t.attempt > 0:
		t.stage = leaving
	case lost:
		r.drop(t)
	default:
		t.stage = handing
	}
	return true
}

// find reads a conversation as this replica sees it.
func (r *replica) find(ctx context.Context, tenant string, id conversation.ID) (conversation.Conversation, error) {
	return r.line.Find(ctx, tenant, id)
}
