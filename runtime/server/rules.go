package server

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"plantao/runtime/api"
	"plantao/runtime/conversation"
	"plantao/runtime/routing"
)

// rulesBodyBytes: a text of the largest size, every character of it escaped as JSON may.
const rulesBodyBytes = 6<<20 + 1<<10

type rulesOutput struct{ Body api.Rules }

type rulesInput struct {
	Version string `path:"version" maxLength:"64" doc:"As a decision in the audit names it"`
}

type putRulesInput struct{ Body api.RulesRequest }

type putRulesOutput struct{ Body api.RulesStored }

func (a *API) rules(spec huma.API) {
	add(a, spec, operation{scopes: reads, Operation: huma.Operation{
		OperationID: "get-rules", Method: http.MethodGet, Path: "/v1/rules", Summary: "The rules in force", Errors: []int{http.StatusNotFound},
	}}, func(ctx context.Context, _ *struct{}) (*rulesOutput, error) { return a.findRules(ctx, "") })
	add(a, spec, operation{scopes: reads, Operation: huma.Operation{
		OperationID: "get-old-rules", Method: http.MethodGet, Path: "/v1/rules/{version}", Summary: "Rules that are or were in force",
		Errors: []int{http.StatusNotFound},
	}}, func(ctx context.Context, in *rulesInput) (*rulesOutput, error) { return a.findRules(ctx, in.Version) })
	add(a, spec, operation{scopes: []conversation.Scope{conversation.ScopeOperate}, Operation: huma.Operation{
		OperationID: "put-rules", Method: http.MethodPut, Path: "/v1/rules", Summary: "Put rules in force, on all replicas at once",
		Description:  "They are checked as a whole: with anything wrong in them, those in force stay so. Repeating it changes nothing.",
		MaxBodyBytes: rulesBodyBytes,
	}}, a.putRules)
}

func (a *API) findRules(ctx context.Context, version string) (*rulesOutput, error) {
	r, err := a.c.Store.Rules(ctx, who(ctx).Tenant, version)
	if err != nil {
		return nil, err
	}
	return &rulesOutput{Body: api.FromRulebook(r)}, nil
}

func (a *API) putRules(ctx context.Context, in *putRulesInput) (*putRulesOutput, error) {
	r, changed, err := routing.PutInForce(ctx, a.c.Store, conversation.Rulebook{Tenant: who(ctx).Tenant, Text: in.Body.Text, By: who(ctx).Actor.String()})
	if err != nil {
		return nil, err
	}
	if changed {
		a.log.InfoContext(ctx, "rules put in force", "rules", r.Version, "by", r.By)
	}
	return &putRulesOutput{Body: api.RulesStored{Version: r.Version, Changed: changed}}, nil
}
