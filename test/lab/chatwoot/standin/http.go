package standin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// call is one authenticated request to an account's API. Exactly one of user and bot is set.
type call struct {
	params
	app     *App
	req     *http.Request
	account int64
	user    *user
	bot     *agentBot
	role    string // administrator or agent; "" for a bot
}

func (c *call) admin() bool { return c.role == "administrator" }

// actor is the name activity messages show; bots act without one.
func (c *call) actor() string {
	if c.user == nil {
		return ""
	}
	return c.user.Name
}

func (c *call) id(name string) int64 {
	n, err := strconv.ParseInt(c.req.PathValue(name), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// apiError is an answer other than 200.
type apiError struct {
	status int
	body   any
}

func (e *apiError) Error() string { return http.StatusText(e.status) }

func unprocessable(message string) error {
	return &apiError{http.StatusUnprocessableEntity, map[string]any{"error": message}}
}

var (
	errNotFound     = &apiError{http.StatusNotFound, map[string]any{"error": "Resource could not be found"}}
	errNotPermitted = &apiError{http.StatusUnauthorized, map[string]any{"error": "You are not authorized to do this action"}}
	errNoAccount    = &apiError{http.StatusUnauthorized, map[string]any{"error": "You are not authorized to access this account"}}
)

// headOK is the body of actions that answer 200 with none.
type headOK struct{}

// route is one action below /api/v1/accounts/{account}.
type route struct {
	pattern string // method and path below the account
	access  access
	run     func(context.Context, *call) (any, error)
}

type access int

const (
	agents  access = iota // any user of the account
	admins                // administrators only
	andBots               // users, and agent bots too
)

func routes() []route {
	return []route{
		{"GET /inboxes", agents, listInboxes},
		{"POST /inboxes", admins, createInbox},
		{"GET /inboxes/{id}", agents, showInbox},
		{"PATCH /inboxes/{id}", admins, updateInbox},
		{"PUT /inboxes/{id}", admins, updateInbox},
		{"DELETE /inboxes/{id}", admins, deleteInbox},
		{"POST /inboxes/{id}/set_agent_bot", admins, setAgentBot},
		{"POST /inboxes/{id}/reset_secret", admins, resetInboxSecret},
		{"GET /inboxes/{id}/agent_bot", agents, inboxAgentBot},
		{"POST /inbox_members", admins, addInboxMembers},
		{"GET /inbox_members/{id}", agents, listInboxMembers},
		{"GET /agents", agents, listAgents},
		{"POST /agents", admins, createAgent},
		{"PATCH /agents/{id}", admins, updateAgent},
		{"PUT /agents/{id}", admins, updateAgent},
		{"GET /teams", agents, listTeams},
		{"POST /teams", admins, createTeam},
		{"GET /teams/{id}", agents, showTeam},
		{"DELETE /teams/{id}", admins, deleteTeam},
		{"GET /teams/{id}/team_members", agents, listTeamMembers},
		{"POST /teams/{id}/team_members", admins, addTeamMembers},
		{"PATCH /teams/{id}/team_members", admins, replaceTeamMembers},
		{"DELETE /teams/{id}/team_members", admins, removeTeamMembers},
		{"GET /agent_bots", agents, listAgentBots},
		{"POST /agent_bots", admins, createAgentBot},
		{"GET /agent_bots/{id}", agents, showAgentBot},
		{"PATCH /agent_bots/{id}", admins, updateAgentBot},
		{"PUT /agent_bots/{id}", admins, updateAgentBot},
		{"DELETE /agent_bots/{id}", admins, deleteAgentBot},
		{"POST /agent_bots/{id}/reset_access_token", admins, resetBotToken},
		{"POST /agent_bots/{id}/reset_secret", admins, resetBotSecret},
		{"GET /webhooks", admins, listWebhooks},
		{"POST /webhooks", admins, createWebhook},
		{"PATCH /webhooks/{id}", admins, updateWebhook},
		{"PUT /webhooks/{id}", admins, updateWebhook},
		{"DELETE /webhooks/{id}", admins, deleteWebhook},
		{"GET /contacts", agents, listContacts},
		{"POST /contacts", agents, createContact},
		{"GET /contacts/search", agents, searchContacts},
		{"GET /contacts/{id}", agents, showContact},
		{"PUT /contacts/{id}", agents, updateContact},
		{"PATCH /contacts/{id}", agents, updateContact},
		{"DELETE /contacts/{id}", admins, deleteContact},
		{"POST /contacts/{id}/contact_inboxes", agents, createContactInbox},
		{"GET /contacts/{id}/conversations", agents, contactConversations},
		{"GET /conversations", agents, listConversations},
		{"POST /conversations", andBots, createConversation},
		{"GET /conversations/{id}", andBots, showConversation},
		{"PATCH /conversations/{id}", andBots, patchConversation},
		{"PUT /conversations/{id}", andBots, patchConversation},
		{"POST /conversations/{id}/toggle_status", andBots, toggleStatus},
		{"POST /conversations/{id}/toggle_priority", andBots, togglePriority},
		{"POST /conversations/{id}/toggle_typing_status", andBots, toggleTyping},
		{"POST /conversations/{id}/update_last_seen", agents, updateLastSeen},
		{"POST /conversations/{id}/custom_attributes", andBots, setCustomAttributes},
		{"POST /conversations/{id}/assignments", andBots, assign},
		{"GET /conversations/{id}/labels", andBots, listLabels},
		{"POST /conversations/{id}/labels", andBots, setLabels},
		{"GET /conversations/{id}/messages", agents, listMessages},
		{"POST /conversations/{id}/messages", andBots, createMessage},
		{"PATCH /conversations/{id}/messages/{message}", agents, patchMessage},
		{"PUT /conversations/{id}/messages/{message}", agents, patchMessage},
		{"DELETE /conversations/{id}/messages/{message}", agents, deleteMessage},
		{"POST /conversations/{id}/messages/{message}/retry", agents, retryMessage},
	}
}

// Handler is the web process. It delivers no webhook: that is Work's.
func (a *App) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]any{"status": "woot"})
	})
	mux.HandleFunc("GET /api", a.serveAPI)
	mux.HandleFunc("POST /auth/sign_in", a.signIn)
	mux.HandleFunc("DELETE /auth/sign_out", a.signOut)
	mux.HandleFunc("GET /auth/validate_token", a.validateToken)
	mux.HandleFunc("GET /api/v1/profile", a.profile)
	mux.HandleFunc("POST /api/v1/accounts", a.signUp)
	a.pages(mux)
	a.files(mux)
	for _, r := range routes() {
		method, path := splitPattern(r.pattern)
		mux.HandleFunc(method+" /api/v1/accounts/{account}"+path, func(w http.ResponseWriter, req *http.Request) { a.serve(w, req, r) })
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusNotFound, map[string]any{"status": 404, "error": "Not Found"})
	})
	return a.middleware(mux)
}

