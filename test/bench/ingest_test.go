//go:build e2e

package bench

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
	"plantao/runtime/evolution"
	"plantao/runtime/ingest"
	"plantao/runtime/postgres"
	"plantao/runtime/postgres/postgrestest"
	"plantao/runtime/server"
	"plantao/test/figure"
)

// TestIngest measures webhooks that are answered once they are committed, beside the two things that cannot be done without: taking
// a request in and answering it (b), and writing its rows (c). Who does one after the other, with nothing between, reaches
// 1/(1/b + 1/c).
func TestIngest(t *testing.T) {
	// Many short rounds: what else the machine does comes in bursts of seconds, and would hit one of the three.
	rounds, each := 31, 400*time.Millisecond
	if os.Getenv("SMOKE") != "" {
		rounds = 7
	}
	door := newDoor(t, postgrestest.NewDurable(t))
	bare := newBareInserts(t)
	door.fill(t)
	bare.fill(t)
	for _, connections := range []int{64, 256} {
		var ours, empty, inserts, ceiling, share []float64
		clients := crowdOf(t, connections, door.addr, hookHead(), door.messages)
		nothing := crowdOf(t, connections, door.emptyAddr, hookHead(), door.messages)
		size := 0
		for round := range rounds + 1 {
			door.store.calls.Store(0)
			door.store.events.Store(0)
			o := rate(t, clients, door.messages, each)
			size = int(max(1, door.store.events.Load()/max(1, door.store.calls.Load())))
			b := rate(t, nothing, door.messages, each)
			c := bare.rate(t, size, each)
			if round == 0 { // the first dials and prepares
				continue
			}
			top := 1 / (1/b + 1/c)
			ours, empty, inserts = append(ours, o), append(empty, b), append(inserts, c)
			ceiling, share = append(ceiling, top), append(share, o/top)
		}
		t.Logf("%d connections: ours %.0f/s in commits of %d, answering only %.0f/s, inserts only %.0f/s, ceiling %.0f/s; shares %.2f", connections,
			middle(ours), size, middle(empty), middle(inserts), middle(ceiling), share)
		target := 0.7
		if connections > 64 {
			target = 0.85
		}
		sheet.Add(figure.Figure{Name: fmt.Sprintf("ingest-share-of-ceiling-%d", connections), Value: middle(share), Unit: "ratio", Op: ">=", Target: target})
	}
	door.whole(t)
}

// TestIngestLatency measures how long a webhook takes at 500 messages per second, beside a bare commit of one row at the same pace. Both
// begin by the same clock, whether or not those before have ended, and count from when they were due: where one waits for the one
// before, a disk that stops for 20 ms costs one of them, and ten at this pace.
func TestIngestLatency(t *testing.T) {
	rounds, each := 7, 2500
	if os.Getenv("SMOKE") != "" {
		rounds, each = 3, 500
	}
	door := newDoor(t, postgrestest.NewDurable(t))
	bare := newBareInserts(t)
	door.fill(t)
	clients := make(chan *client, 256)
	for _, c := range crowdOf(t, cap(clients), door.addr, hookHead(), door.messages) {
		clients <- c
	}
	var ours, commits, lone, share []float64
	for round := range rounds + 1 {
		hooks := paced(t, each, 2*time.Millisecond, func(int) error {
			c := <-clients
			defer func() { clients <- c }()
			return c.post(door.messages)
		})
		alone := paced(t, each, 2*time.Millisecond, func(i int) error { return bare.commit(t.Context(), fmt.Sprint(round, "/", i)) })
		again := bare.commits(t, each/5)
		if round == 0 {
			continue
		}
		o, c := quantile(hooks, 0.99), quantile(alone, 0.99)
		ours, commits, share = append(ours, o.Seconds()*1e3), append(commits, c.Seconds()*1e3), append(share, float64(o)/float64(c))
		lone = append(lone, quantile(again, 0.99).Seconds()*1e3)
	}
	t.Logf("p99 at 500/s %.2f ms, of one commit at that pace %.2f ms, of commits one after the other %.2f ms; ratios %.2f", ours, commits, lone, share)
	sheet.Add(figure.Figure{Name: "ingest-p99-at-500-vs-commit-p99", Value: middle(share), Unit: "ratio", Op: "<=", Target: 5})
}

