// Package gate is the way out: every part of an answer passes the store's gate statement right before it is written to
// the wire, and what is known about its fate is recorded right after. Package conversation has the diagram.
package gate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/semaphore"

	"plantao/runtime/conversation"
	"plantao/runtime/failpoint"
)

// markTimeout is how long the recording of a fate goes on after the turn's context has ended.
const markTimeout = 15 * time.Second

// Store is what the gate needs kept.
type Store interface {
	conversation.Outbox
	Media(ctx context.Context, tenant string, id int64) (conversation.Content, error)
	Cancel(ctx context.Context, t conversation.TurnRef, reason string) error
	Fail(ctx context.Context, t conversation.TurnRef, f conversation.Failure) error
}

// Observer counts parts.
type Observer interface {
	// PartTried is called after each attempt to send: sent, refused, unsent or ambiguous.
	PartTried(outcome string, took time.Duration)
}

// Line says whether there is any use in sending.
type Line interface {
	// Await waits until the channel is connected, or not known not to be; false if ctx ended first.
	Await(ctx context.Context, channel string) bool
}

// Config holds what a Gate needs. Fields without a default are required.
type Config struct {
	Store    Store
	Sender   conversation.Sender
	Process  conversation.Process
	Lease    time.Duration
	Observer Observer
	Logger   *slog.Logger

	// Line is waited for before a part is tried. Nil: it is always tried.
	Line Line
	// Pace bounds how fast a channel speaks. Nil: it is not bound.
	Pace *Pace
	// Typing is how long parts seem to be typed for which their flow gives no time.
	Typing Typing
	// Manners shows the contact typing and read marks. Nil: nothing is shown.
	Manners conversation.Manners
	// Read marks the messages of a turn as read when its answer begins.
	Read bool
}

// mediaBytes bounds what is held in memory of attachments on their way out. A larger one goes alone.
const mediaBytes = 20 << 20

// Gate is safe for concurrent use.
type Gate struct {
	c       Config
	media   *semaphore.Weighted
	manners *manners // nil: none
}

// New makes a Gate. One with Manners is closed when no turn is in it any more.
func New(c Config) *Gate {
	return &Gate{c: c, media: semaphore.NewWeighted(mediaBytes), manners: newManners(c.Manners, c.Logger)}
}

// Close ends what is shown to contacts, and waits for it.
func (g *Gate) Close() { g.manners.close() }

// Send sends the queued parts of a replied turn, in order. When ctx ends it stops before the next part, never within one.
func (g *Gate) Send(ctx context.Context, t conversation.Turn) conversation.Outcome {
	var parts []conversation.QueuedPart
	err := conversation.Insist(ctx, func() (err error) {
		parts, err = g.c.Store.QueuedParts(ctx, t.TurnRef)
		return err
	})
	if err != nil {
		return g.interrupted(ctx, t, "list parts", err)
	}
	if g.c.Read && len(parts) > 0 && parts[0].No == 1 && t.Kind == conversation.TurnOfAI {
		g.manners.read(t)
	}
	for _, p := range parts {
		if outcome := g.sendPart(ctx, t, p); outcome != conversation.OutcomeDone {
			return outcome
		}
	}
	return conversation.OutcomeDone
}

