package dispatch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"plantao/runtime/conversation"
)

const (
	flowRetryBase  = 250 * time.Millisecond
	flowRetryLimit = 10 * time.Second
	// closeTimeout bounds telling the store how a turn ended, also while shutting down.
	closeTimeout = 15 * time.Second
)

// run takes one turn from where it stands to its end.
func (d *Dispatcher) run(ctx context.Context, t conversation.Turn) conversation.Outcome {
	if t.Stale {
		return d.cancelTurn(ctx, t)
	}
	if t.State == conversation.TurnRunning {
		parts, failure, err := d.ask(ctx, t)
		switch {
		case err != nil:
			return d.letGo(ctx, t)
		case failure != nil:
			return d.giveUp(ctx, t, *failure)
		}
		if outcome := d.accept(ctx, t, parts); outcome != conversation.OutcomeDone {
			return outcome
		}
		if len(parts) == 0 {
			return conversation.OutcomeDone
		}
	}
	outcome := d.c.Gate.Send(ctx, t)
	if outcome == conversation.OutcomeHandedBack {
		return d.letGo(ctx, t)
	}
	return outcome
}

// ask asks the flow until it answers, refuses, or the turn's deadline passes. The error is the end of ctx.
func (d *Dispatcher) ask(ctx context.Context, t conversation.Turn) ([]conversation.Part, *conversation.Failure, error) {
	asking, cancel := context.WithDeadline(ctx, t.Expires)
	defer cancel()
	var last error
	for attempt := 1; time.Now().Before(t.Expires); attempt++ {
		start := time.Now()
		parts, err := d.c.Flow.Ask(asking, t)
		if err == nil {
			d.c.Observer.FlowAsked("answered", time.Since(start))
			return parts, nil, nil
		}
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		last = err
		var fe *conversation.FlowError
		if errors.As(err, &fe) && !fe.Retry {
			d.c.Observer.FlowAsked("refused", time.Since(start))
			return nil, &conversation.Failure{Reason: conversation.ReasonFlowRefused, Detail: err.Error()}, nil
		}
		d.c.Observer.FlowAsked("retry", time.Since(start))
		d.c.Logger.WarnContext(ctx, "flow did not answer, will be asked again", "conversation", t.Conversation, "turn", t.No,
			"gen", t.Gen, "agent", t.Flow, "attempt", attempt, "err", err)
		if !conversation.Pause(asking, conversation.Backoff(attempt, flowRetryBase, flowRetryLimit)) && ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
	}
	detail := "the turn was taken over after its deadline"
	if last != nil {
		detail = fmt.Sprintf("no answer before the deadline; last: %v", last)
	}
	return nil, &conversation.Failure{Reason: conversation.ReasonDeadline, Detail: detail}, nil
}

// accept stores the answer. conversation.OutcomeDone means it is stored.
func (d *Dispatcher) accept(ctx context.Context, t conversation.Turn, parts []conversation.Part) conversation.Outcome {
	storing, cancel := context.WithDeadline(context.WithoutCancel(ctx), t.Expires)
	defer cancel()
	err := conversation.Insist(storing, func() error { return d.c.Store.Reply(storing, t.TurnRef, t.Token, parts) })
	switch {
	case err == nil:
		return conversation.OutcomeDone
	case errors.Is(err, conversation.ErrStaleEpoch):
		return d.cancelTurn(ctx, t)
	case errors.Is(err, conversation.ErrTurnClosed) && time.Now().Before(t.Expires):
		return conversation.OutcomeLost
	}
	return d.giveUp(ctx, t, conversation.Failure{Reason: conversation.ReasonDeadline,
		Detail: "the answer could not be stored before the deadline"})
}

func (d *Dispatcher) giveUp(ctx context.Context, t conversation.Turn, f conversation.Failure) conversation.Outcome {
	err := d.closing(ctx, func(ctx context.Context) error { return d.c.Store.Fail(ctx, t.TurnRef, f) })
	if err != nil {
		return d.lost(ctx, t, "give turn up", err)
	}
	d.c.Logger.ErrorContext(ctx, "turn given up: dead letter, conversation waits for a human",
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