// TestIngestIntoAnOldInbox measures the path with ten million messages in the inbox, beside an empty one.
func TestIngestIntoAnOldInbox(t *testing.T) {
	rounds, each, rows := 31, 400*time.Millisecond, 10_000_000
	if os.Getenv("SMOKE") != "" {
		rounds, rows = 7, 200_000
	}
	db := postgrestest.NewDurable(t)
	grow(t, db, rows)
	young, old := newDoor(t, postgrestest.NewDurable(t)), newDoor(t, db)
	old.had = rows
	var share []float64
	const connections = 64
	for _, d := range []*door{young, old} {
		d.fill(t)
	}
	youngClients := crowdOf(t, connections, young.addr, hookHead(), young.messages)
	oldClients := crowdOf(t, connections, old.addr, hookHead(), old.messages)
	for range rounds {
		y := rate(t, youngClients, young.messages, each)
		o := rate(t, oldClients, old.messages, each)
		share = append(share, o/y)
	}
	t.Logf("%d rows: shares of the empty table's rate %.2f", rows, share)
	sheet.Add(figure.Count("rows-in-the-old-inbox", rows, 10_000_000))
	sheet.Add(figure.Figure{Name: "ingest-old-vs-empty-inbox", Value: middle(share), Unit: "ratio", Op: ">=", Target: 0.85})
	old.whole(t)
}

// grow writes a past of so many messages, a hundred of each contact. The bodies are short: rows are appended, so that what is between
// them does not matter, but what is in the indexes does.
func grow(t *testing.T, db *postgrestest.Database, rows int) {
	t.Helper()
	const each, step = 100, 500_000
	conn := db.Conn(t)
	run := func(sql string, args ...any) {
		t.Helper()
		_, err := conn.Exec(t.Context(), sql, args...)
		require.NoError(t, err)
	}
	run(`set synchronous_commit = off`)
	run(`set session_replication_role = replica`) // no look at a foreign key for each row
	run(`insert into channel (name, integration, hook_secret_sha256, flow) values ($1, 'EVOLUTION', sha256(''), 'f')`, loadChannel)
	run(`insert into conversation (id, channel, chat_jid, contact_name, last_seq)
		select nextval('conversation_id_seq'), $1, '55219' || lpad(n::text, 8, '0') || '@s.whatsapp.net', 'Maria Aparecida', $2
		  from generate_series(1, $3::int) n`, loadChannel, each, rows/each)
	run(`insert into alias (tenant, channel, jid, conversation_id) select 'default', channel, chat_jid, id from conversation`)
	for from := 0; from < rows; from += step {
		run(`with i as (
			insert into inbox (tenant, channel, kind, wa_id, conversation_id, seq, type, text, wa_ts, received_at, state, turn_no, body)
			select 'default', $1, 'message', 'OLD' || lpad(n::text, 17, '0'), 1 + n / $4, 1 + n % $4, 'text', 'Bom dia, meu pedido chegou?',
			       now() - interval '1 year' + n * interval '3 s', now() - interval '1 year' + n * interval '3 s', 'done', 1 + n % $4,
			       '{"event": "messages.upsert", "data": {}}'
			  from generate_series($2::bigint, $3::bigint) n
			returning id, wa_id, received_at)
			insert into inbox_key (tenant, channel, wa_id, kind, inbox_id, day)
			select 'default', $1, wa_id, 'message', id, received_at::date from i`, loadChannel, from, min(from+step, rows)-1, each)
	}
	run(`vacuum analyze inbox, inbox_key, conversation, alias`)
	run(`checkpoint`)
}

// door is the router's way in, as cmd/router wires it, over HTTP and with a PostgreSQL that flushes; and the same server with
// a handler that only reads and answers.
type door struct {
	addr, emptyAddr string
	db              *postgrestest.Database
	store           *countingStore
	messages        *messages
	had             int // rows that were there before
}

// countingStore tells how large commits became.
type countingStore struct {
	*postgres.Store
	calls, events, all atomic.Int64
}

func (s *countingStore) Receive(ctx context.Context, events []conversation.Event, w conversation.Window) ([]conversation.Receipt, error) {
	s.calls.Add(1)
	s.events.Add(int64(len(events)))
	s.all.Add(int64(len(events)))
	return s.Store.Receive(ctx, events, w)
}

