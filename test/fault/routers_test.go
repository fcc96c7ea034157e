package fault

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/google/uuid"

	"plantao/runtime/api"
	"plantao/runtime/client"
	"plantao/runtime/conversation"
)

// routers is the real thing as clients see it: every call goes to any of the replicas.
type routers struct {
	c *cluster

	mu    sync.Mutex
	turns map[string]asked // newest by conversation
	from  int              // requests of the flow that were looked at
}

func (s *routers) client(actor string) *client.Client {
	return s.c.as(actor)[rand.IntN(replicas)]
}

// read implements service.
func (s *routers) read(ctx context.Context, id string) (answer, bool) {
	now, err := s.client(actors[rand.IntN(len(actors))]).Get(ctx, id)
	return answer{Standing: seen(now)}, err == nil
}

// seen is a conversation as a client is told of it.
func seen(c api.Conversation) standing {
	s := standing{State: c.State, Owner: c.Owner, Epoch: c.Epoch, Version: c.Version, HeldOwner: c.Held}
	if c.Offer != nil {
		s.Offer, s.OfferTo, s.OfferElse = c.Offer.ID, c.Offer.To, c.Offer.Else
	}
	return s
}

// tries is how often a verb is repeated whose outcome is unknown; after that it stays unknown.
const tries = 12

// do implements service.
func (s *routers) do(ctx context.Context, q request) (answer, bool) {
	v := client.Verb{Verb: conversation.Verb(q.Kind), ID: q.Conversation, IfEpoch: q.Epoch, Key: uuid.NewString(),
		VerbRequest: api.VerbRequest{To: q.To, Else: q.Else, Offer: q.Offer}}
	if v.Verb == conversation.VerbOffer {
		v.WaitSeconds = 3600 // nothing may expire by itself here
	}
	for try := 1; try <= tries; try++ {
		result, err := s.client(q.Actor).Do(ctx, v)
		if err == nil {
			return answer{Standing: seen(result.Conversation)}, false
		}
		if a, ok := refusal(err); ok {
			return a, try > 1
		}
		conversation.Pause(ctx, conversation.Backoff(try, 10*time.Millisecond, 200*time.Millisecond))
	}
	return answer{Unknown: true}, true
}

// refusal reads an answer that says no; false if the error says nothing about what was done.
func refusal(err error) (answer, bool) {
	var refused *client.Error
	if unknown(err) || !errors.As(err, &refused) {
		return answer{}, false
	}
	a := answer{Code: refused.Body.Code, Partial: true}
	if now := refused.Body.Now; now != nil {
		a.Standing = standing{State: now.State, Owner: now.Owner, Epoch: now.Epoch}
	}
	return a, true
}

// check implements service.
func (s *routers) check(ctx context.Context, id string) (request, answer, bool) {
	s.mu.Lock()
	for _, q := range s.c.flow.requests(s.from) {
		s.turns[q.Turn.Conversation] = q
		s.from++
	}
	turn, ok := s.turns[id]
	s.mu.Unlock()
	if !ok {
		return request{}, answer{}, false
	}
	q := request{Kind: checkTurn, Conversation: id, Epoch: turn.Turn.Epoch}
	_, err := s.c.bots[rand.IntN(replicas)].Check(ctx, turn.turn())
	if err == nil {
		return q, answer{}, true
	}
	a, ok := refusal(err)
	// Of a token that is not this turn's any more (another process has it) nothing follows.
	return q, a, ok && a.Code != "bad_token"
}

// sends adds the parts that reached customers: each was let out between the request to the flow and its arrival.
func (s *routers) sends(h *history, fromAsked, fromReceipt int) {
	began := map[turnRef]asked{}
	for _, q := range s.c.flow.requests(fromAsked) {
		t := turnRef{q.Turn.Conversation, q.Turn.No}
		if _, ok := began[t]; !ok {
			began[t] = q
		}
	}
	for _, r := range s.c.phone.receipts(fromReceipt) {
		if said, err := parseSaid(r.Text); err == nil {
			if q, ok := began[turnRef{said.Conversation, said.No}]; ok {
				h.add(0, request{Kind: sentPart, Conversation: said.Conversation, Epoch: said.Epoch},
					int64(q.At.Sub(h.start)), answer{}, int64(r.At.Sub(h.start)))
			}
		}
	}
}
