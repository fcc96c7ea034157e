package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"plantao/migrations"
)

var schemaVersionSQL = query("schema_version")

// ErrSchema is a database whose schema is not the one this binary was built for.
var ErrSchema = errors.New("database schema does not fit this binary")

// CheckSchema compares the database's schema version with the embedded one. The error says what to do.
func (s *Store) CheckSchema(ctx context.Context) error {
	want, err := migrations.Version()
	if err != nil {
		return err
	}
	have, err := s.schemaVersion(ctx)
	if err != nil {
		return err
	}
	switch {
	case have < want:
		return fmt.Errorf("%w: it has version %d, this binary needs %d; run `router migrate`", ErrSchema, have, want)
	case have > want:
		return fmt.Errorf("%w: it has version %d, this binary knows %d; start the newer router", ErrSchema, have, want)
	}
	return nil
}

func (s *Store) schemaVersion(ctx context.Context) (int64, error) {
	var v int64
	err := again(ctx, func() error { return s.pool.QueryRow(ctx, schemaVersionSQL).Scan(&v) })
	if sqlState(err) == "42P01" { // undefined table: nothing was ever migrated
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read schema version: %w", err)
	}
	return v, nil
}

// Migrate brings the database to the embedded schema version and returns the names of the migrations it applied, none if
// there was nothing to do. An advisory lock makes processes that migrate at once take turns.
func Migrate(ctx context.Context, c Config) (applied []string, err error) {
	cc, err := pgx.ParseConfig(c.URL)
	if err != nil {
		return nil, fmt.Errorf("read database url: %w", err)
	}
	c.apply(cc)
	for _, limit := range []string{"statement_timeout", "idle_in_transaction_session_timeout"} {
		delete(cc.RuntimeParams, limit) // a migration may rewrite a large table
	}
	db := stdlib.OpenDB(*cc)
	defer func() { err = errors.Join(err, db.Close()) }()

	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300)) // every second, five minutes
	if err != nil {
		return nil, fmt.Errorf("prepare migration lock: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, migrations.Files,
		goose.WithSessionLocker(locker), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return nil, fmt.Errorf("read embedded migrations: %w", err)
	}
	results, err := provider.Up(ctx)
	var partial *goose.PartialError
	if errors.As(err, &partial) {
		results = partial.Applied // a failed migration does not undo those before it
	}
	for _, r := range results {
		applied = append(applied, r.Source.Path)
	}
	if err != nil {
		return applied, fmt.Errorf("migrate database: %w", err)
	}
	return applied, nil
}
