package server

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"plantao/runtime/api"
	"plantao/runtime/conversation"
)

type lockInput struct {
	ConversationInput
	IfMatch string `header:"If-Match" doc:"The epoch the caller believes in; absent: whatever it is"`
	Body    api.LockRequest
}

type unlockInput struct {
	ConversationInput
	Token string `header:"X-Plantao-Lock-Token" required:"true" minLength:"16" maxLength:"128"`
}

type lockOutput struct{ Body api.Lock }

func (a *API) locks(spec huma.API) {
	const path = "/v1/conversations/{id}/lock"
	scopes, conflict := []conversation.Scope{conversation.ScopeLock}, []int{http.StatusNotFound, http.StatusConflict}
	add(a, spec, operation{scopes: scopes, Operation: huma.Operation{
		OperationID: "acquire-lock", Method: http.MethodPost, Path: path, Errors: conflict,
		Summary:     "Acquire the conversation lock",
		Description: "A hint that saves two clients the same work. It can be lost at any time; what must not happen twice is guarded by the turn.",
	}}, a.acquire)
	add(a, spec, operation{scopes: scopes, Operation: huma.Operation{
		OperationID: "renew-lock", Method: http.MethodPut, Path: path, Errors: conflict, Summary: "Keep the lock for longer",
	}}, a.renewLock)
	add(a, spec, operation{scopes: scopes, Operation: huma.Operation{
		OperationID: "release-lock", Method: http.MethodDelete, Path: path, Errors: conflict, Summary: "Release the lock",
		DefaultStatus: http.StatusNoContent,
	}}, a.release)
}

// lockRequest reads the conversation's epoch from the store: the fence is minted nowhere else.
func (a *API) lockRequest(ctx context.Context, in *lockInput) (conversation.LockRequest, error) {
	id, err := conversationID(in.ID)
	if err != nil {
		return conversation.LockRequest{}, err
	}
	c, err := a.c.Store.Find(ctx, who(ctx).Tenant, id)
	if err != nil {
		return conversation.LockRequest{}, err
	}
	if in.IfMatch != "" {
		want, err := condition("lock", in.IfMatch)
		if err != nil {
			return conversation.LockRequest{}, err
		}
		if want != c.Epoch {
			return conversation.LockRequest{}, &conversation.RefusedError{Err: conversation.ErrStaleEpoch, Now: c}
		}
	}
	ttl := milliseconds(in.Body.TTLMS)
	if ttl == 0 {
		ttl = defaultLockTTL
	}
	return conversation.LockRequest{Tenant: c.Tenant, Conversation: id, Fence: c.Epoch, Token: in.Body.Token, TTL: ttl}, nil
}

func (a *API) acquire(ctx context.Context, in *lockInput) (*lockOutput, error) {
	return a.lock(ctx, in, a.c.Locker.Acquire)
}

func (a *API) renewLock(ctx context.Context, in *lockInput) (*lockOutput, error) {
	return a.lock(ctx, in, a.c.Locker.Renew)
}

func (a *API) lock(ctx context.Context, in *lockInput, do func(context.Context, conversation.LockRequest) error) (*lockOutput, error) {
	r, err := a.lockRequest(ctx, in)
	if err != nil {
		return nil, err
	}
	if err := do(ctx, r); err != nil {
		return nil, err
	}
	return &lockOutput{Body: api.Lock{Conversation: in.ID, Fence: r.Fence, TTLMS: r.TTL.Milliseconds()}}, nil
}

func (a *API) release(ctx context.Context, in *unlockInput) (*struct{}, error) {
	id, err := conversationID(in.ID)
	if err != nil {
		return nil, err
	}
	return nil, a.c.Locker.Release(ctx, conversation.LockRequest{Tenant: who(ctx).Tenant, Conversation: id, Token: in.Token})
}

type agentsOutput struct{ Body api.Agents }

type agentInput struct {
	Kind string `path:"kind" enum:"ai,human"`
	Name string `path:"agent" maxLength:"128" doc:"The flow, or the human's id"`
	Body api.AgentRequest
}

type presenceInput struct {
	Kind string `path:"kind" enum:"ai,human"`
	Name string `path:"agent" maxLength:"128"`
	Body api.PresenceRequest
}

func (a *API) agents(spec huma.API) {
	add(a, spec, operation{scopes: append([]conversation.Scope{conversation.ScopeAct}, reads...), Operation: huma.Operation{
		OperationID: "list-agents", Method: http.MethodGet, Path: "/v1/agents", Summary: "Agents with name, capacity, load and presence",
	}}, a.listAgents)
	add(a, spec, operation{scopes: []conversation.Scope{conversation.ScopeAgents}, Operation: huma.Operation{
		OperationID: "put-agent", Method: http.MethodPut, Path: "/v1/agents/{kind}/{agent}", DefaultStatus: http.StatusNoContent,
		Summary: "Set an agent's name and capacity, and an AI's policies", Description: "All of it: what is absent is set to its default. A capacity " +
			"below what the agent has takes nothing away; it is given nothing more.",
	}}, a.putAgent)
	add(a, spec, operation{scopes: []conversation.Scope{conversation.ScopeAct, conversation.ScopeAgents}, Operation: huma.Operation{
		OperationID: "put-presence", Method: http.MethodPut, Path: "/v1/agents/{kind}/{agent}/presence", DefaultStatus: http.StatusNoContent,
		Summary: "Say how an agent is", Description: "Its own, or anybody's with agent:write.",
	}}, a.putPresence)
}

func (a *API) listAgents(ctx context.Context, _ *struct{}) (*agentsOutput, error) {
	rows, err := a.c.Store.Agents(ctx, who(ctx).Tenant)
	if err != nil {
		return nil, err
	}
	out := &agentsOutput{Body: api.Agents{Agents: []api.Agent{}}}
	for _, r := range rows {
		out.Body.Agents = append(out.Body.Agents, api.FromAgent(r))
	}
	return out, nil
}

func (a *API) putAgent(ctx context.Context, in *agentInput) (*struct{}, error) {
	o, err := conversation.ParseOwner(in.Kind + ":" + in.Name)
	if err != nil {
		return nil, err
	}
	if o.Kind != conversation.OwnedByAI && in.Body.MidTurn+in.Body.Holding != "" {
		return nil, fmt.Errorf("mid_turn and holding are an AI's: %w", conversation.ErrInvalid)
	}
	return nil, a.c.Store.PutAgent(ctx, conversation.Agent{
		Tenant: who(ctx).Tenant, Owner: o, Name: in.Body.Name, Capacity: in.Body.Capacity,
		MidTurn: conversation.MidTurn(in.Body.MidTurn), Holding: in.Body.Holding,
	})
}

func (a *API) putPresence(ctx context.Context, in *presenceInput) (*struct{}, error) {
	o, err := conversation.ParseOwner(in.Kind + ":" + in.Name)
	if err != nil {
		return nil, err
	}
	p := who(ctx)
	if p.Actor.String() != o.String() && !p.May(conversation.ScopeAgents) {
		return nil, fmt.Errorf("%s may say how it is itself; for %s it takes %s: %w", p.Actor, o, conversation.ScopeAgents, conversation.ErrScope)
	}
	wait := seconds(in.Body.WaitSeconds)
	if wait == 0 {
		wait = defaultPresence
	}
	if err := a.c.Store.Present(ctx, p.Tenant, o, conversation.Presence(in.Body.Presence), wait); err != nil {
		return nil, err
	}
	a.c.Announced()
	return nil, nil
}

func milliseconds(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }
