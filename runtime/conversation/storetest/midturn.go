package storetest

import (
	"context"
	"fmt"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

var midTurnCases = map[string]func(*world){
	"MergeBeginsARunningTurnAnew":     mergeBeginsARunningTurnAnew,
	"MergeEndsAtHalfTheTurnsTime":     mergeEndsAtHalfTheTurnsTime,
	"OnlyMergeRestarts":               onlyMergeRestarts,
	"AnsweredTurnIsNotRestarted":      answeredTurnIsNotRestarted,
	"AnswerAgainstRestart":            answerAgainstRestart,
	"OneOfTwoReplicasRestarts":        oneOfTwoReplicasRestarts,
	"TakeAgainstRestart":              takeAgainstRestart,
	"AppendFetchesWhatCameMeanwhile":  appendFetchesWhatCameMeanwhile,
	"AppendAgainstAnswerAndMessages":  appendAgainstAnswerAndMessages,
	"BusyFlowsGetNoTurn":              busyFlowsGetNoTurn,
	"WhatFollowsAnAnswer":             whatFollowsAnAnswer,
	"TakeVoidsWhatFollows":            takeVoidsWhatFollows,
	"FollowWaitsForTheLastPart":       followWaitsForTheLastPart,
	"HoldingIsSaidOnceAStretch":       holdingIsSaidOnceAStretch,
	"BackgroundTellsTheTimeBefore":    backgroundTellsTheTimeBefore,
	"BackgroundOfAHandoverByAnOffer":  backgroundOfAHandoverByAnOffer,
	"AttachmentsOfOthersAreNotForYou": attachmentsOfOthersAreNotForYou,
}

func (w *world) policy(o conversation.Owner, m conversation.MidTurn, holding string) {
	w.t.Helper()
	require.NoError(w.t, w.store().PutAgent(w.t.Context(), conversation.Agent{Tenant: tenant, Owner: o, MidTurn: m, Holding: holding}))
}

func (x *talk) restart() (conversation.Turn, error) {
	return x.store().RestartTurn(x.t.Context(), x.terms(x.me))
}

// over expects a turn that is closed though the conversation is still its AI's.
func (x *talk) over(t conversation.Turn) {
	x.t.Helper()
	require.ErrorIs(x.t, x.store().Reply(x.t.Context(), t.TurnRef, t.Token, []conversation.Part{{Text: "late"}}), conversation.ErrTurnClosed)
	_, err := x.store().FindTurn(x.t.Context(), t.Conversation, t.No, t.Token)
	require.ErrorIs(x.t, err, conversation.ErrTurnClosed)
	held, err := x.store().Renew(x.t.Context(), lease, []conversation.TurnRef{t.TurnRef})
	require.NoError(x.t, err)
	require.Empty(x.t, held, "whoever asks the flow is told to stop")
}

func mergeBeginsARunningTurnAnew(w *world) {
	w.policy(aiF, conversation.MidTurnMerge, "")
	x := w.talkOf(aiF)
	turn := x.turn(w.me)
	_, err := x.restart()
	require.ErrorIs(w.t, err, conversation.ErrNothingDue, "nobody wrote")
	for i := range conversation.MaxRestarts {
		x.write()
		due, waits, err := w.store().NextDue(w.t.Context())
		require.NoError(w.t, err)
		require.True(w.t, waits, "the dispatcher is told when to look")
		require.Zero(w.t, due)
		_, err = w.store().ClaimTurn(w.t.Context(), w.terms(w.me))
		require.ErrorIs(w.t, err, conversation.ErrNothingDue, "one turn at a time")
		again, err := x.restart()
		require.NoError(w.t, err)
		require.Equal(w.t, []any{x.id, turn.No + 1, turn.Epoch, 1}, []any{again.Conversation, again.No, again.Epoch, again.Gen})
		require.Len(w.t, again.Messages, i+2, "all of them")
		x.over(turn)
		turn = again
	}
	x.write()
	_, err = x.restart()
	require.ErrorIs(w.t, err, conversation.ErrNothingDue, "who goes on writing gets an answer all the same")
	_, waits, err := w.store().NextDue(w.t.Context())
	require.NoError(w.t, err)
	require.False(w.t, waits)
	require.NoError(w.t, w.store().Reply(w.t.Context(), turn.TurnRef, turn.Token, nil))
	require.Equal(w.t, []string{"done", "done", "done", "done", "pending"}, w.Messages(x.id))

	next := x.turn(w.me)
	require.Len(w.t, next.Messages, 1)
	x.write()
	again, err := x.restart()
	require.NoError(w.t, err, "the count begins anew with a turn of its own")
	require.Len(w.t, again.Messages, 2)
}

func mergeEndsAtHalfTheTurnsTime(w *world) {
	w.policy(aiF, conversation.MidTurnMerge, "")
	x := w.talkOf(aiF)
	turn := x.turn(w.me)
	x.write()
	w.Age(31 * time.Minute) // the turn has an hour
	_, err := x.restart()
	require.ErrorIs(w.t, err, conversation.ErrNothingDue)
	_, waits, err := w.store().NextDue(w.t.Context())
	require.NoError(w.t, err)
	require.False(w.t, waits, "nobody looks in a loop for what will not come")
	require.NoError(w.t, w.store().Reply(w.t.Context(), turn.TurnRef, turn.Token, nil))
	require.Len(w.t, x.turn(w.me).Messages, 1)
}

func onlyMergeRestarts(w *world) {
	for _, m := range []conversation.MidTurn{"", conversation.MidTurnQueue, conversation.MidTurnAppend} {
		w.policy(aiF, m, "")
		x := w.talkOf(aiF)
		turn := x.turn(w.me)
		x.write()
		_, err := x.restart()
		require.ErrorIs(w.t, err, conversation.ErrNothingDue, m)
		require.NoError(w.t, w.store().Reply(w.t.Context(), turn.TurnRef, turn.Token, nil))
		require.Len(w.t, x.turn(w.me).Messages, 1, "it waits for the next turn")
		x.do(conversation.Command{Verb: conversation.VerbClose})
	}
}

func answeredTurnIsNotRestarted(w *world) {
	w.policy(aiF, conversation.MidTurnMerge, "")
	x := w.talkOf(aiF)
	turn := x.replied("um")
	x.write()
	_, err := x.restart()
	require.ErrorIs(w.t, err, conversation.ErrNothingDue)
	require.True(w.t, x.pass(turn.TurnRef, 1))
	_, err = x.restart()
	require.ErrorIs(w.t, err, conversation.ErrNothingDue)
	require.True(w.t, x.sent(turn.TurnRef, 1))
	require.Len(w.t, x.turn(w.me).Messages, 1)
}

// restarting is RestartTurn as one of several at once; the turn it got is kept.
func (w *world) restarting(got *conversation.Turn) func(conversation.Store) error {
	return func(s conversation.Store) error {
		t, err := s.RestartTurn(context.Background(), w.terms(w.me))
		if err == nil {
			*got = t
		}
		return err
	}
}

func answerAgainstRestart(w *world) {
	w.policy(aiF, conversation.MidTurnMerge, "")
	for range 40 {
		x := w.talkOf(aiF)
		turn := x.turn(w.me)
		x.write()
		var again conversation.Turn
		failures := w.atOnce(w.restarting(&again), func(s conversation.Store) error {
			return s.Reply(context.Background(), turn.TurnRef, turn.Token, []conversation.Part{{Text: "um"}})
		})
		switch {
		case failures[1] == nil:
			require.ErrorIs(w.t, failures[0], conversation.ErrNothingDue)
			require.Equal(w.t, []string{"taken", "pending"}, w.Messages(x.id))
			require.Equal(w.t, []string{"queued"}, w.Parts(x.id, turn.No))
		case failures[0] == nil:
			require.ErrorIs(w.t, failures[1], conversation.ErrTurnClosed)
			require.Len(w.t, again.Messages, 2)
			require.Equal(w.t, []string{"taken", "taken"}, w.Messages(x.id))
			require.Empty(w.t, w.Parts(x.id, turn.No))
		default:
			// The answer held the row and was refused for nothing of the restart's: that cannot be.
			require.Fail(w.t, "neither won", "%v", failures)
		}
		x.do(conversation.Command{Verb: conversation.VerbClose})
	}
}

func oneOfTwoReplicasRestarts(w *world) {
	w.policy(aiF, conversation.MidTurnMerge, "")
	for range 20 {
		x := w.talkOf(aiF)
		x.turn(w.me)
		x.write()
		var a, b conversation.Turn
		failures := w.atOnce(w.restarting(&a), w.restarting(&b), w.restarting(&a), w.restarting(&b))
		won := 0
		for _, err := range failures {
			if err == nil {
				won++
				continue
			}
			require.ErrorIs(w.t, err, conversation.ErrNothingDue)
		}
		require.Equal(w.t, 1, won)
		require.Equal(w.t, []string{"taken", "taken"}, w.Messages(x.id))
		require.Equal(w.t, 2, x.find().Turn.No)
		x.do(conversation.Command{Verb: conversation.VerbClose})
	}
}

func takeAgainstRestart(w *world) {
	w.policy(aiF, conversation.MidTurnMerge, "")
	for range 30 {
		x := w.talkOf(aiF)
		turn := x.turn(w.me)
		x.write()
		var again conversation.Turn
		failures := w.atOnce(w.restarting(&again), doing(x.meant(conversation.Command{Verb: conversation.VerbTake, Actor: acting(ana)})))
		require.NoError(w.t, failures[1], "a human always wins")
		x.stands("HUMAN_ACTIVE human:ana 2")
		require.Nil(w.t, x.find().Turn)
		require.Equal(w.t, []string{"pending", "pending"}, w.Messages(x.id))
		x.refused(turn)
		if failures[0] == nil {
			x.refused(again)
		}
	}
}

func appendFetchesWhatCameMeanwhile(w *world) {
	x := w.talkOf(aiF)
	turn := x.turn(w.me)
	x.write()
	_, _, err := w.store().TakeMore(w.t.Context(), turn.TurnRef, turn.Token)
	require.ErrorIs(w.t, err, conversation.ErrNotAppending, "the policy is queue unless it is said")
	w.policy(aiF, conversation.MidTurnAppend, "")
	x.write()
	h, err := w.store().FindTurn(w.t.Context(), x.id, turn.No, turn.Token)
	require.NoError(w.t, err)
	require.Equal(w.t, 2, h.Waiting, "a check tells")
	_, _, err = w.store().TakeMore(w.t.Context(), turn.TurnRef, "forged")
	require.ErrorIs(w.t, err, conversation.ErrTurnClosed)
	for _, more := range []int{2, 0} { // the second time because the first answer was lost
		messages, n, err := w.store().TakeMore(w.t.Context(), turn.TurnRef, turn.Token)
		require.NoError(w.t, err)
		require.Equal(w.t, more, n)
		require.Len(w.t, messages, 3)
		require.Equal(w.t, turn.Messages[0], messages[0])
	}
	require.Equal(w.t, []string{"taken", "taken", "taken"}, w.Messages(x.id))
	require.False(w.t, x.find().Waiting)

	// Whoever takes the turn over has them too.
	require.NoError(w.t, w.store().HandBack(w.t.Context(), turn.TurnRef))
	w.Age(time.Second)
	again, err := w.store().ReclaimTurn(w.t.Context(), w.terms(w.boot("router-2")))
	require.NoError(w.t, err)
	require.Len(w.t, again.Messages, 3)
	_, _, err = w.store().TakeMore(w.t.Context(), turn.TurnRef, turn.Token)
	require.ErrorIs(w.t, err, conversation.ErrTurnClosed, "of an earlier holder")

	x.write() // not fetched: the next turn's
	require.NoError(w.t, w.store().Reply(w.t.Context(), again.TurnRef, again.Token, nil))
	_, _, err = w.store().TakeMore(w.t.Context(), again.TurnRef, again.Token)
	require.ErrorIs(w.t, err, conversation.ErrTurnClosed, "it is answered")
	require.Equal(w.t, []string{"done", "done", "done", "pending"}, w.Messages(x.id))
	next := x.turn(w.me)
	require.Len(w.t, next.Messages, 1)
	x.do(conversation.Command{Verb: conversation.VerbTake, Actor: acting(ana)})
	_, _, err = w.store().TakeMore(w.t.Context(), next.TurnRef, next.Token)
	require.ErrorIs(w.t, err, conversation.ErrStaleEpoch)
}

// appendAgainstAnswerAndMessages: whatever comes first, each message is one turn's.
func appendAgainstAnswerAndMessages(w *world) {
	w.policy(aiF, conversation.MidTurnAppend, "")
	for range 20 {
		x := w.talkOf(aiF)
		turn := x.turn(w.me)
		x.write()
		taken := 0
		failures := w.atOnce(func(s conversation.Store) error {
			_, n, err := s.TakeMore(context.Background(), turn.TurnRef, turn.Token)
			taken = n
			return err
		}, func(s conversation.Store) error {
			return s.Reply(context.Background(), turn.TurnRef, turn.Token, nil)
		}, func(conversation.Store) error {
			x.write()
			return nil
		})
		require.NoError(w.t, failures[1])
		if failures[0] != nil {
			require.ErrorIs(w.t, failures[0], conversation.ErrTurnClosed)
			require.Zero(w.t, taken)
		}
		states := w.Messages(x.id)
		require.Len(w.t, states, 3)
		for i, s := range states {
			require.Equal(w.t, map[bool]string{true: "done", false: "pending"}[i <= taken], s, "%v after %d were taken", states, taken)
		}
		if taken < 2 {
			require.Len(w.t, x.turn(w.me).Messages, 2-taken, "none is stranded")
		}
		x.do(conversation.Command{Verb: conversation.VerbClose})
	}
}

func busyFlowsGetNoTurn(w *world) {
	x := w.talkOf(aiF)
	terms := w.terms(w.me)
	terms.Busy = []string{aiF.ID}
	_, err := w.store().ClaimTurn(w.t.Context(), terms)
	require.ErrorIs(w.t, err, conversation.ErrNothingDue)
	_, waits, err := w.store().NextDue(w.t.Context(), aiF.ID)
	require.NoError(w.t, err)
	require.False(w.t, waits)
	y := w.talkOf(aiG)
	turn, err := w.store().ClaimTurn(w.t.Context(), terms)
	require.NoError(w.t, err, "others are not held up")
	require.Equal(w.t, y.id, turn.Conversation)
	require.Equal(w.t, x.id, x.turn(w.me).Conversation, "it waited where it was")
}

func (x *talk) followings() []conversation.Following {
	x.t.Helper()
	list, err := x.store().Followings(x.t.Context(), 10)
	require.NoError(x.t, err)
	return list
}

func whatFollowsAnAnswer(w *world) {
	x := w.talkOf(aiF)
	turn := x.turn(w.me)
	for _, then := range [][]conversation.Then{
		{{Verb: conversation.VerbTake, To: ana}},
		{{Verb: conversation.VerbPass}},
		{{Verb: conversation.VerbClose}, {Verb: conversation.VerbClose}},
		{{Verb: conversation.VerbPass, To: queue, Context: []byte(`[]`)}},
	} {
		require.ErrorIs(w.t, w.store().Reply(w.t.Context(), turn.TurnRef, turn.Token, nil, then...), conversation.ErrInvalid)
	}
	require.NoError(w.t, w.store().Reply(w.t.Context(), turn.TurnRef, turn.Token, nil, conversation.Then{
		Verb: conversation.VerbPass, To: queue, Reason: "wants_a_human", Context: []byte(`{"order":"A-1"}`),
	}))
	x.write()
	require.Equal(w.t, []string{"pending", "pending"}, w.Messages(x.id), "who passes it on without a word has answered nothing")
	_, err := w.store().ClaimTurn(w.t.Context(), w.terms(w.me))
	require.ErrorIs(w.t, err, conversation.ErrNothingDue, "the AI has said that it is through")
	list := x.followings()
	require.Len(w.t, list, 1)
	require.Equal(w.t, []any{turn.TurnRef.Conversation, turn.No, turn.Epoch, turn.Gen, aiF.ID},
		[]any{list[0].Conversation, list[0].No, list[0].Epoch, list[0].Gen, list[0].Agent})
	c := list[0].Command(list[0].TurnRef, list[0].Agent)
	result := x.do(c)
	require.Equal(w.t, conversation.HumanQueued, result.Conversation.State)
	require.JSONEq(w.t, `{"order":"A-1"}`, w.Context(x.id, result.Seq))
	again, err := w.store().Do(w.t.Context(), c) // killed before it was recorded
	require.NoError(w.t, err)
	require.True(w.t, again.Replayed)
	x.stands("HUMAN_QUEUED queue 2")
	require.NoError(w.t, w.store().Followed(w.t.Context(), list[0].TurnRef))
	require.Empty(w.t, x.followings())
}

func takeVoidsWhatFollows(w *world) {
	x := w.talkOf(aiF)
	turn := x.turn(w.me)
	require.NoError(w.t, w.store().Reply(w.t.Context(), turn.TurnRef, turn.Token, nil, conversation.Then{Verb: conversation.VerbClose}))
	x.do(conversation.Command{Verb: conversation.VerbTake, Actor: acting(ana)})
	list := x.followings()
	require.Len(w.t, list, 1)
	x.refuse(list[0].Command(list[0].TurnRef, list[0].Agent), conversation.ErrStaleEpoch)
	require.NoError(w.t, w.store().Followed(w.t.Context(), list[0].TurnRef))
	x.do(conversation.Command{Verb: conversation.VerbHandback})
	x.write()
	require.Len(w.t, x.turn(w.me).Messages, 1, "nothing is in the way any more")
}

func followWaitsForTheLastPart(w *world) {
	x := w.talkOf(aiF)
	turn := x.turn(w.me)
	require.NoError(w.t, w.store().Reply(w.t.Context(), turn.TurnRef, turn.Token, []conversation.Part{{Text: "um"}, {Text: "dois"}},
		conversation.Then{Verb: conversation.VerbClose}))
	for part := 1; part <= 2; part++ {
		require.Empty(w.t, x.followings())
		require.True(w.t, x.pass(turn.TurnRef, part))
		require.Empty(w.t, x.followings())
		require.True(w.t, x.sent(turn.TurnRef, part))
	}
	require.Len(w.t, x.followings(), 1)

	y := w.talkOf(aiF)
	turn = y.turn(w.me)
	require.NoError(w.t, w.store().Reply(w.t.Context(), turn.TurnRef, turn.Token, []conversation.Part{{Text: "um"}}, conversation.Then{Verb: conversation.VerbClose}))
	require.NoError(w.t, w.store().Fail(w.t.Context(), turn.TurnRef, conversation.Failure{Reason: conversation.ReasonSendRefused}))
	require.Len(w.t, y.followings(), 1, "what did not go out is followed by nothing")
}

// said is the router's own turn that waits to be sent, and what it says; empty if there is none.
func (w *world) said() (conversation.Turn, string) {
	w.t.Helper()
	t, err := w.store().ReclaimTurn(w.t.Context(), w.terms(w.me))
	if err != nil {
		require.ErrorIs(w.t, err, conversation.ErrNothingDue)
		return t, ""
	}
	parts, err := w.store().QueuedParts(w.t.Context(), t.TurnRef)
	require.NoError(w.t, err)
	require.Len(w.t, parts, 1)
	return t, parts[0].Text
}

func holdingIsSaidOnceAStretch(w *world) {
	w.policy(aiF, "", "um instante")
	x := w.talkOf(aiF)
	fail := func() {
		w.t.Helper()
		turn := x.turn(w.me)
		require.NoError(w.t, w.store().Fail(w.t.Context(), turn.TurnRef, conversation.Failure{Reason: conversation.ReasonDeadline}))
	}
	fail()
	x.stands("HUMAN_QUEUED queue 2")
	turn, text := w.said()
	require.Equal(w.t, "um instante", text)
	require.Equal(w.t, []any{conversation.SaidByRouter, int64(2), false}, []any{turn.Kind, turn.Epoch, turn.Stale})
	require.True(w.t, x.pass(turn.TurnRef, 1))
	require.True(w.t, x.sent(turn.TurnRef, 1))

	x.write()
	x.do(conversation.Command{Verb: conversation.VerbHandback})
	fail()
	_, text = w.said()
	require.Empty(w.t, text, "the customer has been told")

	x.write()
	x.do(conversation.Command{Verb: conversation.VerbHandback})
	answered := x.turn(w.me)
	require.NoError(w.t, w.store().Reply(w.t.Context(), answered.TurnRef, answered.Token, nil))
	x.write()
	fail()
	_, text = w.said()
	require.Equal(w.t, "um instante", text, "a new stretch of failures")

	// An AI that has answered, and whose answer could not be sent, is no reason to say so: that could not be sent either.
	y := w.talkOf(aiF)
	replied := y.replied("um")
	require.NoError(w.t, w.store().Fail(w.t.Context(), replied.TurnRef, conversation.Failure{Reason: conversation.ReasonSendRefused}))
	// Nor is one that has nothing to say then.
	z := w.talkOf(aiG)
	turn = z.turn(w.me)
	require.NoError(w.t, w.store().Fail(w.t.Context(), turn.TurnRef, conversation.Failure{Reason: conversation.ReasonDeadline}))
	_, text = w.said()
	require.Empty(w.t, text)
}

func backgroundTellsTheTimeBefore(w *world) {
	x := w.talkOf(aiF)
	first := x.replied("um", "dois")
	for part := 1; part <= 2; part++ {
		require.True(w.t, x.pass(first.TurnRef, part))
		require.True(w.t, x.sent(first.TurnRef, part))
	}
	x.do(conversation.Command{Verb: conversation.VerbTake, Actor: acting(ana)})
	x.write()
	x.write()
	_, _, err := w.store().Say(w.t.Context(), conversation.Said{Tenant: tenant, Conversation: x.id, Kind: conversation.SaidByHuman,
		By: "ana", Parts: []conversation.Part{{Text: "aqui é a Ana"}}, Within: time.Minute})
	require.NoError(w.t, err)
	human, text := w.said()
	require.Equal(w.t, "aqui é a Ana", text)
	require.True(w.t, x.pass(human.TurnRef, 1))
	require.True(w.t, x.sent(human.TurnRef, 1))
	x.do(conversation.Command{Verb: conversation.VerbHandback, Actor: acting(ana), Reason: "solved", Context: []byte(`{"order":"A-1"}`)})
	x.write()
	turn := x.turn(w.me)
	b, err := w.store().Background(w.t.Context(), turn.TurnRef, 20)
	require.NoError(w.t, err)
	require.Equal(w.t, []string{x.chat}, b.ContactIDs)
	var said []string
	for _, u := range b.History {
		require.False(w.t, u.TS.IsZero())
		said = append(said, fmt.Sprintf("%s:%s %s", u.From, u.Agent, u.Type))
	}
	require.Equal(w.t, []string{"contact: text", "ai:f text", "ai:f text", "contact: text", "contact: text", "human:ana text"}, said)
	require.Equal(w.t, []string{"um", "dois"}, []string{b.History[1].Text, b.History[2].Text})
	require.Equal(w.t, "human:ana", b.Stretch.Agent)
	require.Equal(w.t, []int64{2, 3, 2}, []int64{b.Stretch.From, b.Stretch.To, b.Stretch.Messages()})
	require.Equal(w.t, []any{"human:ana", "solved"}, []any{b.Handover.By, b.Handover.Reason})
	require.JSONEq(w.t, `{"order":"A-1"}`, string(b.Handover.Context))

	short, err := w.store().Background(w.t.Context(), turn.TurnRef, 2)
	require.NoError(w.t, err)
	require.Equal(w.t, b.History[4:], short.History, "the newest")
	none, err := w.store().Background(w.t.Context(), turn.TurnRef, 0)
	require.NoError(w.t, err)
	require.Empty(w.t, none.History)

	require.NoError(w.t, w.store().Reply(w.t.Context(), turn.TurnRef, turn.Token, nil))
	x.write()
	turn = x.turn(w.me)
	b, err = w.store().Background(w.t.Context(), turn.TurnRef, 20)
	require.NoError(w.t, err)
	require.Nil(w.t, b.Stretch, "it was told")
	require.NotNil(w.t, b.Handover, "it came with the conversation, for as long as the AI has it")
	require.Len(w.t, b.History, 7)
}

func backgroundOfAHandoverByAnOffer(w *world) {
	x := w.talkOf(aiF)
	x.do(conversation.Command{Verb: conversation.VerbOffer, Actor: acting(aiF), To: aiG, Wait: time.Hour, Context: []byte(`{"void":true}`)})
	x.do(conversation.Command{Verb: conversation.VerbOffer, Actor: acting(aiF), To: aiG, Wait: time.Hour, Reason: "yours", Context: []byte(`{"n":2}`)})
	x.do(conversation.Command{Verb: conversation.VerbAccept, Actor: acting(aiG), Offer: x.find().Offer.ID})
	turn := x.turn(w.me)
	b, err := w.store().Background(w.t.Context(), turn.TurnRef, 20)
	require.NoError(w.t, err)
	require.Nil(w.t, b.Stretch)
	require.Equal(w.t, []any{"ai:f", "yours", `{"n": 2}`}, []any{b.Handover.By, b.Handover.Reason, string(b.Handover.Context)})

	y := w.talkOf(aiF)
	turn = y.turn(w.me)
	b, err = w.store().Background(w.t.Context(), turn.TurnRef, 20)
	require.NoError(w.t, err)
	require.Nil(w.t, b.Handover)
}

func attachmentsOfOthersAreNotForYou(w *world) {
	x, y := w.talkOf(aiF), w.talkOf(ana)
	put := func(of *talk, mimetype string) int64 {
		id, err := w.store().PutMedia(w.t.Context(), tenant, of.id, conversation.Content{Mimetype: mimetype, FileName: "a", Bytes: []byte("x")})
		require.NoError(w.t, err)
		return id
	}
	own, foreign := put(x, "audio/ogg; codecs=opus"), put(y, "image/png")
	turn := x.turn(w.me)
	for _, m := range []int64{foreign, foreign + 100} {
		require.ErrorIs(w.t, w.store().Reply(w.t.Context(), turn.TurnRef, turn.Token,
			[]conversation.Part{{Media: &conversation.PartMedia{ID: own}}, {Media: &conversation.PartMedia{ID: m}}}), conversation.ErrInvalid)
	}
	require.ErrorIs(w.t, w.store().Reply(w.t.Context(), turn.TurnRef, turn.Token, []conversation.Part{{Content: &conversation.Content{}}}), conversation.ErrInvalid)
	require.NoError(w.t, w.store().Reply(w.t.Context(), turn.TurnRef, turn.Token, []conversation.Part{{Text: "ouça", Media: &conversation.PartMedia{ID: own}}}))
	parts, err := w.store().QueuedParts(w.t.Context(), turn.TurnRef)
	require.NoError(w.t, err)
	require.Equal(w.t, &conversation.PartMedia{ID: own, Kind: conversation.MediaAudio}, parts[0].Media, "shown as its MIME type says")
	c, err := w.store().Media(w.t.Context(), tenant, own)
	require.NoError(w.t, err)
	require.Equal(w.t, x.id, c.Conversation)
	require.True(w.t, x.pass(turn.TurnRef, 1))
	require.True(w.t, x.sent(turn.TurnRef, 1))
	x.write()
	b, err := w.store().Background(w.t.Context(), x.turn(w.me).TurnRef, 5)
	require.NoError(w.t, err)
	require.Equal(w.t, &conversation.MessageMedia{ID: own, State: conversation.MediaReady,
		Media: conversation.Media{Mimetype: "audio/ogg; codecs=opus", FileName: "a"}}, b.History[1].Media)
}
