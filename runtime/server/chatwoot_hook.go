package server

import (
	"context"
	"net/http"
	"time"

	"plantao/runtime/chatwoot"
)

// chatwootTimeout bounds the commit of a webhook of Chatwoot's, which waits 5 s for the answer.
const chatwootTimeout = 4 * time.Second

// DeskHooks is what Chatwoot's hooks hand over to: desk.Hooks.
type DeskHooks interface {
	Known(ctx context.Context, channel string) error
	Receive(ctx context.Context, channel string, bot bool, head chatwoot.Signed, body []byte) (duplicate bool, err error)
}

// chatwootHook takes a webhook of an inbox's, or of its bot's. The signature is over the body, so the body is read first: within its
// own bounds, and only of a channel that has a desk and with a head that makes sense.
func (s *Server) chatwootHook(bot bool) http.HandlerFunc {
	return s.hook(func(w http.ResponseWriter, r *http.Request) (taken, error) {
		ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
		defer cancel()
		if err := s.chatwoot.check(r, chatwoot.HeaderSignature, chatwoot.HeaderTimestamp, chatwoot.HeaderDelivery); err != nil {
			return taken{}, err
		}
		head := chatwoot.Signed{
			Delivery: r.Header.Get(chatwoot.HeaderDelivery), Timestamp: r.Header.Get(chatwoot.HeaderTimestamp),
			Signature: r.Header.Get(chatwoot.HeaderSignature),
		}
		if err := head.CheckHead(time.Now()); err != nil {
			return taken{}, err
		}
		channel := r.PathValue("channel")
		if err := s.c.Desk.Known(ctx, channel); err != nil {
			return taken{}, err
		}
		body, release, err := s.chatwoot.read(ctx, w, r)
		if err != nil {
			return taken{channel: channel}, err
		}
		defer release()
		ctx, cancel = context.WithTimeout(context.WithoutCancel(r.Context()), chatwootTimeout)
		defer cancel()
		duplicate, err := s.c.Desk.Receive(ctx, channel, bot, head, body)
		return taken{channel: channel, duplicate: duplicate}, err
	})
}

// forBot answers 500 where 503 or 404 would be meant. Of all failures Chatwoot repeats only 429 and 500, and only to bots: three tries
// 3 s apart, then it opens the conversation.
func forBot(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(botAnswer{w}, r) })
}

type botAnswer struct{ http.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (w botAnswer) WriteHeader(status int) {
	if status == http.StatusServiceUnavailable || status == http.StatusNotFound {
		status = http.StatusInternalServerError
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (w botAnswer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
