package postgres

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"plantao/migrations"
	"plantao/runtime/audit"
	"plantao/runtime/invariant"
)

// Defaults of CheckOptions.
const (
	checkLimit = time.Hour
	checkGrace = 2 * time.Minute
)

// CheckOptions say what a check looks at.
type CheckOptions struct {
	// Since narrows it to conversations updated in so long. Zero: all of them. What is not narrowed, or narrowed otherwise, is
	// said by each invariant.Invariant.
	Since time.Duration
	// Grace is how late work may be before I-LIVE calls it stranded. Nil means two minutes.
	Grace *time.Duration
	// Limit bounds each statement. Zero means an hour.
	Limit time.Duration
	// Skip names invariants that are not asserted.
	Skip []invariant.ID
}

// Checker asserts the invariants on a connection of its own: it takes none from a pool, writes nothing, waits for no lock
// but those of a migration, and lets nobody wait but a migration.
type Checker struct{ conn *pgx.Conn }

// OpenChecker connects. It may be a standby's connection: then I-RYW is violated, and the rest is said of what it shows.
func OpenChecker(ctx context.Context, c Config) (*Checker, error) {
	cc, err := pgx.ParseConfig(c.URL)
	if err != nil {
		return nil, fmt.Errorf("read database url: %w", err)
	}
	c.apply(cc)
	conn, err := pgx.ConnectConfig(ctx, cc)
	if err != nil {
		return nil, fmt.Errorf("connect to check: %w", err)
	}
	return &Checker{conn}, nil
}

// Close closes the connection.
func (k *Checker) Close() { _ = k.conn.Close(context.Background()) }

// Check asserts all invariants on one snapshot, with one statement for each and a walk over the audit. Errors: ErrSchema,
// which says what to do, or that something could not be read, which says nothing about the invariants.
func (k *Checker) Check(ctx context.Context, o CheckOptions) (report invariant.Report, err error) {
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pgx.BeginTxFunc(ctx, k.conn, snapshot, func(tx pgx.Tx) error {
		report, err = checkIn(ctx, tx, o)
		return err
	})
	return report, err
}

// checkIn asserts all invariants in a transaction.
func checkIn(ctx context.Context, tx pgx.Tx, o CheckOptions) (invariant.Report, error) {
	if o.Limit == 0 {
		o.Limit = checkLimit
	}
	if o.Grace == nil {
		grace := checkGrace
		o.Grace = &grace
	}
	start := time.Now()
	c := &check{tx: tx, o: o}
	if err := c.prepare(ctx); err != nil {
		return invariant.Report{}, err
	}
	for _, i := range invariant.All() {
		f, err := c.assert(ctx, i)
		if err != nil {
			return invariant.Report{}, fmt.Errorf("check %s: %w", i.ID, err)
		}
		c.report.Findings = append(c.report.Findings, f)
	}
	c.report.Took = time.Since(start)
	return c.report, nil
}

// check is one run of a Checker.
type check struct {
	tx     pgx.Tx
	o      CheckOptions
	since  pgtype.Timestamptz // database clock
	floor  int64              // first inbox row looked at; zero: all are
	report invariant.Report
}

var (
	checkScopeSQL  = query("check/scope")
	checkFloorSQL  = query("check/floor")
	auditStreamSQL = query("check/audit_stream")
	checkSQL       = checkStatements()
)

// checkStatements puts each invariant's statement together. One that is missing is a programmer's mistake.
func checkStatements() map[invariant.ID]string {
	all := map[invariant.ID]string{}
	for _, id := range invariant.IDs() {
		pieces := []string{"check/head", "check/" + strings.ToLower(strings.TrimPrefix(string(id), "I-")), "check/tail"}
		if id == invariant.Fence || id == invariant.Leak {
			pieces = slices.Insert(pieces, 1, "check/change")
		}
		all[id] = query(pieces...)
	}
	return all
}

// prepare bounds the statements that follow and finds out what they look at.
func (c *check) prepare(ctx context.Context) error {
	// It also bounds how long a migration that waits for this transaction holds everybody up.
	// The settings of Config.apply are for statements that find a few rows by a key; these read whole tables.
	_, err := c.tx.Exec(ctx, `select set_config('statement_timeout', $1, true), set_config('idle_in_transaction_session_timeout', '1min', true),
		set_config('enable_seqscan', 'on', true), set_config('plan_cache_mode', 'force_custom_plan', true)`,
		strconv.FormatInt(c.o.Limit.Milliseconds(), 10))
	if err != nil {
		return fmt.Errorf("bound statements: %w", err)
	}
	if err := c.schema(ctx); err != nil {
		return err
	}
	c.since = pgtype.Timestamptz{InfinityModifier: pgtype.NegativeInfinity, Valid: true}
	if c.o.Since > 0 {
		if err := c.tx.QueryRow(ctx, "select now() - $1::interval", c.o.Since).Scan(&c.since); err != nil {
			return fmt.Errorf("find the beginning: %w", err)
		}
		if err := c.tx.QueryRow(ctx, checkFloorSQL, c.since).Scan(&c.floor); err != nil {
			return fmt.Errorf("find the first event: %w", err)
		}
	}
	if err := c.tx.QueryRow(ctx, checkScopeSQL, c.since).Scan(&c.report.Conversations, &c.report.At); err != nil {
		return fmt.Errorf("count conversations: %w", err)
	}
	return nil
}

