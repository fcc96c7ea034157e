package postgres_test

import (
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// TestPlansStayOnTheirIndexes: what runs for every turn, or at every look, reads by an index made for it, however long the history
// is. Planned as the router's connections plan: once, for any values.
func TestPlansStayOnTheirIndexes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec("set enable_seqscan = off")
	w.exec("set plan_cache_mode = force_generic_plan")
	for _, c := range []struct {
		statement, values string
		want              []string
	}{
		{"history", "1, 1, 20", []string{"inbox_history", "Index Scan Backward using outbox_pkey"}},
		{"untold_stretch", "1, 1, 1", []string{"human_stretch_pkey", "Index Scan Backward using turn_pkey"}},
		{"contact_ids", "1", []string{"alias_conversation"}},
		{"told", "1, 1", []string{"Index Scan Backward using audit_pkey", "handover_pkey"}},
		{"followings", "10", []string{"turn_follow"}},
		{"due_conversation", "'{}', '1 min'", []string{"conversation_due", "one_turn", "turn_follow"}},
		{"next_due", "'{}', 3", []string{"conversation_due", "one_turn", "turn_follow"}},
		{"judge_promises", "10", []string{"promise_due", "audit_pkey", "turn_pkey", "outbox_pkey", "inbox_history"}},
		{"restart_conversation", "3, '1 min'", []string{"conversation_due", "one_turn", "agent_pkey"}},
	} {
		text, err := os.ReadFile("sql/" + c.statement + ".sql")
		require.NoError(t, err)
		w.exec("prepare " + c.statement + " as " + string(text))
		rows, err := w.pg.Query(t.Context(), "explain execute "+c.statement+"("+c.values+")")
		require.NoError(t, err)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		plan := strings.Join(lines, "\n")
		for _, want := range c.want {
			require.Contains(t, plan, want, "%s:\n%s", c.statement, plan)
		}
		if c.statement != "told" { // which joins at most a hundred entries it has read
			require.NotContains(t, plan, "Join Filter", "a row is found by its key, %s:\n%s", c.statement, plan)
		}
		require.NotContains(t, plan, "Seq Scan", "%s:\n%s", c.statement, plan)
	}
}