// sendPart tries until the part's fate is known, or the deadline has passed without a byte written.
func (g *Gate) sendPart(ctx context.Context, t conversation.Turn, p conversation.QueuedPart) conversation.Outcome {
	ref := conversation.PartRef{TurnRef: t.TurnRef, Part: p.No}
	// The wait comes before the gate: a human who takes the conversation meanwhile is not talked over.
	delay := p.Delay
	if delay == 0 && t.Kind == conversation.TurnOfAI { // a human has typed it already
		delay = g.c.Typing.of(p)
	}
	if delay = min(delay, max(0, time.Until(t.Expires))); delay > 0 {
		g.manners.typing(t, p, delay)
		if !conversation.Pause(ctx, delay) {
			return conversation.OutcomeHandedBack
		}
	}
	content, done, outcome := g.attachment(ctx, t, p)
	if outcome != "" {
		return outcome
	}
	defer done()
	var last error
	for attempt := 1; ; attempt++ {
		if attempt > 1 {
			conversation.Pause(ctx, conversation.Backoff(attempt-1, 200*time.Millisecond, 5*time.Second))
		}
		if ctx.Err() != nil {
			return g.leave(ctx, t, ref)
		}
		if !time.Now().Before(t.Expires) {
			return g.fail(ctx, t, conversation.ReasonDeadline, fmt.Sprintf("part %d not sent after %d attempts; last: %v",
				p.No, attempt-1, last))
		}
		if err := g.clear(ctx, t); err != nil {
			if ctx.Err() != nil {
				return g.leave(ctx, t, ref)
			}
			return g.fail(ctx, t, conversation.ReasonDeadline, fmt.Sprintf("part %d not sent after %d attempts: %v", p.No, attempt-1, err))
		}
		ref.Attempt = attempt
		// Local trust starts before the store stamps the lease and ends a third earlier.
		trust := time.Now().Add(g.c.Lease * 2 / 3)
		passed, err := g.c.Store.Pass(ctx, ref, g.c.Process, g.c.Lease)
		if err != nil {
			// The intent may have been committed all the same. Nothing was written, so it can be taken back.
			last = err
			if _, err := g.putBack(ctx, t, ref); err != nil {
				return g.interrupted(ctx, t, "put part back", err)
			}
			continue
		}
		if !passed {
			back := false
			if attempt > 1 {
				// An attempt whose answer was lost can have committed its intent after it was put back. Nothing was
				// written for it, and left alone it would end as ambiguous with nobody to clear it.
				if back, err = g.putBack(ctx, t, ref); err != nil {
					return g.interrupted(ctx, t, "put part back", err)
				}
			}
			if back {
				continue
			}
			return g.refused(ctx, t)
		}
		failpoint.Hit("gate.passed")
		outcome, err := g.deliver(ctx, t, ref, p, content, earlier(trust, t.Expires))
		if outcome != "" {
			return outcome
		}
		last = err
	}
}

func (g *Gate) write(ctx context.Context, t conversation.Turn, p conversation.QueuedPart, content conversation.Content, notAfter time.Time) (conversation.Delivery, error) {
	if p.Media == nil {
		return g.c.Sender.SendText(ctx, t.Channel, t.Contact.JID, p.Text, notAfter)
	}
	return g.c.Sender.SendMedia(ctx, t.Channel, t.Contact.JID, content, p.Media.Kind, p.Text, notAfter)
}

// attachment reads what is attached to a part, before the gate: between the gate and the wire nothing is waited for. An empty
// outcome means that the part can be sent; done must be called then.
func (g *Gate) attachment(ctx context.Context, t conversation.Turn, p conversation.QueuedPart) (content conversation.Content, done func(), _ conversation.Outcome) {
	if p.Media == nil {
		return content, func() {}, ""
	}
	reading, cancel := context.WithDeadline(ctx, t.Expires)
	defer cancel()
	weight := min(max(p.MediaBytes, 1), mediaBytes)
	if g.media.Acquire(reading, weight) != nil {
		return content, nil, g.late(ctx, t, p, errors.New("other attachments were being sent"))
	}
	done = func() { g.media.Release(weight) }
	err := conversation.Insist(reading, func() (err error) {
		content, err = g.c.Store.Media(reading, t.Tenant, p.Media.ID)
		return err
	})
	switch {
	case err == nil:
		return content, done, ""
	case errors.Is(err, conversation.ErrNotFound):
		done()
		return content, nil, g.fail(ctx, t, conversation.ReasonSendRefused, fmt.Sprintf("part %d: its attachment %d is not there", p.No, p.Media.ID))
	}
	done()
	return content, nil, g.late(ctx, t, p, err)
}

