package server

import (
	"context"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"plantao/runtime/api"
	"plantao/runtime/conversation"
)

type promisesInput struct {
	State        string `query:"state" enum:"open,met,broken,void" doc:"Absent: all"`
	Conversation string `query:"conversation" doc:"Only this one's" pattern:"^[0-9]{1,18}$"`
	After        string `query:"after" doc:"What the page before called next" pattern:"^[0-9]{1,18}$"`
	Limit        int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
}

type promisesOutput struct{ Body api.Promises }

func (a *API) promises(spec huma.API) {
	add(a, spec, operation{scopes: reads, Operation: huma.Operation{
		OperationID: "list-promises", Method: http.MethodGet, Path: "/v1/promises",
		Summary:     "What customers were promised by SLAs, and whether it was met, in the order of the ids",
		Description: "A promise is open until it is due: whether it was met is looked at then, and not before.",
	}}, a.listPromises)
}

func (a *API) listPromises(ctx context.Context, in *promisesInput) (*promisesOutput, error) {
	after, err := cursor(in.After)
	if err != nil {
		return nil, err
	}
	of, err := cursor(in.Conversation)
	if err != nil {
		return nil, err
	}
	rows, err := a.c.Store.ListPromises(ctx, conversation.PromiseFilter{
		Tenant: who(ctx).Tenant, State: conversation.PromiseState(in.State), Conversation: conversation.ID(of), After: after, Limit: in.Limit + 1,
	})
	if err != nil {
		return nil, err
	}
	out := &promisesOutput{Body: api.Promises{Promises: []api.Promise{}}}
	if len(rows) > in.Limit {
		rows = rows[:in.Limit]
		out.Body.Next = strconv.FormatInt(rows[in.Limit-1].ID, 10)
	}
	for _, p := range rows {
		out.Body.Promises = append(out.Body.Promises, api.FromPromise(p))
	}
	return out, nil
}
