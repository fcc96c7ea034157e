//go:build e2e

package fault

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"plantao/runtime/conversation"
)

const (
	customersEach = 10                      // customers of a round
	messagesEach  = 12                      // messages of a customer
	shift         = 1800 * time.Millisecond // how long a round's people and faults are at work
	handOf        = 4                       // faults of a round
)

// round is a short time of traffic with faults, and the judgement afterwards. Its customers are its own.
type round struct {
	c         *cluster
	n         int // which round of the seed
	serial    int // of this run: the same round can be played again
	seed      uint64
	plan      []fault
	customers []*customer
	desk      *desk
	people    []*agent
	operator  *agent
	hasty     *agent
	night     bool // only the AI is at work: what it does wrong no human covers up
	settler   *settler
	flow      *flowMood
	phone     *phoneMood

	fromAsked, fromReceipt int

	mu      sync.Mutex
	known   []string // ids of conversations
	seen    map[string]int
	doubles int // samples that showed two open turns in a conversation

	after aftermath
	ends  map[string]int // messages by the state they ended in
}

func (r *round) rng(stream uint64) *rand.Rand {
	return rand.New(rand.NewPCG(r.seed, uint64(r.n)<<16|stream))
}

// newRound prepares the nth round. Extra faults come on top of those the seed deals.
func newRound(c *cluster, seed uint64, n, serial int, extra []fault) *round {
	r := &round{
		c: c, n: n, serial: serial, seed: seed, plan: distinct(append(deal(seed, n, handOf), extra...)), seen: map[string]int{}, ends: map[string]int{},
		fromAsked: len(c.flow.requests(0)), fromReceipt: c.phone.count(),
	}
	r.desk = &desk{c: c, ids: r.ids, done: map[conversation.Verb]int{}}
	for i := range customersEach {
		rng := r.rng(uint64(100 + i))
		r.customers = append(r.customers, &customer{JID: jid(serial*100 + i), rng: rng, post: func(ctx context.Context, body string) int {
			return c.post(ctx, rand.IntN(replicas), body)
		}})
	}
	for i, name := range append([]string{operatorName}, colleagues...) {
		a := &agent{desk: r.desk, name: name, clients: c.as(name), rng: r.rng(uint64(200 + i))}
		r.people = append(r.people, a)
	}
	r.night = n%4 == 3
	r.operator = r.people[0]
	r.hasty = &agent{desk: r.desk, name: hasty, clients: c.as(hasty), rng: r.rng(210)}
	r.settler = &settler{r: r, who: r.operator, seen: map[string]time.Time{}, waiting: map[string]time.Time{}}
	r.flow = &flowMood{rng: r.rng(300), round: n, seen: map[string]int{}}
	r.phone = &phoneMood{rng: r.rng(301), seen: map[string]int{}, timeout: c.s.evolutionTimeout}
	return r
}

func (r *round) jids() []string {
	var list []string
	for _, u := range r.customers {
		list = append(list, u.JID)
	}
	return list
}

// ids are the conversations that are there so far.
func (r *round) ids() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.known) == len(r.customers) {
		return r.known
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	rows, err := r.c.pool.Query(ctx, "select id::text from conversation where chat_jid = any($1) order by id", r.jids())
	if err != nil {
		return r.known
	}
	if list, err := pgx.CollectRows(rows, pgx.RowTo[string]); err == nil {
		r.known = list
	}
	return r.known
}

