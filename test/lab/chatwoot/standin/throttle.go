package standin

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// Rack::Attack's limits that a program of ours can run into (config/initializers/rack_attack.rb): all requests of an
// address per minute, sign-ins of an address (5 in 5 minutes) and of an e-mail (10 in 15 minutes). Loopback and
// RACK_ATTACK_ALLOWED_IPS are exempt. The answer is 429, plain text, without Retry-After.
func (a *App) throttled(w http.ResponseWriter, r *http.Request) bool {
	ip := remoteIP(r)
	if a.exempt(ip) {
		return false
	}
	if a.over(r.Context(), "req/ip", ip, a.env.RequestsPerMinute, time.Minute) {
		return tooMany(w)
	}
	return false
}

func (a *App) loginThrottled(w http.ResponseWriter, r *http.Request, email string) bool {
	ip := remoteIP(r)
	if a.exempt(ip) {
		return false
	}
	if a.over(r.Context(), "login/ip", ip, 5, 5*time.Minute) {
		return tooMany(w)
	}
	email = strings.Join(strings.Fields(strings.ToLower(email)), "")
	if email != "" && a.over(r.Context(), "login/email", email, 10, 15*time.Minute) {
		return tooMany(w)
	}
	return false
}

func (a *App) exempt(ip string) bool { return !a.env.RackAttack || a.env.AllowedAddresses[ip] }

func tooMany(w http.ResponseWriter) bool {
	http.Error(w, "Retry later", http.StatusTooManyRequests)
	return true
}

// over counts in fixed windows, as Rack::Attack does. A Redis that does not answer limits nobody.
func (a *App) over(ctx context.Context, name, who string, limit int, period time.Duration) bool {
	window := time.Now().Unix() / int64(period.Seconds())
	key := fmt.Sprintf("velma:rack::attack:%d:%s:%s", window, name, who)
	n, err := a.redis.Incr(ctx, key).Result()
	if err != nil {
		a.log.WarnContext(ctx, "throttle not counted", "err", err)
		return false
	}
	if n == 1 {
		if err := a.redis.Expire(ctx, key, period+time.Second).Err(); err != nil {
			a.log.WarnContext(ctx, "throttle not counted", "err", err)
		}
	}
	return n > int64(limit)
}

// remoteIP believes X-Forwarded-For only from a private peer, and takes its last public entry, as Rack does.
func remoteIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	if ip := net.ParseIP(host); ip == nil || !(ip.IsPrivate() || ip.IsLoopback()) {
		return host
	}
	forwarded := strings.Split(r.Header.Get("X-Forwarded-For"), ",")
	for i := len(forwarded) - 1; i >= 0; i-- {
		ip := net.ParseIP(strings.TrimSpace(forwarded[i]))
		if ip != nil && !ip.IsPrivate() && !ip.IsLoopback() {
			return ip.String()
		}
	}
	return host
}
