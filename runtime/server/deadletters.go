package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"plantao/runtime/api"
	"plantao/runtime/conversation"
)

type lettersInput struct {
	State   string    `query:"state" enum:"open,redriven,dropped" doc:"Absent: all"`
	Reason  string    `query:"reason" maxLength:"200"`
	Channel string    `query:"channel" maxLength:"200"`
	Before  time.Time `query:"before" doc:"Only those given up before"`
	After   string    `query:"after" doc:"What the page before called next" pattern:"^[0-9]{1,18}$"`
	Limit   int       `query:"limit" minimum:"1" maximum:"500" default:"50"`
}

type lettersOutput struct{ Body api.DeadLetters }

// LetterInput names a dead letter; exported as ConversationInput.
type LetterInput struct {
	ID string `path:"letter" doc:"The dead letter"`
}

type letterOutput struct{ Body api.DeadLetter }

type dropInput struct {
	LetterInput
	Body api.DropRequest
}

type decideInput struct{ Body api.LettersRequest }

type decidedOutput struct{ Body api.LettersResult }

// lettersAtOnce is how many dead letters one request decides unless it says.
const lettersAtOnce = 100

func (a *API) deadLetters(spec huma.API) {
	const path = "/v1/dead-letters"
	operate := []conversation.Scope{conversation.ScopeOperate}
	decide := []int{http.StatusNotFound, http.StatusConflict}
	add(a, spec, operation{scopes: reads, Operation: huma.Operation{
		OperationID: "list-dead-letters", Method: http.MethodGet, Path: path,
		Summary: "List turns that were given up, in the order of their ids",
	}}, a.listLetters)
	add(a, spec, operation{scopes: reads, Operation: huma.Operation{
		OperationID: "get-dead-letter", Method: http.MethodGet, Path: path + "/{letter}", Errors: []int{http.StatusNotFound},
		Summary: "Why a turn was given up, and what became of it",
	}}, a.getLetter)
	add(a, spec, operation{scopes: operate, Operation: huma.Operation{
		OperationID: "redrive-dead-letter", Method: http.MethodPost, Path: path + "/{letter}/redrive", Errors: decide,
		Summary: "Give its messages, and the conversation, to the AI again",
		Description: "409 if a human has the conversation: `now` says who. Repeated, it changes nothing. Messages that came later may have been " +
			"answered already.",
	}}, a.redriveLetter)
	add(a, spec, operation{scopes: operate, Operation: huma.Operation{
		OperationID: "drop-dead-letter", Method: http.MethodPost, Path: path + "/{letter}/drop", Errors: decide,
		Summary: "Leave its messages unanswered", Description: "They stay in the history. Repeated, it changes nothing.",
	}}, a.dropLetter)
	add(a, spec, operation{scopes: operate, Operation: huma.Operation{
		OperationID: "redrive-dead-letters", Method: http.MethodPost, Path: path + "/redrive",
		Summary: "Redrive open dead letters, a piece at a time", Description: "Each by itself: those that are refused are told.",
	}}, func(ctx context.Context, in *decideInput) (*decidedOutput, error) {
		return a.decideLetters(ctx, in.Body, conversation.LetterRedriven)
	})
	add(a, spec, operation{scopes: operate, Operation: huma.Operation{
		OperationID: "drop-dead-letters", Method: http.MethodPost, Path: path + "/drop",
		Summary: "Drop open dead letters, a piece at a time", Description: "`drop` says why.",
	}}, func(ctx context.Context, in *decideInput) (*decidedOutput, error) {
		if in.Body.Drop == "" {
			return nil, fmt.Errorf("say in \"drop\" why: %w", conversation.ErrInvalid)
		}
		return a.decideLetters(ctx, in.Body, conversation.LetterDropped)
	})
}

func letterID(s string) (int64, error) {
	id, err := strconv.ParseInt(s, 10, 64)
	if err != nil || id <= 0 {
		return 0, conversation.ErrNoLetter
	}
	return id, nil
}

// cursor reads what a page before called next; empty is the beginning.
func cursor(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	after, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("after: %w", conversation.ErrInvalid)
	}
	return after, nil
}

