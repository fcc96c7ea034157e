package server

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"plantao/runtime/api"
	"plantao/runtime/conversation"
	"plantao/runtime/failpoint"
)

type listInput struct {
	State   string `query:"state" enum:"IDLE,ROUTING,AI_ACTIVE,OFFERED,HUMAN_QUEUED,HUMAN_ACTIVE,SUSPENDED,CLOSED"`
	Owner   string `query:"owner" doc:"kind:id, or the kind alone" maxLength:"140"`
	Channel string `query:"channel" maxLength:"200"`
	After   string `query:"after" doc:"What the page before called next" pattern:"^[0-9]{1,18}$"`
	Limit   int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
}

type listOutput struct{ Body api.Conversations }

// ConversationInput names a conversation. It is exported because huma passes over embedded types that are not.
type ConversationInput struct {
	ID string `path:"id" doc:"The conversation"`
}

type oneOutput struct {
	ETag string `header:"ETag" doc:"The epoch, for If-Match"`
	Body api.Conversation
}

type trailInput struct {
	ConversationInput
	After int64 `query:"after" minimum:"0"`
	Limit int   `query:"limit" minimum:"1" maximum:"500" default:"50"`
}

type trailOutput struct{ Body api.AuditTrail }

var reads = []conversation.Scope{conversation.ScopeRead, conversation.ScopeOperate}

func (a *API) conversations(spec huma.API) {
	add(a, spec, operation{scopes: reads, Operation: huma.Operation{
		OperationID: "list-conversations", Method: http.MethodGet, Path: "/v1/conversations",
		Summary: "List conversations by state, owner and channel, in the order of their ids",
	}}, a.list)
	add(a, spec, operation{scopes: append([]conversation.Scope{conversation.ScopeAct}, reads...), Operation: huma.Operation{
		OperationID: "get-conversation", Method: http.MethodGet, Path: "/v1/conversations/{id}",
		Summary: "Who is on duty", Errors: []int{http.StatusNotFound},
	}}, a.get)
	add(a, spec, operation{scopes: reads, Operation: huma.Operation{
		OperationID: "get-audit", Method: http.MethodGet, Path: "/v1/conversations/{id}/audit",
		Summary: "Every change of state, with who did it and why", Errors: []int{http.StatusNotFound},
	}}, a.trail)
}

func (a *API) list(ctx context.Context, in *listInput) (*listOutput, error) {
	kind, id, _ := strings.Cut(in.Owner, ":")
	f := conversation.Filter{
		Tenant: who(ctx).Tenant, State: conversation.State(in.State), Channel: in.Channel, Limit: in.Limit + 1,
		Owner: conversation.Owner{Kind: conversation.OwnerKind(kind), ID: id},
	}
	if kind != "" && !slices.Contains([]string{"ai", "human", "queue", "none"}, kind) {
		return nil, fmt.Errorf("owner kind %q is none of ai, human, queue, none: %w", kind, conversation.ErrInvalid)
	}
	if in.After != "" {
		after, err := strconv.ParseInt(in.After, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("after: %w", conversation.ErrInvalid)
		}
		f.After = conversation.ID(after)
	}
	rows, err := a.c.Store.List(ctx, f)
	if err != nil {
		return nil, err
	}
	out := &listOutput{Body: api.Conversations{Conversations: []api.Conversation{}}}
	if len(rows) > in.Limit { // one more was asked for, to know whether there is more
		rows = rows[:in.Limit]
		out.Body.Next = rows[in.Limit-1].ID.String()
	}
	for _, c := range rows {
		out.Body.Conversations = append(out.Body.Conversations, api.FromConversation(c))
	}
	return out, nil
}

func (a *API) get(ctx context.Context, in *ConversationInput) (*oneOutput, error) {
	id, err := conversationID(in.ID)
	if err != nil {
		return nil, err
	}
	c, err := a.c.Store.Find(ctx, who(ctx).Tenant, id)
	if err != nil {
		return nil, err
	}
	return &oneOutput{ETag: etag(c.Epoch), Body: api.FromConversation(c)}, nil
}

func (a *API) trail(ctx context.Context, in *trailInput) (*trailOutput, error) {
	id, err := conversationID(in.ID)
	if err != nil {
		return nil, err
	}
	rows, err := a.c.Store.Trail(ctx, who(ctx).Tenant, id, in.After, in.Limit+1)
	if err != nil {
		return nil, err
	}
	out := &trailOutput{Body: api.AuditTrail{Entries: []api.AuditEntry{}}}
	if len(rows) > in.Limit {
		rows = rows[:in.Limit]
		out.Body.Next = rows[in.Limit-1].Seq
	}
	for _, r := range rows {
		out.Body.Entries = append(out.Body.Entries, api.FromRecorded(r))
	}
	return out, nil
}

// verbInfo is what a client should know of a verb.
type verbInfo struct {
	verb    conversation.Verb
	summary string
	needs   string
}

