package server

import (
	"context"
	"fmt"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"plantao/runtime/api"
	"plantao/runtime/conversation"
	"plantao/runtime/routing/rules"
)

type decisionsInput struct {
	Since time.Time `query:"since" required:"true" doc:"Only those made after"`
	After string    `query:"after" doc:"What the page before called next" pattern:"^[0-9]{1,18}-[0-9]{1,18}-[0-9]{1,18}$"`
	Limit int       `query:"limit" minimum:"1" maximum:"500" default:"50"`
}

type decisionsOutput struct{ Body api.Decisions }

// decisionTextBytes is as much as a condition sees of what waited, whatever character ends there: an answer stays small.
const decisionTextBytes = rules.MaxTextBytes + utf8.UTFMax

func (a *API) decisions(spec huma.API) {
	add(a, spec, operation{scopes: []conversation.Scope{conversation.ScopeOperate}, Operation: huma.Operation{
		OperationID: "list-decisions", Method: http.MethodGet, Path: "/v1/decisions",
		Summary: "Whom the router gave conversations that nobody had, and what they were like then, in the order of time",
		Description: "What rules may ask about is put together from what became of each message since. It has what customers wrote. A contact's name and a " +
			"channel's flow are those of today; a message that was corrected has its last text, one that was taken back is not there.",
	}}, a.listDecisions)
}

func (a *API) listDecisions(ctx context.Context, in *decisionsInput) (*decisionsOutput, error) {
	f := conversation.DecisionFilter{Tenant: who(ctx).Tenant, Since: in.Since, Limit: in.Limit}
	if in.After != "" {
		var at int64
		if _, err := fmt.Sscanf(in.After, "%d-%d-%d", &at, &f.After.Conversation, &f.After.Seq); err != nil {
			return nil, fmt.Errorf("after: %w", conversation.ErrInvalid)
		}
		f.After.At = time.UnixMicro(at)
	}
	rows, err := a.c.Store.Decisions(ctx, f)
	if err != nil {
		return nil, err
	}
	out := &decisionsOutput{Body: api.Decisions{Decisions: []api.Decision{}}}
	// A full page may be the last: unlike other lists this one costs something, and is at most empty then.
	if len(rows) == in.Limit {
		p := rows[in.Limit-1].Place()
		out.Body.Next = fmt.Sprintf("%d-%d-%d", p.At.UnixMicro(), p.Conversation, p.Seq)
	}
	for _, d := range rows {
		out.Body.Decisions = append(out.Body.Decisions, api.FromDecided(d, decisionTextBytes))
	}
	return out, nil
}
