package simulate

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"hash"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"plantao/runtime/conversation"
	"plantao/runtime/invariant"
	"plantao/runtime/postgres"
)

//go:embed sql/*.sql
var files embed.FS

func query(name string) string {
	text, err := files.ReadFile("sql/" + name + ".sql")
	if err != nil {
		panic(fmt.Sprintf("read embedded statement %q: %v", name, err))
	}
	return string(text)
}

var (
	passTimeSQL  = query("pass_time")
	nextLookSQL  = query("next_look")
	storedSQL    = query("stored")
	failoverSQL  = query("failover")
	unsettledSQL = query("unsettled")
	unreachedSQL = query("unreached")
	doubtfulSQL  = query("doubtful")
)

// The tenants and their channels. One channel has no flow: its conversations wait for a human.
var (
	tenants  = []string{"default", "other"}
	channels = []conversation.Channel{
		{Name: "sales", Tenant: "default", Flow: "f"},
		{Name: "support", Tenant: "default", Flow: "g"},
		{Name: "desk", Tenant: "default"},
		{Name: "elsewhere", Tenant: "other", Flow: "f"},
	}
)

// shownActions is how many actions a violation comes with.
const shownActions = 30

// world is everything in one round.
type world struct {
	ctx      context.Context
	seed     uint64
	rng      *rand.Rand
	key      conversation.TurnKey
	scratch  *scratch
	sql      *pgx.Conn // what happens to the database beside the store: time and failovers
	checker  *postgres.Checker
	plant    func(postgres.Config, *postgres.Store) conversation.Store
	store    conversation.Store // the database, going on with what nobody waits for
	closing  func()
	replicas []*replica
	phone    *phone
	flow     *flow
	people   *people
	oracle   *oracle

	step    int
	hour    int      // of the simulation
	storm   int      // step until which the database is in trouble
	rough   bool     // it always is
	pending []func() // statements whose callers gave up on them
	calm    bool     // the round runs out: no more faults
	checks  int
	actions []action
	weight  int // of all actions
	did     map[string]int
	faults  map[string]int
	last    []string
	log     hash.Hash
	bad     *Violation
	err     error // what the simulation itself could not do
}

func newWorld(ctx context.Context, s *scratch, seed uint64, c Config) (*world, error) {
	w := &world{
		ctx: ctx, seed: seed, rng: rand.New(rand.NewPCG(seed, 0x706c616e7461f0)), scratch: s, plant: c.plant,
		phone: newPhone(), flow: &flow{}, people: &people{views: map[conversation.ID]conversation.Conversation{}},
		did: map[string]int{}, faults: map[string]int{}, log: sha256.New(),
	}
	if w.plant == nil {
		w.plant = func(_ postgres.Config, s *postgres.Store) conversation.Store { return s }
	}
	w.actions, w.weight = tilted(c.tilt)
	w.rough = c.rough
	w.oracle = newOracle(w.violate, func() int { return w.step })
	var err error
	if w.key, err = conversation.NewTurnKey(make([]byte, conversation.MinTurnKeyBytes)); err != nil {
		return nil, err
	}
	if w.sql, err = dial(ctx, s.Config); err != nil {
		return nil, err
	}
	if w.checker, err = postgres.OpenChecker(ctx, s.Config); err != nil {
		return nil, err
	}
	for i := range c.Replicas {
		w.replicas = append(w.replicas, &replica{name: fmt.Sprintf("router-%d", i+1), w: w})
	}
	return w, w.open()
}

