package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"plantao/runtime/api"
	"plantao/runtime/conversation"
)

// Store is what the API needs kept.
type Store interface {
	conversation.Ownership
	conversation.Agents
	conversation.DeadLetters
	conversation.Rulebooks
	ListPromises(ctx context.Context, f conversation.PromiseFilter) ([]conversation.PromiseRecord, error)
	TakeMore(ctx context.Context, t conversation.TurnRef, token string) (messages []conversation.Message, more int, err error)
	PutMedia(ctx context.Context, tenant string, id conversation.ID, c conversation.Content) (int64, error)
	Media(ctx context.Context, tenant string, id int64) (conversation.Content, error)
	FindTurn(ctx context.Context, id conversation.ID, no int, token string) (conversation.Holding, error)
	Extend(ctx context.Context, t conversation.TurnRef, token string, wait, most time.Duration) (conversation.Holding, error)
	Reply(ctx context.Context, t conversation.TurnRef, token string, parts []conversation.Part, then ...conversation.Then) error
	Settle(ctx context.Context, s conversation.Settlement) error
}

// APIConfig holds what the API needs; every field is required.
type APIConfig struct {
	Store  Store
	Locker conversation.Locker
	// Lines lists the channels, Connector connects them to phones.
	Lines     Lines
	Connector Connector
	// Changed is called after a commit that may concern other processes: an owner changed, or a turn was answered.
	Changed func()
	// Announced is called after an agent said how it is.
	Announced func()
	// MaxTurn bounds how far a flow may move its turn's deadline, counted from the claim.
	MaxTurn time.Duration
	// Rate is how many requests a token may send each second, lastingly; Burst at once.
	Rate  float64
	Burst int
}

const (
	apiBodyBytes = 64 << 10
	// replyBodyBytes: the attachments as base64, and the texts. Of bodies over smallBodyBytes only largeAtOnce are in memory.
	replyBodyBytes   = conversation.MaxContentBytes/3*4 + smallBodyBytes
	smallBodyBytes   = 512 << 10
	largeAtOnce      = 2
	apiTimeout       = 10 * time.Second
	defaultLockTTL   = 10 * time.Second
	defaultPresence  = 90 * time.Second
	operationsAtOnce = 128
)

// API serves /v1.
type API struct {
	c     APIConfig
	log   *slog.Logger
	auth  *authenticator
	slots chan struct{}
	large chan struct{}
}

// operation is an endpoint: huma's description of it, with the scope its token needs. An empty scope is a turn's: the turn
// token is the only key.
type operation struct {
	huma.Operation
	scopes []conversation.Scope
	// turnToo: a turn token opens it as well.
	turnToo bool
}

// describe is the OpenAPI document without its operations.
func describe(version string) huma.Config {
	registry := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	formats := map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat}
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{Title: "Plantão router", Version: version,
				Description: "Who is on duty in a conversation. Every change names the epoch it is meant for (If-Match) and carries an Idempotency-Key."},
			Components: &huma.Components{
				Schemas: registry,
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"agent": {Type: "http", Scheme: "bearer", Description: "A token of an agent, made by `router token create`."},
					"turn":  {Type: "apiKey", In: "header", Name: turnTokenHeader, Description: "The token of a turn, as the flow was sent it."},
				},
			},
		},
		OpenAPIPath: "/v1/openapi", Formats: formats, DefaultFormat: "application/json",
	}
}

// register adds the API to the server's mux.
func (s *Server) register(c APIConfig, version string) huma.API {
	a := &API{c: c, log: s.c.Logger, auth: newAuthenticator(c.Store, c.Rate, c.Burst), slots: make(chan struct{}, operationsAtOnce),
		large: make(chan struct{}, largeAtOnce)}
	spec := humago.New(s.mux, describe(version))
	spec.UseMiddleware(s.observe, s.whenOpen, a.bound)
	a.conversations(spec)
	a.verbs(spec)
	a.turns(spec)
	a.locks(spec)
	a.agents(spec)
	a.deadLetters(spec)
	a.media(spec)
	a.channels(spec)
	a.rules(spec)
	a.decisions(spec)
	a.promises(spec)
	return spec
}

// add registers one endpoint, with what all have in common.
func add[I, O any](a *API, spec huma.API, op operation, handle func(context.Context, *I) (*O, error)) {
	op.Errors = append([]int{http.StatusUnauthorized, http.StatusForbidden, http.StatusUnprocessableEntity,
		http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable}, op.Errors...)
	if op.MaxBodyBytes == 0 {
		op.MaxBodyBytes = apiBodyBytes
	}
	switch {
	case op.turnToo:
		op.Middlewares = append(huma.Middlewares{a.either(spec, op.scopes)}, op.Middlewares...)
		op.Security = []map[string][]string{{"agent": scopeNames(op.scopes)}, {"turn": {}}}
	case len(op.scopes) > 0:
		op.Middlewares = append(huma.Middlewares{a.authenticate(spec, op.scopes)}, op.Middlewares...)
		op.Security = []map[string][]string{{"agent": scopeNames(op.scopes)}}
		op.Description = strings.TrimSpace(op.Description + "\n\nNeeds a token with " + strings.Join(scopeNames(op.scopes), " or ") + ".")
	default:
		op.Middlewares = append(huma.Middlewares{a.turnToken(spec)}, op.Middlewares...)
		op.Security = []map[string][]string{{"turn": {}}}
	}
	huma.Register(spec, op.Operation, func(ctx context.Context, in *I) (*O, error) {
		ctx, cancel := context.WithTimeout(ctx, apiTimeout)
		defer cancel()
		out, err := handle(ctx, in)
		if err != nil {
			return nil, a.failure(ctx, op.OperationID, err)
		}
		return out, nil
	})
}

