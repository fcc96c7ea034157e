package dispatch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"plantao/runtime/conversation"
	"plantao/runtime/failpoint"
)

const (
	flowRetryBase  = 250 * time.Millisecond
	flowRetryLimit = 10 * time.Second
	// closeTimeout bounds telling the store how a turn ended, also while shutting down.
	closeTimeout = 15 * time.Second
)

// run takes one turn from where it stands to its end.
func (d *Dispatcher) run(ctx context.Context, t conversation.Turn, h *holding) conversation.Outcome {
	failpoint.Hit("dispatch.claimed")
	if t.Stale {
		return d.cancelTurn(ctx, t)
	}
	if t.State == conversation.TurnRunning {
		answer, failure, err := d.ask(ctx, t, h)
		switch {
		case errors.Is(err, conversation.ErrAnswersLater): // and has answered
		case err != nil:
			return d.letGo(ctx, t)
		case failure != nil:
			return d.giveUp(ctx, t, *failure)
		default:
			failpoint.Hit("dispatch.answered")
			if outcome := d.accept(ctx, t, h, answer); outcome != conversation.OutcomeDone {
				return outcome
			}
			if len(answer.Parts) == 0 {
				return conversation.OutcomeDone
			}
		}
	}
	failpoint.Hit("dispatch.replied")
	t.Expires = h.deadline()
	outcome := d.c.Gate.Send(ctx, t)
	if outcome == conversation.OutcomeHandedBack {
		return d.letGo(ctx, t)
	}
	return outcome
}

// ask asks the flow until it answers, refuses, or the turn's deadline passes. The error is the end of ctx, or ErrAnswersLater
// when the answer came by the API and is stored.
func (d *Dispatcher) ask(ctx context.Context, t conversation.Turn, h *holding) (conversation.Answer, *conversation.Failure, error) {
	asking, cancel := d.whileOpen(ctx, h)
	defer cancel()
	t.Background = d.background(asking, t)
	var last error
	for attempt := 1; asking.Err() == nil; attempt++ {
		start := time.Now()
		answer, err := d.flows.ask(asking, d.c.Flow, t)
		if errors.Is(err, errResting) {
			attempt-- // it was not asked
			if last == nil {
				last = err
			}
			conversation.Pause(asking, conversation.Backoff(1, breakerLook, breakerLook))
			continue
		}
		switch {
		case err == nil:
			d.c.Observer.FlowAsked("answered", time.Since(start))
			return answer, nil, nil
		case errors.Is(err, conversation.ErrAnswersLater):
			d.c.Observer.FlowAsked("later", time.Since(start))
			<-asking.Done()
		}
		if asking.Err() != nil {
			if last == nil {
				last = err
			}
			break
		}
		last = err
		var fe *conversation.FlowError
		if errors.As(err, &fe) && !fe.Retry {
			d.c.Observer.FlowAsked("refused", time.Since(start))
			return conversation.Answer{}, &conversation.Failure{Reason: conversation.ReasonFlowRefused, Detail: err.Error()}, nil
		}
		d.c.Observer.FlowAsked("retry", time.Since(start))
		d.c.Logger.WarnContext(ctx, "flow did not answer, will be asked again", "conversation", t.Conversation, "turn", t.No,
			"gen", t.Gen, "agent", t.Flow, "attempt", attempt, "trace", t.Trace.String(), "err", err)
		wait := conversation.Backoff(attempt, flowRetryBase, flowRetryLimit)
		if fe != nil && fe.After > wait {
			wait = fe.After
		}
		conversation.Pause(asking, wait)
	}
	switch {
	case ctx.Err() != nil:
		return conversation.Answer{}, nil, context.Cause(ctx)
	case errors.Is(context.Cause(asking), conversation.ErrAnswersLater):
		return conversation.Answer{}, nil, conversation.ErrAnswersLater
	}
	detail := "the turn was taken over after its deadline"
	if last != nil {
		detail = fmt.Sprintf("no answer before the deadline; last: %v", last)
	}
	return conversation.Answer{}, &conversation.Failure{Reason: conversation.ReasonDeadline, Detail: detail}, nil
}

// background is what the flow is told of the time before. It is read here and not with the claim, which holds the conversation's
// lock. Without it the flow is not asked: it would answer as if there were no past.
func (d *Dispatcher) background(ctx context.Context, t conversation.Turn) conversation.Background {
	var b conversation.Background
	// It ends with the turn at the latest, and then nothing is asked any more.
	_ = conversation.Insist(ctx, func() (err error) {
		b, err = d.c.Store.Background(ctx, t.TurnRef, d.c.History)
		return err
	})
	return b
}