// verbTable has the verbs in the order of the package comment of conversation.
var verbTable = []verbInfo{
	{conversation.VerbClaim, "Give a conversation nobody has to an agent", "`to`. An operator's."},
	{conversation.VerbPass, "Give the conversation to another agent, or to the human queue", "`to`; may have `context`, `reason`."},
	{conversation.VerbOffer, "Offer the conversation; the owner stays on duty until somebody accepts", "`to`, `wait_seconds`; may have `else`, `context`, `reason`."},
	{conversation.VerbAccept, "Accept an offer", "`offer`; a human may set `wait_seconds`."},
	{conversation.VerbDecline, "Decline an offer", "`offer`; may have `reason`."},
	{conversation.VerbExpire, "End an offer or a request whose time has passed; the router does this by itself", "Nothing. An operator's."},
	{conversation.VerbRequest, "Ask the owner for the conversation; it obliges nobody", "`wait_seconds`; may have `else`, `reason`."},
	{conversation.VerbTake, "A human takes the conversation, whoever has it. If-Match may be left out: a human always wins", "An operator names the human in `to`. May have `wait_seconds`, `reason`."},
	{conversation.VerbRelease, "Leave the conversation to the router's rules", "May have `reason`."},
	{conversation.VerbHandback, "A human, or the queue, gives the conversation back to an AI", "May have `to`, `through`, `context`, `reason`."},
	{conversation.VerbHold, "Suspend the conversation: nothing is sent", "May have `reason`. An operator's."},
	{conversation.VerbResume, "End a suspension: the owner of before has it again", "May have `reason`. An operator's."},
	{conversation.VerbClose, "Close the conversation; the next message reopens it", "May have `reason`."},
	{conversation.VerbReopen, "Reopen a closed conversation", "May have `reason`. An operator's."},
}

type verbInput struct {
	ConversationInput
	IfMatch string           `header:"If-Match" doc:"The epoch the verb is meant for, as the ETag gave it"`
	Key     string           `header:"Idempotency-Key" required:"true" minLength:"8" maxLength:"200" doc:"The caller's own; a request repeated with it gets the first one's answer"`
	Body    *api.VerbRequest `required:"false"`
}

type verbOutput struct {
	ETag string `header:"ETag" doc:"The epoch afterwards"`
	Body api.VerbResult
}

func (a *API) verbs(spec huma.API) {
	for _, v := range verbTable {
		add(a, spec, operation{scopes: []conversation.Scope{conversation.ScopeAct, conversation.ScopeOperate}, Operation: huma.Operation{
			OperationID: string(v.verb) + "-conversation", Method: http.MethodPost, Path: "/v1/conversations/{id}/" + string(v.verb),
			Summary: v.summary, Description: "Body: " + v.needs,
			Errors: []int{http.StatusNotFound, http.StatusConflict, http.StatusPreconditionRequired},
		}}, func(ctx context.Context, in *verbInput) (*verbOutput, error) { return a.do(ctx, v.verb, in) })
	}
}

func (a *API) do(ctx context.Context, verb conversation.Verb, in *verbInput) (*verbOutput, error) {
	p := who(ctx)
	if p.Actor.Kind == conversation.ActorOperator && !p.May(conversation.ScopeOperate) {
		return nil, fmt.Errorf("an operator acts for others, which takes %s: %w", conversation.ScopeOperate, conversation.ErrScope)
	}
	c, err := command(p, verb, in)
	if err != nil {
		return nil, err
	}
	// What a client asked for is done although it hangs up: it would ask again, with the same key.
	result, err := a.c.Store.Do(context.WithoutCancel(ctx), c)
	if err != nil {
		return nil, err
	}
	failpoint.Hit("verb.committed")
	if !result.Replayed {
		a.c.Changed()
		a.log.InfoContext(ctx, "verb", "verb", verb, "conversation", c.Conversation, "actor", c.Actor.String(),
			"owner", result.Conversation.Owner.String(), "state", result.Conversation.State, "epoch", result.Conversation.Epoch)
	}
	return &verbOutput{ETag: etag(result.Conversation.Epoch), Body: api.VerbResult{
		Conversation: api.FromConversation(result.Conversation), Seq: result.Seq, Replayed: result.Replayed,
	}}, nil
}

// command is a request in the domain's words.
func command(p conversation.Principal, verb conversation.Verb, in *verbInput) (conversation.Command, error) {
	id, err := conversationID(in.ID)
	if err != nil {
		return conversation.Command{}, err
	}
	c := conversation.Command{Verb: verb, Tenant: p.Tenant, Conversation: id, Key: in.Key, Actor: p.Actor}
	if c.IfEpoch, err = condition(verb, in.IfMatch); err != nil {
		return conversation.Command{}, err
	}
	if in.Body == nil {
		return c, nil
	}
	b := in.Body
	if b.To != "" {
		if c.To, err = conversation.ParseOwner(b.To); err != nil {
			return conversation.Command{}, err
		}
	}
	c.Offer, c.Wait, c.Else, c.Through = b.Offer, seconds(b.WaitSeconds), conversation.Otherwise(b.Else), b.Through
	c.Reason, c.Context = b.Reason, b.Context
	return c, nil
}

// condition reads If-Match: an entity tag of ours, also without its quotes.
func condition(verb conversation.Verb, header string) (int64, error) {
	header = strings.Trim(strings.TrimSpace(header), `"`)
	if verb == conversation.VerbTake && (header == "" || header == "*") {
		return conversation.AnyEpoch, nil
	}
	if header == "" {
		return 0, &answer{status: http.StatusPreconditionRequired, body: api.Error{Code: api.CodeNoCondition,
			Message: "name the epoch the verb is meant for in If-Match; GET the conversation, its ETag has it"}}
	}
	epoch, err := strconv.ParseInt(header, 10, 64)
	if err != nil || epoch < 0 {
		return 0, &answer{status: http.StatusBadRequest, body: api.Error{Code: api.CodeBadCondition,
			Message: "If-Match must be one epoch, as the conversation's ETag gave it"}}
	}
	return epoch, nil
}
