package postgres_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
	"plantao/runtime/postgres"
)

// window is the burst window of these tests: nothing in it ends while a test runs.
var window = conversation.Window{Quiet: time.Hour, Cap: 4 * time.Hour, Media: time.Hour, Typing: 2 * time.Hour}

func (w *world) receiveIn(e conversation.Event, in conversation.Window) conversation.ID {
	w.t.Helper()
	receipts, err := w.store.Receive(w.t.Context(), []conversation.Event{e}, in)
	require.NoError(w.t, err)
	return receipts[0].Conversation
}

func (w *world) typing(jid string, now bool) {
	w.t.Helper()
	require.NoError(w.t, w.store.ContactTyping(w.t.Context(), conversation.Typing{Tenant: "default", Channel: "p", ChatJID: jid, Now: now}, window))
}

// due is the time until the next conversation could have a turn; negative if none waits.
func (w *world) due() time.Duration {
	w.t.Helper()
	due, any, err := w.store.NextDue(w.t.Context())
	require.NoError(w.t, err)
	if !any {
		return -1
	}
	return due
}

func (w *world) nothingDue() {
	w.t.Helper()
	_, err := w.store.ClaimTurn(w.t.Context(), w.terms(w.me))
	require.ErrorIs(w.t, err, conversation.ErrNothingDue)
}

func TestTypingMovesTheWindowUpToItsCap(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	near := func(want time.Duration, why string) {
		t.Helper()
		require.InDelta(t, want, w.due(), float64(time.Minute), why)
	}
	w.typing("1@lid", true)
	require.Equal(t, "0", w.text("select count(*)::text from conversation"), "who only types begins nothing")
	w.receiveIn(message("a", "1@lid"), window)
	w.route()
	near(time.Hour, "quiet")
	w.typing("1@lid", true)
	near(2*time.Hour, "composing extends")
	w.typing("2@lid", false)
	near(2*time.Hour, "another contact is another's window")
	w.typing("1@lid", false)
	near(time.Hour, "paused shortens to quiet")
	w.exec("update conversation set debounce_cap = now() + interval '90 minutes'")
	w.typing("1@lid", true)
	near(90*time.Minute, "the cap is kept")
	w.exec("update conversation set debounce_until = now() + interval '10 minutes'")
	w.typing("1@lid", false)
	near(10*time.Minute, "who stops does not make it longer")

	w.exec("update conversation set debounce_until = now(), debounce_cap = now()")
	w.typing("1@lid", true)
	require.Zero(t, w.due(), "beyond the cap nobody is waited for")
	turn, err := w.store.ClaimTurn(t.Context(), w.terms(w.me))
	require.NoError(t, err)
	w.typing("1@lid", true)
	require.Equal(t, "t", w.text("select (debounce_until is null)::text::char from conversation"), "a window that is not open is not opened")
	require.NoError(t, w.store.Reply(t.Context(), turn.TurnRef, turn.Token, nil))
	require.Negative(t, w.due())
}

func withMedia(id, jid string) conversation.Event {
	e := message(id, jid)
	e.Type, e.Media = "image", &conversation.Media{Mimetype: "image/jpeg"}
	return e
}

func TestAnAttachmentHoldsTheTurn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hold := conversation.Window{Media: time.Hour}
	id := w.receiveIn(withMedia("a", "1@lid"), hold)
	w.receiveIn(message("b", "1@lid"), hold)
	w.receiveIn(withMedia("c", "1@lid"), conversation.Window{Media: 2 * time.Hour})
	w.route()
	w.nothingDue()
	require.InDelta(t, 2*time.Hour, w.due(), float64(time.Minute), "the longest hold decides")
	other := w.receiveIn(message("x", "2@lid"), hold)
	w.route()
	require.Zero(t, w.due(), "others are not held up, nor is their time hidden")
	turn, err := w.store.ClaimTurn(t.Context(), w.terms(w.me))
	require.NoError(t, err)
	require.Equal(t, other, turn.Conversation)

	// The content comes, one after the other; a router restarts in between: nothing of this is in its memory.
	w.exec("update inbox set media_state = 'ready', media_id = null where wa_id = 'c'")
	w.store = w.db.Store(t)
	w.me = w.boot("router-1")
	require.InDelta(t, time.Hour, w.due(), float64(time.Minute))
	w.nothingDue()
	w.exec("update inbox set media_state = 'failed' where wa_id = 'a'")
	require.Zero(t, w.due())
	turn, err = w.store.ClaimTurn(t.Context(), w.terms(w.me))
	require.NoError(t, err)
	require.Equal(t, id, turn.Conversation)
	require.Len(t, turn.Messages, 3)
	require.Equal(t, []conversation.MediaState{conversation.MediaFailed, conversation.MediaReady},
		[]conversation.MediaState{turn.Messages[0].Media.State, turn.Messages[2].Media.State})
}

