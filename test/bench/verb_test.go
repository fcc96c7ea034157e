//go:build e2e

package bench

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
	"plantao/runtime/postgres"
	"plantao/runtime/postgres/postgrestest"
	"plantao/test/figure"
)

// callers is how many verbs are under way at once; the pools are as large, so nobody waits for a connection.
const callers = 8

// TestVerb measures the verbs and the gate beside the bare statements they cannot do without, and over a history of years
// beside a young one. PostgreSQL flushes to disk here, as in production.
func TestVerb(t *testing.T) {
	small, large, rounds, each := 10_000, 1_000_000, 7, 2_000
	if os.Getenv("SMOKE") != "" {
		large, rounds, each = 100_000, 3, 400
	}
	young, old := newHistory(t, small), newHistory(t, large)
	var verbs, bare, verbsOld, gates, bareGates []time.Duration
	for range rounds { // interleaved: what else the machine does hits all of them
		verbs = append(verbs, young.measure(each, young.verb))
		bare = append(bare, young.measure(each, young.bareVerb))
		verbsOld = append(verbsOld, old.measure(each, old.verb))
		young.queueParts(t, 2*each)
		gates = append(gates, young.measure(each, young.gate))
		bareGates = append(bareGates, young.measure(each, young.bareGate))
	}
	t.Logf("verb %v, bare %v, verb over %d conversations %v", verbs, bare, large, verbsOld)
	t.Logf("gate %v, bare %v", gates, bareGates)
	ratio := func(name string, a, b []time.Duration, target float64) {
		sheet.Add(figure.Figure{Name: name, Value: float64(median(a)) / float64(median(b)), Unit: "ratio", Op: "<=", Target: target})
	}
	ratio("verb-p50-vs-bare", verbs, bare, 1.5)
	ratio("gate-p50-vs-bare", gates, bareGates, 1.3)
	ratio("verb-p50-old-vs-young", verbsOld, verbs, 1.25)
	sheet.Add(figure.Count("conversations-in-the-old-history", large, 1_000_000))
	require.Equal(t, len(verbs)*each, young.count(t, "select count(*) from verb_idem"), "every verb was done")
}

// history is a database with so many conversations, each with ten audit entries and a human on duty.
type history struct {
	size  int
	store *postgres.Store
	pool  *pgxpool.Pool
	pass  string // the gate's own statement

	mu    sync.Mutex
	epoch map[conversation.ID]int64
	next  int
	parts []conversation.PartRef // queued, for the gate
	me    conversation.Process
}

func newHistory(t *testing.T, size int) *history {
	t.Helper()
	db := postgrestest.NewDurable(t)
	h := &history{size: size, epoch: map[conversation.ID]int64{}, me: conversation.Process{Instance: "bench", Boot: uuid.NewString()}}
	start := time.Now()
	conn := db.Conn(t)
	for _, sql := range []string{
		"set session_replication_role = replica", // the rows are known to fit; checking ten million references takes minutes
		"insert into channel (name, integration, hook_secret_sha256, flow) values ('p', 'EVOLUTION', sha256(''), 'f')",
		fmt.Sprintf(`insert into conversation (id, channel, chat_jid, state, owner_kind, owner_id, epoch, version, audit_seq, last_hash, stretch_from, stretch_began)
			select i, 'p', i || '@lid', 'HUMAN_ACTIVE', 'human', 'ana', 10, 10, 10, sha256(''), 1, now() from generate_series(1, %d) i`, size),
		fmt.Sprintf(`insert into audit (conversation_id, seq, tenant, at, actor, verb, state_from, state_to, epoch_from, epoch_to, reason, detail, prev, hash)
			select i, s, 'default', now(), 'human:ana', 'pass', 'HUMAN_ACTIVE', 'HUMAN_ACTIVE', s - 1, s, 'bench', '{"owner":"human:ana"}', sha256(''), sha256('')
			  from generate_series(1, %d) i, generate_series(1, 10) s`, size),
		fmt.Sprintf("select setval('conversation_id_seq', %d)", size),
		"set session_replication_role = origin",
		"vacuum analyze",
		"checkpoint",
	} {
		_, err := conn.Exec(t.Context(), sql)
		require.NoError(t, err, sql)
	}
	t.Logf("%d conversations, %d audit entries written in %s", size, 10*size, time.Since(start).Round(time.Second))
	var err error
	h.store, err = postgres.Open(postgres.Config{URL: db.URL, AppName: "bench", MaxConns: callers})
	require.NoError(t, err)
	t.Cleanup(h.store.Close)
	require.NoError(t, h.store.Boot(t.Context(), h.me))
	pc, err := pgxpool.ParseConfig(db.URL)
	require.NoError(t, err)
	pc.MaxConns = callers
	h.pool, err = pgxpool.NewWithConfig(t.Context(), pc)
	require.NoError(t, err)
	t.Cleanup(h.pool.Close)
	text, err := os.ReadFile("../../runtime/postgres/sql/pass.sql")
	require.NoError(t, err)
	h.pass = string(text)
	return h
}

