package dispatch

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
	"plantao/runtime/invariant"
	"plantao/runtime/postgres"
	"plantao/runtime/postgres/postgrestest"
	"plantao/runtime/routing"
)

// moodyFlow answers nothing, or refuses.
type moodyFlow struct{ asked atomic.Int64 }

func (f *moodyFlow) Ask(context.Context, conversation.Turn) (conversation.Answer, error) {
	if f.asked.Add(1)%2 == 0 {
		return conversation.Answer{}, &conversation.FlowError{Status: 422, Err: errors.New("refused")}
	}
	return conversation.Answer{}, nil
}

// wire is a gate before a phone that takes everything.
type wire struct {
	store   *postgres.Store
	process conversation.Process
}

func (g wire) Send(ctx context.Context, t conversation.Turn) conversation.Outcome {
	parts, err := g.store.QueuedParts(ctx, t.TurnRef)
	if err != nil {
		return conversation.OutcomeLost
	}
	for _, queued := range parts {
		p := conversation.PartRef{TurnRef: t.TurnRef, Part: queued.No}
		if ok, err := g.store.Pass(ctx, p, g.process, time.Minute); err != nil || !ok {
			return conversation.OutcomeLost
		}
		if _, err := g.store.Sent(ctx, p, conversation.Delivery{MessageID: uuid.NewString()}); err != nil {
			return conversation.OutcomeLost
		}
	}
	return conversation.OutcomeDone
}

const moodyRules = `teams:
  t: {reserve: 1s, strategy: round_robin}
  u: {reserve: 1s}
agents:
  h1@x.example: {capacity: 0}
  h2@x.example: {capacity: 1, skills: [a]}
  h3@x.example: {capacity: 2}
  h4@x.example: {skills: [a]}
  ai:f: {capacity: 3}
rules:
  - {name: a, when: 'message.text == "a"', to: [{ai: f, attempts: 2}, {team: t}]}
  - {name: b, when: 'message.text == "b"', to: [{last: 1h}, {team: u, for: 2s}, {queue: q, for: 1s}, {ai: f}]}
  - {name: c, when: 'message.text == "c"', to: [{team: t, skills: [a], for: 3s, say: "{position}"}, {team: u}, {say: Amanhã.}]}
  - {name: d, when: 'message.text == "d"', to: {queue: ""}}
`

// TestPlansUnderRandomSchedules: two replicas, and people who accept, decline, take, hand back, close, come and go. No commit ever shows
// anybody with more than their capacity, and in the end no conversation is without owner, timer or reason.
func TestPlansUnderRandomSchedules(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
		seed = n
	}
	t.Logf("SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	db := postgrestest.New(t)
	w := &crowd{T: t, a: db.Store(t), random: random, conn: db.Conn(t)}
	w.begin()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var all sync.WaitGroup
	for i, s := range []*postgres.Store{w.a, db.Store(t)} {
		d := w.replica(s, fmt.Sprint("router-", i))
		all.Go(func() { // it looks as fast as it can
			for ctx.Err() == nil {
				if err := d.look(ctx, true); err != nil && ctx.Err() == nil {
					t.Errorf("look: %v", err)
				}
			}
			d.drain()
		})
	}
	over := watch(ctx, &all, db.Conn(t))
	for range 400 {
		w.step()
	}
	stop()
	all.Wait()
	looks, found := over()
	require.Empty(t, found, "nobody has more than their capacity at any commit")
	require.Greater(t, looks, 100, "and somebody looked")

	w.settle()
	grace := time.Second
	report, err := postgres.Check(t.Context(), postgres.Config{URL: db.URL, AppName: "check"}, postgres.CheckOptions{Grace: &grace, Skip: []invariant.ID{invariant.Ryw}})
	require.NoError(t, err)
	for _, f := range report.Violated() {
		t.Errorf("%s: %v", f.ID, f.Found)
	}
	seen := w.count(`select count(distinct verb) from audit where actor = 'router' and verb in ('claim', 'offer', 'expire', 'pass', 'queue')`)
	require.Equal(t, 5, seen, "the schedule had some of everything")
	require.Greater(t, w.count(`select count(distinct rule_version) from audit where verb = 'claim' and rule_version <> ''`), 1, "and rules that changed")
	require.Zero(t, w.count(`select count(*) from inbox i join conversation c on c.id = i.conversation_id
		where i.state = 'pending' and c.owner_kind in ('ai', 'none') and c.state <> 'SUSPENDED'`), "and no message was passed over for it")
}

// crowd is a customer base and the people who serve it.
type crowd struct {
	*testing.T
	a      *postgres.Store
	conn   *pgx.Conn
	random *rand.Rand
	ids    []conversation.ID
}

func (w *crowd) begin() {
	_, err := w.a.UpsertChannel(w.Context(), postgres.ChannelRow{Channel: conversation.Channel{Name: "p", Tenant: conversation.DefaultTenant, Flow: "f",
		HookSecretSHA256: sha256.Sum256([]byte("x"))}, Integration: "EVOLUTION", Number: "5511900000000"})
	require.NoError(w, err)
	w.rules(moodyRules)
	w.appear()
}

func (w *crowd) rules(text string) {
	_, _, err := routing.PutInForce(w.Context(), w.a, conversation.Rulebook{Tenant: conversation.DefaultTenant, Text: text, By: "operator:op"})
	require.NoError(w, err)
}

// appear is what the desk tells: who is there, each now and then.
func (w *crowd) appear() {
	var list []conversation.Person
	for i := 1; i <= 4; i++ {
		p := conversation.Person{ID: fmt.Sprint("h", i), Email: fmt.Sprintf("h%d@x.example", i), Presence: conversation.Online, Teams: []string{"t", "u"}[:1+i%2]}
		if w.random.IntN(4) == 0 {
			p.Presence = conversation.Away
		}
		list = append(list, p)
	}
	require.NoError(w, w.a.PutPeople(w.Context(), conversation.DefaultTenant, []string{"t", "u"}, list, time.Hour))
}

