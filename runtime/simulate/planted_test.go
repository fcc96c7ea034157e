package simulate

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
	"plantao/runtime/invariant"
	"plantao/runtime/postgres"
)

// faulty is a store with a guard removed, and a connection beside it to undo what the guard did.
type faulty struct {
	conversation.Store
	sql   *pgx.Conn
	count int
}

func (f *faulty) exec(ctx context.Context, sql string, args ...any) error {
	_, err := f.sql.Exec(ctx, sql, args...)
	return err
}

func (f *faulty) one(ctx context.Context, sql string, args ...any) (bool, error) {
	tag, err := f.sql.Exec(ctx, sql, args...)
	return tag.RowsAffected() > 0, err
}

// resends puts a part of unknown fate back into the queue.
type resends struct{ *faulty }

func (f resends) Unknown(ctx context.Context, p conversation.PartRef, _ string) (bool, error) {
	return f.Unsent(ctx, p)
}

// undoesAnyAttempt undoes whatever attempt let a part pass.
type undoesAnyAttempt struct{ *faulty }

func (f undoesAnyAttempt) Unsent(ctx context.Context, p conversation.PartRef) (bool, error) {
	p.Attempt = math.MaxInt32
	return f.Store.Unsent(ctx, p)
}

// acksEarly says that an event is stored, now and then, when it is not.
type acksEarly struct{ *faulty }

func (f acksEarly) Receive(ctx context.Context, events []conversation.Event, w conversation.Window) ([]conversation.Receipt, error) {
	if f.count++; f.count%10 == 0 {
		return []conversation.Receipt{{State: conversation.Ignored, Reason: "lost"}}, nil
	}
	return f.Store.Receive(ctx, events, w)
}

// doesNotDedupe stores an event as often as it comes.
type doesNotDedupe struct{ *faulty }

func (f doesNotDedupe) Receive(ctx context.Context, events []conversation.Event, w conversation.Window) ([]conversation.Receipt, error) {
	f.count++
	events = slices.Clone(events)
	events[0].WAID = fmt.Sprint(events[0].WAID, "-", f.count)
	return f.Store.Receive(ctx, events, w)
}

// answersItself takes an echo for a message of the customer's.
type answersItself struct{ *faulty }

func (f answersItself) Receive(ctx context.Context, events []conversation.Event, w conversation.Window) ([]conversation.Receipt, error) {
	events = slices.Clone(events)
	e := &events[0]
	e.State, e.Reason, e.FromMe, e.Begins = conversation.Pending, "", false, true
	return f.Store.Receive(ctx, events, w)
}

// believesWhoHadIt ignores the generation: whoever had a turn once may send its parts, also one that its new holder is sending.
type believesWhoHadIt struct{ *faulty }

func (f believesWhoHadIt) Pass(ctx context.Context, p conversation.PartRef, s conversation.Process, lease time.Duration) (bool, error) {
	return f.one(ctx, `with t as (
		update turn set state = 'sending', lease_until = now() + $5::interval
		 where conversation_id = $1 and no = $2 and epoch = $3 and state in ('replied', 'sending')
		   and exists (select 1 from conversation where id = $1 and epoch = $3 and owner_kind = 'ai')
		   and exists (select 1 from outbox where conversation_id = $1 and no = $2 and part = $4 and state in ('queued', 'sending'))
		returning gen)
		update outbox set state = 'sending', gen = t.gen, intent_at = clock_timestamp(), sender_instance = $6, sender_boot = $7::uuid
		  from t where conversation_id = $1 and no = $2 and part = $4`, p.Conversation, p.No, p.Epoch, p.Part, lease, s.Instance, s.Boot)
}

func (f believesWhoHadIt) Sent(ctx context.Context, p conversation.PartRef, d conversation.Delivery) (bool, error) {
	if err := f.sql.QueryRow(ctx, "select gen from turn where conversation_id = $1 and no = $2", p.Conversation, p.No).Scan(&p.Gen); err != nil {
		return false, err
	}
	return f.Store.Sent(ctx, p, d)
}

// asksNobody is a gate that looks at the part and not at the conversation.
type asksNobody struct{ *faulty }

