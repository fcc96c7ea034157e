package postgres_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/stretchr/testify/require"

	"plantao/migrations"
	"plantao/runtime/postgres/postgrestest"
)

// TestMigrationsGoBack: a release that has to be taken back finds the schema it knew, and the next one can be tried again.
func TestMigrationsGoBack(t *testing.T) {
	t.Parallel()
	cc, err := pgx.ParseConfig(postgrestest.New(t).URL)
	require.NoError(t, err)
	db := stdlib.OpenDB(*cc)
	t.Cleanup(func() { db.Close() })
	provider, err := goose.NewProvider(goose.DialectPostgres, db, migrations.Files, goose.WithDisableGlobalRegistry(true))
	require.NoError(t, err)
	for range 2 {
		_, err = provider.DownTo(t.Context(), 0)
		require.NoError(t, err)
		var left int
		require.NoError(t, db.QueryRow("select count(*) from pg_class where relnamespace = 'public'::regnamespace and relname not like 'goose%'").Scan(&left))
		require.Zero(t, left)
		_, err = provider.Up(t.Context())
		require.NoError(t, err)
	}
}
