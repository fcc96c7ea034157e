package postgres_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

func (w *world) connected(state conversation.ConnectionState, reason string, ago time.Duration) (before conversation.Connection, changed bool) {
	w.t.Helper()
	before, changed, err := w.store.SetConnection(w.t.Context(), "p", conversation.Connection{State: state, Reason: reason}, ago)
	require.NoError(w.t, err)
	return before, changed
}

func (w *world) line() conversation.Line {
	w.t.Helper()
	list, err := w.store.Lines(w.t.Context(), "default")
	require.NoError(w.t, err)
	require.Len(w.t, list, 1)
	return list[0]
}

func TestConnectionIsWhatTheLatestLookFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.Equal(t, conversation.ConnectionUnknown, w.line().State)
	require.Zero(t, w.line().Since)
	before, changed := w.connected(conversation.ConnectionClosed, "401", 10*time.Second)
	require.True(t, changed)
	require.Equal(t, conversation.ConnectionUnknown, before.State)
	_, changed = w.connected(conversation.ConnectionOpen, "", 20*time.Second)
	require.False(t, changed, "a look whose answer was overtaken")
	_, changed = w.connected(conversation.ConnectionClosed, "", 0)
	require.False(t, changed, "asking tells no reason: the one that is known stays")
	require.Equal(t, conversation.Connection{State: conversation.ConnectionClosed, Reason: "401"}, w.line().Connection)
	before, changed = w.connected(conversation.ConnectionOpen, "", 0)
	require.True(t, changed)
	require.Equal(t, conversation.ConnectionClosed, before.State)
	require.Empty(t, w.line().Reason)
	_, changed, err := w.store.SetConnection(t.Context(), "nobody", conversation.Connection{State: conversation.ConnectionOpen}, 0)
	require.NoError(t, err)
	require.False(t, changed)
	other, err := w.store.Lines(t.Context(), "another")
	require.NoError(t, err)
	require.Empty(t, other)
}

func TestSweepIsOnesAndMovesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.store.DueSweep(t.Context(), time.Hour)
	require.ErrorIs(t, err, conversation.ErrNothingDue, "of a channel that is not connected nothing can be said")
	w.connected(conversation.ConnectionOpen, "", 0)
	first, err := w.store.DueSweep(t.Context(), time.Hour)
	require.NoError(t, err)
	require.Equal(t, "p", first.Name)
	require.Equal(t, w.line().SweptTo, first.From)
	_, err = w.store.DueSweep(t.Context(), time.Hour)
	require.ErrorIs(t, err, conversation.ErrNothingDue, "one at a time")

	to := first.Now.Add(time.Minute)
	ours, err := w.store.Swept(t.Context(), &first, to, time.Hour, 0)
	require.NoError(t, err)
	require.True(t, ours)
	require.Equal(t, to, w.line().SweptTo)
	require.NoError(t, w.store.SweepSoon(t.Context(), "p")) // it opened again meanwhile
	ours, err = w.store.Swept(t.Context(), &first, first.Now, time.Hour, time.Hour)
	require.NoError(t, err)
	require.False(t, ours)
	require.Equal(t, to, w.line().SweptTo, "it never goes back")

	second, err := w.store.DueSweep(t.Context(), time.Hour)
	require.NoError(t, err, "what asked for a sweep during a sweep gets one")
	w.connected(conversation.ConnectionClosed, "", 0)
	ours, err = w.store.Swept(t.Context(), &second, to.Add(time.Hour), time.Hour, time.Hour)
	require.NoError(t, err)
	require.True(t, ours)
	require.Equal(t, to, w.line().SweptTo, "while it was not connected, something may have been missed")
	w.connected(conversation.ConnectionOpen, "", 0)
	_, err = w.store.DueSweep(t.Context(), time.Hour)
	require.NoError(t, err, "what opens is swept")
}

func TestUnseen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.receive(message("A", "1@lid"))
	sent := message("B", "1@lid")
	sent.Kind, sent.FromMe, sent.State, sent.Reason = conversation.KindSent, true, conversation.Ignored, "from_me"
	w.receive(sent)
	kinds := []conversation.EventKind{conversation.KindMessage, conversation.KindSent}
	list, err := w.store.Unseen(t.Context(), "default", "p", kinds, []string{"D", "A", "B", "C"})
	require.NoError(t, err)
	require.Equal(t, []string{"D", "C"}, list)
	list, err = w.store.Unseen(t.Context(), "default", "p", []conversation.EventKind{conversation.KindStatus}, []string{"A"})
	require.NoError(t, err)
	require.Equal(t, []string{"A"}, list)
	n, err := w.store.Replicas(t.Context(), time.Minute)
	require.NoError(t, err)
	require.Equal(t, 1, n)
}
