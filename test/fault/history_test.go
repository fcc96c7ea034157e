package fault

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"plantao/runtime/conversation"
)

// service is what clients speak to: the routers, or something that is broken on purpose.
type service interface {
	read(ctx context.Context, id string) (answer, bool)
	// do carries a verb out, however often it has to be repeated. Stray says that a refused request may have been carried out all
	// the same: an earlier try of it was never answered.
	do(ctx context.Context, q request) (a answer, stray bool)
	// check asks for a turn of the conversation; false if there is none to ask for.
	check(ctx context.Context, id string) (request, answer, bool)
}

// history is what clients saw, with the times at which they asked and were told.
type history struct {
	start time.Time
	mu    sync.Mutex
	ops   []porcupine.Operation
}

func newHistory() *history { return &history{start: time.Now()} }

// now is the time on the clock all clients share.
func (h *history) now() int64 { return int64(time.Since(h.start)) }

func (h *history) add(client int, q request, call int64, a answer, until int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: q, Call: call, Output: a, Return: until})
}

// never is the return of an operation nobody knows the end of.
const never = math.MaxInt64

// load is how a history is made.
type load struct {
	service service
	ids     []string
	clients int
	ops     int // of each client
	pause   time.Duration
	seed    uint64
}

// actors are the agents of the clients: humans act in their own name, operators in anybody's.
var actors = []string{"human:ana", "human:bia", "human:caio", "operator:otto", "operator:olga"}

// run lets all clients work and returns what they saw.
func (l load) run(ctx context.Context) *history {
	h := newHistory()
	for _, id := range l.ids { // before anybody changes anything: what the model begins with
		for a, ok := l.service.read(ctx, id); ; a, ok = l.service.read(ctx, id) {
			if ok {
				h.add(0, request{Kind: read, Conversation: id}, h.now(), a, h.now())
				break
			}
			if !conversation.Pause(ctx, 20*time.Millisecond) {
				return h
			}
		}
	}
	var all sync.WaitGroup
	for i := range l.clients {
		p := &player{
			load: l, history: h, n: i, actor: actors[i%len(actors)], rng: rand.New(rand.NewPCG(l.seed, uint64(i))), last: map[string]standing{},
		}
		all.Go(func() { p.play(ctx) })
	}
	all.Wait()
	return h
}

// player is one client.
type player struct {
	load
	history *history
	n       int
	actor   string
	rng     *rand.Rand
	last    map[string]standing // what it knows, which may be old
}

func (p *player) play(ctx context.Context) {
	for range p.ops {
		if !conversation.Pause(ctx, time.Duration(p.rng.Int64N(int64(p.pause)))) {
			return
		}
		id := p.ids[p.rng.IntN(len(p.ids))]
		switch dice := p.rng.IntN(10); {
		case dice < 2 || p.last[id] == standing{}:
			p.read(ctx, id)
		case dice < 4:
			p.check(ctx, id)
		case dice < 7: // as people do; the rest acts on what it knew before
			p.read(ctx, id)
			fallthrough
		default:
			p.verb(ctx, p.choose(id))
		}
	}
}

func (p *player) read(ctx context.Context, id string) {
	call := p.history.now()
	a, ok := p.service.read(ctx, id)
	if !ok {
		return // a read that failed says nothing
	}
	p.history.add(p.n, request{Kind: read, Conversation: id}, call, a, p.history.now())
	p.last[id] = a.Standing
}

func (p *player) check(ctx context.Context, id string) {
	call := p.history.now()
	if q, a, ok := p.service.check(ctx, id); ok {
		p.history.add(p.n, q, call, a, p.history.now())
	}
}

func (p *player) verb(ctx context.Context, q request) {
	call := p.history.now()
	a, stray := p.service.do(ctx, q)
	until := p.history.now()
	if a.Unknown {
		p.history.add(p.n, q, call, a, never)
		return
	}
	p.history.add(p.n, q, call, a, until)
	if stray && a.Code != "" {
		p.history.add(p.n, q, call, answer{Unknown: true}, never)
	}
	if a.Standing != (standing{}) {
		p.last[q.Conversation] = a.Standing
	}
}

// choose picks what fits what the client knows, and sometimes something else.
func (p *player) choose(id string) request {
	now := p.last[id]
	q := request{Conversation: id, Actor: p.actor, Epoch: now.Epoch}
	verbs := map[string][]conversation.Verb{
		"AI_ACTIVE": {"take", "offer", "offer", "offer", "pass", "release", "hold", "close"}, "ROUTING": {"take", "hold"}, "CLOSED": {"take", "hold"},
		"HUMAN_ACTIVE": {"handback", "handback", "handback", "pass", "offer", "release", "close", "hold"}, "OFFERED": {"accept", "accept", "accept", "decline", "offer", "pass"},
		"HUMAN_QUEUED": {"take", "handback", "handback", "offer"}, "SUSPENDED": {"resume"},
	}[now.State]
	if len(verbs) == 0 || p.rng.IntN(8) == 0 {
		verbs = []conversation.Verb{"take", "pass", "offer", "accept", "decline", "handback", "release", "hold", "resume", "close"}
	}
	verb := verbs[p.rng.IntN(len(verbs))]
	q.Kind = string(verb)
	human := actors[p.rng.IntN(3)]
	switch verb {
	case conversation.VerbTake:
		if q.trusted() {
			q.To = human
		}
		if p.rng.IntN(3) == 0 {
			q.Epoch = conversation.AnyEpoch
		}
	case conversation.VerbPass:
		q.To = []string{human, human, "queue"}[p.rng.IntN(3)]
	case conversation.VerbOffer:
		q.To, q.Else = human, []string{"return", "queue"}[p.rng.IntN(2)]
	case conversation.VerbAccept, conversation.VerbDecline:
		q.Offer = max(1, now.Offer)
	}
	return q
}

// count adds up what was asked and told.
func (h *history) count(told map[string]int) {
	for _, op := range h.ops {
		what := op.Input.(request).Kind
		switch a := op.Output.(answer); {
		case a.Unknown:
			what += ": unknown"
		case a.Code != "":
			what += ": " + a.Code
		}
		told[what]++
	}
}

// verdict is what porcupine says of a history.
type verdict struct {
	result porcupine.CheckResult
	took   time.Duration
	info   porcupine.LinearizationInfo
	model  porcupine.Model
}

// verify checks a history.
func (h *history) verify() verdict {
	h.mu.Lock()
	defer h.mu.Unlock()
	start := time.Now()
	result, info := porcupine.CheckOperationsVerbose(model, h.ops, 20*time.Second)
	return verdict{result: result, took: time.Since(start), info: info, model: model}
}

// picture writes the history as a page for a browser and says where.
func (v verdict) picture(t testing.TB) string {
	f, err := os.CreateTemp("", "plantao-history-*.html")
	if err == nil {
		defer f.Close()
		err = porcupine.Visualize(v.model, v.info, f)
	}
	if err != nil {
		return fmt.Sprintf("not drawn: %v", err)
	}
	t.Helper()
	return f.Name()
}