func splitPattern(pattern string) (method, path string) {
	for i := range pattern {
		if pattern[i] == ' ' {
			return pattern[:i], pattern[i+1:]
		}
	}
	return "", pattern
}

// middleware is what stands before Rails' routes: https, throttling, time limit.
func (a *App) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.env.ForceSSL && r.TLS == nil && r.Header.Get("X-Forwarded-Proto") != "https" {
			http.Redirect(w, r, "https://"+r.Host+r.URL.RequestURI(), http.StatusMovedPermanently)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), 15*time.Second)
		defer cancel()
		r = r.WithContext(ctx)
		if a.throttled(w, r) {
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (a *App) serveAPI(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 3*time.Second)
	defer cancel()
	state := func(err error) string {
		if err != nil {
			return "failing"
		}
		return "ok"
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"version": Version, "timestamp": time.Now().UTC().Format(time.DateTime),
		"queue_services": state(a.redis.Ping(ctx).Err()), "data_services": state(a.db.Ping(ctx)),
	})
}

func (a *App) serve(w http.ResponseWriter, req *http.Request, r route) {
	c, err := a.authorize(w, req, r.access)
	if err != nil {
		a.writeError(w, req, err)
		return
	}
	out, err := r.run(req.Context(), c)
	if err != nil {
		a.writeError(w, req, err)
		return
	}
	if _, empty := out.(headOK); empty {
		w.WriteHeader(http.StatusOK)
		return
	}
	writeJSON(w, http.StatusOK, out)
}

func (a *App) writeError(w http.ResponseWriter, r *http.Request, err error) {
	var api *apiError
	var record *recordInvalid
	switch {
	case errors.As(err, &api):
		writeJSON(w, api.status, api.body)
	case errors.As(err, &record):
		writeJSON(w, http.StatusUnprocessableEntity, map[string]any{"message": record.message, "attributes": record.attributes})
	case errors.Is(err, pgx.ErrNoRows):
		writeJSON(w, http.StatusNotFound, errNotFound.body)
	case errors.Is(err, errBadBody):
		writeJSON(w, http.StatusBadRequest, map[string]any{"status": 400, "error": "Bad Request"})
	default:
		a.log.ErrorContext(r.Context(), "request failed", "method", r.Method, "path", r.URL.Path, "err", err)
		writeJSON(w, http.StatusInternalServerError, map[string]any{"status": 500, "error": "Internal Server Error"})
	}
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	raw, err := json.Marshal(body)
	if err != nil {
		http.Error(w, "encode answer", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(raw) // the caller has gone
}
