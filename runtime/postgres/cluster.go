package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"plantao/runtime/conversation"
)

var (
	clusterSQL        = query("cluster")
	enterClusterSQL   = query("enter_cluster")
	nextGenerationSQL = query("next_generation")
	ownedByAISQL      = query("owned_by_ai")
)

// ErrStandby is a connection to a server that only follows another: what it says may be old, and it commits nothing.
var ErrStandby = errors.New("database is a standby; connect to the primary")

// standing is where a connection stands, and where the router last stood.
type standing struct {
	standby                     bool
	system, knownSystem         string
	timeline, known, generation int64
}

// join looks at each new connection: a server on another timeline, or another server, may have lost commits that the
// outside world has seen. Then the generation grows, every conversation an AI has is suspended under an epoch beyond any
// that was lost, and the rest get theirs at their next change of owner. Whoever looks first does this; the others wait.
func (s *Store) join(ctx context.Context, conn *pgx.Conn) error {
	st, err := look(ctx, conn)
	if sqlState(err) == "42P01" { // undefined table: an older schema, which CheckSchema refuses
		return nil
	}
	if err != nil {
		return fmt.Errorf("look where the database stands: %w", err)
	}
	switch {
	case st.standby:
		return ErrStandby
	case st.generation == 0:
		if _, err := conn.Exec(ctx, enterClusterSQL, st.system, st.timeline); err != nil {
			return fmt.Errorf("enter cluster: %w", err)
		}
		s.cluster.Store(1)
	case st.system != st.knownSystem || st.timeline != st.known:
		if err := s.recover(ctx, conn, st); err != nil {
			return fmt.Errorf("recover after a failover: %w", err)
		}
	default:
		s.cluster.Store(st.generation)
	}
	return nil
}

func look(ctx context.Context, conn *pgx.Conn) (standing, error) {
	var st standing
	err := conn.QueryRow(ctx, clusterSQL).
		Scan(&st.standby, &st.system, &st.timeline, &st.knownSystem, &st.known, &st.generation)
	return st, err
}

func (s *Store) recover(ctx context.Context, conn *pgx.Conn, st standing) error {
	suspended := -1
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		var generation int64
		err := tx.QueryRow(ctx, nextGenerationSQL, st.system, st.timeline).Scan(&generation)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil // another router was first
		}
		if err != nil {
			return err
		}
		suspended, err = suspendAI(ctx, tx, generation)
		return err
	})
	if err != nil {
		return err
	}
	again, err := look(ctx, conn)
	if err != nil {
		return err
	}
	s.cluster.Store(again.generation)
	if s.recovered != nil && suspended >= 0 {
		s.recovered(again.generation, suspended)
	}
	return nil
}

// suspendAI suspends every conversation an AI has.
func suspendAI(ctx context.Context, tx pgx.Tx, generation int64) (int, error) {
	rows, err := tx.Query(ctx, ownedByAISQL)
	if err != nil {
		return 0, err
	}
	type key struct {
		id     conversation.ID
		tenant string
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (key, error) {
		var k key
		err := row.Scan(&k.id, &k.tenant)
		return k, err
	})
	if err != nil {
		return 0, err
	}
	for _, k := range list {
		p := &pipe{tx: tx, batch: &pgx.Batch{}}
		row, _, err := p.lockFor(ctx, conversation.Command{Conversation: k.id, Tenant: k.tenant})
		if err != nil {
			return 0, err
		}
		change, err := conversation.Decide(row.Conversation, conversation.Command{
			Verb: conversation.VerbRecover, Conversation: k.id, Tenant: k.tenant, IfEpoch: row.Epoch, Actor: conversation.Router,
			Reason: "commits_may_be_lost",
		}, conversation.Terms{Now: row.now, Cluster: generation})
		if err != nil {
			return 0, err
		}
		if _, err := p.write(row, change, nil); err != nil {
			return 0, err
		}
		if err := p.flush(ctx); err != nil {
			return 0, err
		}
	}
	return len(list), nil
}