func scopeNames(scopes []conversation.Scope) []string {
	names := make([]string, len(scopes))
	for i, s := range scopes {
		names[i] = string(s)
	}
	return names
}

// failure is an error as an answer. What the table does not know is logged, and told to nobody.
func (a *API) failure(ctx context.Context, operation string, err error) error {
	var told *answer
	if errors.As(err, &told) {
		return told
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		err = fmt.Errorf("%w: %w", conversation.ErrUnavailable, err)
	}
	status, body := api.FromError(err)
	if status >= http.StatusInternalServerError {
		a.log.ErrorContext(ctx, "request failed", "operation", operation, "status", status, "err", err)
	} else {
		a.log.DebugContext(ctx, "request refused", "operation", operation, "status", status, "err", err)
	}
	refusal := &answer{status: status, body: body}
	switch {
	case status == http.StatusServiceUnavailable:
		return huma.ErrorWithHeaders(refusal, http.Header{"Retry-After": {strconv.Itoa(retryAfterSeconds)}})
	case body.Now != nil:
		return huma.ErrorWithHeaders(refusal, http.Header{"ETag": {etag(body.Now.Epoch)}})
	}
	return refusal
}

// answer is an error body with its status.
type answer struct {
	status int
	body   api.Error
}

// Error implements error.
func (a *answer) Error() string { return a.body.Code + ": " + a.body.Message }

// GetStatus implements huma.StatusError.
func (a *answer) GetStatus() int { return a.status }

// MarshalJSON writes the body alone.
func (a *answer) MarshalJSON() ([]byte, error) { return json.Marshal(a.body) }

// Schema implements huma.SchemaProvider.
func (*answer) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[api.Error](), true, "Error")
}

// ContentType keeps errors plain JSON.
func (*answer) ContentType(string) string { return "application/json" }

// refuse writes an answer from a middleware.
func refuse(spec huma.API, ctx huma.Context, status int, body api.Error) {
	ctx.SetHeader("Content-Type", "application/json")
	ctx.SetHeader("Cache-Control", "no-store")
	ctx.SetStatus(status)
	_ = spec.Marshal(ctx.BodyWriter(), "application/json", body) // a client that hung up needs no answer
}

// codes of what huma itself refuses.
var codes = map[int]string{
	http.StatusNotFound: api.CodeNotFound, http.StatusMethodNotAllowed: api.CodeMethod,
	http.StatusRequestEntityTooLarge: "too_large", http.StatusUnsupportedMediaType: "not_json",
	http.StatusInternalServerError: api.CodeInternal,
}

// huma makes its own errors through this one variable. Ours are of one shape, and repeat no value the caller sent: that
// would be a way for a customer's words into a log.
func init() {
	huma.NewError = func(status int, message string, errs ...error) huma.StatusError {
		body := api.Error{Code: codes[status], Message: message}
		if body.Code == "" {
			body.Code = api.CodeInvalid
		}
		for _, err := range errs {
			var detail huma.ErrorDetailer
			if errors.As(err, &detail) {
				d := detail.ErrorDetail()
				body.Details = append(body.Details, strings.TrimPrefix(d.Location+": "+d.Message, ": "))
			} else if err != nil {
				body.Details = append(body.Details, err.Error())
			}
		}
		return &answer{status: status, body: body}
	}
}

// observe counts every request by operation and status.
func (s *Server) observe(ctx huma.Context, next func(huma.Context)) {
	start := time.Now()
	next(ctx)
	s.c.Metrics.request(ctx.Operation().OperationID, ctx.Status(), time.Since(start))
}

// whenOpen refuses before the store is known to be the right one.
func (s *Server) whenOpen(ctx huma.Context, next func(huma.Context)) {
	if s.phase.Load() != starting {
		next(ctx)
		return
	}
	ctx.SetHeader("Retry-After", strconv.Itoa(retryAfterSeconds))
	status, body := api.FromError(conversation.ErrUnavailable)
	refuse(s.spec, ctx, status, body)
}

// bound limits how many requests are under way: more would wait for the database all the same, with their bodies in memory.
func (a *API) bound(ctx huma.Context, next func(huma.Context)) {
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
		next(ctx)
	case <-ctx.Context().Done(): // the client hung up
	}
}

// few lets only a few bodies with attachments in at once.
func (a *API) few(huma.API) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		if length, err := strconv.ParseInt(ctx.Header("Content-Length"), 10, 64); err == nil && length <= smallBodyBytes {
			next(ctx)
			return
		}
		select {
		case a.large <- struct{}{}:
			defer func() { <-a.large }()
			next(ctx)
		case <-ctx.Context().Done():
		}
	}
}

// etag is an epoch as an entity tag.
func etag(epoch int64) string { return `"` + strconv.FormatInt(epoch, 10) + `"` }

// conversationID reads a path's id. One that is no number names nothing.
func conversationID(s string) (conversation.ID, error) {
	id, err := strconv.ParseInt(s, 10, 64)
	if err != nil || id <= 0 {
		return 0, conversation.ErrNotFound
	}
	return conversation.ID(id), nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
