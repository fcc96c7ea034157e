package server

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"plantao/runtime/api"
	"plantao/runtime/conversation"
)

// TurnInput names a turn and carries its token; exported as ConversationInput.
type TurnInput struct {
	ConversationInput
	No    int    `path:"no" minimum:"1" maximum:"2147483647" doc:"The turn"`
	Token string `header:"X-Plantao-Turn-Token" doc:"As the flow was sent it"`
}

type renewInput struct {
	TurnInput
	Body api.RenewRequest
}

type replyInput struct {
	TurnInput
	Body api.ReplyRequest
}

type messagesOutput struct{ Body api.TurnMessages }

type standingOutput struct{ Body api.TurnStanding }

type settleInput struct {
	ConversationInput
	No   int `path:"no" minimum:"1" maximum:"2147483647"`
	Body api.SettleRequest
}

func (a *API) turns(spec huma.API) {
	const path = "/v1/conversations/{id}/turns/{no}"
	conflict := []int{http.StatusConflict}
	add(a, spec, operation{Operation: huma.Operation{
		OperationID: "check-turn", Method: http.MethodPost, Path: path + "/check", Errors: conflict,
		Summary:     "May this turn still act?",
		Description: "Ask right before a tool does something that cannot be undone. 409: do nothing more; `now` says who is on duty.",
	}}, a.checkTurn)
	add(a, spec, operation{Operation: huma.Operation{
		OperationID: "renew-turn", Method: http.MethodPost, Path: path + "/renew", Errors: conflict,
		Summary: "Move the turn's deadline: the flow is still at work", Description: "Bounded, counted from the turn's beginning; what is granted is in the answer.",
	}}, a.renewTurn)
	add(a, spec, operation{Operation: huma.Operation{
		OperationID: "take-messages", Method: http.MethodPost, Path: path + "/messages", Errors: conflict,
		Summary: "Fetch what was written meanwhile into this turn",
		Description: "For an agent whose mid_turn is append. The turn's answer answers them too. May be repeated: all messages of the turn " +
			"are in each answer.",
	}}, a.takeMessages)
	add(a, spec, operation{Operation: huma.Operation{
		OperationID: "reply-turn", Method: http.MethodPost, Path: path + "/replies", Errors: conflict, MaxBodyBytes: replyBodyBytes,
		Middlewares: huma.Middlewares{a.few(spec)},
		Summary:     "Answer the turn, once",
		Description: "For a flow that answered the turn's request with 202. Each part passes the gate right before it is sent.",
	}}, a.replyTurn)
	add(a, spec, operation{scopes: []conversation.Scope{conversation.ScopeOperate}, Operation: huma.Operation{
		OperationID: "settle-turn", Method: http.MethodPost, Path: path + "/settle", Errors: append(conflict, http.StatusNotFound),
		Summary:     "Say whether an ambiguous part reached the customer",
		Description: "Look at the phone, or ask the customer. Refused while the router that had the part may still write it.",
	}}, a.settleTurn)
}

func (a *API) find(ctx context.Context, in TurnInput) (conversation.Holding, error) {
	id, err := conversationID(in.ID)
	if err != nil {
		return conversation.Holding{}, conversation.ErrBadToken // no turn is there to have a token
	}
	return a.c.Store.FindTurn(ctx, id, in.No, in.Token)
}

func (a *API) checkTurn(ctx context.Context, in *TurnInput) (*standingOutput, error) {
	h, err := a.find(ctx, *in)
	return &standingOutput{Body: api.FromHolding(h)}, err
}

func (a *API) renewTurn(ctx context.Context, in *renewInput) (*standingOutput, error) {
	h, err := a.find(ctx, in.TurnInput)
	if err != nil {
		return nil, err
	}
	h, err = a.c.Store.Extend(ctx, h.TurnRef, in.Token, seconds(in.Body.WaitSeconds), a.c.MaxTurn)
	if err != nil {
		return nil, err
	}
	a.c.Changed()
	return &standingOutput{Body: api.FromHolding(h)}, nil
}

func (a *API) replyTurn(ctx context.Context, in *replyInput) (*standingOutput, error) {
	h, err := a.find(ctx, in.TurnInput)
	if err != nil {
		return nil, err
	}
	said, err := in.Body.Answer()
	if err != nil {
		return nil, err
	}
	if h.State != conversation.TurnRunning {
		return nil, conversation.ErrTurnClosed // nothing of a second answer is kept
	}
	for i, p := range said.Parts {
		if p.Content == nil {
			continue
		}
		id, err := a.c.Store.PutMedia(ctx, h.Tenant, h.Conversation, *p.Content)
		if err != nil {
			return nil, err
		}
		said.Parts[i].Media, said.Parts[i].Content = &conversation.PartMedia{ID: id, Kind: p.Content.Kind}, nil
	}
	var then []conversation.Then
	if said.Then != nil {
		then = append(then, *said.Then)
	}
	if err := a.c.Store.Reply(context.WithoutCancel(ctx), h.TurnRef, in.Token, said.Parts, then...); err != nil {
		return nil, err
	}
	a.c.Changed()
	h.State = conversation.TurnReplied
	return &standingOutput{Body: api.FromHolding(h)}, nil
}

func (a *API) takeMessages(ctx context.Context, in *TurnInput) (*messagesOutput, error) {
	h, err := a.find(ctx, *in)
	if err != nil {
		return nil, err
	}
	// What is taken is taken although the flow hangs up: it would ask again.
	messages, more, err := a.c.Store.TakeMore(context.WithoutCancel(ctx), h.TurnRef, in.Token)
	if err != nil {
		return nil, err
	}
	return &messagesOutput{Body: api.TurnMessages{Messages: messages, More: more}}, nil
}

func (a *API) settleTurn(ctx context.Context, in *settleInput) (*oneOutput, error) {
	id, err := conversationID(in.ID)
	if err != nil {
		return nil, err
	}
	p := who(ctx)
	err = a.c.Store.Settle(context.WithoutCancel(ctx), conversation.Settlement{
		Tenant: p.Tenant, Conversation: id, No: in.No, Part: in.Body.Part, Sent: in.Body.Sent, Actor: p.Actor,
	})
	if err != nil {
		return nil, err
	}
	a.c.Changed()
	a.log.InfoContext(ctx, "ambiguous part settled by a human", "conversation", id, "turn", in.No, "part", in.Body.Part,
		"sent", in.Body.Sent, "actor", p.Actor.String())
	return a.get(ctx, &ConversationInput{ID: in.ID})
}