func (f asksNobody) Pass(ctx context.Context, p conversation.PartRef, s conversation.Process, lease time.Duration) (bool, error) {
	return f.one(ctx, `with t as (
		update turn set state = 'sending', lease_until = now() + $5::interval
		 where conversation_id = $1 and no = $2 and gen = $3 and state in ('replied', 'cancelled')
		   and not exists (select 1 from turn other where other.conversation_id = $1 and other.no <> $2
		                      and other.state in ('running', 'replied', 'sending', 'ambiguous'))
		   and exists (select 1 from outbox where conversation_id = $1 and no = $2 and part = $4 and state in ('queued', 'dropped'))
		returning 1)
		update outbox set state = 'sending', intent_at = clock_timestamp(), sender_instance = $6, sender_boot = $7::uuid
		 where conversation_id = $1 and no = $2 and part = $4 and exists (select 1 from t)`,
		p.Conversation, p.No, p.Gen, p.Part, lease, s.Instance, s.Boot)
}

// doesNotRevoke leaves a turn running when its AI loses the conversation.
type doesNotRevoke struct{ *faulty }

func (f doesNotRevoke) Do(ctx context.Context, c conversation.Command) (conversation.Result, error) {
	var no int
	_ = f.sql.QueryRow(ctx, "select no from turn where conversation_id = $1 and state = 'running'", c.Conversation).Scan(&no)
	r, err := f.Store.Do(ctx, c)
	if err == nil && no > 0 {
		_ = f.exec(ctx, "update turn set state = 'running', ended_at = null where conversation_id = $1 and no = $2 and state = 'cancelled'",
			c.Conversation, no)
	}
	return r, err
}

// forgetsKeys carries out whatever it is asked.
type forgetsKeys struct{ *faulty }

func (f forgetsKeys) Do(ctx context.Context, c conversation.Command) (conversation.Result, error) {
	c.Key = ""
	return f.Store.Do(ctx, c)
}

// takesAnyEpoch carries a verb out for whatever epoch there is.
type takesAnyEpoch struct{ *faulty }

func (f takesAnyEpoch) Do(ctx context.Context, c conversation.Command) (conversation.Result, error) {
	if now, err := f.Find(ctx, c.Tenant, c.Conversation); err == nil && c.Key == "" {
		c.IfEpoch = now.Epoch
	}
	return f.Store.Do(ctx, c)
}

// givesUpDoubt takes a part of unknown fate for one that was not sent, after a while.
type givesUpDoubt struct{ *faulty }

func (f givesUpDoubt) ReclaimTurn(ctx context.Context, terms conversation.TurnTerms) (conversation.Turn, error) {
	err := f.exec(ctx, `with t as (update turn set state = 'cancelled', ended_at = now() where state = 'ambiguous' returning conversation_id, no),
		o as (update outbox set state = 'failed' from t where outbox.conversation_id = t.conversation_id and outbox.no = t.no and outbox.state <> 'sent'),
		i as (update inbox set state = 'pending', turn_no = null from t
		       where inbox.conversation_id = t.conversation_id and inbox.turn_no = t.no and inbox.state = 'taken' returning inbox.conversation_id)
		update conversation set debounce_until = coalesce(debounce_until, now()) where id in (select conversation_id from i)`)
	if err != nil {
		return conversation.Turn{}, err
	}
	return f.Store.ReclaimTurn(ctx, terms)
}

// strands forgets the window of messages that wait again.
type strands struct{ *faulty }

func (f strands) ClaimTurn(ctx context.Context, terms conversation.TurnTerms) (conversation.Turn, error) {
	_ = f.exec(ctx, "update conversation set debounce_until = null where debounce_until < now() - interval '2 hours' and id % 2 = 0")
	return f.Store.ClaimTurn(ctx, terms)
}

// crossesTenants does what anybody asks.
type crossesTenants struct{ *faulty }

func (f crossesTenants) Do(ctx context.Context, c conversation.Command) (conversation.Result, error) {
	_ = f.sql.QueryRow(ctx, "select tenant from conversation where id = $1", c.Conversation).Scan(&c.Tenant)
	return f.Store.Do(ctx, c)
}

// How far a planted fault may stay unseen.
const (
	plantedSteps  = 600
	plantedRounds = 20
)

