// Package postgres keeps the router's state in PostgreSQL, the one authority. Each method runs one statement or one
// transaction whose text stands in sql/; the reasons for its guards stand there too.
package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"plantao/runtime/conversation"
	"plantao/runtime/dial"
)

//go:embed sql/*.sql sql/check/*.sql
var statements embed.FS

// query returns an embedded statement. A missing file is a mistake of whoever wrote the call.
// Several names are one statement in pieces.
func query(names ...string) string {
	var all strings.Builder
	for _, name := range names {
		text, err := statements.ReadFile("sql/" + name + ".sql")
		if err != nil {
			panic(fmt.Sprintf("read embedded statement %q: %v", name, err))
		}
		all.Write(text)
	}
	return all.String()
}

const (
	connectTimeout   = 3 * time.Second
	statementTimeout = "10s"
	// callTimeout bounds a statement from this side: a server that is frozen or cut off enforces nothing. Longer than
	// statementTimeout, so that a server that is well gets to say why it broke off.
	callTimeout = 15 * time.Second
	// deadlockTries is how often a transaction PostgreSQL broke off to resolve a conflict is run.
	deadlockTries = 4
)

// Config says how to reach the database.
type Config struct {
	URL      string // postgres://user@host:port/db; without a password
	Password string // empty: none is sent
	MaxConns int32  // upper bound of the pool; zero means 8
	AppName  string // application_name of the connections
	// Recovered is called when this process found that commits may have been lost and has suspended so many conversations
	// an AI had. Nil: nobody is told.
	Recovered func(generation int64, suspended int)
}

// Store implements conversation.Store.
type Store struct {
	pool      *pgxpool.Pool
	cluster   atomic.Int64 // generation of the cluster, as the newest connection found it
	recovered func(int64, int)
}

var _ conversation.Store = (*Store)(nil)

// CheckURL says what Open would refuse, without opening anything.
func CheckURL(url string) error {
	_, err := pgxpool.ParseConfig(url)
	return err
}

// Open prepares a pool. It dials nothing: a database that is down shows at the first call.
func Open(c Config) (*Store, error) {
	pc, err := pgxpool.ParseConfig(c.URL)
	if err != nil {
		return nil, fmt.Errorf("read database url: %w", err)
	}
	c.apply(pc.ConnConfig)
	pc.MaxConns = c.MaxConns
	if pc.MaxConns == 0 {
		pc.MaxConns = 8
	}
	pc.MaxConnIdleTime = 5 * time.Minute
	pc.PingTimeout = connectTimeout
	pc.ConnConfig.Tracer = deadlines{callTimeout}
	s := &Store{recovered: c.Recovered}
	pc.AfterConnect = s.join
	// The context bounds only the dialling of the first connections, of which there are none to keep ready.
	pool, err := pgxpool.NewWithConfig(context.Background(), pc)
	if err != nil {
		return nil, fmt.Errorf("prepare database pool: %w", err)
	}
	s.pool = pool
	return s, nil
}

func (c Config) apply(cc *pgx.ConnConfig) {
	if c.Password != "" {
		cc.Password = c.Password
	}
	cc.ConnectTimeout = connectTimeout
	cc.DialFunc = dial.ToAny().DialContext // pgx has looked the name up by itself
	cc.RuntimeParams["application_name"] = c.AppName
	cc.RuntimeParams["statement_timeout"] = statementTimeout
	cc.RuntimeParams["idle_in_transaction_session_timeout"] = statementTimeout
	// Every statement here touches a few rows; compiling one whose cost was overestimated takes longer than running it
	// (stats.sql over 200,000 conversations on PostgreSQL 15: 7 ms without, 50 to 850 ms with).
	cc.RuntimeParams["jit"] = "off"
	// A plan is kept with its connection. One that was made while a table was empty reads the table from end to end, and goes on
	// doing so when it has millions of rows, until something analyses it. Here every row is found by a key.
	cc.RuntimeParams["enable_seqscan"] = "off"
	// Planning a verb's statement takes half as long as running it (181 and 341 µs on PostgreSQL 15), and PostgreSQL does it
	// each time when it thinks that the values could save a little.
	cc.RuntimeParams["plan_cache_mode"] = "force_generic_plan"
	cc.RuntimeParams["default_transaction_isolation"] = "read committed"
	cc.RuntimeParams["timezone"] = "UTC"
}

// deadlines gives each statement a deadline of its own. pgx runs a statement under the context its tracer returns, which
// makes this the one place no caller can forget: background loops call with contexts that end with the process only.
type deadlines struct{ limit time.Duration }

type cancelKey struct{}

// TraceQueryStart implements pgx.QueryTracer.
func (d deadlines) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	ctx, cancel := context.WithTimeout(ctx, d.limit)
	return context.WithValue(ctx, cancelKey{}, cancel)
}

// TraceQueryEnd implements pgx.QueryTracer.
func (deadlines) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryEndData) {
	if cancel, ok := ctx.Value(cancelKey{}).(context.CancelFunc); ok {
		cancel()
	}
}

// TraceBatchStart implements pgx.BatchTracer: a batch is waited for as long as a statement.
func (d deadlines) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return d.TraceQueryStart(ctx, nil, pgx.TraceQueryStartData{})
}

// TraceBatchQuery implements pgx.BatchTracer.
func (deadlines) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

// TraceBatchEnd implements pgx.BatchTracer.
func (d deadlines) TraceBatchEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchEndData) {
	d.TraceQueryEnd(ctx, nil, pgx.TraceQueryEndData{})
}

// Close waits for connections in use and closes the pool.
func (s *Store) Close() { s.pool.Close() }

// Ping fails when the database cannot be reached.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.pool.Ping(ctx); err != nil {
		return fmt.Errorf("reach database: %w", err)
	}
	return nil
}

// inTx runs fn in a transaction and runs it again when PostgreSQL broke it off for another one's sake, or when the
// connection turned out to be dead before anything was sent.
func (s *Store) inTx(ctx context.Context, fn func(pgx.Tx) error) error {
	return again(ctx, func() error { return pgx.BeginFunc(ctx, s.pool, fn) })
}

func again(ctx context.Context, fn func() error) error {
	var err error
	for range deadlockTries {
		if err = fn(); err == nil || !repeatable(err) || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// repeatable is an error after which certainly nothing was committed and a second try can succeed.
func repeatable(err error) bool {
	switch sqlState(err) {
	case "40001", "40P01": // serialization failure, deadlock
		return true
	}
	return pgconn.SafeToRetry(err)
}

// sqlState is the five-character code of a PostgreSQL error, or empty.
func sqlState(err error) string {
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		return pe.Code
	}
	return ""
}

// violates says whether the error is this constraint's.
func violates(err error, constraint string) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && pe.ConstraintName == constraint
}

// one runs a statement that returns at most one row of any columns, and says whether there was one.
func (s *Store) one(ctx context.Context, sql string, args ...any) (bool, error) {
	found := false
	err := again(ctx, func() error {
		var ignored int64
		err := s.pool.QueryRow(ctx, sql, args...).Scan(&ignored)
		found = err == nil && ignored > 0
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	return found, err
}
