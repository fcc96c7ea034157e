package simulate

import (
	"context"
	"errors"
	"time"

	"plantao/runtime/conversation"
)

// errBroken is what a caller sees of a connection that broke: the transaction may have been committed, or not.
var errBroken = errors.New("connection to the database broke")

// line is a replica's way to the store. It loses requests and answers, and tells the oracle what was really done.
type line struct {
	conversation.Store // as it is
	w                  *world
	r                  *replica
}

// weather decides what becomes of a request.
type weather int

const (
	fine  weather = iota
	down          // it never reaches the database
	lost          // it is carried out, and its answer lost
	late          // its caller gives up on it, and then it is carried out; as lost where that cannot be
	fatal         // as lost, and the replica dies of it
)

// Now and then the database is in trouble for a while.
const (
	stormEvery = 200 // requests
	stormSteps = 25
)

// over draws the weather of one request. While a round runs out it is always fine.
func (w *world) over() weather {
	if w.calm {
		return fine
	}
	bad := 60
	if w.rough || w.storm > w.step {
		bad = 400
	} else if w.draw(stormEvery) == 0 {
		w.storm = w.step + stormSteps
	}
	switch n := w.draw(1000); {
	case n < bad/3:
		return down
	case n < bad*2/3:
		return lost
	case n < bad:
		return late
	case n < bad+6:
		return fatal
	}
	return fine
}

// request is one thing asked of the store. told is called when the database has answered.
type request[T any] struct {
	do   func(conversation.Store) (T, error)
	told func(T)
	// whole: it is one statement, so that the database can go on with it when its connection is gone. A transaction of several
	// ends with its connection.
	whole bool
}

// carry runs a request through the weather.
func carry[T any](l *line, r request[T]) (T, error) {
	var nothing T
	sky := l.w.over()
	switch {
	case sky == down:
		l.w.fault(faultDown)
		l.stumble()
		return nothing, errBroken
	case sky == late && r.whole:
		l.w.fault(faultLate)
		l.w.pending = append(l.w.pending, func() { _, _ = settled(l.w, r, l.w.store) })
		l.stumble()
		return nothing, errBroken
	}
	result, err := settled(l.w, r, l.Store)
	switch sky {
	case lost, late:
		l.w.fault(faultLost)
		l.stumble()
		return nothing, errBroken
	case fatal:
		l.w.fault(faultKillAtCommit)
		l.r.doomed = true
		return nothing, errBroken
	}
	return result, err
}

// settled is a request that reaches the database.
func settled[T any](w *world, r request[T], s conversation.Store) (T, error) {
	result, err := r.do(s)
	switch {
	case err != nil:
		w.expect(err)
	case r.told != nil:
		r.told(result)
	}
	return result, err
}

// stumble is what a broken connection does to a replica: mostly it waits before it tries again, sometimes for long.
func (l *line) stumble() {
	if l.w.draw(4) == 0 && len(l.r.tasks) > 0 {
		l.w.fault(faultPause)
		l.r.frozen = l.w.step + 10 + l.w.draw(60)
	}
}

// expected are the refusals of the domain. Any other error is one that should not be.
var expected = []error{
	conversation.ErrStaleEpoch, conversation.ErrTurnClosed, conversation.ErrNothingDue, conversation.ErrSuperseded, conversation.ErrInvalid,
	conversation.ErrNotFound, conversation.ErrWrongState, conversation.ErrNotOwner, conversation.ErrOfferGone, conversation.ErrNotYet,
	conversation.ErrNoAgent, conversation.ErrAtCapacity, conversation.ErrKeyReused, conversation.ErrSenderAlive, conversation.ErrBadToken,
}

// refusal is the sentinel an error wraps; nil for none.
func refusal(err error) error {
	for _, e := range expected {
		if errors.Is(err, e) {
			return e
		}
	}
	return nil
}

// Receive implements conversation.Inbox.
func (l *line) Receive(ctx context.Context, events []conversation.Event, w conversation.Window) ([]conversation.Receipt, error) {
	return carry(l, request[[]conversation.Receipt]{whole: true,
		do: func(s conversation.Store) ([]conversation.Receipt, error) {
			// Carried out late, it outlives the one who asked.
			return s.Receive(context.WithoutCancel(ctx), events, w)
		},
		told: func(receipts []conversation.Receipt) {
			for i, r := range receipts {
				l.w.oracle.received(events[i], r)
			}
		}})
}

// Do implements conversation.Ownership.
func (l *line) Do(ctx context.Context, c conversation.Command) (conversation.Result, error) {
	return carry(l, request[conversation.Result]{
		do: func(s conversation.Store) (conversation.Result, error) {
			r, err := s.Do(ctx, c)
			if err != nil {
				l.w.oracle.refused(c, err)
			}
			return r, err
		},
		told: func(r conversation.Result) { l.w.oracle.did(c, r) }})
}

