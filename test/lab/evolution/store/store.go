// Package store keeps the stand-in's state in PostgreSQL, in tables named as upstream's.
package store

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ErrNotFound means that no row matches.
var ErrNotFound = errors.New("no such row")

// connectTimeout is what Prisma waits for a database, 5 s.
const connectTimeout = 5 * time.Second

// Store is the database. It is safe for concurrent use.
type Store struct {
	pool *pgxpool.Pool
}

// Open connects to the database of a Prisma-style URI and asks it for an answer. The caller closes the store.
func Open(ctx context.Context, uri string) (*Store, error) {
	cfg, _, err := parse(uri)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("make connection pool: %w", err)
	}
	pingCtx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if err := pool.Ping(pingCtx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("reach database server at %s:%d: %w", cfg.ConnConfig.Host, cfg.ConnConfig.Port, err)
	}
	return &Store{pool: pool}, nil
}

// Close ends all connections.
func (s *Store) Close() { s.pool.Close() }

// prismaOnly are the parameters of a Prisma URL that PostgreSQL itself does not know.
var prismaOnly = []string{"schema", "connection_limit", "pool_timeout", "pgbouncer", "socket_timeout", "statement_cache_size", "sslaccept", "sslidentity", "sslpassword"}

// parse turns a Prisma-style URI into a pool configuration whose search path is the schema it names (default public).
func parse(uri string) (cfg *pgxpool.Config, schema string, err error) {
	u, err := url.Parse(uri)
	if err != nil {
		// The cause would print the password.
		return nil, "", errors.New("read DATABASE_CONNECTION_URI: not a URL; percent-encode special characters of the password")
	}
	query := u.Query()
	if schema = query.Get("schema"); schema == "" {
		schema = "public"
	}
	for _, name := range prismaOnly {
		query.Del(name)
	}
	u.RawQuery = query.Encode()
	cfg, err = pgxpool.ParseConfig(u.String())
	if err != nil {
		return nil, "", errors.New("read DATABASE_CONNECTION_URI: a part of it is not understood; expected postgresql://user:password@host:5432/database?schema=evolution_api")
	}
	cfg.ConnConfig.RuntimeParams["search_path"] = pgx.Identifier{schema}.Sanitize()
	cfg.ConnConfig.ConnectTimeout = connectTimeout
	return cfg, schema, nil
}

// newID makes an id that looks like Prisma's cuid: a c and 24 characters.
func newID() string {
	return "c" + randomText(24)
}

func randomText(n int) string {
	const letters = "0123456789abcdefghijklmnopqrstuvwxyz"
	b := make([]byte, n)
	_, _ = rand.Read(b) // crypto/rand never fails since Go 1.24
	for i := range b {
		b[i] = letters[int(b[i])%len(letters)]
	}
	return string(b)
}

// jsonParam makes a jsonb parameter; nil becomes SQL NULL rather than the JSON null.
func jsonParam(v any) (any, error) {
	if v == nil {
		return nil, nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode json column: %w", err)
	}
	return string(b), nil
}

func notFound(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNotFound
	}
	return err
}