func TestRemovedGuardsAreMissed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		plant   func(*faulty) conversation.Store
		prepare string
		tilt    map[string]int
		rough   bool
		seed    uint64 // of a round that meets it soon; zero: 1
		want    []invariant.ID
	}{
		{name: "a part of unknown fate is sent again", plant: func(f *faulty) conversation.Store { return resends{f} }, want: []invariant.ID{invariant.Dup}},
		{name: "an undoing names no attempt", seed: 14, plant: func(f *faulty) conversation.Store { return undoesAnyAttempt{f} },
			want:  []invariant.ID{invariant.Dup},
			rough: true, tilt: map[string]int{"turn": 150, "verb": 1, "late commit": 4, "kill": 0, "pause": 0, "stall": 0, "failover": 0}},
		{name: "acknowledged before the commit", plant: func(f *faulty) conversation.Store { return acksEarly{f} }, want: []invariant.ID{invariant.Ack}},
		{name: "no dedupe", plant: func(f *faulty) conversation.Store { return doesNotDedupe{f} }, want: []invariant.ID{invariant.Ack}},
		{name: "echoes are messages", plant: func(f *faulty) conversation.Store { return answersItself{f} }, want: []invariant.ID{invariant.Echo}},
		{name: "no generations", seed: 3, plant: func(f *faulty) conversation.Store { return believesWhoHadIt{f} }, want: []invariant.ID{invariant.Dup, invariant.Leak, invariant.Ord},
			tilt: map[string]int{"time": 12, "pause": 8, "resume": 6, "verb": 2, "kill": 0, "failover": 0}},
		{name: "a gate that asks nobody", seed: 4, plant: func(f *faulty) conversation.Store { return asksNobody{f} }, want: []invariant.ID{invariant.Fence}},
		{name: "a turn goes on without its AI", seed: 2, plant: func(f *faulty) conversation.Store { return doesNotRevoke{f} }, want: []invariant.ID{invariant.Fence, invariant.Part}},
		{name: "keys are forgotten", plant: func(f *faulty) conversation.Store { return forgetsKeys{f} }, want: []invariant.ID{invariant.Idem}},
		{name: "any epoch will do", plant: func(f *faulty) conversation.Store { return takesAnyEpoch{f} }, want: []invariant.ID{invariant.Own}},
		{name: "doubt ends by itself", plant: func(f *faulty) conversation.Store { return givesUpDoubt{f} },
			want: []invariant.ID{invariant.Part, invariant.Dup, invariant.Leak}},
		{name: "messages are stranded", plant: func(f *faulty) conversation.Store { return strands{f} }, want: []invariant.ID{invariant.Live}},
		{name: "tenants are crossed", seed: 4, plant: func(f *faulty) conversation.Store { return crossesTenants{f} }, want: []invariant.ID{invariant.Ten}},
		{name: "capacity is not counted", want: []invariant.ID{invariant.Cap},
			prepare: "create or replace function check_capacity(t text, k text, a text, offers boolean default false) returns void language sql as 'select'"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := config(t)
			s.Seed, s.Steps, s.Rounds, s.CheckEvery, s.prepare, s.tilt, s.rough = max(1, c.seed), plantedSteps, plantedRounds, 50, c.prepare, c.tilt, c.rough
			if c.plant != nil {
				conns := map[string]*pgx.Conn{} // one for each round
				s.plant = func(db postgres.Config, store *postgres.Store) conversation.Store {
					if conns[db.URL] == nil {
						conn, err := dial(t.Context(), db)
						require.NoError(t, err)
						t.Cleanup(func() { _ = conn.Close(context.Background()) })
						conns[db.URL] = conn
					}
					return c.plant(&faulty{Store: store, sql: conns[db.URL]})
				}
			}
			report, err := Run(t.Context(), s)
			require.NoError(t, err)
			require.NotNil(t, report.Violation, "not found in %d steps", report.Steps)
			t.Logf("%s after %d steps: %s", report.Violation.Invariant, report.Steps, report.Violation.What)
			require.Contains(t, c.want, report.Violation.Invariant, show(report.Violation))
			require.NotEmpty(t, report.Violation.Last)
		})
	}
}
