package store

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

//go:embed migrations/*.sql
var migrations embed.FS

// prismaLock is the advisory lock `prisma migrate deploy` takes, so that two starts do not migrate at once.
const prismaLock = 72707369

const migrationTable = `
CREATE TABLE IF NOT EXISTS "_prisma_migrations" (
    "id" varchar(36) PRIMARY KEY,
    "checksum" varchar(64) NOT NULL,
    "finished_at" timestamptz,
    "migration_name" varchar(255) NOT NULL,
    "logs" text,
    "rolled_back_at" timestamptz,
    "started_at" timestamptz NOT NULL DEFAULT now(),
    "applied_steps_count" integer NOT NULL DEFAULT 0
)`

// Migrate creates the schema of the URI and applies the migrations that are missing. It returns the names of those applied now; none
// when the database is current.
func Migrate(ctx context.Context, uri string) ([]string, error) {
	cfg, schema, err := parse(uri)
	if err != nil {
		return nil, err
	}
	dialCtx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(dialCtx, cfg.ConnConfig)
	if err != nil {
		return nil, fmt.Errorf("reach database server at %s:%d: %w", cfg.ConnConfig.Host, cfg.ConnConfig.Port, err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // all is committed by then

	if err := ensureSchema(ctx, conn, schema); err != nil {
		return nil, err
	}
	var applied []string
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, prismaLock); err != nil {
			return fmt.Errorf("take migration lock: %w", err)
		}
		if _, err := tx.Exec(ctx, migrationTable); err != nil {
			return fmt.Errorf("create migration table: %w", err)
		}
		applied, err = applyMissing(ctx, tx)
		return err
	})
	return applied, err
}

// ensureSchema looks first: a role that owns a ready schema need not have the right to create schemas.
func ensureSchema(ctx context.Context, conn *pgx.Conn, schema string) error {
	var exists bool
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)`, schema).Scan(&exists); err != nil {
		return fmt.Errorf("look for schema %q: %w", schema, err)
	}
	if exists {
		return nil
	}
	if _, err := conn.Exec(ctx, `CREATE SCHEMA IF NOT EXISTS `+pgx.Identifier{schema}.Sanitize()); err != nil {
		return fmt.Errorf("create schema %q: %w", schema, err)
	}
	return nil
}

func applyMissing(ctx context.Context, tx pgx.Tx) ([]string, error) {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	var applied []string
	for _, file := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(file, "migrations/"), ".sql")
		sql, err := migrations.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read migration %s: %w", name, err)
		}
		done, err := applyOne(ctx, tx, name, sql)
		if err != nil {
			return nil, err
		}
		if done {
			applied = append(applied, name)
		}
	}
	return applied, nil
}

func applyOne(ctx context.Context, tx pgx.Tx, name string, sql []byte) (done bool, err error) {
	sum := sha256.Sum256(sql)
	checksum := hex.EncodeToString(sum[:])
	var known string
	err = tx.QueryRow(ctx, `SELECT checksum FROM "_prisma_migrations" WHERE migration_name = $1`, name).Scan(&known)
	switch {
	case err == nil && known == checksum:
		return false, nil
	case err == nil:
		return false, fmt.Errorf("migration %s was changed after it was applied: start from an empty schema", name)
	case !errors.Is(err, pgx.ErrNoRows):
		return false, fmt.Errorf("look for migration %s: %w", name, err)
	}
	if _, err := tx.Exec(ctx, string(sql)); err != nil {
		return false, fmt.Errorf("apply migration %s: %w", name, err)
	}
	if _, err := tx.Exec(ctx, `INSERT INTO "_prisma_migrations" (id, checksum, finished_at, migration_name, applied_steps_count)
		VALUES (gen_random_uuid()::text, $1, now(), $2, 1)`, checksum, name); err != nil {
		return false, fmt.Errorf("record migration %s: %w", name, err)
	}
	return true, nil
}

// Ready reports an error that says what to do when Migrate has not been run.
func (s *Store) Ready(ctx context.Context) error {
	_, err := s.pool.Exec(ctx, `SELECT 1 FROM "Instance" LIMIT 1`)
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Code == "42P01" {
		return errors.New("the database has no table \"Instance\": run deploy-database first")
	}
	if err != nil {
		return fmt.Errorf("read table \"Instance\": %w", err)
	}
	return nil
}
