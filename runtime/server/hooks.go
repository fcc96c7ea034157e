package server

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	"plantao/runtime/api"
	"plantao/runtime/conversation"
)

const (
	// bodiesAtOnce is how many bodies of the largest size one kind of hook may hold; smaller ones are as many more.
	bodiesAtOnce = 2
	// freeBytes of a body are read without asking: what nearly every webhook has, and what a sender must have sent before
	// room is kept for the rest. Whoever only announces a large body holds nothing.
	freeBytes = 16 << 10
	// bodyTimeout bounds the time a body takes: of that a slow sender holds its room from others.
	bodyTimeout = 10 * time.Second
	// drainTimeout is how long a refused sender may go on sending, so that it gets to read why. Its body is thrown away.
	drainTimeout = 250 * time.Millisecond
)

// intake is what one kind of hook lets in: how large a body may be, and how many bytes of bodies are held at once. Each hook
// has its own, so that none can keep another's senders waiting.
type intake struct {
	most   int64
	bodies *semaphore.Weighted
}

func newIntake(mostBytes int64) *intake {
	return &intake{most: mostBytes, bodies: semaphore.NewWeighted(bodiesAtOnce * mostBytes)}
}

// check refuses what the request's head is enough to refuse, before a byte of the body is read or asked for: a header of those
// named that is there twice, a body that is encoded (and might grow), sent in chunks or announced too large, or no JSON. Nobody who
// calls sends chunks, and the server cannot tell chunks from chunks beside a Content-Length, which hide one request in another.
// Errors: conversation.ErrAmbiguousHeader, ErrEncoded, ErrNoLength, ErrTooLarge, ErrNotJSON.
func (in *intake) check(r *http.Request, once ...string) error {
	for _, names := range [][]string{once, {"Content-Type", "Content-Encoding"}} {
		for _, name := range names {
			if len(r.Header.Values(name)) > 1 {
				return fmt.Errorf("header %s: %w", name, conversation.ErrAmbiguousHeader)
			}
		}
	}
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return conversation.ErrEncoded
	}
	switch {
	case r.ContentLength < 0:
		return conversation.ErrNoLength
	case r.ContentLength > in.most:
		return conversation.ErrTooLarge
	}
	kind := r.Header.Get("Content-Type")
	if kind == "application/json" {
		return nil
	}
	if kind, _, err := mime.ParseMediaType(kind); err != nil || kind != "application/json" {
		return conversation.ErrNotJSON
	}
	return nil
}

// read returns the body of a checked request and what gives its room back, which is to be called when the body is done with. Room
// for a large one is kept once its beginning has come; ctx bounds the wait for it. Errors: conversation.ErrUnavailable.
func (in *intake) read(ctx context.Context, w http.ResponseWriter, r *http.Request) (body []byte, release func(), err error) {
	release = func() {}
	body = make([]byte, min(r.ContentLength, freeBytes))
	// The server's own deadline stands if this one cannot be set.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
	_, err = io.ReadFull(r.Body, body)
	if rest := r.ContentLength - int64(len(body)); err == nil && rest > 0 {
		// All of it at once: those who had a part each and waited for the rest would wait for each other.
		if err = in.bodies.Acquire(ctx, rest); err != nil {
			return nil, nil, fmt.Errorf("wait for other webhooks' bodies: %w: %w", conversation.ErrUnavailable, err)
		}
		release = func() { in.bodies.Release(rest) }
		body = append(make([]byte, 0, r.ContentLength), body...)[:r.ContentLength]
		_, err = io.ReadFull(r.Body, body[freeBytes:])
	}
	if err != nil {
		release()
		// 503 and not 400: the sender broke off or was slow, and Evolution never repeats what was answered with 400.
		return nil, nil, fmt.Errorf("read body: %w: %w", conversation.ErrUnavailable, err)
	}
	return body, release, nil
}