func (w *crowd) replica(s *postgres.Store, name string) *Dispatcher {
	p := conversation.Process{Instance: name, Boot: uuid.NewString()}
	require.NoError(w, s.Boot(w.Context(), p))
	key, err := conversation.NewTurnKey([]byte("key-of-the-random-schedules-test"))
	require.NoError(w, err)
	return New(Config{Store: s, Flow: &moodyFlow{}, Rules: routing.NewBook(s, slog.New(slog.DiscardHandler)), Gate: wire{s, p}, Process: p, Key: key,
		Lease: time.Minute, Deadline: time.Minute, MaxRunning: 4, Grace: 5 * time.Second, Observer: noObserver{}, Logger: slog.New(slog.DiscardHandler)})
}

// watch looks for anybody over their capacity, without pause. What it saw is told when all is over.
func watch(ctx context.Context, all *sync.WaitGroup, conn *pgx.Conn) func() (looks int, found []string) {
	var (
		looks int
		found []string
	)
	all.Go(func() {
		for ctx.Err() == nil {
			rows, err := conn.Query(ctx, `select a.kind || ':' || a.id || ' has ' || count(*) from agent a join conversation c
				on c.tenant = a.tenant and c.owner_kind = a.kind and c.owner_id = a.id and c.given
				where a.capacity is not null group by a.tenant, a.kind, a.id having count(*) > a.capacity`)
			if err != nil {
				continue
			}
			list, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err == nil {
				looks++
				found = append(found, list...)
			}
		}
	})
	return func() (int, []string) { return looks, found }
}

// step is one thing that happens.
func (w *crowd) step() {
	if len(w.ids) < 10 || w.random.IntN(5) == 0 {
		w.write(w.random.IntN(16), string("abcd"[w.random.IntN(4)]))
		return
	}
	switch w.random.IntN(8) {
	case 0:
		w.appear()
		w.rules(fmt.Sprintf("# %d\n", w.random.IntN(5)) + moodyRules) // other rules are put in force while all runs
	case 1, 2: // time passes
		w.age(time.Duration(w.random.IntN(20)) * time.Second)
	default:
		w.act()
	}
}

func (w *crowd) write(chat int, text string) {
	receipts, err := w.a.Receive(w.Context(), []conversation.Event{{Tenant: conversation.DefaultTenant, Channel: "p", Kind: conversation.KindMessage,
		WAID: uuid.NewString(), ChatJID: fmt.Sprintf("%d@lid", chat), Type: "conversation", Text: text, Body: []byte("{}"), State: conversation.Pending, Begins: true}},
		conversation.Window{})
	require.NoError(w, err)
	w.ids = append(w.ids, receipts[0].Conversation)
}

// act is somebody doing something in a conversation, as it stands a moment before.
func (w *crowd) act() {
	c, err := w.a.Find(w.Context(), conversation.DefaultTenant, w.ids[w.random.IntN(len(w.ids))])
	require.NoError(w, err)
	who := conversation.Actor{Kind: conversation.ActorHuman, ID: fmt.Sprint("h", 1+w.random.IntN(4))}
	cmd := conversation.Command{Tenant: c.Tenant, Conversation: c.ID, IfEpoch: c.Epoch, Actor: who}
	switch {
	case c.Offer != nil && w.random.IntN(3) > 0:
		cmd.Verb, cmd.Offer, cmd.Actor = conversation.VerbAccept, c.Offer.ID, conversation.Actor{Kind: conversation.ActorHuman, ID: c.Offer.To.ID}
		if w.random.IntN(3) == 0 {
			cmd.Verb = conversation.VerbDecline
		}
	case c.Owner.Kind == conversation.OwnedByHuman:
		cmd.Verb = []conversation.Verb{conversation.VerbClose, conversation.VerbHandback, conversation.VerbRelease}[w.random.IntN(3)]
		cmd.Actor.ID = c.Owner.ID
	case w.random.IntN(3) == 0:
		cmd.Verb, cmd.IfEpoch = conversation.VerbTake, conversation.AnyEpoch
	default:
		return
	}
	_, err = w.a.Do(w.Context(), cmd)
	var refused *conversation.RefusedError
	if err != nil && !errors.As(err, &refused) {
		require.NoError(w, err)
	}
}

func (w *crowd) age(d time.Duration) {
	_, err := w.conn.Exec(w.Context(), `with p as (update plan set due_at = due_at - $1::interval)
		update conversation set offer_until = offer_until - $1::interval, debounce_until = debounce_until - $1::interval, debounce_cap = debounce_cap - $1::interval`, d)
	require.NoError(w, err)
}

func (w *crowd) count(sql string) (n int) {
	require.NoError(w, w.conn.QueryRow(w.Context(), sql).Scan(&n))
	return n
}

// settle lets one replica do what is due, until nothing is.
func (w *crowd) settle() {
	d := w.replica(w.a, "router-0")
	for range 50 {
		w.age(30 * time.Second)
		require.NoError(w, d.look(w.Context(), true))
		d.turns.Wait()
	}
	for range 20 { // what the last of these began, and what a replica had just claimed when it was stopped
		_, err := w.conn.Exec(w.Context(), `update turn set lease_until = now() where state in ('running', 'replied', 'sending')`)
		require.NoError(w, err)
		require.NoError(w, d.look(w.Context(), true))
		d.turns.Wait()
		if w.count(`select count(*) from turn where state in ('running', 'replied', 'sending')`) == 0 {
			return
		}
	}
	require.Fail(w, "turns do not end")
}
