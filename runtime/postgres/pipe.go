package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// pipe is a transaction whose statements travel together: begin with the first ones, commit with the last. A verb is two
// round trips that way, where a statement at a time would be seven.
type pipe struct {
	tx        sender
	batch     *pgx.Batch
	committed bool
}

// sender is a connection, or a transaction somebody else began and ends.
type sender interface {
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// transact runs fn in a transaction, again when PostgreSQL broke it off for another one's sake. fn may commit; if it does not,
// or fails, nothing has happened.
func (s *Store) transact(ctx context.Context, fn func(*pipe) error) error {
	return again(ctx, func() error {
		conn, err := s.pool.Acquire(ctx)
		if err != nil {
			return err
		}
		defer conn.Release()
		p := &pipe{tx: conn, batch: &pgx.Batch{}}
		p.batch.Queue("begin")
		err = fn(p)
		if !p.committed {
			// A connection that cannot even roll back is closed by the pool: it sees the open transaction.
			_, _ = conn.Exec(context.WithoutCancel(ctx), "rollback")
		}
		return err
	})
}

// queue adds a statement to the next round trip.
func (p *pipe) queue(sql string, args ...any) *pgx.QueuedQuery { return p.batch.Queue(sql, args...) }

// ask queues a statement that may yield one row, sends what is queued and says whether there was one. For pgx, no row in a QueryRow
// is a batch that failed, of which it forgets all statements: a look that finds nothing would have the next one parse and plan
// them anew, two round trips away from the turn a customer waits for.
func (p *pipe) ask(ctx context.Context, scan func(pgx.Row) error, sql string, args ...any) (found bool, err error) {
	p.queue(sql, args...).Query(func(rows pgx.Rows) error {
		defer rows.Close()
		if found = rows.Next(); found {
			if err := scan(rows); err != nil {
				return err
			}
		}
		rows.Close()
		return rows.Err()
	})
	err = p.flush(ctx)
	return found, err
}

// flush sends what is queued and reads the answers.
func (p *pipe) flush(ctx context.Context) error {
	batch := p.batch
	p.batch = &pgx.Batch{}
	return p.tx.SendBatch(ctx, batch).Close()
}

// commit sends what is queued and commits. An error after which the outcome is unknown is not one of those that are tried
// again: the caller's idempotency key tells.
func (p *pipe) commit(ctx context.Context) error {
	var tag string
	p.batch.Queue("commit")
	last := p.batch.QueuedQueries[p.batch.Len()-1]
	last.Exec(func(ct pgconn.CommandTag) error {
		tag = ct.String()
		return nil
	})
	if err := p.flush(ctx); err != nil {
		return err
	}
	if tag != "COMMIT" { // a failed transaction answers ROLLBACK
		return fmt.Errorf("commit: the database answered %q: %w", tag, errRolledBack)
	}
	p.committed = true
	return nil
}

var errRolledBack = errors.New("transaction was rolled back")
