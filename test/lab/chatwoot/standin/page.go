package standin

import (
	"errors"
	"fmt"
	"html"
	"net/http"
	"strings"

	"github.com/redis/go-redis/v9"
)

// pages are the few HTML routes whose being reachable, closed or redirected matters to a deployment.
func (a *App) pages(mux *http.ServeMux) {
	for _, p := range []string{"GET /{$}", "GET /app", "GET /app/"} {
		mux.HandleFunc(p, a.dashboard)
	}
	mux.HandleFunc("GET /installation/onboarding", a.onboardingPage)
	mux.HandleFunc("POST /installation/onboarding", a.onboard)
	for _, p := range []string{"GET /super_admin", "GET /super_admin/", "GET /monitoring/sidekiq", "GET /monitoring/sidekiq/"} {
		mux.HandleFunc(p, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/super_admin/sign_in", http.StatusFound)
		})
	}
	mux.HandleFunc("GET /super_admin/sign_in", func(w http.ResponseWriter, _ *http.Request) {
		page(w, "Super Admin", `<form method="post"><input name="super_admin[email]"><input name="super_admin[password]" type="password"></form>`)
	})
}

func page(w http.ResponseWriter, title, body string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = fmt.Fprintf(w, "<!DOCTYPE html><html><head><title>%s</title></head><body>%s</body></html>\n", html.EscapeString(title), body)
}

func (a *App) onboarding(r *http.Request) (bool, error) {
	err := a.redis.Get(r.Context(), onboardingKey).Err()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the onboarding key: %w", err)
	}
	return true, nil
}

func (a *App) dashboard(w http.ResponseWriter, r *http.Request) {
	open, err := a.onboarding(r)
	switch {
	case err != nil:
		a.writeError(w, r, err)
	case open:
		http.Redirect(w, r, "/installation/onboarding", http.StatusFound)
	case strings.HasPrefix(r.Header.Get("Accept"), "application/json"):
		writeJSON(w, http.StatusNotAcceptable, map[string]any{"error": "Please use API routes instead of dashboard routes for JSON requests"})
	default:
		page(w, "Chatwoot", `<div id="app"></div>`)
	}
}

// onboardingPage is public while the key exists: whoever comes first becomes the administrator.
func (a *App) onboardingPage(w http.ResponseWriter, r *http.Request) {
	open, err := a.onboarding(r)
	switch {
	case err != nil:
		a.writeError(w, r, err)
	case !open:
		http.Redirect(w, r, "/", http.StatusFound)
	default:
		page(w, "SuperAdmin | Chatwoot", `<form method="post" action="/installation/onboarding"><input name="user[name]"><input name="user[company]">`+
			`<input name="user[email]"><input name="user[password]" type="password"></form>`)
	}
}

func (a *App) onboard(w http.ResponseWriter, r *http.Request) {
	open, err := a.onboarding(r)
	if err != nil {
		a.writeError(w, r, err)
		return
	}
	if !open {
		http.Redirect(w, r, "/", http.StatusFound)
		return
	}
	p, err := readParams(w, r)
	if err != nil {
		a.writeError(w, r, err)
		return
	}
	u := p.object("user")
	_, _, err = accountBuilder{accountName: u.text("company"), userFullName: u.text("name"), email: u.text("email"),
		password: u.text("password"), superAdmin: true, confirmed: true}.perform(r.Context(), a)
	if err == nil {
		err = a.redis.Del(r.Context(), onboardingKey).Err()
	}
	if err != nil {
		a.log.WarnContext(r.Context(), "onboarding refused", "err", err)
	}
	http.Redirect(w, r, "/", http.StatusFound)
}

// signUp is the public registration that ENABLE_ACCOUNT_SIGNUP opens; closed, the route does not exist.
func (a *App) signUp(w http.ResponseWriter, r *http.Request) {
	if a.env.AccountSignup == "false" {
		writeJSON(w, http.StatusNotFound, map[string]any{"status": 404, "error": "Not Found"})
		return
	}
	p, err := readParams(w, r)
	if err != nil {
		a.writeError(w, r, err)
		return
	}
	_, id, err := accountBuilder{accountName: p.text("account_name"), userFullName: p.text("user_full_name"),
		email: p.text("email"), password: p.text("password")}.perform(r.Context(), a)
	var record *recordInvalid
	if err != nil && !errors.As(err, &record) {
		err = &apiError{http.StatusForbidden, map[string]any{"message": err.Error()}}
	}
	if err != nil {
		a.writeError(w, r, err)
		return
	}
	u, err := one[user](r.Context(), a.db, userQuery+`WHERE u.id = $1`, id)
	if err != nil {
		a.writeError(w, r, err)
		return
	}
	a.writeUser(w, r, &u, func(body map[string]any) any { return map[string]any{"data": body} })
}