// open makes the channels and boots the replicas.
func (w *world) open() error {
	store, err := postgres.Open(w.scratch.Config)
	if err != nil {
		return err
	}
	w.store, w.closing = w.plant(w.scratch.Config, store), store.Close
	for _, c := range channels {
		_, err := store.UpsertChannel(w.ctx, postgres.ChannelRow{Channel: c, Integration: "WHATSAPP-BAILEYS"})
		if err != nil {
			return err
		}
	}
	for _, r := range w.replicas {
		if err := r.start(); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) close() {
	for _, r := range w.replicas {
		r.close()
	}
	if w.closing != nil {
		w.closing()
	}
	if w.checker != nil {
		w.checker.Close()
	}
	if w.sql != nil {
		_ = w.sql.Close(context.WithoutCancel(w.ctx))
	}
}

// draw is a number below n.
func (w *world) draw(n int) int { return w.rng.IntN(n) }

func (w *world) uuid() string {
	a, b := w.rng.Uint64(), w.rng.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", a>>32, a>>16&0xffff, a&0xfff, b>>48&0xfff, b&0xffffffffffff)
}

// fault counts one.
func (w *world) fault(kind string) { w.faults[kind]++ }

// ended says that there is no going on.
func (w *world) ended() bool { return w.bad != nil || w.err != nil || w.ctx.Err() != nil }

// violate notes the first violation.
func (w *world) violate(id invariant.ID, c conversation.ID, format string, args ...any) {
	if w.bad == nil {
		w.bad = &Violation{Invariant: id, Conversation: int64(c), What: fmt.Sprintf(format, args...), Seed: w.seed, Step: w.step}
	}
}

// expect wants an error to be one of the domain's.
func (w *world) expect(err error) {
	if refusal(err) == nil && w.ctx.Err() == nil && w.bad == nil {
		w.bad = &Violation{What: fmt.Sprintf("an error no operation should give: %v", err), Seed: w.seed, Step: w.step}
	}
}

// broken notes that the simulation itself could not go on, or an error that only it could cause.
func (w *world) broken(err error) {
	if err != nil && w.err == nil {
		w.err = err
	}
}

func (w *world) exec(sql string, args ...any) {
	if _, err := w.sql.Exec(w.ctx, sql, args...); err != nil {
		w.broken(fmt.Errorf("change the database: %w", err))
	}
}

// note writes an action down.
func (w *world) note(what string) {
	line := fmt.Sprintf("%d: %s", w.step, what)
	w.last = append(w.last, line)
	if len(w.last) > shownActions {
		w.last = w.last[1:]
	}
	_, _ = fmt.Fprintln(w.log, line)
}

// awake is some replica that can answer; nil if none can.
func (w *world) awake() *replica {
	first := w.draw(len(w.replicas))
	for i := range w.replicas {
		r := w.replicas[(first+i)%len(w.replicas)]
		if r.up && r.frozen <= w.step {
			return r
		}
	}
	return nil
}

// check asserts the invariants on the rows, and that everything that was acknowledged is among them.
func (w *world) check(grace time.Duration) {
	if w.ended() {
		return
	}
	w.checks++
	report, err := w.checker.Check(w.ctx, postgres.CheckOptions{Grace: &grace, Skip: []invariant.ID{invariant.Ryw}})
	if err != nil {
		w.broken(err)
		return
	}
	for _, f := range report.Violated() {
		w.violate(f.ID, conversation.ID(f.Found[0].Conversation), "%s", f.Found[0].What)
	}
	rows, unreached := map[event]row{}, map[partKey]string{}
	var (
		e event
		r row
		p partKey
		s string
	)
	w.each(storedSQL, []any{&e.channel, &e.kind, &e.id, &r.state, &r.conversation}, func() { rows[e] = r })
	w.each(unreachedSQL, []any{&p.conversation, &p.no, &p.part, &s}, func() { unreached[p] = s })
	if !w.ended() {
		w.oracle.compare(rows, unreached)
	}
}

// each reads rows into the same places, one after the other.
func (w *world) each(sql string, into []any, do func()) {
	rows, err := w.sql.Query(w.ctx, sql)
	if err == nil {
		_, err = pgx.ForEachRow(rows, into, func() error {
			do()
			return nil
		})
	}
	w.broken(err)
}

func (w *world) round() Round {
	if w.bad != nil {
		w.bad.Last = w.last
	}
	return Round{
		Seed: w.seed, Steps: w.step, Conversations: len(w.oracle.order), Messages: len(w.oracle.acked), Parts: len(w.phone.received),
		Checks: w.checks, Actions: w.did, Faults: w.faults, Log: hex.EncodeToString(w.log.Sum(nil)), Violation: w.bad,
	}
}
