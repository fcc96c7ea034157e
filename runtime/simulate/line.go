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
	fatal         // as lost, and the replica dies of it
)

// over draws the weather of one request. While a round runs out it is always fine.
func (w *world) over() weather {
	if w.calm {
		return fine
	}
	bad := 60
	if w.storm > w.step {
		bad = 400
	} else if w.draw(stormEvery) == 0 {
		w.storm = w.step + stormSteps
	}
	switch n := w.draw(1000); {
	case n < bad/3:
		return down
	case n < bad:
		return lost
	case n < bad+6:
		return fatal
	}
	return fine
}

// Now and then the database is in trouble for a while.
const (
	stormEvery = 200 // requests
	stormSteps = 25
)

// stumble is what a broken connection does to a replica: mostly it waits before it tries again, sometimes for long.
func (l *line) stumble() {
	if l.w.draw(4) == 0 && len(l.r.tasks) > 0 {
		l.w.fault(faultPause)
		l.r.frozen = l.w.step + 10 + l.w.draw(60)
	}
}

// carry runs an operation through the weather. told is called when the database has answered.
func carry[T any](l *line, operation func() (T, error), told func(T)) (T, error) {
	var nothing T
	sky := l.w.over()
	if sky == down {
		l.w.fault(faultDown)
		l.stumble()
		return nothing, errBroken
	}
	result, err := operation()
	if err == nil {
		told(result)
	} else {
		l.w.expect(err)
	}
	switch sky {
	case lost:
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

func (l *line) Receive(ctx context.Context, e conversation.Event, w conversation.Window) (conversation.Receipt, error) {
	return carry(l, func() (conversation.Receipt, error) { return l.Store.Receive(ctx, e, w) },
		func(r conversation.Receipt) { l.w.oracle.received(e, r) })
}

func (l *line) Do(ctx context.Context, c conversation.Command) (conversation.Result, error) {
	operation := func() (conversation.Result, error) {
		r, err := l.Store.Do(ctx, c)
		if err != nil {
			l.w.oracle.refused(c, err)
		}
		return r, err
	}
	return carry(l, operation, func(r conversation.Result) { l.w.oracle.did(c, r) })
}

func (l *line) ClaimTurn(ctx context.Context, terms conversation.TurnTerms) (conversation.Turn, error) {
	return carry(l, func() (conversation.Turn, error) { return l.Store.ClaimTurn(ctx, terms) },
		func(t conversation.Turn) { l.w.oracle.claimed(t) })
}

func (l *line) ReclaimTurn(ctx context.Context, terms conversation.TurnTerms) (conversation.Turn, error) {
	return carry(l, func() (conversation.Turn, error) { return l.Store.ReclaimTurn(ctx, terms) }, func(conversation.Turn) {})
}

func (l *line) Renew(ctx context.Context, lease time.Duration, held []conversation.TurnRef) ([]conversation.Holding, error) {
	return carry(l, func() ([]conversation.Holding, error) { return l.Store.Renew(ctx, lease, held) }, func([]conversation.Holding) {})
}

func (l *line) HandBack(ctx context.Context, t conversation.TurnRef) error {
	return l.tell(func() error { return l.Store.HandBack(ctx, t) }, func() {})
}

func (l *line) Reply(ctx context.Context, t conversation.TurnRef, token string, parts []conversation.Part) error {
	return l.tell(func() error { return l.Store.Reply(ctx, t, token, parts) }, func() { l.w.oracle.replied(t, len(parts)) })
}

func (l *line) Cancel(ctx context.Context, t conversation.TurnRef, reason string) error {
	return l.tell(func() error { return l.Store.Cancel(ctx, t, reason) }, func() {})
}

func (l *line) Fail(ctx context.Context, t conversation.TurnRef, f conversation.Failure) error {
	return l.tell(func() error { return l.Store.Fail(ctx, t, f) }, func() { l.w.oracle.failed(t) })
}

func (l *line) Pass(ctx context.Context, p conversation.PartRef, sender conversation.Process, lease time.Duration) (bool, error) {
	return carry(l, func() (bool, error) { return l.Store.Pass(ctx, p, sender, lease) }, func(passed bool) {
		if passed {
			l.w.oracle.passed(p)
		}
	})
}

func (l *line) Sent(ctx context.Context, p conversation.PartRef, d conversation.Delivery) (bool, error) {
	return carry(l, func() (bool, error) { return l.Store.Sent(ctx, p, d) }, func(bool) {})
}

func (l *line) Unsent(ctx context.Context, p conversation.PartRef) (bool, error) {
	return carry(l, func() (bool, error) { return l.Store.Unsent(ctx, p) }, func(bool) {})
}

func (l *line) Unknown(ctx context.Context, p conversation.PartRef, reason string) (bool, error) {
	return carry(l, func() (bool, error) { return l.Store.Unknown(ctx, p, reason) }, func(bool) {})
}

func (l *line) Settle(ctx context.Context, s conversation.Settlement) error {
	return l.tell(func() error { return l.Store.Settle(ctx, s) }, func() {})
}

func (l *line) Prove(ctx context.Context, p conversation.AmbiguousPart, d conversation.Delivery) (bool, error) {
	return carry(l, func() (bool, error) { return l.Store.Prove(ctx, p, d) }, func(bool) {})
}

func (l *line) PutAgent(ctx context.Context, a conversation.Agent) error {
	return l.tell(func() error { return l.Store.PutAgent(ctx, a) }, func() {})
}

// tell is carry for what has no result.
func (l *line) tell(operation func() error, told func()) error {
	_, err := carry(l, func() (struct{}, error) { return struct{}{}, operation() }, func(struct{}) { told() })
	return err
}
