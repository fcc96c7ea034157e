//go:build e2e

package fault

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/google/uuid"

	"plantao/runtime/api"
	"plantao/runtime/client"
	"plantao/runtime/conversation"
)

// desk is where the humans and the operator of a round sit.
type desk struct {
	c   *cluster
	ids func() []string // conversations they know of

	mu    sync.Mutex
	takes []take
	open  int // verbs whose outcome was never learnt
	done  map[conversation.Verb]int
}

// agent is one of them.
type agent struct {
	desk    *desk
	name    string
	clients []*client.Client
	rng     *rand.Rand
	mine    string // the conversation it got last
}

// wish is what an agent wants to do next.
type wish struct {
	verb  conversation.Verb
	epoch int64
	api.VerbRequest
}

// work does one thing after the other until shift ends. What is begun is brought to an end, at the latest when ctx ends.
func (a *agent) work(shift, ctx context.Context, pause time.Duration) {
	for conversation.Pause(shift, time.Duration(a.rng.Int64N(int64(pause)))) {
		ids := a.desk.ids()
		if len(ids) == 0 {
			continue
		}
		id := ids[a.rng.IntN(len(ids))]
		if a.mine != "" && a.rng.IntN(3) > 0 { // so that the AI has it again soon
			id = a.mine
		}
		now, err := a.any().Get(ctx, id)
		if err != nil {
			continue
		}
		w := a.choose(now)
		if w.verb == "" {
			continue
		}
		done, err := a.do(ctx, now.ID, w)
		a.mine = ""
		if err == nil && done.Conversation.Owner == a.name { // a refusal is an answer as well
			a.mine = id
		}
	}
}

// interrupt takes a conversation just after the customer has read something in it, when the next part is about to be let out,
// and gives it back.
func (a *agent) interrupt(shift, ctx context.Context) {
	for {
		r, ok := a.desk.c.phone.next(shift, a.desk.c.phone.count())
		if !ok || !conversation.Pause(shift, time.Duration(a.rng.Int64N(int64(30*time.Millisecond)))) {
			return
		}
		s, err := parseSaid(r.Text)
		if err != nil || a.rng.IntN(3) > 0 {
			continue
		}
		done, err := a.do(ctx, s.Conversation, wish{verb: conversation.VerbTake, epoch: conversation.AnyEpoch})
		if err == nil {
			_, _ = a.do(ctx, s.Conversation, wish{verb: conversation.VerbHandback, epoch: done.Conversation.Epoch}) // or somebody else was faster
		}
	}
}

func (a *agent) any() *client.Client { return a.clients[a.rng.IntN(len(a.clients))] }

// choose picks something that makes sense, most of the time.
func (a *agent) choose(now api.Conversation) wish {
	w := wish{epoch: now.Epoch}
	if a.name == operatorName {
		return a.operate(now, w)
	}
	other := colleagues[a.rng.IntN(len(colleagues))]
	switch dice := a.rng.IntN(10); {
	case now.Owner == a.name && now.State == "HUMAN_ACTIVE":
		w.verb = []conversation.Verb{"handback", "handback", "handback", "handback", "handback", "pass", "offer", "release", "close", "handback"}[dice]
		switch w.verb {
		case "pass":
			w.To = other
		case "offer":
			w.To, w.WaitSeconds, w.Else = other, 0.05+a.rng.Float64(), "queue"
		}
	case now.Offer != nil && now.Offer.To == a.name:
		w.verb, w.Offer = "accept", now.Offer.ID
		if dice < 3 {
			w.verb = "decline"
		}
	case now.State == "AI_ACTIVE" || now.State == "HUMAN_QUEUED" || dice < 2:
		w.verb = "take"
		if dice%2 == 0 {
			w.epoch = conversation.AnyEpoch
		}
		if dice < 5 {
			w.WaitSeconds = 0.1 + a.rng.Float64()/2
		}
	}
	return w
}

func (a *agent) operate(now api.Conversation, w wish) wish {
	human := colleagues[a.rng.IntN(len(colleagues))]
	switch dice := a.rng.IntN(10); {
	case now.State == "SUSPENDED":
		w.verb = "resume"
	case now.State == "CLOSED":
		w.verb = "reopen"
	case now.State == "HUMAN_QUEUED":
		w.verb = "handback"
	case now.State == "AI_ACTIVE":
		w.verb = []conversation.Verb{"offer", "offer", "offer", "hold", "hold", "pass", "release", "request", "", ""}[dice]
		switch w.verb {
		case "offer":
			w.To, w.WaitSeconds, w.Else = human, 0.1+a.rng.Float64(), "return"
		case "pass":
			w.To = human
		case "request":
			w.WaitSeconds, w.Else = 0.1+a.rng.Float64()/2, "queue"
		}
	}
	return w
}

// do does a verb at any replica, and again at another with the same key as long as the outcome is unknown.
func (a *agent) do(ctx context.Context, id string, w wish) (api.VerbResult, error) {
	v := client.Verb{Verb: w.verb, ID: id, IfEpoch: w.epoch, Key: uuid.NewString(), VerbRequest: w.VerbRequest}
	for try := 1; ; try++ {
		result, err := a.any().Do(ctx, v)
		at := time.Now()
		switch {
		case err == nil:
			a.desk.did(take{Conversation: id, Epoch: result.Conversation.Epoch, Seq: result.Seq, At: at}, w.verb)
			return result, nil
		case !unknown(err):
			return result, err
		case !conversation.Pause(ctx, conversation.Backoff(try, 20*time.Millisecond, 300*time.Millisecond)):
			a.desk.mu.Lock()
			a.desk.open++
			a.desk.mu.Unlock()
			return result, fmt.Errorf("%s: outcome never learnt: %w", w.verb, err)
		}
	}
}

func (d *desk) did(t take, verb conversation.Verb) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done[verb]++
	if verb == conversation.VerbTake {
		d.takes = append(d.takes, t)
	}
}

// insist does a verb that nothing but a move of somebody else can refuse, on the conversation as it stands.
func (a *agent) insist(ctx context.Context, id string, verb func(api.Conversation) wish) error {
	for conversation.Pause(ctx, 0) {
		now, err := a.any().Get(ctx, id)
		if err != nil {
			conversation.Pause(ctx, 20*time.Millisecond)
			continue
		}
		w := verb(now)
		if w.verb == "" {
			return nil
		}
		w.epoch = now.Epoch
		_, err = a.do(ctx, id, w)
		if err == nil || !errors.Is(err, conversation.ErrStaleEpoch) && !errors.Is(err, conversation.ErrWrongState) {
			return err
		}
	}
	return ctx.Err()
}

const operatorName = "operator:otto"

// hasty takes conversations at the worst moment.
const hasty = "human:dora"

var colleagues = []string{"human:ana", "human:bia", "human:caio"}