// ClaimTurn implements conversation.Turns.
func (l *line) ClaimTurn(ctx context.Context, terms conversation.TurnTerms) (conversation.Turn, error) {
	return carry(l, request[conversation.Turn]{
		do:   func(s conversation.Store) (conversation.Turn, error) { return s.ClaimTurn(ctx, terms) },
		told: func(t conversation.Turn) { l.w.oracle.claimed(t) }})
}

// ReclaimTurn implements conversation.Turns.
func (l *line) ReclaimTurn(ctx context.Context, terms conversation.TurnTerms) (conversation.Turn, error) {
	return carry(l, request[conversation.Turn]{
		do: func(s conversation.Store) (conversation.Turn, error) { return s.ReclaimTurn(ctx, terms) }})
}

// Renew implements conversation.Turns.
func (l *line) Renew(ctx context.Context, lease time.Duration, held []conversation.TurnRef) ([]conversation.Holding, error) {
	return carry(l, request[[]conversation.Holding]{whole: true,
		do: func(s conversation.Store) ([]conversation.Holding, error) { return s.Renew(ctx, lease, held) }})
}

// HandBack implements conversation.Turns.
func (l *line) HandBack(ctx context.Context, t conversation.TurnRef) error {
	return l.tell(true, func(s conversation.Store) error { return s.HandBack(ctx, t) }, nil)
}

// Reply implements conversation.Turns.
func (l *line) Reply(ctx context.Context, t conversation.TurnRef, token string, parts []conversation.Part, then ...conversation.Then) error {
	return l.tell(true, func(s conversation.Store) error { return s.Reply(ctx, t, token, parts, then...) },
		func() { l.w.oracle.replied(t, len(parts)) })
}

// Cancel implements conversation.Turns.
func (l *line) Cancel(ctx context.Context, t conversation.TurnRef, reason string) error {
	return l.tell(false, func(s conversation.Store) error { return s.Cancel(ctx, t, reason) }, nil)
}

// Fail implements conversation.Turns.
func (l *line) Fail(ctx context.Context, t conversation.TurnRef, f conversation.Failure) error {
	return l.tell(false, func(s conversation.Store) error { return s.Fail(ctx, t, f) }, func() { l.w.oracle.failed(t) })
}

// Pass implements conversation.Outbox.
func (l *line) Pass(ctx context.Context, p conversation.PartRef, sender conversation.Process, lease time.Duration) (bool, error) {
	return carry(l, request[bool]{whole: true,
		do: func(s conversation.Store) (bool, error) { return s.Pass(ctx, p, sender, lease) },
		told: func(passed bool) {
			if passed {
				l.w.oracle.passed(p)
			}
		}})
}

// Sent implements conversation.Outbox.
func (l *line) Sent(ctx context.Context, p conversation.PartRef, d conversation.Delivery) (bool, error) {
	return l.ask(func(s conversation.Store) (bool, error) { return s.Sent(ctx, p, d) })
}

// Unsent implements conversation.Outbox.
func (l *line) Unsent(ctx context.Context, p conversation.PartRef) (bool, error) {
	return l.ask(func(s conversation.Store) (bool, error) { return s.Unsent(ctx, p) })
}

// Unknown implements conversation.Outbox.
func (l *line) Unknown(ctx context.Context, p conversation.PartRef, reason string) (bool, error) {
	return l.ask(func(s conversation.Store) (bool, error) { return s.Unknown(ctx, p, reason) })
}

// Prove implements conversation.Outbox.
func (l *line) Prove(ctx context.Context, p conversation.AmbiguousPart, d conversation.Delivery) (bool, error) {
	return l.ask(func(s conversation.Store) (bool, error) { return s.Prove(ctx, p, d) })
}

// Settle implements conversation.Outbox.
func (l *line) Settle(ctx context.Context, st conversation.Settlement) error {
	return l.tell(false, func(s conversation.Store) error { return s.Settle(ctx, st) }, nil)
}

// PutAgent implements conversation.Agents.
func (l *line) PutAgent(ctx context.Context, a conversation.Agent) error {
	return l.tell(true, func(s conversation.Store) error { return s.PutAgent(ctx, a) }, nil)
}

// ask is carry for a statement that says yes or no.
func (l *line) ask(do func(conversation.Store) (bool, error)) (bool, error) {
	return carry(l, request[bool]{whole: true, do: do})
}

// tell is carry for what has no result.
func (l *line) tell(whole bool, do func(conversation.Store) error, told func()) error {
	_, err := carry(l, request[struct{}]{whole: whole,
		do: func(s conversation.Store) (struct{}, error) { return struct{}{}, do(s) },
		told: func(struct{}) {
			if told != nil {
				told()
			}
		}})
	return err
}