// whileOpen is ctx until the turn is answered by the API (the cause is ErrAnswersLater) or its deadline passes. A deadline can
// be moved at any replica, so it is looked up before it is believed.
func (d *Dispatcher) whileOpen(ctx context.Context, h *holding) (context.Context, context.CancelFunc) {
	open, end := context.WithCancelCause(ctx)
	if !time.Now().Before(h.deadline()) {
		end(context.DeadlineExceeded)
	}
	d.turns.Go(func() {
		for open.Err() == nil {
			// Not longer than a lease: the deadline may move while we wait, either way.
			timer := time.NewTimer(min(time.Until(h.deadline()), d.c.Lease))
			select {
			case <-open.Done():
			case <-h.answered:
				end(conversation.ErrAnswersLater)
			case <-timer.C:
				if time.Now().Before(h.deadline()) {
					continue
				}
				look, cancel := context.WithTimeout(open, d.c.Lease/3)
				d.renew(look)
				cancel()
				if !time.Now().Before(h.deadline()) {
					end(context.DeadlineExceeded)
				}
			}
			timer.Stop()
		}
	})
	return open, func() { end(nil) }
}

// accept stores the answer, what is attached to it first. conversation.OutcomeDone means it is stored.
func (d *Dispatcher) accept(ctx context.Context, t conversation.Turn, h *holding, a conversation.Answer) conversation.Outcome {
	expires := h.deadline()
	storing, cancel := context.WithDeadline(context.WithoutCancel(ctx), expires)
	defer cancel()
	var then []conversation.Then
	if a.Then != nil {
		then = append(then, *a.Then)
	}
	parts, err := d.keep(storing, t, a.Parts)
	if err == nil {
		err = conversation.Insist(storing, func() error { return d.c.Store.Reply(storing, t.TurnRef, t.Token, parts, then...) })
	}
	switch {
	case err == nil:
		return conversation.OutcomeDone
	case errors.Is(err, conversation.ErrStaleEpoch):
		return d.cancelTurn(ctx, t)
	case errors.Is(err, conversation.ErrTurnClosed) && d.answeredAlready(storing, t):
		return conversation.OutcomeDone // by the API; the response repeats it, or comes after a commit whose answer was lost
	case errors.Is(err, conversation.ErrTurnClosed) && time.Now().Before(expires):
		return conversation.OutcomeLost
	case errors.Is(err, conversation.ErrInvalid):
		return d.giveUp(ctx, t, conversation.Failure{Reason: conversation.ReasonFlowRefused, Detail: err.Error()})
	}
	return d.giveUp(ctx, t, conversation.Failure{Reason: conversation.ReasonDeadline,
		Detail: "the answer could not be stored before the deadline"})
}

// keep stores what the parts bring along. A router that is killed before the answer is stored leaves it unused.
func (d *Dispatcher) keep(ctx context.Context, t conversation.Turn, parts []conversation.Part) ([]conversation.Part, error) {
	kept := slices.Clone(parts)
	for i, p := range kept {
		if p.Content == nil {
			continue
		}
		err := conversation.Insist(ctx, func() error {
			id, err := d.c.Store.PutMedia(ctx, t.Tenant, t.Conversation, *p.Content)
			kept[i].Media, kept[i].Content = &conversation.PartMedia{ID: id, Kind: p.Content.Kind}, nil
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return kept, nil
}

func (d *Dispatcher) answeredAlready(ctx context.Context, t conversation.Turn) bool {
	now, err := d.c.Store.FindTurn(ctx, t.Conversation, t.No, t.Token)
	return err == nil && now.Gen == t.Gen && now.State == conversation.TurnReplied
}

func (d *Dispatcher) giveUp(ctx context.Context, t conversation.Turn, f conversation.Failure) conversation.Outcome {
	err := d.closing(ctx, func(ctx context.Context) error { return d.c.Store.Fail(ctx, t.TurnRef, f) })
	if err != nil {
		return d.lost(ctx, t, "give turn up", err)
	}
	d.c.Logger.ErrorContext(ctx, "turn given up: who the rule names next tries, or it is a dead letter and waits for a human",
		"conversation", t.Conversation, "turn", t.No, "reason", f.Reason, "detail", f.Detail)
	return conversation.OutcomeFailed
}

func (d *Dispatcher) cancelTurn(ctx context.Context, t conversation.Turn) conversation.Outcome {
	err := d.closing(ctx, func(ctx context.Context) error {
		return d.c.Store.Cancel(ctx, t.TurnRef, conversation.ReasonOwnerChanged)
	})
	if err != nil {
		return d.lost(ctx, t, "cancel turn", err)
	}
	return conversation.OutcomeCancelled
}

// letGo is for a turn whose context ended. After a lost lease somebody else has it already, and the generation keeps this
// from touching it.
func (d *Dispatcher) letGo(ctx context.Context, t conversation.Turn) conversation.Outcome {
	if errors.Is(context.Cause(ctx), errLeaseLost) {
		return conversation.OutcomeLost
	}
	err := d.closing(ctx, func(ctx context.Context) error { return d.c.Store.HandBack(ctx, t.TurnRef) })
	if err != nil {
		return d.lost(ctx, t, "hand turn back", err)
	}
	return conversation.OutcomeHandedBack
}

func (d *Dispatcher) closing(ctx context.Context, tell func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	return conversation.Insist(ctx, func() error { return tell(ctx) })
}

func (d *Dispatcher) lost(ctx context.Context, t conversation.Turn, what string, err error) conversation.Outcome {
	d.c.Logger.WarnContext(ctx, "turn left to its lease", "conversation", t.Conversation, "turn", t.No, "gen", t.Gen,
		"at", what, "err", err)
	return conversation.OutcomeLost
}