// late ends a wait that was given up, by the end of ctx or by the deadline, before the part got to the gate.
func (g *Gate) late(ctx context.Context, t conversation.Turn, p conversation.QueuedPart, cause error) conversation.Outcome {
	if ctx.Err() != nil {
		return conversation.OutcomeHandedBack
	}
	return g.fail(ctx, t, conversation.ReasonDeadline, fmt.Sprintf("part %d not sent: %v", p.No, cause))
}

// clear waits until the channel is connected and it is this part's turn, at most until the turn's deadline. Waiting comes before the
// gate: who waits has promised nothing, and a take meanwhile wins.
func (g *Gate) clear(ctx context.Context, t conversation.Turn) error {
	ctx, cancel := context.WithDeadline(ctx, t.Expires)
	defer cancel()
	if g.c.Line != nil && !g.c.Line.Await(ctx, t.Channel) {
		return conversation.ErrNotConnected
	}
	if err := g.c.Pace.Wait(ctx, t.Channel); err != nil {
		return fmt.Errorf("the channel may not send it before the deadline: %w", err)
	}
	return nil
}

// leave hands the turn back between two attempts. An earlier attempt whose answer was lost can have committed its intent after
// it was put back; left alone it would end as ambiguous, with nobody to clear it but this process.
func (g *Gate) leave(ctx context.Context, t conversation.Turn, ref conversation.PartRef) conversation.Outcome {
	if ref.Attempt > 0 {
		if _, err := g.putBack(ctx, t, ref); err != nil {
			return g.interrupted(ctx, t, "put part back", err)
		}
	}
	return conversation.OutcomeHandedBack
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// deliver writes the part and records what came of it. An empty outcome means that nothing was written: try again.
func (g *Gate) deliver(ctx context.Context, t conversation.Turn, ref conversation.PartRef, p conversation.QueuedPart, content conversation.Content, notAfter time.Time) (conversation.Outcome, error) {
	log := g.log(t).With("part", ref.Part)
	start := time.Now()
	// A shutdown does not cut a send: half-known is the worst that can be known about a message. The sender has its own timeout.
	d, err := g.write(context.WithoutCancel(ctx), t, p, content, notAfter)
	took := time.Since(start)
	if err == nil {
		failpoint.Hit("gate.written")
		g.c.Observer.PartTried("sent", took)
		return g.mark(ctx, log, "sent", conversation.OutcomeDone, func(ctx context.Context) (bool, error) {
			return g.c.Store.Sent(ctx, ref, d)
		}), nil
	}
	var se *conversation.SendError
	if !errors.As(err, &se) {
		se = &conversation.SendError{Outcome: conversation.SendUnknown, Err: err}
	}
	switch se.Outcome {
	case conversation.SendRefused:
		g.c.Observer.PartTried("refused", took)
		return g.fail(ctx, t, conversation.ReasonSendRefused, se.Error()), nil
	case conversation.SendNothing:
		g.c.Observer.PartTried("unsent", took)
		log.WarnContext(ctx, "part not sent, will be tried again", "err", se)
		if _, err := g.putBack(ctx, t, ref); err != nil {
			return g.interrupted(ctx, t, "put part back", err), nil
		}
		return "", se
	}
	g.c.Observer.PartTried("ambiguous", took)
	log.ErrorContext(ctx, "part may or may not have been sent; the AI is silent in this conversation until that is known",
		"err", se, "dur", took)
	return g.mark(ctx, log, "ambiguous", conversation.OutcomeAmbiguous, func(ctx context.Context) (bool, error) {
		return g.c.Store.Unknown(ctx, ref, "outcome_unknown")
	}), nil
}

// settle writes down what happened, through an outage of the store, for as long as the turn's context lasts and markTimeout
// longer. Giving up early would silence the AI in this conversation until this process restarts: only the sender knows the
// fate, and while its process lives nobody else may conclude anything about its part.
func (g *Gate) settle(turn context.Context, log *slog.Logger, what string, record func(context.Context) error) error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(turn))
	defer cancel()
	defer context.AfterFunc(turn, func() {
		conversation.Pause(ctx, markTimeout)
		cancel()
	})()
	told := false
	return conversation.Insist(ctx, func() error {
		err := record(ctx)
		if err != nil && !told && !errors.Is(err, conversation.ErrTurnClosed) {
			told = true
			log.WarnContext(ctx, "store did not take the fate of a part; it will be told again", "at", what, "err", err)
		}
		return err
	})
}

