package standin

import (
	"context"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"path"
	"sort"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

//go:embed schema/*.sql
var schemaFiles embed.FS

// onboardingKey is the physical Redis key of upstream's Redis::Alfred::CHATWOOT_INSTALLATION_ONBOARDING.
const onboardingKey = "alfred:CHATWOOT_INSTALLATION_ONBOARDING"

// prepareLock keeps two prepare runs apart, as Rails' migrations take an advisory lock. The number is only a name.
const prepareLock = 4_318_215_709

var extensions = [...]string{"pg_stat_statements", "pg_trgm", "pgcrypto", "vector"}

// querier is what pool, connection and transaction have in common.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// Prepare is db:chatwoot_prepare: schema and seed when the database is empty, missing migrations otherwise; a second
// run changes nothing. The seed sets the onboarding key. Progress goes to out, one line per step.
func (a *App) Prepare(ctx context.Context, out io.Writer) error {
	conn, err := a.db.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("reach the database: %w", err)
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, `SELECT pg_advisory_lock($1)`, int64(prepareLock)); err != nil {
		return fmt.Errorf("lock migrations: %w", err)
	}
	defer func() {
		_, _ = conn.Exec(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1)`, int64(prepareLock))
	}()
	var empty bool
	if err := conn.QueryRow(ctx, `SELECT to_regclass('ar_internal_metadata') IS NULL`).Scan(&empty); err != nil {
		return fmt.Errorf("look for the schema: %w", err)
	}
	if empty {
		if err := a.loadSchema(ctx, conn, out); err != nil {
			return err
		}
	}
	return migrate(ctx, conn, out)
}

// loadSchema makes the book-keeping tables, the extensions, every table, and the seed. Redis is written last but inside
// the transaction: without it no row is kept, and the next run seeds again.
func (a *App) loadSchema(ctx context.Context, conn querier, out io.Writer) error {
	if err := enableExtensions(ctx, conn, out); err != nil {
		return err
	}
	pending, err := migrationNames()
	if err != nil {
		return err
	}
	return a.inTx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `CREATE TABLE schema_migrations (version text PRIMARY KEY);
			CREATE TABLE ar_internal_metadata (key text PRIMARY KEY, value text NOT NULL);
			INSERT INTO ar_internal_metadata VALUES ('environment', 'production')`)
		if err != nil {
			return fmt.Errorf("make book-keeping tables: %w", err)
		}
		for _, name := range pending {
			if err := applyMigration(ctx, tx, name); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, `INSERT INTO installation_configs VALUES ('INSTALLATION_NAME', 'Chatwoot'), ('WEBHOOK_TIMEOUT', '5')`); err != nil {
			return fmt.Errorf("seed installation configs: %w", err)
		}
		if err := a.redis.Set(ctx, onboardingKey, "true", 0).Err(); err != nil {
			return fmt.Errorf("seed the onboarding key: %w", err)
		}
		_, _ = fmt.Fprintln(out, "schema loaded, seed written; installation onboarding is open")
		return nil
	})
}

// enableExtensions does what upstream's schema.rb does. An extension the server does not have at all (vector in a lab
// without pgvector) is only noted: nothing of the stand-in needs it. One that is there but needs a superuser is
// refused, because the real image would stop at the same place.
func enableExtensions(ctx context.Context, conn querier, out io.Writer) error {
	for _, name := range extensions {
		var available, installed bool
		err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = $1),
			EXISTS (SELECT FROM pg_extension WHERE extname = $1)`, name).Scan(&available, &installed)
		if err != nil {
			return fmt.Errorf("look for extension %s: %w", name, err)
		}
		if installed {
			continue
		}
		if !available {
			_, _ = fmt.Fprintf(out, "extension %s is not installed on this server; the real image needs it\n", name)
			continue
		}
		if _, err := conn.Exec(ctx, `CREATE EXTENSION IF NOT EXISTS `+pgx.Identifier{name}.Sanitize()); err != nil {
			return fmt.Errorf("enable extension %s: %w; create it once as superuser in Chatwoot's database", name, err)
		}
	}
	return nil
}

func migrate(ctx context.Context, conn querier, out io.Writer) error {
	pending, err := pendingMigrations(ctx, conn)
	if err != nil {
		return err
	}
	for _, name := range pending {
		if _, err := conn.Exec(ctx, "BEGIN"); err != nil {
			return fmt.Errorf("begin migration %s: %w", name, err)
		}
		if err := applyMigration(ctx, conn, name); err != nil {
			_, _ = conn.Exec(context.WithoutCancel(ctx), "ROLLBACK")
			return err
		}
		if _, err := conn.Exec(ctx, "COMMIT"); err != nil {
			return fmt.Errorf("commit migration %s: %w", name, err)
		}
		_, _ = fmt.Fprintf(out, "migrated %s\n", name)
	}
	return nil
}

func applyMigration(ctx context.Context, q querier, name string) error {
	sql, err := schemaFiles.ReadFile(path.Join("schema", name+".sql"))
	if err != nil {
		return fmt.Errorf("read migration %s: %w", name, err)
	}
	if _, err := q.Exec(ctx, string(sql)); err != nil {
		return fmt.Errorf("apply migration %s: %w", name, err)
	}
	if _, err := q.Exec(ctx, `INSERT INTO schema_migrations VALUES ($1)`, name); err != nil {
		return fmt.Errorf("record migration %s: %w", name, err)
	}
	return nil
}

func migrationNames() ([]string, error) {
	files, err := fs.Glob(schemaFiles, "schema/*.sql")
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	names := make([]string, 0, len(files))
	for _, f := range files {
		names = append(names, strings.TrimSuffix(path.Base(f), ".sql"))
	}
	sort.Strings(names)
	return names, nil
}

func pendingMigrations(ctx context.Context, q querier) ([]string, error) {
	names, err := migrationNames()
	if err != nil {
		return nil, err
	}
	rows, err := q.Query(ctx, `SELECT version FROM schema_migrations`)
	if err != nil {
		return nil, fmt.Errorf("read schema versions: %w", err)
	}
	applied, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("read schema versions: %w", err)
	}
	have := map[string]bool{}
	for _, v := range applied {
		have[v] = true
	}
	var pending []string
	for _, n := range names {
		if !have[n] {
			pending = append(pending, n)
		}
	}
	return pending, nil
}
