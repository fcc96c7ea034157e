package postgres

import (
	"context"
	"fmt"
	"time"
)

var statsSQL = query("stats")

// Stats counts the open rows. States without rows are absent from the maps.
type Stats struct {
	Pending       int64         // messages of conversations that wait for a turn or an owner
	OldestPending time.Duration // age by the database clock; zero if nothing is pending
	Turns         map[string]int64
	Parts         map[string]int64
	DeadLetters   int64         // open ones
	Mirror        int64         // conversations Chatwoot may not show as they are
	OldestMirror  time.Duration // for how long that has been so
}

// Stats reads the counts in one statement.
func (s *Store) Stats(ctx context.Context) (Stats, error) {
	st := Stats{Turns: map[string]int64{}, Parts: map[string]int64{}}
	rows, err := s.pool.Query(ctx, statsSQL)
	if err != nil {
		return Stats{}, fmt.Errorf("count open rows: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var (
			what, state string
			n           int64
			age         float64
		)
		if err := rows.Scan(&what, &state, &n, &age); err != nil {
			return Stats{}, fmt.Errorf("count open rows: %w", err)
		}
		switch what {
		case "inbox":
			st.Pending, st.OldestPending = n, time.Duration(age*float64(time.Second))
		case "mirror":
			st.Mirror, st.OldestMirror = n, max(0, time.Duration(age*float64(time.Second)))
		case "turn":
			st.Turns[state] = n
		case "letter":
			st.DeadLetters = n
		case "part":
			st.Parts[state] = n
		}
	}
	if err := rows.Err(); err != nil {
		return Stats{}, fmt.Errorf("count open rows: %w", err)
	}
	return st, nil
}