func (a *API) listLetters(ctx context.Context, in *lettersInput) (*lettersOutput, error) {
	after, err := cursor(in.After)
	if err != nil {
		return nil, err
	}
	rows, err := a.c.Store.ListDeadLetters(ctx, conversation.LetterFilter{
		Tenant: who(ctx).Tenant, State: conversation.LetterState(in.State), Reason: in.Reason, Channel: in.Channel, Before: in.Before,
		After: after, Limit: in.Limit + 1,
	})
	if err != nil {
		return nil, err
	}
	out := &lettersOutput{Body: api.DeadLetters{DeadLetters: []api.DeadLetter{}}}
	if len(rows) > in.Limit {
		rows = rows[:in.Limit]
		out.Body.Next = strconv.FormatInt(rows[in.Limit-1].ID, 10)
	}
	for _, d := range rows {
		out.Body.DeadLetters = append(out.Body.DeadLetters, api.FromDeadLetter(d))
	}
	return out, nil
}

func (a *API) getLetter(ctx context.Context, in *LetterInput) (*letterOutput, error) {
	id, err := letterID(in.ID)
	if err != nil {
		return nil, err
	}
	d, err := a.c.Store.FindDeadLetter(ctx, who(ctx).Tenant, id)
	return &letterOutput{Body: api.FromDeadLetter(d)}, err
}

func (a *API) redriveLetter(ctx context.Context, in *LetterInput) (*letterOutput, error) {
	return a.decideLetter(ctx, in.ID, conversation.LetterRedriven, "")
}

func (a *API) dropLetter(ctx context.Context, in *dropInput) (*letterOutput, error) {
	return a.decideLetter(ctx, in.ID, conversation.LetterDropped, in.Body.Reason)
}

func (a *API) decideLetter(ctx context.Context, letter string, state conversation.LetterState, reason string) (*letterOutput, error) {
	id, err := letterID(letter)
	if err != nil {
		return nil, err
	}
	d, err := a.decide(ctx, id, state, reason)
	if err != nil {
		return nil, err
	}
	a.c.Changed()
	return &letterOutput{Body: api.FromDeadLetter(d)}, nil
}

func (a *API) decide(ctx context.Context, id int64, state conversation.LetterState, reason string) (conversation.DeadLetter, error) {
	p := who(ctx)
	d, err := a.c.Store.DecideDeadLetter(context.WithoutCancel(ctx), conversation.LetterDecision{
		Tenant: p.Tenant, ID: id, State: state, Actor: p.Actor, Reason: reason,
	})
	if err == nil {
		a.log.InfoContext(ctx, "dead letter decided", "letter", id, "conversation", d.Conversation, "state", d.State, "actor", p.Actor.String())
	}
	return d, err
}

// decideLetters decides a piece of those the filter names, each in a transaction of its own. What a conversation stands in the way of
// is told and passed over; an outage of the store ends the request, and what was decided stays so.
func (a *API) decideLetters(ctx context.Context, in api.LettersRequest, state conversation.LetterState) (*decidedOutput, error) {
	after, err := cursor(in.After)
	if err != nil {
		return nil, err
	}
	limit := in.Limit
	if limit == 0 {
		limit = lettersAtOnce
	}
	f := conversation.LetterFilter{
		Tenant: who(ctx).Tenant, State: conversation.LetterOpen, Reason: in.Reason, Channel: in.Channel, After: after, Limit: limit + 1,
	}
	if in.Before != nil {
		f.Before = *in.Before
	}
	rows, err := a.c.Store.ListDeadLetters(ctx, f)
	if err != nil {
		return nil, err
	}
	out := &decidedOutput{Body: api.LettersResult{Decided: []string{}, Refused: []api.LetterRefuse{}}}
	if len(rows) > limit {
		rows = rows[:limit]
		out.Body.Next = strconv.FormatInt(rows[limit-1].ID, 10)
	}
	for _, d := range rows {
		id := strconv.FormatInt(d.ID, 10)
		if ctx.Err() != nil { // the request has had its time: the rest is for the next
			out.Body.Next = strconv.FormatInt(d.ID-1, 10)
			break
		}
		_, err := a.decide(ctx, d.ID, state, in.Drop)
		var refused *conversation.RefusedError
		switch {
		case err == nil:
			out.Body.Decided = append(out.Body.Decided, id)
		case errors.As(err, &refused), errors.Is(err, conversation.ErrDecided):
			_, body := api.FromError(err)
			out.Body.Refused = append(out.Body.Refused, api.LetterRefuse{ID: id, Error: body})
		default:
			return nil, err
		}
	}
	if len(out.Body.Decided) > 0 {
		a.c.Changed()
	}
	return out, nil
}
