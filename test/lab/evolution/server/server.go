// Package server is the API of the stand-in: routes, guards, instances, sending and the inlet of the EVOLUTION channel.
package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"sync"
	"time"

	"plantao/test/lab/evolution/control"
	"plantao/test/lab/evolution/environment"
	"plantao/test/lab/evolution/store"
	"plantao/test/lab/evolution/webhook"
)

// maxBodyBytes is upstream's limit for JSON bodies, "136mb".
const maxBodyBytes = 136 << 20

// Options are what a server is made of. All fields but Wait are required.
type Options struct {
	Config environment.Config
	Store  *store.Store
	Sender *webhook.Sender
	Board  *control.Board
	Log    *slog.Logger
	// Wait pauses for d or until ctx ends; nil means the real clock. Tests set it to see a wait without living through it.
	Wait func(ctx context.Context, d time.Duration)
}

// Server answers the API. Make it with New.
type Server struct {
	Options
	mux *http.ServeMux

	// life ends with Close. Requests run on it and not on the client's context: upstream carries on when the client has gone.
	life context.Context
	stop context.CancelFunc

	mu        sync.Mutex
	instances map[string]*instance // by name
}

// New makes a server and loads the instances the database knows.
func New(ctx context.Context, o Options) (*Server, error) {
	if o.Wait == nil {
		o.Wait = wait
	}
	life, stop := context.WithCancel(context.Background())
	s := &Server{Options: o, life: life, stop: stop, instances: make(map[string]*instance), mux: http.NewServeMux()}
	s.routes()
	if err := s.load(ctx); err != nil {
		stop()
		return nil, err
	}
	return s, nil
}

// Close ends the waits of running requests. The HTTP server around it is shut down by its owner.
func (s *Server) Close() { s.stop() }

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// bodyKey is the context key of a parsed JSON body.
type bodyKey struct{}

// ServeHTTP does what upstream does before any route: origins, then the JSON body.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.allowOrigin(w, r) {
		s.answer(w, r, 0, nil, internal("Not allowed by CORS"))
		return
	}
	body, err := readJSON(w, r)
	if err != nil {
		s.answer(w, r, 0, nil, err)
		return
	}
	s.mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), bodyKey{}, body)))
}

// allowOrigin refuses a request without an Origin header when the origins are listed one by one: upstream looks for "undefined" among them.
func (s *Server) allowOrigin(w http.ResponseWriter, r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if !slices.Contains(s.Config.CORSOrigins, "*") && (origin == "" || !slices.Contains(s.Config.CORSOrigins, origin)) {
		return false
	}
	if origin != "" {
		w.Header().Set("Access-Control-Allow-Origin", origin)
		w.Header().Set("Vary", "Origin")
	}
	return true
}

// readJSON parses the body of a JSON request; anything else is an empty object, as in Express. The result keeps numbers as written.
func readJSON(w http.ResponseWriter, r *http.Request) (map[string]any, error) {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind != "application/json" {
		return map[string]any{}, nil
	}
	if r.ContentLength > maxBodyBytes {
		return nil, parserError(http.StatusRequestEntityTooLarge, "request entity too large")
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, parserError(http.StatusRequestEntityTooLarge, "request entity too large")
	case err != nil:
		return nil, parserError(http.StatusBadRequest, "request aborted")
	case len(bytes.TrimSpace(raw)) == 0:
		return map[string]any{}, nil
	}
	value, err := decodeJSON(raw)
	if err != nil {
		return nil, parserError(http.StatusBadRequest, err.Error())
	}
	switch v := value.(type) {
	case map[string]any:
		return v, nil
	case []any:
		// Express takes a list; none of its elements is a field.
		return map[string]any{}, nil
	}
	return nil, parserError(http.StatusBadRequest, "Unexpected token, only objects and arrays are accepted")
}

// parserError carries the title upstream's error handler gives to errors of its body parser.
func parserError(status int, message string) error {
	return &refusal{Status: status, Title: "Internal Server Error", Message: message}
}

func decodeJSON(raw []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("unexpected text after JSON")
	}
	return v, nil
}

// answer writes a result or an error in upstream's form.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, status int, body any, err error) {
	if errors.Is(err, errCloseConnection) {
		// The documented way to end a connection without an answer.
		panic(http.ErrAbortHandler)
	}
	if err != nil {
		status, body = errorBody(err)
		if status >= http.StatusInternalServerError {
			s.Log.ErrorContext(r.Context(), "request failed", "method", r.Method, "route", r.Pattern, "status", status, "err", err)
		}
	}
	var b bytes.Buffer
	if body != nothing {
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false) // JavaScript does not
		if err := enc.Encode(body); err != nil {
			status = http.StatusInternalServerError
			s.Log.ErrorContext(r.Context(), "encode answer", "route", r.Pattern, "err", err)
		}
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	// A failed write means that the client has gone; the work is done all the same.
	_, _ = w.Write(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

// nothing is the answer JavaScript's undefined makes: an empty body.
var nothing any = struct{ undefined struct{} }{}

// Pair implements control.Host.
func (s *Server) Pair(ctx context.Context, name, number string) error {
	i := s.find(name)
	if i == nil {
		return fmt.Errorf("no instance %q", name)
	}
	return s.pair(ctx, i, number)
}

// Emit implements control.Host.
func (s *Server) Emit(ctx context.Context, name, event string, data any) error {
	i := s.find(name)
	if i == nil {
		return fmt.Errorf("no instance %q", name)
	}
	s.emit(ctx, i, event, data)
	return nil
}

// Post implements control.Host.
func (s *Server) Post(ctx context.Context, d webhook.Delivery) (int, error) {
	return s.Sender.Post(ctx, d)
}

// Pending implements control.Host.
func (s *Server) Pending() int { return s.Sender.Pending() }

func (s *Server) emit(ctx context.Context, i *instance, event string, data any) {
	s.Sender.Emit(ctx, i.origin(), webhook.Event{Name: event, Data: data})
}

func (s *Server) find(name string) *instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.instances[name]
}