func TestAnAttachmentHoldsTheTurnUpToItsCap(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.receiveIn(withMedia("a", "1@lid"), conversation.Window{Media: time.Hour})
	w.route()
	w.nothingDue()
	w.exec("update inbox set media_until = now() - interval '1 second'")
	require.Zero(t, w.due())
	turn, err := w.store.ClaimTurn(t.Context(), w.terms(w.me))
	require.NoError(t, err)
	require.Equal(t, conversation.MediaWanted, turn.Messages[0].Media.State, "the flow is told that it is not there")
}

func TestAnAttachmentHoldsARestartToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.store.PutPolicy(t.Context(), "default", "f", conversation.MidTurnMerge, "")
	require.NoError(t, err)
	w.turn()
	w.receiveIn(withMedia("b", "1@lid"), conversation.Window{Media: time.Hour})
	_, err = w.store.RestartTurn(t.Context(), w.terms(w.me))
	require.ErrorIs(t, err, conversation.ErrNothingDue)
	w.exec("update inbox set media_state = 'ready' where wa_id = 'b'")
	turn, err := w.store.RestartTurn(t.Context(), w.terms(w.me))
	require.NoError(t, err)
	require.Len(t, turn.Messages, 2)
}

func TestABurstIsInTheOrderOfWhatsApp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, m := range []struct {
		id string
		at time.Time
	}{{"third", at.Add(2 * time.Second)}, {"first", at}, {"second", at}, {"late", at.Add(time.Second)}} {
		e := message(m.id, "1@lid")
		e.SentAt = m.at
		w.receive(e)
	}
	w.route()
	turn, err := w.store.ClaimTurn(t.Context(), w.terms(w.me))
	require.NoError(t, err)
	var order []string
	for _, m := range turn.Messages {
		order = append(order, m.ID)
	}
	require.Equal(t, []string{"first", "second", "late", "third"}, order)
}

func TestPutPolicyLeavesTheRestOfAnAgentAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	three := 3
	f := conversation.Owner{Kind: conversation.OwnedByAI, ID: "f"}
	require.NoError(t, w.store.PutAgent(t.Context(), conversation.Agent{Tenant: "default", Owner: f, Name: "Flow", Capacity: &three}))
	for _, want := range []string{"updated", "unchanged"} {
		done, err := w.store.PutPolicy(t.Context(), "default", "f", conversation.MidTurnAppend, "um momento")
		require.NoError(t, err)
		require.Equal(t, want, done)
	}
	done, err := w.store.PutPolicy(t.Context(), "default", "g", "", "")
	require.NoError(t, err)
	require.Equal(t, "created", done)
	list, err := w.store.Agents(t.Context(), "default")
	require.NoError(t, err)
	require.Equal(t, conversation.Agent{Tenant: "default", Owner: f, Name: "Flow", Capacity: &three, Presence: conversation.Unknown,
		MidTurn: conversation.MidTurnAppend, Holding: "um momento"}, list[0])
	require.Equal(t, conversation.MidTurnQueue, list[1].MidTurn)
}

// TestDecidedLettersViolateNothing: what was redriven past later messages is no disorder, and what was dropped is not lost.
func TestDecidedLettersViolateNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	decide := func(id conversation.ID, s conversation.LetterState) {
		t.Helper()
		list, err := w.store.ListDeadLetters(t.Context(), conversation.LetterFilter{Tenant: "default", State: conversation.LetterOpen})
		require.NoError(t, err)
		require.Len(t, list, 1)
		_, err = w.store.DecideDeadLetter(t.Context(), conversation.LetterDecision{Tenant: "default", ID: list[0].ID, State: s,
			Actor: operator, Reason: "r"})
		require.NoError(t, err)
	}
	fail := func(jid, id string) conversation.ID {
		t.Helper()
		c := w.say(jid, id)
		w.route()
		turn, err := w.store.ClaimTurn(t.Context(), w.terms(w.me))
		require.NoError(t, err)
		require.NoError(t, w.store.Fail(t.Context(), turn.TurnRef, conversation.Failure{Reason: "x"}))
		return c
	}
	dropped := fail("1@lid", "a")
	decide(dropped, conversation.LetterDropped)
	again := fail("2@lid", "b")
	w.say("2@lid", "c")
	w.do(conversation.Command{Verb: conversation.VerbHandback, Conversation: again, Actor: operator})
	w.answer("sobre c")
	decide(again, conversation.LetterRedriven)
	w.answer("sobre b")
	require.Empty(t, violated(w.check(postgres.CheckOptions{})))

	// A message whose letter says that it was given to an AI, and which is with none, is reported.
	w.exec("update inbox set state = 'dead', turn_no = 1 where wa_id = 'b'")
	require.NotEmpty(t, violated(w.check(postgres.CheckOptions{})))
}
