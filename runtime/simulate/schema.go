package simulate

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"plantao/runtime/postgres"
)

const (
	schemaPrefix = "router_simulation_"
	// dropTimeout bounds the removal of the schema, also after the simulation was interrupted.
	dropTimeout = 30 * time.Second
)

// ErrRefused is a database in which no schema can be made. The error says what to do.
var ErrRefused = errors.New("the simulation needs a schema of its own")

// scratch is a throw-away schema with the router's tables.
type scratch struct {
	postgres.Config // reaches the schema and nothing else
	name            string
	admin           *pgx.Conn // without the schema in its path
}

// newScratch makes a schema and migrates the router's tables into it.
func newScratch(ctx context.Context, c postgres.Config, round int) (*scratch, error) {
	name := fmt.Sprintf("%s%d_%d_%d", schemaPrefix, time.Now().Unix(), os.Getpid(), round)
	admin, err := dial(ctx, c)
	if err != nil {
		return nil, err
	}
	s := &scratch{name: name, admin: admin}
	if err := s.create(ctx, c); err != nil {
		return nil, errors.Join(err, s.drop())
	}
	return s, nil
}

func dial(ctx context.Context, c postgres.Config) (*pgx.Conn, error) {
	cc, err := pgx.ParseConfig(c.URL)
	if err != nil {
		return nil, fmt.Errorf("read database url: %w", err)
	}
	if c.Password != "" {
		cc.Password = c.Password
	}
	conn, err := pgx.ConnectConfig(ctx, cc)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return conn, nil
}

func (s *scratch) create(ctx context.Context, c postgres.Config) error {
	var (
		may            bool
		role, database string
	)
	err := s.admin.QueryRow(ctx, "select has_database_privilege(current_database(), 'create'), current_user, current_database()").
		Scan(&may, &role, &database)
	switch {
	case err != nil:
		return fmt.Errorf("ask for the right to create a schema: %w", err)
	case !may:
		return fmt.Errorf("%w: role %q may not create one in database %q; run `grant create on database %s to %s` as its owner, "+
			"or name another database for the simulation", ErrRefused, role, database, quoted(database), quoted(role))
	}
	if _, err := s.admin.Exec(ctx, "create schema "+quoted(s.name)); err != nil {
		return fmt.Errorf("create schema %s: %w", s.name, err)
	}
	if s.Config, err = within(c, s.name); err != nil {
		return err
	}
	if _, err := postgres.Migrate(ctx, s.Config); err != nil {
		return fmt.Errorf("fill schema %s: %w", s.name, err)
	}
	return nil
}

// within is the configuration whose connections see the schema only. They do not wait for the disk: nothing here outlives
// the simulation.
func within(c postgres.Config, schema string) (postgres.Config, error) {
	u, err := url.Parse(c.URL)
	if err != nil {
		return c, fmt.Errorf("read database url: %w", err)
	}
	q := u.Query()
	q.Set("search_path", schema)
	q.Set("synchronous_commit", "off")
	u.RawQuery = q.Encode()
	c.URL, c.MaxConns, c.AppName = u.String(), 2, "router-simulate"
	return c, nil
}

// drop removes the schema, whatever became of the caller's context.
func (s *scratch) drop() error {
	ctx, cancel := context.WithTimeout(context.Background(), dropTimeout)
	defer cancel()
	// An interrupt may have broken the connection in the middle of a statement.
	if s.admin.IsClosed() {
		conn, err := pgx.ConnectConfig(ctx, s.admin.Config())
		if err != nil {
			return fmt.Errorf("drop schema %s: %w; drop it by hand", s.name, err)
		}
		s.admin = conn
	}
	defer func() { _ = s.admin.Close(ctx) }()
	if _, err := s.admin.Exec(ctx, "set client_min_messages = warning; drop schema if exists "+quoted(s.name)+" cascade"); err != nil {
		return fmt.Errorf("drop schema %s: %w; drop it by hand", s.name, err)
	}
	return nil
}

func quoted(identifier string) string {
	return `"` + strings.ReplaceAll(identifier, `"`, `""`) + `"`
}
