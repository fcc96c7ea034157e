package storetest

import (
	"context"
	"fmt"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

var letterCases = map[string]func(*world){
	"RedriveGivesItToTheAIAgain":    redriveGivesItToTheAIAgain,
	"RedriveWhoeverHasIt":           redriveWhoeverHasIt,
	"DropLeavesItUnanswered":        dropLeavesItUnanswered,
	"DeadLettersAreListed":          deadLettersAreListed,
	"RedriveAndDropAtOnce":          redriveAndDropAtOnce,
	"RedriveAfterLaterMessages":     redriveAfterLaterMessages,
	"RedriveOfAnAgentWithoutPlaces": redriveOfAnAgentWithoutPlaces,
}

// letter is a conversation whose turn was given up.
func (w *world) letter(reason string) (*talk, conversation.DeadLetter) {
	w.t.Helper()
	x := w.talkOf(aiF)
	return x, x.giveUp(reason)
}

func (x *talk) giveUp(reason string) conversation.DeadLetter {
	x.t.Helper()
	turn := x.turn(x.me)
	require.NoError(x.t, x.store().Fail(x.t.Context(), turn.TurnRef, conversation.Failure{Reason: reason, Detail: "detail"}))
	list := x.letters(conversation.LetterFilter{State: conversation.LetterOpen})
	return list[len(list)-1]
}

func (w *world) letters(f conversation.LetterFilter) []conversation.DeadLetter {
	w.t.Helper()
	f.Tenant = tenant
	list, err := w.store().ListDeadLetters(w.t.Context(), f)
	require.NoError(w.t, err)
	return list
}

func (w *world) decide(l conversation.DeadLetter, s conversation.LetterState) (conversation.DeadLetter, error) {
	return w.store().DecideDeadLetter(w.t.Context(), conversation.LetterDecision{Tenant: tenant, ID: l.ID, State: s, Actor: operator, Reason: "spam"})
}

func redriveGivesItToTheAIAgain(w *world) {
	x, l := w.letter(conversation.ReasonDeadline)
	x.write()
	require.Equal(w.t, []any{x.id, channel, 1, flow, conversation.ReasonDeadline, "detail", conversation.LetterOpen, 1},
		[]any{l.Conversation, l.Channel, l.Turn, l.Agent, l.Reason, l.Detail, l.State, l.Messages})
	x.stands("HUMAN_QUEUED queue 2")
	done, err := w.decide(l, conversation.LetterRedriven)
	require.NoError(w.t, err)
	require.Equal(w.t, []any{conversation.LetterRedriven, "operator:op", 0}, []any{done.State, done.DecidedBy, done.Messages})
	require.False(w.t, done.DecidedAt.IsZero())
	x.stands("AI_ACTIVE ai:f 3")
	require.Equal(w.t, []string{"pending", "pending"}, w.Messages(x.id))
	last := x.trail()[3]
	require.Equal(w.t, []any{conversation.VerbHandback, "operator:op", fmt.Sprint(l.ID)}, []any{last.Verb, last.Actor, last.Detail["letter"]})

	again, err := w.decide(l, conversation.LetterRedriven)
	require.NoError(w.t, err)
	require.Equal(w.t, done, again, "the second time it does nothing")
	x.stands("AI_ACTIVE ai:f 3")
	_, err = w.decide(l, conversation.LetterDropped)
	require.ErrorIs(w.t, err, conversation.ErrDecided)

	turn := x.turn(w.me)
	require.Len(w.t, turn.Messages, 2)
	// It fails again: a letter of its own.
	require.NoError(w.t, w.store().Fail(w.t.Context(), turn.TurnRef, conversation.Failure{Reason: conversation.ReasonFlowRefused}))
	list := w.letters(conversation.LetterFilter{State: conversation.LetterOpen})
	require.Len(w.t, list, 1)
	require.Equal(w.t, []any{2, 2}, []any{list[0].Turn, list[0].Messages})
	require.Equal(w.t, 2, w.DeadLetters(x.id))
}

func redriveWhoeverHasIt(w *world) {
	x, l := w.letter(conversation.ReasonDeadline)
	x.do(conversation.Command{Verb: conversation.VerbTake, Actor: acting(ana)})
	_, err := w.decide(l, conversation.LetterRedriven)
	var refused *conversation.RefusedError
	require.ErrorIs(w.t, err, conversation.ErrHumanOnDuty)
	require.ErrorAs(w.t, err, &refused)
	require.Equal(w.t, ana, refused.Now.Owner, "it is said who")
	require.Equal(w.t, []string{"dead"}, w.Messages(x.id))
	require.Equal(w.t, conversation.LetterOpen, w.letters(conversation.LetterFilter{})[0].State)

	x.do(conversation.Command{Verb: conversation.VerbHold})
	_, err = w.decide(l, conversation.LetterRedriven)
	require.ErrorIs(w.t, err, conversation.ErrWrongState)
	x.do(conversation.Command{Verb: conversation.VerbResume})

	// A human had it, and gave it to the queue: what they read stays theirs, the dead message does not.
	x.write()
	x.do(conversation.Command{Verb: conversation.VerbPass, To: queue})
	_, err = w.decide(l, conversation.LetterRedriven)
	require.NoError(w.t, err)
	require.Equal(w.t, []string{"pending", "human"}, w.Messages(x.id))
	require.Len(w.t, x.turn(w.me).Messages, 1)

	// The AI has it already, by another way.
	y, l := w.letter(conversation.ReasonDeadline)
	y.do(conversation.Command{Verb: conversation.VerbHandback})
	_, err = w.decide(l, conversation.LetterRedriven)
	require.NoError(w.t, err)
	y.stands("AI_ACTIVE ai:f 3")
	trail := y.trail()
	require.Equal(w.t, conversation.VerbRedrive, trail[len(trail)-1].Verb)
	require.Len(w.t, y.turn(w.me).Messages, 1)

	// Nobody has it.
	z, l := w.letter(conversation.ReasonDeadline)
	z.do(conversation.Command{Verb: conversation.VerbClose})
	_, err = w.decide(l, conversation.LetterRedriven)
	require.NoError(w.t, err)
	z.stands("AI_ACTIVE ai:f 4")
	require.Len(w.t, z.turn(w.me).Messages, 1)

	_, err = w.store().DecideDeadLetter(w.t.Context(), conversation.LetterDecision{Tenant: "other", ID: l.ID, State: conversation.LetterDropped, Actor: operator})
	require.ErrorIs(w.t, err, conversation.ErrNoLetter)
	_, err = w.store().FindDeadLetter(w.t.Context(), tenant, l.ID+1000)
	require.ErrorIs(w.t, err, conversation.ErrNoLetter)
}

func dropLeavesItUnanswered(w *world) {
	x, l := w.letter(conversation.ReasonDeadline)
	done, err := w.decide(l, conversation.LetterDropped)
	require.NoError(w.t, err)
	require.Equal(w.t, []any{conversation.LetterDropped, "operator:op", "spam", 1}, []any{done.State, done.DecidedBy, done.Decision, done.Messages})
	x.stands("HUMAN_QUEUED queue 2")
	require.Equal(w.t, []string{"dead"}, w.Messages(x.id))
	require.Equal(w.t, conversation.VerbDrop, x.trail()[3].Verb)
	again, err := w.decide(l, conversation.LetterDropped)
	require.NoError(w.t, err)
	require.Equal(w.t, done, again)
	require.EqualValues(w.t, 4, x.find().Version)
	_, err = w.decide(l, conversation.LetterRedriven)
	require.ErrorIs(w.t, err, conversation.ErrDecided)

	// It is in what the next AI is told.
	x.do(conversation.Command{Verb: conversation.VerbHandback})
	x.write()
	b, err := w.store().Background(w.t.Context(), x.turn(w.me).TurnRef, 5)
	require.NoError(w.t, err)
	require.Len(w.t, b.History, 1)
}

func deadLettersAreListed(w *world) {
	_, old := w.letter(conversation.ReasonDeadline)
	w.Age(time.Hour)
	_, refused := w.letter(conversation.ReasonFlowRefused)
	_, dropped := w.letter(conversation.ReasonDeadline)
	_, err := w.decide(dropped, conversation.LetterDropped)
	require.NoError(w.t, err)
	w.Channel("other", flow)
	ids := func(f conversation.LetterFilter) (list []int64) {
		for _, l := range w.letters(f) {
			list = append(list, l.ID)
		}
		return list
	}
	require.Equal(w.t, []int64{old.ID, refused.ID, dropped.ID}, ids(conversation.LetterFilter{}))
	require.Equal(w.t, []int64{old.ID, refused.ID}, ids(conversation.LetterFilter{State: conversation.LetterOpen}))
	require.Equal(w.t, []int64{old.ID}, ids(conversation.LetterFilter{State: conversation.LetterOpen, Limit: 1}))
	require.Equal(w.t, []int64{refused.ID}, ids(conversation.LetterFilter{State: conversation.LetterOpen, After: old.ID, Limit: 1}))
	require.Equal(w.t, []int64{refused.ID}, ids(conversation.LetterFilter{Reason: conversation.ReasonFlowRefused}))
	require.Equal(w.t, []int64{old.ID}, ids(conversation.LetterFilter{Before: refused.At.Add(-time.Minute)}))
	require.Empty(w.t, ids(conversation.LetterFilter{Channel: "other"}))
	require.Len(w.t, ids(conversation.LetterFilter{Channel: channel}), 3)
	list, err := w.store().ListDeadLetters(w.t.Context(), conversation.LetterFilter{Tenant: "other"})
	require.NoError(w.t, err)
	require.Empty(w.t, list)
}

func redriveAndDropAtOnce(w *world) {
	for range 20 {
		x, l := w.letter(conversation.ReasonDeadline)
		deciding := func(state conversation.LetterState) func(conversation.Store) error {
			return func(s conversation.Store) error {
				_, err := s.DecideDeadLetter(context.Background(), conversation.LetterDecision{Tenant: tenant, ID: l.ID, State: state, Actor: operator, Reason: "r"})
				return err
			}
		}
		failures := w.atOnce(deciding(conversation.LetterRedriven), deciding(conversation.LetterDropped), deciding(conversation.LetterRedriven),
			deciding(conversation.LetterDropped))
		now, err := w.store().FindDeadLetter(w.t.Context(), tenant, l.ID)
		require.NoError(w.t, err)
		for i, err := range failures {
			if (now.State == conversation.LetterRedriven) == (i%2 == 0) {
				require.NoError(w.t, err)
			} else {
				require.ErrorIs(w.t, err, conversation.ErrDecided)
			}
		}
		require.EqualValues(w.t, 4, x.find().Version, "one entry")
		if now.State == conversation.LetterRedriven {
			x.turn(w.me)
		}
	}
}

func redriveAfterLaterMessages(w *world) {
	x, l := w.letter(conversation.ReasonDeadline)
	x.write()
	x.do(conversation.Command{Verb: conversation.VerbHandback})
	turn := x.turn(w.me)
	require.NoError(w.t, w.store().Reply(w.t.Context(), turn.TurnRef, turn.Token, nil))
	_, err := w.decide(l, conversation.LetterRedriven)
	require.NoError(w.t, err)
	require.Equal(w.t, []string{"pending", "done"}, w.Messages(x.id))
	turn = x.turn(w.me)
	require.Len(w.t, turn.Messages, 1)
	require.NoError(w.t, w.store().Reply(w.t.Context(), turn.TurnRef, turn.Token, nil))
	require.Equal(w.t, []string{"done", "done"}, w.Messages(x.id))
}

func redriveOfAnAgentWithoutPlaces(w *world) {
	x, l := w.letter(conversation.ReasonDeadline)
	w.capacity(aiF, 0)
	_, err := w.decide(l, conversation.LetterRedriven)
	require.ErrorIs(w.t, err, conversation.ErrAtCapacity)
	x.stands("HUMAN_QUEUED queue 2")
	require.Equal(w.t, []string{"dead"}, w.Messages(x.id))
	w.capacity(aiF, 1)
	_, err = w.decide(l, conversation.LetterRedriven)
	require.NoError(w.t, err)
}
