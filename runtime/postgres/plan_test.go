package postgres_test

import (
	"os"
	"slices"
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
		{"due_conversation", "'{}', '1 min', '{}'", []string{"conversation_due", "one_turn", "turn_follow"}},
		{"unrouted", "100, 64", []string{"conversation_unrouted"}},
		{"due_plans", "100", []string{"plan_due", "conversation_pkey"}},
		{"next_due", "'{}', 3", []string{"conversation_due", "one_turn", "turn_follow"}},
		{"judge_promises", "10", []string{"promise_due", "audit_pkey", "turn_pkey", "outbox_pkey", "inbox_history"}},
		{"decisions", "'default', now(), 0, 0, 100, 64", []string{"audit_claim", "Index Scan Backward using audit_pkey", "inbox_pending", "inbox_turn",
			"Index Scan Backward using inbox_history", "Index Scan Backward using turn_pkey", "human_stretch_pkey", "dead_letter_conversation", "inbox_pkey"}},
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
		// Those join at most a hundred entries they have read, or ask whether there are rules at all.
		if !slices.Contains([]string{"told", "unrouted"}, c.statement) {
			require.NotContains(t, plan, "Join Filter", "a row is found by its key, %s:\n%s", c.statement, plan)
		}
		// Each channel is looked into, and there are few.
		require.NotContains(t, strings.ReplaceAll(plan, "Seq Scan on channel ch", ""), "Seq Scan", "%s:\n%s", c.statement, plan)
	}
}
