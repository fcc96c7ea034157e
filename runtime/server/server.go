// Package server is the router's HTTP side: webhooks in, the API of the verbs, health, readiness and metrics.
package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"golang.org/x/sync/semaphore"

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

	// bodiesAtOnce is how many bodies of the largest size may be held; smaller ones are as many more.
	bodiesAtOnce = 2

	storeTimeout = 10 * time.Second
	readyTimeout = 2 * time.Second
	// retryAfterSeconds is what a sender is told when nothing could be stored.
	retryAfterSeconds = 5
)

// Ingest is what the hooks hand over to: ingest.Service.
type Ingest interface {
	Authorize(ctx context.Context, channel, secret string) (conversation.Channel, error)
	Receive(ctx context.Context, ch conversation.Channel, body []byte) (conversation.Receipt, error)
}

// Check is one condition of readiness. An error's text is shown to whoever may ask, so it holds no secret.
type Check struct {
	Name string
	Test func(ctx context.Context) error
}

// Config holds what a Server needs; every field is required.
type Config struct {
	Ingest       Ingest
	SecretHeader string // header that carries the hook secret
	MaxBodyBytes int64
	Checks       []Check
	API          APIConfig
	Version      string // of the program, for the API's description
	Metrics      *Metrics
	Logger       *slog.Logger
}

// Server is an http.Handler; its methods are safe for concurrent use.
type Server struct {
	c     Config
	mux   *http.ServeMux
	spec  huma.API
	phase atomic.Int32
	// bodies bounds the bytes of request bodies held at once.
	bodies *semaphore.Weighted
}

// Phases of a server's life.
const (
	starting int32 = iota // hooks are refused with 503
	serving
	draining // hooks are served, but not ready
)

// New makes a Server. It refuses hooks until Open is called.
func New(c Config) *Server {
	s := &Server{c: c, mux: http.NewServeMux(), bodies: semaphore.NewWeighted(bodiesAtOnce * c.MaxBodyBytes)}
	s.mux.HandleFunc("/hooks/evolution/{channel}", s.evolutionHook)
	s.mux.HandleFunc("GET /healthz", s.healthz)
	s.mux.HandleFunc("GET /readyz", s.readyz)
	s.mux.Handle("GET /metrics", c.Metrics.Handler())
	s.spec = s.register(c.API, c.Version)
	s.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		write(w, http.StatusNotFound, api.Error{Code: api.CodeNotFound, Message: "there is nothing at this path"})
	})
	return s
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Open lets webhooks in: the store is known to be the right one.
func (s *Server) Open() { s.phase.Store(serving) }

// Drain makes the server report itself not ready, so that an ingress sends new requests elsewhere. Requests are served on.
func (s *Server) Drain() { s.phase.Store(draining) }

// HTTP is an http.Server for this handler with all timeouts set.
func (s *Server) HTTP() *http.Server {
	return &http.Server{
		Handler:           s,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.c.Logger.Handler(), slog.LevelDebug),
	}
}

func (s *Server) evolutionHook(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	channel := r.PathValue("channel")
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		write(w, http.StatusMethodNotAllowed, api.Error{Code: api.CodeMethod, Message: "webhooks are posted"})
		s.c.Metrics.hook("", http.StatusMethodNotAllowed, time.Since(start))
		return
	}
	known, receipt, err := s.take(w, r, channel)
	status := http.StatusOK
	if err != nil {
		status = s.refuse(w, r, channel, err)
	} else {
		write(w, status, map[string]bool{"stored": true, "duplicate": receipt.Duplicate})
	}
	s.c.Metrics.hook(known, status, time.Since(start))
}

// take returns the channel's name once it is known to exist: metrics must not grow with whatever paths are tried.
func (s *Server) take(w http.ResponseWriter, r *http.Request, channel string) (known string, _ conversation.Receipt, _ error) {
	if s.phase.Load() == starting {
		return "", conversation.Receipt{}, fmt.Errorf("starting: %w", conversation.ErrUnavailable)
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	ch, err := s.c.Ingest.Authorize(ctx, channel, r.Header.Get(s.c.SecretHeader))
	if err != nil {
		return "", conversation.Receipt{}, err
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return ch.Name, conversation.Receipt{}, conversation.ErrNotJSON
	}
	// Nobody sends webhooks of many megabytes in normal operation; a dozen at once would be the process's memory.
	weight := s.c.MaxBodyBytes
	if r.ContentLength >= 0 {
		weight = min(weight, r.ContentLength)
	}
	if err := s.bodies.Acquire(ctx, weight); err != nil {
		return ch.Name, conversation.Receipt{}, fmt.Errorf("wait for other webhooks' bodies: %w: %w", conversation.ErrUnavailable, err)
	}
	defer s.bodies.Release(weight)
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.c.MaxBodyBytes))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return ch.Name, conversation.Receipt{}, conversation.ErrTooLarge
	}
	if err != nil {
		// 503 and not 400: the sender broke off or was slow, and Evolution never repeats what was answered with 400.
		return ch.Name, conversation.Receipt{}, fmt.Errorf("read body: %w: %w", conversation.ErrUnavailable, err)
	}
	// A commit is not broken off because the sender hung up: it would repeat what may be stored already.
	ctx, cancel = context.WithTimeout(context.WithoutCancel(r.Context()), storeTimeout)
	defer cancel()
	receipt, err := s.c.Ingest.Receive(ctx, ch, body)
	return ch.Name, receipt, err
}

func (s *Server) refuse(w http.ResponseWriter, r *http.Request, channel string, err error) int {
	status, body := api.FromError(err)
	level := slog.LevelWarn
	if status >= 500 {
		level = slog.LevelError
	}
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfterSeconds))
	}
	s.c.Logger.Log(r.Context(), level, "webhook refused", "channel", channel, "status", status, "err", err)
	write(w, status, body)
	return status
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
