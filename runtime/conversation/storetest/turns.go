package storetest

import (
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

var turnCases = map[string]func(*world){
	"TakeCancelsARunningTurn":       takeCancelsARunningTurn,
	"TakeDropsWhatIsQueued":         takeDropsWhatIsQueued,
	"TakeAfterPartOfTheAnswer":      takeAfterPartOfTheAnswer,
	"TakeWhileAPartIsOnTheWire":     takeWhileAPartIsOnTheWire,
	"PartOnTheWireWasNotWritten":    partOnTheWireWasNotWritten,
	"StaleTurnIsReclaimedAsSuch":    staleTurnIsReclaimedAsSuch,
	"PassGivesTheMessagesOn":        passGivesTheMessagesOn,
	"CloseCancelsAndDrops":          closeCancelsAndDrops,
	"FailedTurnGoesToTheQueue":      failedTurnGoesToTheQueue,
	"FailAfterAChangeOfOwner":       failAfterAChangeOfOwner,
	"TurnIsFoundByItsToken":         turnIsFoundByItsToken,
	"DeadlineMovesLaterOnly":        deadlineMovesLaterOnly,
	"NoTurnWhereNoAIIsOnDuty":       noTurnWhereNoAIIsOnDuty,
	"HandedBackTurnKeepsItsPlace":   handedBackTurnKeepsItsPlace,
	"EveryChangeOfOwnerCancelsTurn": everyChangeOfOwnerCancelsTurn,
}

// refused expects a turn of an earlier epoch to be shut out of everything.
func (x *talk) refused(t conversation.Turn) {
	x.t.Helper()
	require.ErrorIs(x.t, x.store().Reply(x.t.Context(), t.TurnRef, t.Token, []conversation.Part{{Text: "late"}}), conversation.ErrStaleEpoch)
	_, err := x.store().FindTurn(x.t.Context(), t.Conversation, t.No, t.Token)
	var refused *conversation.RefusedError
	require.ErrorIs(x.t, err, conversation.ErrStaleEpoch)
	require.ErrorAs(x.t, err, &refused)
	now := x.find()
	require.Equal(x.t, []any{x.id, now.Owner, now.State, now.Epoch},
		[]any{refused.Now.ID, refused.Now.Owner, refused.Now.State, refused.Now.Epoch}, "a late flow is told who has it")
	_, err = x.store().Extend(x.t.Context(), t.TurnRef, t.Token, time.Hour, time.Hour)
	require.ErrorIs(x.t, err, conversation.ErrStaleEpoch)
	for part := range 3 {
		require.False(x.t, x.pass(t.TurnRef, part))
	}
}

func takeCancelsARunningTurn(w *world) {
	x := w.talkOf(aiF)
	turn := x.turn(w.me)
	require.Equal(w.t, conversation.TurnRunning, x.find().Turn.State)
	x.do(conversation.Command{Verb: conversation.VerbTake, Actor: acting(ana)})
	require.Nil(w.t, x.find().Turn)
	require.Equal(w.t, []string{"pending"}, w.Messages(x.id), "its messages wait for her")
	require.True(w.t, x.find().Waiting)
	x.refused(turn)
	require.NoError(w.t, w.store().Cancel(w.t.Context(), turn.TurnRef, conversation.ReasonOwnerChanged), "who lost it may still say so")
	require.ErrorIs(w.t, w.store().Fail(w.t.Context(), turn.TurnRef, conversation.Failure{Reason: "x"}), conversation.ErrTurnClosed)
	held, err := w.store().Renew(w.t.Context(), lease, []conversation.TurnRef{turn.TurnRef})
	require.NoError(w.t, err)
	require.Empty(w.t, held)
	x.do(conversation.Command{Verb: conversation.VerbHandback})
	x.refused(turn) // the same AI again, but not the same epoch
	require.Equal(w.t, []string{"human"}, w.Messages(x.id))
}

func takeDropsWhatIsQueued(w *world) {
	x := w.talkOf(aiF)
	turn := x.replied("um", "dois")
	x.do(conversation.Command{Verb: conversation.VerbTake, Actor: acting(ana)})
	require.Equal(w.t, []string{"dropped", "dropped"}, w.Parts(x.id, turn.No))
	require.Equal(w.t, []string{"pending"}, w.Messages(x.id), "nothing of the answer went out")
	require.Nil(w.t, x.find().Turn)
	x.refused(turn)
	parts, err := w.store().QueuedParts(w.t.Context(), turn.TurnRef)
	require.NoError(w.t, err)
	require.Empty(w.t, parts)
}

func takeAfterPartOfTheAnswer(w *world) {
	x := w.talkOf(aiF)
	turn := x.replied("um", "dois")
	require.True(w.t, x.pass(turn.TurnRef, 1))
	require.True(w.t, x.sent(turn.TurnRef, 1))
	x.do(conversation.Command{Verb: conversation.VerbTake, Actor: acting(ana)})
	require.Equal(w.t, []string{"sent", "dropped"}, w.Parts(x.id, turn.No))
	require.Equal(w.t, []string{"done"}, w.Messages(x.id), "they were answered")
	require.False(w.t, x.find().Waiting)
	x.refused(turn)
}

func takeWhileAPartIsOnTheWire(w *world) {
	x := w.talkOf(aiF)
	turn := x.replied("um", "dois")
	require.True(w.t, x.pass(turn.TurnRef, 1))
	x.do(conversation.Command{Verb: conversation.VerbTake, Actor: acting(ana)})
	require.Equal(w.t, []string{"sending", "dropped"}, w.Parts(x.id, turn.No))
	open := x.find().Turn
	require.Equal(w.t, []any{turn.No, turn.Epoch, conversation.TurnSending}, []any{open.No, open.Epoch, open.State})
	x.do(conversation.Command{Verb: conversation.VerbHandback, Actor: acting(ana)})
	x.write()
	_, err := w.store().ClaimTurn(w.t.Context(), w.terms(w.me))
	require.ErrorIs(w.t, err, conversation.ErrNothingDue, "one turn at a time")
	require.True(w.t, x.sent(turn.TurnRef, 1))
	require.Nil(w.t, x.find().Turn)
	require.Equal(w.t, []string{"done", "pending"}, w.Messages(x.id))
	require.False(w.t, x.pass(turn.TurnRef, 2))
	require.Len(w.t, x.turn(w.me).Messages, 1)
}

func partOnTheWireWasNotWritten(w *world) {
	x := w.talkOf(aiF)
	turn := x.replied("um")
	require.True(w.t, x.pass(turn.TurnRef, 1))
	x.do(conversation.Command{Verb: conversation.VerbTake, Actor: acting(ana)})
	ok, err := w.store().Unsent(w.t.Context(), conversation.PartRef{TurnRef: turn.TurnRef, Part: 1})
	require.NoError(w.t, err)
	require.True(w.t, ok)
	require.False(w.t, x.pass(turn.TurnRef, 1), "it is not hers to send")
	require.NoError(w.t, w.store().Cancel(w.t.Context(), turn.TurnRef, conversation.ReasonOwnerChanged))
	require.Equal(w.t, []string{"dropped"}, w.Parts(x.id, turn.No))
	require.Equal(w.t, []string{"pending"}, w.Messages(x.id))
	require.Nil(w.t, x.find().Turn)
	x.do(conversation.Command{Verb: conversation.VerbHandback, Actor: acting(ana)})
	require.Equal(w.t, []string{"human"}, w.Messages(x.id))
	require.Equal(w.t, []Stretch{{Agent: "human:ana", From: 1, To: 1, Epoch: 3}}, w.Stretches(x.id), "hers, though it came back to her late")
}

func staleTurnIsReclaimedAsSuch(w *world) {
	x := w.talkOf(aiF)
	turn := x.replied("um")
	require.True(w.t, x.pass(turn.TurnRef, 1))
	x.do(conversation.Command{Verb: conversation.VerbTake, Actor: acting(ana)})
	_, err := w.store().Unsent(w.t.Context(), conversation.PartRef{TurnRef: turn.TurnRef, Part: 1})
	require.NoError(w.t, err)
	w.Age(2 * lease) // and the process is gone
	again, err := w.store().ReclaimTurn(w.t.Context(), w.terms(w.boot("router-2")))
	require.NoError(w.t, err)
	require.True(w.t, again.Stale)
	require.NoError(w.t, w.store().Cancel(w.t.Context(), again.TurnRef, conversation.ReasonOwnerChanged))
	require.Equal(w.t, []string{"pending"}, w.Messages(x.id))
}

func passGivesTheMessagesOn(w *world) {
	x := w.talkOf(aiF)
	first := x.turn(w.me)
	x.write()
	x.do(conversation.Command{Verb: conversation.VerbPass, To: aiG, Actor: acting(aiF)})
	second := x.turn(w.me)
	require.Equal(w.t, "g", second.Flow)
	require.Equal(w.t, first.Messages[0], second.Messages[0])
	require.Len(w.t, second.Messages, 2)
	require.Equal(w.t, first.No+1, second.No)
	x.refused(first)
	require.NoError(w.t, w.store().Reply(w.t.Context(), second.TurnRef, second.Token, nil))
	require.Equal(w.t, []string{"done", "done"}, w.Messages(x.id))
}

func closeCancelsAndDrops(w *world) {
	x := w.talkOf(aiF)
	turn := x.replied("um")
	x.write()
	x.do(conversation.Command{Verb: conversation.VerbClose, Actor: acting(aiF)})
	require.Equal(w.t, []string{"dropped"}, w.Parts(x.id, turn.No))
	require.Equal(w.t, []string{"ignored", "ignored"}, w.Messages(x.id))
	require.False(w.t, x.find().Waiting)
	require.Nil(w.t, x.find().Turn)
	unrouted, err := w.store().Unrouted(w.t.Context(), 10)
	require.NoError(w.t, err)
	require.Empty(w.t, unrouted)
	x.refused(turn)
}

func failedTurnGoesToTheQueue(w *world) {
	x := w.talkOf(aiF)
	turn := x.replied("um")
	older := turn.TurnRef
	older.Gen--
	require.ErrorIs(w.t, w.store().Fail(w.t.Context(), older, conversation.Failure{Reason: "x"}), conversation.ErrTurnClosed)
	require.NoError(w.t, w.store().Fail(w.t.Context(), turn.TurnRef, conversation.Failure{Reason: conversation.ReasonSendRefused, Detail: "404"}))
	x.stands("HUMAN_QUEUED queue 2")
	require.Equal(w.t, []string{"dead"}, w.Messages(x.id))
	require.Equal(w.t, []string{"dropped"}, w.Parts(x.id, turn.No))
	require.Equal(w.t, 1, w.DeadLetters(x.id))
	last := x.trail()[2]
	require.Equal(w.t, []any{conversation.VerbQueue, "router", conversation.ReasonSendRefused, "1"}, []any{last.Verb, last.Actor, last.Reason, last.Detail["turn"]})
	require.ErrorIs(w.t, w.store().Fail(w.t.Context(), turn.TurnRef, conversation.Failure{Reason: "x"}), conversation.ErrTurnClosed)
	require.Equal(w.t, 1, w.DeadLetters(x.id))
}

// failAfterAChangeOfOwner: what an AI could not finish in time is nobody's failure once somebody else is on duty.
func failAfterAChangeOfOwner(w *world) {
	x := w.talkOf(aiF)
	turn := x.replied("um", "dois")
	require.True(w.t, x.pass(turn.TurnRef, 1))
	x.do(conversation.Command{Verb: conversation.VerbTake, Actor: acting(ana)})
	require.NoError(w.t, w.store().Fail(w.t.Context(), turn.TurnRef, conversation.Failure{Reason: conversation.ReasonSendRefused}))
	x.stands("HUMAN_ACTIVE human:ana 2")
	require.Equal(w.t, []string{"failed", "dropped"}, w.Parts(x.id, turn.No))
	require.Equal(w.t, []string{"pending"}, w.Messages(x.id))
	require.True(w.t, x.find().Waiting)
	require.Zero(w.t, w.DeadLetters(x.id))
	require.Nil(w.t, x.find().Turn)
	x.trail()
}

func turnIsFoundByItsToken(w *world) {
	x := w.talkOf(aiF)
	turn := x.turn(w.me)
	h, err := w.store().FindTurn(w.t.Context(), x.id, turn.No, turn.Token)
	require.NoError(w.t, err)
	require.True(w.t, turn.Deadline.Equal(h.Deadline))
	h.Deadline = turn.Deadline
	require.Equal(w.t, turn.TurnRef, h.TurnRef)
	require.Equal(w.t, conversation.TurnRunning, h.State)
	require.InDelta(w.t, time.Hour, h.Remains, float64(time.Minute))
	for _, wrong := range []struct {
		id    conversation.ID
		no    int
		token string
	}{{x.id, turn.No, "forged"}, {x.id, turn.No, ""}, {x.id, turn.No + 1, turn.Token}, {x.id + 1, turn.No, turn.Token}} {
		_, err := w.store().FindTurn(w.t.Context(), wrong.id, wrong.no, wrong.token)
		require.ErrorIs(w.t, err, conversation.ErrBadToken)
		ref := turn.TurnRef
		ref.Conversation, ref.No = wrong.id, wrong.no
		_, err = w.store().Extend(w.t.Context(), ref, wrong.token, time.Hour, time.Hour)
		require.ErrorIs(w.t, err, conversation.ErrBadToken)
	}
	require.NoError(w.t, w.store().Reply(w.t.Context(), turn.TurnRef, turn.Token, []conversation.Part{{Text: "um"}}))
	h, err = w.store().FindTurn(w.t.Context(), x.id, turn.No, turn.Token)
	require.NoError(w.t, err)
	require.Equal(w.t, conversation.TurnReplied, h.State)
	_, err = w.store().Extend(w.t.Context(), turn.TurnRef, turn.Token, time.Hour, time.Hour)
	require.ErrorIs(w.t, err, conversation.ErrTurnClosed, "it is answered")

	// Another holder has another token, and the one before is made for nothing any more.
	require.NoError(w.t, w.store().HandBack(w.t.Context(), turn.TurnRef))
	w.Age(time.Second)
	again, err := w.store().ReclaimTurn(w.t.Context(), w.terms(w.boot("router-2")))
	require.NoError(w.t, err)
	_, err = w.store().FindTurn(w.t.Context(), x.id, turn.No, turn.Token)
	require.ErrorIs(w.t, err, conversation.ErrBadToken)
	w.Age(2 * time.Hour)
	_, err = w.store().FindTurn(w.t.Context(), x.id, again.No, again.Token)
	require.ErrorIs(w.t, err, conversation.ErrTurnClosed, "past its deadline")
}

func deadlineMovesLaterOnly(w *world) {
	x := w.talkOf(aiF)
	turn := x.turn(w.me)
	extend := func(wait, most time.Duration) conversation.Holding {
		h, err := w.store().Extend(w.t.Context(), turn.TurnRef, turn.Token, wait, most)
		require.NoError(w.t, err)
		return h
	}
	require.InDelta(w.t, time.Hour, extend(time.Minute, 24*time.Hour).Remains, float64(time.Minute), "never sooner")
	require.InDelta(w.t, 2*time.Hour, extend(2*time.Hour, 24*time.Hour).Remains, float64(time.Minute))
	require.InDelta(w.t, 3*time.Hour, extend(9*time.Hour, 3*time.Hour).Remains, float64(time.Minute), "at most so long after the claim")
	w.Age(2 * time.Hour)
	require.InDelta(w.t, time.Hour, extend(9*time.Hour, 3*time.Hour).Remains, float64(time.Minute))
	older := turn.TurnRef
	older.Gen--
	_, err := w.store().Extend(w.t.Context(), older, turn.Token, time.Hour, time.Hour)
	require.ErrorIs(w.t, err, conversation.ErrTurnClosed)
	w.Age(2 * time.Hour)
	_, err = w.store().Extend(w.t.Context(), turn.TurnRef, turn.Token, time.Hour, 24*time.Hour)
	require.ErrorIs(w.t, err, conversation.ErrTurnClosed, "too late")
	require.ErrorIs(w.t, w.store().Reply(w.t.Context(), turn.TurnRef, turn.Token, nil), conversation.ErrTurnClosed)
}

func noTurnWhereNoAIIsOnDuty(w *world) {
	for _, o := range []conversation.Owner{ana, queue} {
		w.talkOf(o).write()
	}
	w.talk()
	_, err := w.store().ClaimTurn(w.t.Context(), w.terms(w.me))
	require.ErrorIs(w.t, err, conversation.ErrNothingDue)
	_, any, err := w.store().NextDue(w.t.Context())
	require.NoError(w.t, err)
	require.False(w.t, any)
}

func handedBackTurnKeepsItsPlace(w *world) {
	x := w.talkOf(aiF)
	turn := x.replied("um")
	require.NoError(w.t, w.store().HandBack(w.t.Context(), turn.TurnRef))
	w.Age(time.Second)
	again, err := w.store().ReclaimTurn(w.t.Context(), w.terms(w.boot("router-2")))
	require.NoError(w.t, err)
	require.Equal(w.t, []any{turn.No, turn.Gen + 1, turn.Epoch, conversation.TurnReplied, false},
		[]any{again.No, again.Gen, again.Epoch, again.State, again.Stale})
	require.False(w.t, x.pass(turn.TurnRef, 1))
	require.True(w.t, x.pass(again.TurnRef, 1))
	require.False(w.t, x.sent(turn.TurnRef, 1))
	require.True(w.t, x.sent(again.TurnRef, 1))
}

func everyChangeOfOwnerCancelsTurn(w *world) {
	for name, c := range map[string]conversation.Command{
		"pass": {Verb: conversation.VerbPass, To: aiG}, "to the queue": {Verb: conversation.VerbPass, To: queue},
		"release": {Verb: conversation.VerbRelease}, "hold": {Verb: conversation.VerbHold}, "close": {Verb: conversation.VerbClose},
		"take": {Verb: conversation.VerbTake, To: ana},
	} {
		x := w.talkOf(aiF)
		turn := x.turn(w.me)
		x.do(c)
		require.Nil(w.t, x.find().Turn, name)
		x.refused(turn)
		if c.Verb == conversation.VerbPass && c.To == aiG { // leave nothing due for the next round
			x.do(conversation.Command{Verb: conversation.VerbClose})
		}
	}
}