// taken is what became of a webhook.
type taken struct {
	channel   string // known to exist, or empty: metrics must not grow with whatever paths are tried
	duplicate bool
}

// hook answers a kind of webhook. take is called with posted requests once the store is known to be the right one; its answer
// or error is the sender's.
func (s *Server) hook(take func(w http.ResponseWriter, r *http.Request) (taken, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		var (
			done   taken
			err    error
			status = http.StatusOK
		)
		switch {
		case r.Method != http.MethodPost:
			w.Header().Set("Allow", http.MethodPost)
			status = http.StatusMethodNotAllowed
			dismiss(w)
			write(w, status, api.Error{Code: api.CodeMethod, Message: "webhooks are posted"})
		case s.phase.Load() == starting:
			err = fmt.Errorf("starting: %w", conversation.ErrUnavailable)
		default:
			done, err = take(w, r)
		}
		switch {
		case err != nil:
			status = s.refuse(w, r, err)
		case status == http.StatusOK:
			writeStored(w, done.duplicate)
		}
		s.c.Metrics.hook(done.channel, status, time.Since(start))
	}
}

// The answers to a webhook that is stored, as write would write them.
var (
	storedNow    = []byte(`{"duplicate":false,"stored":true}` + "\n")
	storedBefore = []byte(`{"duplicate":true,"stored":true}` + "\n")
)

func writeStored(w http.ResponseWriter, duplicate bool) {
	answer := storedNow
	if duplicate {
		answer = storedBefore
	}
	h := w.Header()
	h["Content-Type"], h["Cache-Control"] = jsonType, noStore
	_, _ = w.Write(answer) // a sender that hung up sends again
}

var jsonType, noStore = []string{"application/json"}, []string{"no-store"}

// dismiss ends the connection with the answer. The server would else wait for the rest of the body before it answers, for as long
// as the sender likes.
func dismiss(w http.ResponseWriter) {
	w.Header().Set("Connection", "close")
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(drainTimeout))
}

func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) int {
	status, body := api.FromError(err)
	level := slog.LevelWarn
	if status >= 500 {
		level = slog.LevelError
	}
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfterSeconds))
	}
	log := s.c.Logger.With("hook", r.Pattern, "channel", r.PathValue("channel"), "status", status, "err", err)
	if status == http.StatusUnauthorized || status == http.StatusNotFound {
		// Anybody can bring this about as often as they like, and a log must not be filled from outside.
		logged := false
		s.strangers.Do(func() {
			log.Log(r.Context(), level, "webhook refused", "others_since_the_last", s.unlogged.Swap(0))
			logged = true
		})
		if !logged {
			s.unlogged.Add(1)
		}
	} else {
		log.Log(r.Context(), level, "webhook refused")
	}
	dismiss(w)
	write(w, status, body)
	return status
}

// evolutionHook takes a webhook of Evolution's. Nothing of an unauthenticated body is read.
func (s *Server) evolutionHook(w http.ResponseWriter, r *http.Request) (taken, error) {
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	proof := conversation.HookProof{Secret: r.Header.Get(s.c.SecretHeader)}
	if scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Bearer") {
		proof.Token = token
	}
	ch, err := s.c.Ingest.Authorize(ctx, r.PathValue("channel"), proof)
	if err != nil {
		return taken{}, err
	}
	known(ctx)
	if err := s.evolution.check(r, s.c.SecretHeader, "Authorization"); err != nil {
		return taken{channel: ch.Name}, err
	}
	body, release, err := s.evolution.read(ctx, w, r)
	if err != nil {
		return taken{channel: ch.Name}, err
	}
	defer release()
	// A commit is not broken off because the sender hung up: it would repeat what may be stored already.
	ctx, end := context.WithTimeout(context.WithoutCancel(r.Context()), storeTimeout)
	defer end()
	receipt, err := s.c.Ingest.Receive(ctx, ch, body)
	return taken{channel: ch.Name, duplicate: receipt.Duplicate}, err
}