// play lets everybody work while the faults strike, takes the faults away and waits until everything has come to its end.
func (r *round) play(ctx context.Context) ([]problem, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	r.c.flow.behave(r.flow.draw)
	r.c.phone.behave(r.phone.draw)
	shiftOf, over := context.WithTimeout(ctx, r.length())
	defer over()
	finishing, finish := context.WithTimeout(ctx, patience)
	defer finish()
	var working, faults sync.WaitGroup
	for i, u := range r.customers {
		working.Go(func() {
			u.write(shiftOf, finishing, fmt.Sprintf("r%d-%d-", r.serial, i), messagesEach, 2*r.length()/messagesEach)
		})
	}
	if !r.night {
		for _, a := range r.people {
			working.Go(func() { a.work(shiftOf, finishing, 300*time.Millisecond) })
		}
		working.Go(func() { r.hasty.interrupt(shiftOf, finishing) })
	}
	working.Go(func() { r.watch(shiftOf) })
	for i, f := range r.plan {
		faults.Go(func() { r.strike(shiftOf, f, r.rng(uint64(400+i))) })
	}
	<-shiftOf.Done()
	faults.Wait()
	if err := r.c.heal(ctx); err != nil {
		return nil, err
	}
	r.c.flow.behave(func(flowRequest) manner { return manner{Parts: 1, Way: inResponse} })
	r.c.phone.behave(func() treatment { return treatment{} })
	working.Wait()
	return r.judge(ctx)
}

// length is how long people work. A database that recovers takes most of a shift.
func (r *round) length() time.Duration {
	if slices.ContainsFunc(r.plan, func(f fault) bool { return f.name == crashName }) {
		return 2 * shift
	}
	return shift
}

func (r *round) strike(ctx context.Context, f fault, rng *rand.Rand) {
	if !conversation.Pause(ctx, time.Duration(rng.Int64N(int64(shift)/4))) {
		return
	}
	ok := f.strike(ctx, r.c, rng)
	r.mu.Lock()
	defer r.mu.Unlock()
	if ok {
		r.seen[f.name]++
	}
}

// watch samples what the index one_turn forbids, and settles what it can, as an operator at work would.
func (r *round) watch(ctx context.Context) {
	for conversation.Pause(ctx, 50*time.Millisecond) {
		var n int
		err := r.c.pool.QueryRow(ctx, `select count(*) from (
			select 1 from turn where state in ('running', 'replied', 'sending', 'ambiguous') group by conversation_id having count(*) > 1) x`).Scan(&n)
		if err != nil {
			continue // the database is down as well
		}
		r.doubles += n
		_ = r.settler.look(ctx) // again in a moment
	}
}

// judge waits for the end of everything and says what is wrong.
func (r *round) judge(ctx context.Context) ([]problem, error) {
	rest, err := r.quiesce(ctx)
	if err != nil {
		return nil, err
	}
	var problems []problem
	for _, o := range rest {
		problems = append(problems, problem{stranded, o.ID, fmt.Sprintf("%d messages wait, %d turns are open, it is %s", o.Waiting, o.Turns, o.State)})
	}
	if r.doubles > 0 {
		problems = append(problems, problem{doubled, "", fmt.Sprintf("%d samples showed two open turns of one conversation", r.doubles)})
	}
	e, err := r.collect(ctx)
	if err != nil {
		return nil, err
	}
	for _, row := range e.Inbox {
		r.ends[row.State]++
	}
	found, after := e.judge()
	r.after = after
	problems = append(problems, found...)
	for _, s := range r.c.replicas {
		if _, surprises := s.deaths(); len(surprises) > 0 {
			problems = append(problems, problem{died, "", strings.Join(surprises, "; ")})
		}
	}
	return append(problems, r.check()...), nil
}

// missed are the faults of the plan that nobody saw: they come again in the next round.
func (r *round) missed() []fault {
	return slices.DeleteFunc(slices.Clone(r.plan), func(f fault) bool { return r.seen[f.name] > 0 })
}

func (r *round) acked() int {
	n := 0
	for _, u := range r.customers {
		n += len(u.acked())
	}
	return n
}

// distinct drops faults that are there already.
func distinct(list []fault) []fault {
	var all []fault
	for _, f := range list {
		if !slices.ContainsFunc(all, func(o fault) bool { return o.name == f.name }) {
			all = append(all, f)
		}
	}
	return all
}

// check asks the router's own checker, if this router has one.
func (r *round) check() []problem {
	if !r.c.hasCheck() {
		return nil
	}
	out, err := r.c.router("check", "--json", "--grace", "10s")
	if err == nil {
		return nil
	}
	return []problem{{invariant, "", fmt.Sprintf("router check: %v\n%s", err, out)}}
}
