package postgres_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

// Races whose window is too short to be met by chance: a transaction of the test's own holds the row everybody waits for,
// and lets go when they stand in line.

// hold begins a transaction that has run the statement.
func (w *world) hold(sql string, args ...any) pgx.Tx {
	w.t.Helper()
	tx, err := w.db.Conn(w.t).Begin(w.t.Context())
	require.NoError(w.t, err)
	_, err = tx.Exec(w.t.Context(), sql, args...)
	require.NoError(w.t, err)
	return tx
}

// inLine waits until so many connections wait for a lock.
func (w *world) inLine(n int) {
	w.t.Helper()
	require.Eventually(w.t, func() bool {
		var waiting int
		err := w.pg.QueryRow(context.Background(), `select count(*) from pg_stat_activity
			where datname = current_database() and wait_event_type = 'Lock'`).Scan(&waiting)
		return err == nil && waiting == n
	}, 10*time.Second, 2*time.Millisecond)
}

// inOrder starts functions one after another, each when the one before waits for what tx holds, lets go, and returns their errors.
func (w *world) inOrder(tx pgx.Tx, functions ...func() error) []error {
	w.t.Helper()
	failures := make([]chan error, len(functions))
	for i, f := range functions {
		failures[i] = make(chan error, 1)
		go func() { failures[i] <- f() }()
		w.inLine(i + 1)
	}
	require.NoError(w.t, tx.Commit(w.t.Context()))
	var all []error
	for _, f := range failures {
		all = append(all, <-f)
	}
	return all
}

func TestChangeOfOwnerAndFateOfAPartTakeTurns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	part := func(turn conversation.Turn) conversation.PartRef {
		return conversation.PartRef{TurnRef: turn.TurnRef, Part: 1}
	}
	fates := map[string]func(conversation.Turn) (bool, error){
		"sent": func(turn conversation.Turn) (bool, error) {
			return w.store.Sent(context.Background(), part(turn), conversation.Delivery{MessageID: uuid.NewString()})
		},
		"proved": func(turn conversation.Turn) (bool, error) {
			return w.store.Prove(context.Background(), conversation.AmbiguousPart{Tenant: "default", Conversation: turn.Conversation, No: turn.No, Part: 1},
				conversation.Delivery{MessageID: uuid.NewString()})
		},
		"not sent": func(turn conversation.Turn) (bool, error) { return w.store.Unsent(context.Background(), part(turn)) },
	}
	for _, c := range []struct{ fate, first, want string }{
		{"sent", "fate", "cancelled; sent, dropped; done"},
		{"sent", "take", "done; sent, dropped; done"},
		{"proved", "fate", "cancelled; sent, dropped; done"},
		{"proved", "take", "done; sent, dropped; done"},
		{"not sent", "fate", "cancelled; dropped, dropped; pending"},
		{"not sent", "take", "replied; queued, dropped; taken"}, // the gate refuses it, and then it is cancelled
	} {
		turn := w.replied("um", "dois")
		require.True(t, w.pass(turn.TurnRef, 1))
		if c.fate == "proved" {
			ok, err := w.store.Unknown(t.Context(), part(turn), "timeout")
			require.NoError(t, err)
			require.True(t, ok)
		}
		tell := func() error {
			ok, err := fates[c.fate](turn)
			require.True(t, ok || err != nil)
			return err
		}
		take := func() error {
			_, err := w.store.Do(context.Background(), conversation.Command{Verb: conversation.VerbTake, Tenant: "default",
				Conversation: turn.Conversation, IfEpoch: conversation.AnyEpoch, Actor: conversation.Actor{Kind: conversation.ActorHuman, ID: "ana"}})
			return err
		}
		order := []func() error{tell, take}
		if c.first == "take" {
			order = []func() error{take, tell}
		}
		tx := w.hold("select 1 from turn where conversation_id = $1 and no = $2 for update", turn.Conversation, turn.No)
		for _, err := range w.inOrder(tx, order...) {
			require.NoError(t, err)
		}
		got := strings.Join([]string{
			w.text("select state from turn where conversation_id = $1 and no = $2", turn.Conversation, turn.No),
			w.text("select string_agg(state, ', ' order by part) from outbox where conversation_id = $1 and no = $2", turn.Conversation, turn.No),
			w.text("select state from inbox where wa_id = $1", turn.Messages[0].ID),
		}, "; ")
		require.Equal(t, c.want, got, "%s, %s first", c.fate, c.first)
		if strings.HasPrefix(got, "replied") {
			require.False(t, w.pass(turn.TurnRef, 1))
			require.NoError(t, w.store.Cancel(t.Context(), turn.TurnRef, conversation.ReasonOwnerChanged))
		}
		// The next round begins with the AI, and nothing waiting.
		for _, v := range []conversation.Verb{conversation.VerbClose, conversation.VerbReopen} {
			epoch := int64(0)
			require.NoError(t, w.pg.QueryRow(t.Context(), "select epoch from conversation where id = $1", turn.Conversation).Scan(&epoch))
			_, err := w.store.Do(t.Context(), conversation.Command{Verb: v, Tenant: "default", Conversation: turn.Conversation, IfEpoch: epoch, Actor: conversation.Router})
			require.NoError(t, err)
		}
	}
}

// TestAnswerWaitsForATakeThatHasNotCommitted: the epoch alone refuses it, whatever becomes of the turn.
func TestAnswerWaitsForATakeThatHasNotCommitted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	turn := w.turn()
	failures := w.inOrder(w.hold(takeSQL, turn.Conversation), func() error {
		return w.store.Reply(context.Background(), turn.TurnRef, turn.Token, []conversation.Part{{Text: "um"}})
	})
	require.ErrorIs(t, failures[0], conversation.ErrStaleEpoch)
	require.Equal(t, "running 0", w.text("select state || ' ' || (select count(*) from outbox) from turn"))
}

// TestGiversToABoundedAgentTakeTurns: the second of two gives waits, and then counts the first.
func TestGiversToABoundedAgentTakeTurns(t *testing.T) {
	t.Parallel()
	d := newDesk(t, newWorld(t).db)
	one := 1
	require.NoError(t, d.store.PutAgent(t.Context(), conversation.Agent{Tenant: "default", Owner: toAna, Capacity: &one}))
	first, second := d.talk(toF), d.talk(toF)
	tx := d.hold(`update conversation set state = 'HUMAN_ACTIVE', owner_kind = 'human', owner_id = 'ana', given = true, epoch = epoch + 1 where id = $1`, first)
	_, err := tx.Exec(t.Context(), "select check_capacity('default', 'human', 'ana')")
	require.NoError(t, err)
	c := d.handOver(d.find(second), "k")
	failures := d.inOrder(tx, func() error {
		_, err := d.store.Do(context.Background(), c)
		return err
	})
	require.ErrorIs(t, failures[0], conversation.ErrAtCapacity)
	d.stands(second, "AI_ACTIVE ai:f 1")
}
