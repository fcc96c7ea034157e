package storetest

import (
	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

var settleCases = map[string]func(*world){
	"SettleWaitsForTheSender":      settleWaitsForTheSender,
	"SettledAsSent":                settledAsSent,
	"SettledAsNotSent":             settledAsNotSent,
	"SettledAfterATake":            settledAfterATake,
	"OnlyAmbiguousPartsAreDecided": onlyAmbiguousPartsAreDecided,
	"SenderThatLostItsLeaseKnows":  senderThatLostItsLeaseKnows,
}

func (x *talk) settle(t conversation.Turn, part int, sent bool) error {
	return x.store().Settle(x.t.Context(), conversation.Settlement{Tenant: tenant, Conversation: x.id, No: t.No, Part: part, Sent: sent, Actor: operator})
}

// lost is a part of which the sender will never say what became of it, as far as anybody knows.
func (x *talk) lost(t conversation.Turn, part int) {
	x.t.Helper()
	require.True(x.t, x.pass(t.TurnRef, part))
	x.Age(2 * lease)
	_, err := x.store().ReclaimTurn(x.t.Context(), x.terms(x.boot("router-2")))
	require.ErrorIs(x.t, err, conversation.ErrNothingDue)
	require.Equal(x.t, conversation.TurnAmbiguous, x.find().Turn.State)
}

func settleWaitsForTheSender(w *world) {
	x := w.talkOf(aiF)
	turn := x.replied("um", "dois")
	x.lost(turn, 1)
	a := x.find().Turn.Ambiguous
	require.Equal(w.t, []any{1, "router-1", false}, []any{a.Part, a.Sender, a.Finished})
	entries := len(x.trail())
	err := x.settle(turn, 1, true)
	require.ErrorIs(w.t, err, conversation.ErrSenderAlive)
	var refused *conversation.RefusedError
	require.ErrorAs(w.t, err, &refused)
	require.Equal(w.t, x.id, refused.Now.ID)
	require.Contains(w.t, refused.Extra, "router-1", "what to do about it")
	require.Len(w.t, x.trail(), entries)

	w.boot("router-1") // its slot has another process: the one before writes no more
	require.True(w.t, x.find().Turn.Ambiguous.Finished)
	require.NoError(w.t, x.settle(turn, 1, true))
	require.Equal(w.t, []string{"sent", "dropped"}, w.Parts(x.id, turn.No), "nobody knows how long ago that was")
	require.False(w.t, x.sent(turn.TurnRef, 1), "a word too late changes nothing")
}

func settledAsSent(w *world) {
	x := w.talkOf(aiF)
	turn := x.replied("um", "dois")
	require.True(w.t, x.pass(turn.TurnRef, 1))
	ok, err := w.store().Unknown(w.t.Context(), conversation.PartRef{TurnRef: turn.TurnRef, Part: 1}, "timeout")
	require.NoError(w.t, err)
	require.True(w.t, ok)
	require.True(w.t, x.find().Turn.Ambiguous.Finished, "the sender said so itself")
	require.NoError(w.t, x.settle(turn, 1, true))
	require.Nil(w.t, x.find().Turn)
	require.Equal(w.t, []string{"done"}, w.Messages(x.id))
	x.stands("AI_ACTIVE ai:f 1")
	last := x.trail()[2]
	require.Equal(w.t, []any{conversation.Verb("settle"), operator.String(), "sent", "1", "1"},
		[]any{last.Verb, last.Actor, last.Reason, last.Detail["turn"], last.Detail["part"]})
	require.ErrorIs(w.t, x.settle(turn, 1, true), conversation.ErrTurnClosed, "once")
	x.write()
	require.Len(w.t, x.turn(w.me).Messages, 1, "the AI may speak again")
}

func settledAsNotSent(w *world) {
	x := w.talkOf(aiF)
	turn := x.replied("um", "dois")
	x.lost(turn, 1)
	w.me = w.boot("router-1")
	require.NoError(w.t, x.settle(turn, 1, false))
	require.Equal(w.t, []string{"failed", "dropped"}, w.Parts(x.id, turn.No))
	require.Equal(w.t, []string{"pending"}, w.Messages(x.id), "the question is still open")
	require.Equal(w.t, "not_sent", x.trail()[2].Reason)
	next := x.turn(w.me)
	require.Equal(w.t, turn.Messages, next.Messages)
	require.Equal(w.t, turn.No+1, next.No)

	// With a part that arrived, the question was answered.
	require.NoError(w.t, w.store().Reply(w.t.Context(), next.TurnRef, next.Token, []conversation.Part{{Text: "um"}, {Text: "dois"}}))
	require.True(w.t, x.pass(next.TurnRef, 1))
	require.True(w.t, x.sent(next.TurnRef, 1))
	x.lost(next, 2)
	w.boot("router-1")
	require.NoError(w.t, x.settle(next, 2, false))
	require.Equal(w.t, []string{"sent", "failed"}, w.Parts(x.id, next.No))
	require.Equal(w.t, []string{"done"}, w.Messages(x.id))
}

func settledAfterATake(w *world) {
	x := w.talkOf(aiF)
	turn := x.replied("um")
	x.lost(turn, 1)
	x.do(conversation.Command{Verb: conversation.VerbTake, Actor: acting(ana)})
	require.Equal(w.t, conversation.TurnAmbiguous, x.find().Turn.State, "a take proves nothing")
	w.boot("router-1")
	require.NoError(w.t, x.settle(turn, 1, false))
	x.stands("HUMAN_ACTIVE human:ana 2")
	require.Equal(w.t, []string{"pending"}, w.Messages(x.id))
	require.True(w.t, x.find().Waiting)
	x.trail()
}

func onlyAmbiguousPartsAreDecided(w *world) {
	x := w.talkOf(aiF)
	turn := x.replied("um", "dois")
	require.ErrorIs(w.t, x.settle(turn, 1, true), conversation.ErrTurnClosed)
	require.True(w.t, x.pass(turn.TurnRef, 1))
	require.ErrorIs(w.t, x.settle(turn, 1, true), conversation.ErrTurnClosed)
	require.True(w.t, x.sent(turn.TurnRef, 1))
	x.lost(turn, 2)
	w.boot("router-1")
	for _, part := range []int{0, 1, 3} {
		require.ErrorIs(w.t, x.settle(turn, part, true), conversation.ErrTurnClosed)
	}
	other := turn
	other.No++
	require.ErrorIs(w.t, x.settle(other, 2, true), conversation.ErrTurnClosed)
	require.Equal(w.t, []string{"sent", "ambiguous"}, w.Parts(x.id, turn.No))
}

// senderThatLostItsLeaseKnows: who holds the proof may give it late, also when a human has the conversation by then.
func senderThatLostItsLeaseKnows(w *world) {
	x := w.talkOf(aiF)
	turn := x.replied("um", "dois")
	x.lost(turn, 1)
	x.do(conversation.Command{Verb: conversation.VerbTake, Actor: acting(ana)})
	require.True(w.t, x.sent(turn.TurnRef, 1))
	require.Nil(w.t, x.find().Turn)
	require.Equal(w.t, []string{"sent", "dropped"}, w.Parts(x.id, turn.No))
	require.Equal(w.t, []string{"done"}, w.Messages(x.id))
}