func newDoor(t *testing.T, db *postgrestest.Database) *door {
	t.Helper()
	d := &door{db: db, messages: &messages{run: rand.Text()[:8]}}
	store, err := postgres.Open(postgres.Config{URL: db.URL, AppName: "bench"})
	require.NoError(t, err)
	t.Cleanup(store.Close)
	d.store = &countingStore{Store: store}
	_, err = store.UpsertChannel(t.Context(), postgres.ChannelRow{Channel: conversation.Channel{
		Name: loadChannel, Tenant: conversation.DefaultTenant, Flow: "f", HookSecretSHA256: sha256.Sum256([]byte(loadSecret)),
	}, Integration: "EVOLUTION", Number: "5511900000000"})
	require.NoError(t, err)
	log := slog.New(slog.DiscardHandler)
	metrics := server.NewMetrics("bench", func(context.Context) (server.OpenRows, error) { return server.OpenRows{}, nil },
		func() bool { return true })
	s := server.New(server.Config{
		Ingest: ingest.New(ingest.Config{
			Store: d.store, Decode: evolution.Decode, Verify: evolution.VerifyToken, Window: conversation.Window{Quiet: time.Second, Cap: 10 * time.Second},
			Wake: func() {}, Own: func() {}, Observer: metrics, Logger: log,
		}),
		SecretHeader: evolution.SecretHeader, MaxBodyBytes: 8 << 20, Metrics: metrics, Logger: log,
	})
	s.Open()
	d.addr = listen(t, s.HTTP())
	empty := s.HTTP()
	empty.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"stored":true,"duplicate":false}`))
	})
	d.emptyAddr = listen(t, empty)
	return d
}

func listen(t *testing.T, s *http.Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return l.Addr().String()
}

// fill lets every contact write once, so that what is measured is a day like others.
func (d *door) fill(t *testing.T) {
	t.Helper()
	clients := crowdOf(t, 32, d.addr, hookHead(), d.messages)
	var all sync.WaitGroup
	for _, c := range clients {
		all.Go(func() {
			for range 2 * loadContacts / len(clients) {
				if err := c.post(d.messages); err != nil {
					t.Errorf("post: %v", err)
				}
			}
		})
	}
	all.Wait()
}

// whole checks that what was answered is there: a fast way to lose messages is no figure.
func (d *door) whole(t *testing.T) {
	t.Helper()
	var rows, keys, gaps int
	require.NoError(t, d.db.Conn(t).QueryRow(t.Context(), `select (select count(*) from inbox), (select count(*) from inbox_key),
		(select count(*) from conversation c left join (select conversation_id, count(*) as had from inbox group by 1) i on i.conversation_id = c.id
		  where c.last_seq <> coalesce(i.had, 0))`).Scan(&rows, &keys, &gaps))
	require.Equal(t, rows, keys)
	require.Zero(t, gaps, "arrival numbers without gaps")
	require.Equal(t, int(d.store.all.Load()), rows-d.had)
}

// bareInserts writes the rows ours writes, with as little as can be: the caller knows every id beforehand, nothing is looked up,
// decided or returned. As many commits are under way as ours has.
type bareInserts struct {
	pool *pgxpool.Pool
	lone *pgxpool.Pool // for commits of one row: none waits for another's connection
	body string
	next atomic.Int64
}

// flights is how many commits the path has under way at once, at these numbers of connections.
const flights = 1

// The path's tables in one transaction and one round trip. A contact's conversation has its number.
const (
	bareKeys = `insert into inbox_key (tenant, channel, wa_id, kind, inbox_id)
		select 'default', '` + loadChannel + `', wa_id, 'message', id from unnest($1::text[], $2::bigint[]) x (wa_id, id)`
	bareRows = `insert into inbox (id, tenant, channel, kind, wa_id, conversation_id, seq, type, text, wa_ts, state, body)
		select id, 'default', '` + loadChannel + `', 'message', wa_id, conversation, id, 'text', 'Bom dia, meu pedido chegou?', now(), 'pending', body::jsonb
		  from unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[]) x (wa_id, id, conversation, body)`
	bareTalk = `insert into conversation (id, channel, chat_jid, contact_name, last_seq, debounce_until, debounce_cap)
		select id, '` + loadChannel + `', '', 'Maria Aparecida', 1, now() + interval '1 s', now() + interval '10 s' from unnest($1::bigint[]) x (id)
		on conflict (id) do update set last_seq = conversation.last_seq + excluded.last_seq, debounce_until = excluded.debounce_until,
			debounce_cap = coalesce(conversation.debounce_cap, excluded.debounce_cap), updated_at = now()`
	bareAlias = `insert into alias (tenant, channel, jid, conversation_id)
		select 'default', '` + loadChannel + `', '551198877' || lpad(id::text, 4, '0') || '@s.whatsapp.net', id from generate_series(1, $1::bigint) x (id)`
)

func newBareInserts(t *testing.T) *bareInserts {
	t.Helper()
	db := postgrestest.NewDurable(t)
	pc, err := pgxpool.ParseConfig(db.URL)
	require.NoError(t, err)
	pc.MaxConns = flights
	b := &bareInserts{}
	b.pool, err = pgxpool.NewWithConfig(t.Context(), pc)
	require.NoError(t, err)
	t.Cleanup(b.pool.Close)
	pc.MaxConns = 16
	b.lone, err = pgxpool.NewWithConfig(t.Context(), pc)
	require.NoError(t, err)
	t.Cleanup(b.lone.Close)
	_, err = b.pool.Exec(t.Context(), `insert into channel (name, integration, hook_secret_sha256, flow) values ($1, 'EVOLUTION', sha256(''), 'f')`, loadChannel)
	require.NoError(t, err)
	one := (&messages{run: rand.Text()[:8]}).template("%d")
	b.body = string(one.bytes[one.bodyFrom:])
	return b
}

func (b *bareInserts) fill(t *testing.T) {
	t.Helper()
	for range 2 * loadContacts / 50 {
		require.NoError(t, b.insert(t.Context(), 50))
	}
	_, err := b.pool.Exec(t.Context(), bareAlias, loadContacts)
	require.NoError(t, err)
}

// insert commits so many messages.
func (b *bareInserts) insert(ctx context.Context, size int) error {
	var (
		keys   = make([]string, size)
		ids    = make([]int64, size)
		talks  = make([]int64, size)
		bodies = make([]string, size)
		last   = b.next.Add(int64(size))
	)
	for i := range size {
		ids[i] = last - int64(i)
		keys[i], talks[i], bodies[i] = fmt.Sprintf("ABCDEFGH%016d", ids[i]), 1+ids[i]%loadContacts, b.body
	}
	batch := &pgx.Batch{}
	batch.Queue("begin")
	batch.Queue(bareKeys, keys, ids)
	batch.Queue(bareTalk, talks)
	batch.Queue(bareRows, keys, ids, talks, bodies)
	batch.Queue("commit")
	return b.pool.SendBatch(ctx, batch).Close()
}

// rate is how many messages a second it writes in commits of that size.
func (b *bareInserts) rate(t *testing.T, size int, d time.Duration) float64 {
	t.Helper()
	var (
		all   sync.WaitGroup
		count atomic.Int64
	)
	begin := time.Now()
	for range flights {
		all.Go(func() {
			for time.Since(begin) < d {
				if err := b.insert(t.Context(), size); err != nil {
					t.Errorf("insert: %v", err)
					return
				}
				count.Add(int64(size))
			}
		})
	}
	all.Wait()
	return float64(count.Load()) / time.Since(begin).Seconds()
}

// commits times so many commits of one row, one after the other.
func (b *bareInserts) commits(t *testing.T, n int) []time.Duration {
	t.Helper()
	took := make([]time.Duration, n)
	for i := range took {
		begin := time.Now()
		require.NoError(t, b.commit(t.Context(), fmt.Sprint(i)))
		took[i] = time.Since(begin)
	}
	return took
}

// commit commits one row.
func (b *bareInserts) commit(ctx context.Context, id string) error {
	_, err := b.lone.Exec(ctx, `insert into inbox (tenant, channel, kind, wa_id, state, reason, body)
		values ('default', $1, 'unknown', $2, 'ignored', 'bench', $3::text::jsonb)`, loadChannel, id, b.body)
	return err
}