// mark records a fate. If that fails the part stays "sending", its lease runs out, and the read-back looks for it once this
// process is gone.
func (g *Gate) mark(ctx context.Context, log *slog.Logger, as string, outcome conversation.Outcome, record func(context.Context) (bool, error)) conversation.Outcome {
	var ours bool
	err := g.settle(ctx, log, as, func(ctx context.Context) (err error) {
		ours, err = record(ctx)
		return err
	})
	if err != nil {
		log.ErrorContext(ctx, "fate of part not recorded", "fate", as, "err", err)
		return conversation.OutcomeLost
	}
	if !ours {
		log.WarnContext(ctx, "part was settled by another process", "fate", as)
		return conversation.OutcomeLost
	}
	return outcome
}

// putBack undoes an intent nothing was written for. False means that there was none: the part never left the queue, or is
// somebody else's by now.
func (g *Gate) putBack(ctx context.Context, t conversation.Turn, ref conversation.PartRef) (back bool, err error) {
	err = g.settle(ctx, g.log(t), "put part back", func(ctx context.Context) (err error) {
		back, err = g.c.Store.Unsent(ctx, ref)
		return err
	})
	return back, err
}

func (g *Gate) log(t conversation.Turn) *slog.Logger {
	return g.c.Logger.With("conversation", t.Conversation, "turn", t.No, "gen", t.Gen, "epoch", t.Epoch)
}

// refused finds out why the gate said no and ends the turn accordingly.
func (g *Gate) refused(ctx context.Context, t conversation.Turn) conversation.Outcome {
	if !time.Now().Before(t.Expires) {
		return g.fail(ctx, t, conversation.ReasonDeadline, "the deadline passed at the gate")
	}
	err := conversation.Insist(ctx, func() error {
		return g.c.Store.Cancel(ctx, t.TurnRef, conversation.ReasonOwnerChanged)
	})
	switch {
	case err == nil:
		g.log(t).InfoContext(ctx, "answer stopped at the gate: the conversation has changed owner")
		return conversation.OutcomeCancelled
	case errors.Is(err, conversation.ErrTurnClosed):
		g.log(t).WarnContext(ctx, "answer stopped at the gate: another process holds the turn")
		return conversation.OutcomeLost
	}
	return g.interrupted(ctx, t, "cancel turn", err)
}

func (g *Gate) fail(ctx context.Context, t conversation.Turn, reason, detail string) conversation.Outcome {
	err := g.settle(ctx, g.log(t), "give turn up", func(ctx context.Context) error {
		return g.c.Store.Fail(ctx, t.TurnRef, conversation.Failure{Reason: reason, Detail: detail})
	})
	if err != nil {
		return g.interrupted(ctx, t, "give turn up", err)
	}
	g.log(t).ErrorContext(ctx, "answer given up: dead letter, conversation waits for a human", "reason", reason, "detail", detail)
	return conversation.OutcomeFailed
}

func (g *Gate) interrupted(ctx context.Context, t conversation.Turn, what string, err error) conversation.Outcome {
	g.log(t).WarnContext(ctx, "sending interrupted", "at", what, "err", err)
	return conversation.OutcomeLost
}
