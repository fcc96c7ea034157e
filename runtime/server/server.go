// Package server is the router's HTTP side: webhooks in, the API of the verbs, health, readiness and metrics.
package server

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"path"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"golang.org/x/time/rate"

	"plantao/runtime/api"
	"plantao/runtime/conversation"
)

// Timeouts of the server. A webhook is a small body and one commit; whoever takes longer to send it is not Evolution.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 120 * time.Second
	maxHeaderBytes    = 64 << 10

	storeTimeout = 10 * time.Second
	readyTimeout = 2 * time.Second
	// retryAfterSeconds is what a sender is told when nothing could be stored.
	retryAfterSeconds = 5
)

// Ingest is what the hooks hand over to: ingest.Service.
type Ingest interface {
	Authorize(ctx context.Context, channel string, p conversation.HookProof) (conversation.Channel, error)
	Receive(ctx context.Context, ch conversation.Channel, body []byte) (conversation.Receipt, error)
}

// Check is one condition of readiness. An error's text is shown to whoever may ask, so it holds no secret.
type Check struct {
	Name string
	Test func(ctx context.Context) error
}

// Config holds what a Server needs; fields without a remark are required.
type Config struct {
	Ingest       Ingest
	SecretHeader string // header that carries the hook secret
	MaxBodyBytes int64
	Desk         DeskHooks // nil: Chatwoot has no hooks
	Checks       []Check
	API          APIConfig
	Version      string // of the program, for the API's description
	Metrics      *Metrics
	Logger       *slog.Logger
}

// Server is an http.Handler; its methods are safe for concurrent use.
type Server struct {
	c         Config
	mux       *http.ServeMux
	spec      huma.API
	phase     atomic.Int32
	evolution *intake
	chatwoot  *intake

	strangers rate.Sometimes // logs one of those whose webhook shows no good secret
	unlogged  atomic.Int64   // those it did not
}

// Phases of a server's life.
const (
	starting int32 = iota // hooks are refused with 503
	serving
	draining // hooks are served, but not ready
)

// New makes a Server. It refuses hooks until Open is called.
func New(c Config) *Server {
	s := &Server{c: c, mux: http.NewServeMux(), evolution: newIntake(c.MaxBodyBytes), chatwoot: newIntake(c.MaxBodyBytes),
		strangers: rate.Sometimes{Interval: time.Second}}
	s.mux.HandleFunc("/hooks/evolution/{channel}", s.hook(s.evolutionHook))
	if c.Desk != nil {
		s.mux.HandleFunc("/hooks/chatwoot/{channel}", s.chatwootHook(false))
		s.mux.Handle("/hooks/chatwoot/{channel}/bot", forBot(s.chatwootHook(true)))
	}
	s.mux.HandleFunc("GET /healthz", s.healthz)
	s.mux.HandleFunc("GET /readyz", s.readyz)
	s.mux.Handle("GET /metrics", c.Metrics.Handler())
	s.spec = s.register(c.API, c.Version)
	s.mux.HandleFunc("/", nothingHere)
	return s
}

// ServeHTTP implements http.Handler. A path that is not in its shortest form leads nowhere: the mux would redirect it, and a
// redirected POST is posted twice or becomes a GET.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if path.Clean(r.URL.Path) != r.URL.Path {
		nothingHere(w, r)
		return
	}
	s.mux.ServeHTTP(w, r)
}

func nothingHere(w http.ResponseWriter, _ *http.Request) {
	dismiss(w)
	write(w, http.StatusNotFound, api.Error{Code: api.CodeNotFound, Message: "there is nothing at this path"})
}

// Open lets webhooks in: the store is known to be the right one.
func (s *Server) Open() { s.phase.Store(serving) }

// Drain makes the server report itself not ready, so that an ingress sends new requests elsewhere. Requests are served on.
func (s *Server) Drain() { s.phase.Store(draining) }

// HTTP is an http.Server for this handler with all timeouts set, to serve what Bound accepts.
func (s *Server) HTTP() *http.Server {
	return &http.Server{
		Handler:           s,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnContext:       withConnection,
		// "OPTIONS *" is nobody's question here.
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(s.c.Logger.Handler(), slog.LevelDebug),
	}
}

func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	write(w, http.StatusOK, map[string]string{"status": "alive"})
}

type readiness struct {
	Ready  bool          `json:"ready"`
	Checks []checkResult `json:"checks"`
}

type checkResult struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Reason string `json:"reason,omitempty"`
}

func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	answer := readiness{Ready: true}
	add := func(name string, err error) {
		result := checkResult{Name: name, OK: err == nil}
		if err != nil {
			result.Reason = err.Error()
			answer.Ready = false
		}
		answer.Checks = append(answer.Checks, result)
	}
	var phase error
	switch s.phase.Load() {
	case starting:
		phase = errors.New("starting: waiting for the database")
	case draining:
		phase = errors.New("shutting down")
	}
	add("serving", phase)
	for _, c := range s.c.Checks {
		add(c.Name, c.Test(ctx))
	}
	status := http.StatusOK
	if !answer.Ready {
		status = http.StatusServiceUnavailable
	}
	write(w, status, answer)
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a client that hung up needs no answer
}