// pick walks over the conversations in long strides, so that neighbours in time are no neighbours on disk. Nobody else has the
// one it returns until all others were picked.
func (h *history) pick() (conversation.ID, int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.next = (h.next + 7919) % h.size
	id := conversation.ID(h.next + 1)
	epoch, known := h.epoch[id]
	if !known {
		epoch = 10
	}
	h.epoch[id] = epoch + 1
	return id, epoch
}

// measure is the median time of n calls, callers of them at once.
func (h *history) measure(n int, call func(context.Context) error) time.Duration {
	took := make([]time.Duration, n)
	var all sync.WaitGroup
	for c := range callers {
		all.Go(func() {
			for i := c; i < n; i += callers {
				start := time.Now()
				if err := call(context.Background()); err != nil {
					panic(err) // a number about failures would be no number
				}
				took[i] = time.Since(start)
			}
		})
	}
	all.Wait()
	return took[median2(took)]
}

// median2 sorts and returns the index of the median.
func median2(d []time.Duration) int {
	slices.Sort(d)
	return len(d) / 2
}

func (h *history) verb(ctx context.Context) error {
	id, epoch := h.pick()
	_, err := h.store.Do(ctx, conversation.Command{
		Verb: conversation.VerbPass, Tenant: conversation.DefaultTenant, Conversation: id, IfEpoch: epoch, Key: uuid.NewString(),
		Actor: conversation.Actor{Kind: conversation.ActorOperator, ID: "bench"}, Reason: "bench",
		To: conversation.Owner{Kind: conversation.OwnedByHuman, ID: fmt.Sprint("agent-", epoch%7)},
	})
	return err
}

// bareVerb is what a program would write that keeps the owner and an audit, and guards nothing.
func (h *history) bareVerb(ctx context.Context) error {
	id, epoch := h.pick()
	return pgx.BeginFunc(ctx, h.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `update conversation set owner_id = $2, epoch = epoch + 1, version = version + 1, audit_seq = audit_seq + 1,
			updated_at = now() where id = $1`, id, fmt.Sprint("agent-", epoch%7))
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `insert into audit (conversation_id, seq, tenant, at, actor, verb, state_from, state_to, epoch_from, epoch_to,
			reason, detail, prev, hash) values ($1, $2, 'default', now(), 'operator:bench', 'pass', 'HUMAN_ACTIVE', 'HUMAN_ACTIVE', $3, $4,
			'bench', '{"owner":"human:ana"}', sha256(''), sha256(''))`, id, epoch+1, epoch, epoch+1)
		return err
	})
}

// queueParts makes n turns of an AI, each with a part that waits at the gate.
func (h *history) queueParts(t *testing.T, n int) {
	t.Helper()
	h.parts = h.parts[:0]
	rows, err := h.pool.Query(t.Context(), `with c as (
		insert into conversation (channel, chat_jid, state, owner_kind, owner_id, epoch)
		select 'p', gen_random_uuid() || '@lid', 'AI_ACTIVE', 'ai', 'f', 1 from generate_series(1, $1) returning id
	), t as (
		insert into turn (conversation_id, no, epoch, agent, state, holder_instance, holder_boot, lease_until, deadline)
		select id, 1, 1, 'f', 'replied', 'bench', gen_random_uuid(), now() + interval '1 hour', now() + interval '1 hour' from c
		returning conversation_id
	)
	insert into outbox (conversation_id, no, part, channel, state, gen, body)
	select conversation_id, 1, 1, 'p', 'queued', 1, '{"text":"oi"}' from t returning conversation_id`, n)
	require.NoError(t, err)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	require.NoError(t, err)
	for _, id := range ids {
		h.parts = append(h.parts, conversation.PartRef{Part: 1, TurnRef: conversation.TurnRef{
			Tenant: conversation.DefaultTenant, Conversation: conversation.ID(id), No: 1, Epoch: 1, Gen: 1,
		}})
	}
}

func (h *history) part() conversation.PartRef {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.parts[len(h.parts)-1]
	h.parts = h.parts[:len(h.parts)-1]
	return p
}

func (h *history) gate(ctx context.Context) error {
	passed, err := h.store.Pass(ctx, h.part(), h.me, 10*time.Second)
	if err == nil && !passed {
		return fmt.Errorf("the gate refused")
	}
	return err
}

func (h *history) bareGate(ctx context.Context) error {
	p := h.part()
	var one int
	return h.pool.QueryRow(ctx, h.pass, p.Conversation, p.Epoch, p.No, p.Gen, p.Part, 10*time.Second, h.me.Instance, h.me.Boot, p.Attempt).Scan(&one)
}

func (h *history) count(t *testing.T, sql string) int {
	t.Helper()
	var n int
	require.NoError(t, h.pool.QueryRow(t.Context(), sql).Scan(&n), strings.TrimSpace(sql))
	return n
}
