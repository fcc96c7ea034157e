package postgres_test

import (
	"context"
	"crypto/sha256"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"plantao/runtime/audit"
	"plantao/runtime/conversation"
	"plantao/runtime/conversation/storetest"
	"plantao/runtime/postgres"
	"plantao/runtime/postgres/postgrestest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, openFixture)
}

// ageSQL moves every deadline, lease and window. What only orders or reports stays.
const ageSQL = `
with turns as (update turn set lease_until = lease_until - $1::interval, deadline = deadline - $1::interval, created_at = created_at - $1::interval),
     parts as (update outbox set check_after = check_after - $1::interval, intent_at = intent_at - $1::interval),
     conflicts as (update alias_conflict set look_at = look_at - $1::interval),
     messages as (update inbox set media_until = media_until - $1::interval),
     plans as (update plan set due_at = due_at - $1::interval),
     letters as (update dead_letter set at = at - $1::interval),
     agents as (update agent set presence_until = presence_until - $1::interval)
update conversation
   set debounce_until = debounce_until - $1::interval, debounce_cap = debounce_cap - $1::interval, offer_until = offer_until - $1::interval,
       request_until = request_until - $1::interval, silence_until = silence_until - $1::interval, handovers_since = handovers_since - $1::interval`

func openFixture(t *testing.T) storetest.Fixture {
	db := postgrestest.New(t)
	a, b := db.Store(t), db.Store(t)
	pool, err := pgxpool.New(context.Background(), db.URL)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	text := func(sql string, args ...any) (s string) {
		require.NoError(t, pool.QueryRow(context.Background(), sql, args...).Scan(&s))
		return s
	}
	return storetest.Fixture{
		A: a, B: b,
		Channel: func(name, flow string) {
			_, err := a.UpsertChannel(context.Background(), postgres.ChannelRow{Integration: "EVOLUTION", Channel: conversation.Channel{
				Name: name, Tenant: "default", Flow: flow, HookSecretSHA256: sha256.Sum256(nil)}})
			require.NoError(t, err)
		},
		Age: func(d time.Duration) {
			_, err := pool.Exec(context.Background(), ageSQL, d)
			require.NoError(t, err)
		},
		Verify: func(id conversation.ID) error {
			trail, err := b.AuditTrail(context.Background(), id)
			require.NoError(t, err)
			require.Equal(t, strconv.Itoa(len(trail))+" "+strconv.Itoa(len(trail)),
				text("select version || ' ' || audit_seq from conversation where id = $1", id))
			return audit.Verify(trail)
		},
		Messages: func(id conversation.ID) []string {
			return list[string](t, pool, "select state from inbox where conversation_id = $1 and seq is not null order by seq", id)
		},
		Parts: func(id conversation.ID, turn int) []string {
			return list[string](t, pool, "select state from outbox where conversation_id = $1 and no = $2 order by part", id, turn)
		},
		Stretches: func(id conversation.ID) []storetest.Stretch {
			return list[storetest.Stretch](t, pool, `select agent, from_seq as "from", to_seq as "to", epoch from human_stretch where conversation_id = $1 order by no`, id)
		},
		Context: func(id conversation.ID, seq int64) string {
			return text("select coalesce((select context::text from handover where conversation_id = $1 and seq = $2), '')", id, seq)
		},
		Stray: func(jid string, id conversation.ID) {
			_, err := pool.Exec(context.Background(), "update alias set conversation_id = $2 where jid = $1", jid, id)
			require.NoError(t, err)
		},
		Due: func(id conversation.ID) {
			_, err := pool.Exec(context.Background(), "update promise set due = clock_timestamp() where conversation_id = $1", id)
			require.NoError(t, err)
		},
		DeadLetters: func(id conversation.ID) int {
			return len(list[int64](t, pool, "select id from dead_letter where conversation_id = $1", id))
		},
	}
}

// list reads rows of one column, or of a struct's.
func list[T any](t *testing.T, pool *pgxpool.Pool, sql string, args ...any) []T {
	t.Helper()
	rows, err := pool.Query(context.Background(), sql, args...)
	require.NoError(t, err)
	scan := pgx.RowTo[T]
	if _, whole := any(*new(T)).(storetest.Stretch); whole {
		scan = pgx.RowToStructByNameLax[T]
	}
	all, err := pgx.CollectRows(rows, scan)
	require.NoError(t, err)
	return all
}

func TestLeases(t *testing.T) {
	t.Parallel()
	storetest.RunLocker(t, func(t *testing.T) storetest.LockerFixture {
		w := newWorld(t)
		return storetest.LockerFixture{
			A: w.store.Leases(), B: w.db.Store(t).Leases(),
			One: w.receive(message("a", "1@lid")).Conversation, Other: w.receive(message("b", "2@lid")).Conversation,
		}
	})
}
