package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"golang.org/x/time/rate"

	"plantao/runtime/api"
	"plantao/runtime/conversation"
)

const (
	// tokenTTL is how long a token is believed without asking the store again: a revoked one works for so long.
	tokenTTL = 5 * time.Second
	// maxTokens bounds the cache. There are a few tokens; a flood of wrong ones is never cached.
	maxTokens = 1024

	turnTokenHeader = "X-Plantao-Turn-Token" //nolint:gosec // the name of a header
)

// authenticator knows who a bearer token belongs to and how often its requests may come. Requests with a wrong token share
// one bucket, so that guessing costs the store little.
type authenticator struct {
	store conversation.Agents
	rate  rate.Limit
	burst int
	wrong *rate.Limiter

	mu     sync.Mutex
	tokens map[[32]byte]*caller
}

type caller struct {
	conversation.Principal
	limit *rate.Limiter
	read  time.Time
}

func newAuthenticator(store conversation.Agents, perSecond float64, burst int) *authenticator {
	return &authenticator{
		store: store, rate: rate.Limit(perSecond), burst: burst, wrong: rate.NewLimiter(10, 50), tokens: map[[32]byte]*caller{},
	}
}

// find identifies the caller. Errors: ErrBadToken, ErrTooMany, or the store's.
func (a *authenticator) find(ctx context.Context, header string) (*caller, error) {
	secret, ok := strings.CutPrefix(header, "Bearer ")
	if !ok || secret == "" || len(secret) > 512 {
		return nil, conversation.ErrBadToken
	}
	sum := sha256.Sum256([]byte(secret))
	a.mu.Lock()
	known := a.tokens[sum]
	a.mu.Unlock()
	if known == nil || time.Since(known.read) > tokenTTL {
		var err error
		if known, err = a.read(ctx, sum, known); err != nil {
			return nil, err
		}
	}
	if !known.limit.Allow() {
		return nil, conversation.ErrTooMany
	}
	return known, nil
}

func (a *authenticator) read(ctx context.Context, sum [32]byte, before *caller) (*caller, error) {
	if before == nil && a.wrong.Tokens() < 1 {
		return nil, conversation.ErrTooMany
	}
	p, err := a.store.Authenticate(ctx, sum)
	if err != nil {
		if errors.Is(err, conversation.ErrBadToken) {
			a.wrong.Allow()
			a.mu.Lock()
			delete(a.tokens, sum)
			a.mu.Unlock()
		}
		return nil, err
	}
	c := &caller{Principal: p, limit: rate.NewLimiter(a.rate, a.burst), read: time.Now()}
	if before != nil {
		c.limit = before.limit
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.tokens) >= maxTokens {
		clear(a.tokens)
	}
	a.tokens[sum] = c
	return c, nil
}

type principalKey struct{}

// who is the caller of a request that was let in.
func who(ctx context.Context) conversation.Principal {
	p, _ := ctx.Value(principalKey{}).(conversation.Principal)
	return p
}

// authenticate lets a request in whose token has one of the scopes.
func (a *API) authenticate(spec huma.API, scopes []conversation.Scope) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		finding, cancel := context.WithTimeout(ctx.Context(), apiTimeout)
		defer cancel()
		c, err := a.auth.find(finding, ctx.Header("Authorization"))
		if err == nil && !mayAny(c.Principal, scopes) {
			err = fmt.Errorf("token %q needs %s: %w", c.Token, strings.Join(scopeNames(scopes), " or "), conversation.ErrScope)
		}
		if err != nil {
			a.turnAway(spec, ctx, err)
			return
		}
		known(ctx.Context())
		next(huma.WithValue(ctx, principalKey{}, c.Principal))
	}
}

func mayAny(p conversation.Principal, scopes []conversation.Scope) bool {
	for _, s := range scopes {
		if p.May(s) {
			return true
		}
	}
	return false
}

// turnToken lets a request in that carries any turn token; the store knows whether it is the turn's. They share the bucket of
// wrong tokens only when they turn out to be wrong.
func (a *API) turnToken(spec huma.API) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		switch {
		case ctx.Header(turnTokenHeader) == "":
			a.turnAway(spec, ctx, conversation.ErrBadToken)
		case a.auth.wrong.Tokens() < 1:
			a.turnAway(spec, ctx, conversation.ErrTooMany)
		default:
			next(ctx)
			if ctx.Status() == http.StatusUnauthorized {
				a.auth.wrong.Allow()
			} else if ctx.Status() < http.StatusMultipleChoices {
				known(ctx.Context())
			}
		}
	}
}

// either lets a request in that carries a turn token, or a bearer token with one of the scopes.
func (a *API) either(spec huma.API, scopes []conversation.Scope) func(huma.Context, func(huma.Context)) {
	bearer, turn := a.authenticate(spec, scopes), a.turnToken(spec)
	return func(ctx huma.Context, next func(huma.Context)) {
		if ctx.Header(turnTokenHeader) != "" {
			turn(ctx, next)
			return
		}
		bearer(ctx, next)
	}
}

func (a *API) turnAway(spec huma.API, ctx huma.Context, err error) {
	status, body := api.FromError(err)
	switch status {
	case http.StatusUnauthorized:
		ctx.SetHeader("WWW-Authenticate", `Bearer realm="plantao"`)
	case http.StatusTooManyRequests:
		ctx.SetHeader("Retry-After", "1")
	case http.StatusServiceUnavailable, http.StatusInternalServerError:
		a.log.ErrorContext(ctx.Context(), "token not checked", "err", err)
		// A store that cannot be asked is no reason to call the token wrong.
		status, body = api.FromError(conversation.ErrUnavailable)
		ctx.SetHeader("Retry-After", strconv.Itoa(retryAfterSeconds))
	}
	refuse(spec, ctx, status, body)
}