func (c *check) schema(ctx context.Context) error {
	want, err := migrations.Version()
	if err != nil {
		return err
	}
	var have int64
	err = c.tx.QueryRow(ctx, schemaVersionSQL).Scan(&have)
	switch {
	case sqlState(err) == "42P01": // undefined table: nothing was ever migrated
	case err != nil:
		return fmt.Errorf("read schema version: %w", err)
	}
	if have != want {
		return fmt.Errorf("%w: it has version %d, this binary checks %d; run the router of that version, or `router migrate`",
			ErrSchema, have, want)
	}
	return nil
}

func (c *check) assert(ctx context.Context, i invariant.Invariant) (invariant.Finding, error) {
	f := invariant.Finding{Invariant: i}
	if slices.Contains(c.o.Skip, i.ID) {
		f.Skipped = true
		return f, nil
	}
	rows, err := c.tx.Query(ctx, checkSQL[i.ID], c.since, c.floor, *c.o.Grace)
	if err != nil {
		return f, err
	}
	f.Found, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (invariant.Violation, error) {
		var v invariant.Violation
		err := row.Scan(&v.Conversation, &v.What, &f.Count)
		return v, err
	})
	if err == nil && i.ID == invariant.Aud {
		err = c.walk(ctx, &f)
	}
	return f, err
}

// walk reads the audit in order, a row at a time, and computes each entry's hash again.
func (c *check) walk(ctx context.Context, f *invariant.Finding) error {
	// Without them the whole table is sorted on disk first; in the order of its index the rows come at once.
	_, err := c.tx.Exec(ctx, "select set_config('enable_sort', 'off', true), set_config('enable_hashjoin', 'off', true)")
	if err != nil {
		return fmt.Errorf("plan the walk: %w", err)
	}
	rows, err := c.tx.Query(ctx, auditStreamSQL, c.since)
	if err != nil {
		return fmt.Errorf("walk the audit: %w", err)
	}
	defer rows.Close()
	w := &walker{finding: f}
	for rows.Next() {
		if err := w.read(rows); err != nil {
			return fmt.Errorf("read audit entry: %w", err)
		}
	}
	w.end()
	if err := rows.Err(); err != nil {
		return fmt.Errorf("walk the audit: %w", err)
	}
	_, err = c.tx.Exec(ctx, "select set_config('enable_sort', 'on', true), set_config('enable_hashjoin', 'on', true)")
	return err
}

// walker follows one chain after the other.
type walker struct {
	finding *invariant.Finding
	chain   chainEnd
	entry   audit.Entry
	length  int64
	broken  bool // the first fault of a chain is enough: the rest follows from it
}

// chainEnd is what the conversation's row knows of its chain.
type chainEnd struct {
	conversation, version, seq int64
	hash                       []byte
}

func (w *walker) read(rows pgx.Rows) error {
	var (
		end    chainEnd
		e      audit.Entry
		detail []byte // not scanned as a map: what no router wrote is a finding, not an error
	)
	err := rows.Scan(&end.conversation, &end.version, &end.seq, &end.hash, &e.Seq, &e.Tenant, &e.At, &e.Actor, &e.Verb, &e.StateFrom,
		&e.StateTo, &e.EpochFrom, &e.EpochTo, &e.Reason, &e.RuleVersion, &detail, &e.Prev, &e.Hash)
	if err != nil {
		return err
	}
	if end.conversation != w.chain.conversation {
		w.end()
		w.chain, w.entry, w.length, w.broken = end, audit.Entry{}, 0, false
	}
	if e.Seq == 0 { // the conversation has no entry
		return nil
	}
	e.Conversation = end.conversation
	if !w.broken {
		w.link(e, detail)
	}
	w.entry = e
	w.length++
	return nil
}

// link checks an entry and how it follows the one before.
func (w *walker) link(e audit.Entry, detail []byte) {
	broken := func(format string, args ...any) {
		w.broken = true
		w.report(fmt.Sprintf("entry %d ", e.Seq) + fmt.Sprintf(format, args...))
	}
	err := json.Unmarshal(detail, &e.Detail)
	switch {
	case e.Seq != w.length+1:
		broken("stands where %d is missing", w.length+1)
	case !bytes.Equal(e.Prev, w.entry.Hash):
		broken("does not follow the one before")
	case err != nil:
		broken("has a detail that no router wrote")
	case !bytes.Equal(e.Hash, e.Sum()):
		broken("was changed")
	}
}

// end checks that a chain ends where its conversation says.
func (w *walker) end() {
	c := w.chain
	switch {
	case c.conversation == 0 || w.broken:
	case c.version != w.length || c.seq != w.length:
		w.report(fmt.Sprintf("has %d entries, its version is %d and its newest entry %d", w.length, c.version, c.seq))
	case !bytes.Equal(c.hash, w.entry.Hash):
		w.report("the row does not hold the hash of its newest entry")
	}
}

func (w *walker) report(what string) {
	w.finding.Count++
	if len(w.finding.Found) < invariant.Shown {
		w.finding.Found = append(w.finding.Found, invariant.Violation{Conversation: w.chain.conversation, What: what})
	}
}

// Check is OpenChecker, one check, and Close.
func Check(ctx context.Context, c Config, o CheckOptions) (invariant.Report, error) {
	k, err := OpenChecker(ctx, c)
	if err != nil {
		return invariant.Report{}, err
	}
	defer k.Close()
	return k.Check(ctx, o)
}
