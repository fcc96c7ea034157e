package storetest

import (
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

var decisionCases = map[string]func(*world){
	"DecisionsInTheirOrder":            decisionsInTheirOrder,
	"ADecisionOnABurst":                aDecisionOnABurst,
	"ADecisionOnAReopenedConversation": aDecisionOnAReopenedConversation,
	"ADecisionOnAReleasedConversation": aDecisionOnAReleasedConversation,
	"ADecisionAfterAHuman":             aDecisionAfterAHuman,
	"ADecisionOnWhatAHumanReadLater":   aDecisionOnWhatAHumanReadLater,
	"ADecisionAndADeadLetter":          aDecisionAndADeadLetter,
	"ADecisionWhileAnAnswerGoesOut":    aDecisionWhileAnAnswerGoesOut,
	"ADecisionOnWhatWasRedriven":       aDecisionOnWhatWasRedriven,
	"ADecisionOnWhatWasClosed":         aDecisionOnWhatWasClosed,
	"ADecisionOnWhatIsMerged":          aDecisionOnWhatIsMerged,
	"ADecisionAfterAMerge":             aDecisionAfterAMerge,
}

// replayed is a conversation whose decisions are remembered as they were made.
type replayed struct {
	*talk
	made *[]conversation.Decided
}

func (x *talk) replayed() replayed { return replayed{x, new([]conversation.Decided)} }

// decided is what the router read, and what it made of it.
func (x replayed) decided(to conversation.Owner) {
	x.t.Helper()
	list, err := x.store().Unrouted(x.t.Context(), 100)
	require.NoError(x.t, err)
	for _, u := range list {
		if u.Conversation != x.id {
			continue
		}
		done := x.do(conversation.Command{Verb: conversation.VerbClaim, To: to, Actor: conversation.Router, Reason: "rule:r", RuleVersion: "one"})
		*x.made = append(*x.made, conversation.Decided{Unrouted: u, Seq: done.Seq, Owner: done.Conversation.Owner, Reason: "rule:r", RuleVersion: "one"})
		return
	}
	x.t.Fatal("nothing waits for a decision")
}

// same expects that each decision is put together as it was, whatever came after it.
func (x replayed) same(when string) {
	x.t.Helper()
	list, err := x.store().Decisions(x.t.Context(), conversation.DecisionFilter{Tenant: tenant, Since: time.Now().Add(-time.Hour)})
	require.NoError(x.t, err)
	var got []conversation.Decided
	for _, d := range list {
		if d.Conversation == x.id {
			got = append(got, d)
		}
	}
	require.Len(x.t, got, len(*x.made), when)
	for i, want := range *x.made {
		got := got[i]
		for _, at := range []struct{ want, got *time.Time }{{&want.Facts.Now, &got.Facts.Now}, {&want.Facts.LastOwnerAt, &got.Facts.LastOwnerAt}} {
			require.WithinDuration(x.t, *at.want, *at.got, 2*time.Second, when)
			*at.want, *at.got = time.Time{}, time.Time{}
		}
		for _, at := range []*time.Time{&want.Facts.Since, &want.Facts.BeforeAt, &got.Facts.Since, &got.Facts.BeforeAt} {
			*at = at.UTC()
		}
		require.Equal(x.t, want, got, "decision %d, %s", i+1, when)
	}
}

// begins is a conversation that waits, with rules in force.
func (w *world) begins() replayed {
	w.t.Helper()
	w.putRules("one", "rules")
	return w.talk().replayed()
}

// answered is a turn whose answer is sent.
func (x *talk) answered() {
	x.t.Helper()
	turn := x.replied("Oi")
	require.True(x.t, x.pass(turn.TurnRef, 1))
	require.True(x.t, x.sent(turn.TurnRef, 1))
}

func decisionsInTheirOrder(w *world) {
	w.putRules("one", "rules")
	from := time.Now().Add(-time.Minute)
	var all []conversation.ID
	for range 5 {
		x := w.talk()
		x.do(conversation.Command{Verb: conversation.VerbClaim, To: queue, Actor: conversation.Router, Reason: "channel_flow", RuleVersion: "channel-flow/1"})
		all = append(all, x.id)
	}
	y := w.talk()
	y.do(conversation.Command{Verb: conversation.VerbClaim, To: queue, Actor: operator})
	read := func(f conversation.DecisionFilter) []conversation.Decided {
		list, err := w.store().Decisions(w.t.Context(), f)
		require.NoError(w.t, err)
		return list
	}
	var got []conversation.ID
	f := conversation.DecisionFilter{Tenant: tenant, Since: from, Limit: 2}
	for {
		page := read(f)
		for _, d := range page {
			require.Empty(w.t, d.Rules, "there were none")
			require.Equal(w.t, 1, d.Facts.Waiting, "what waited is told all the same")
			got, f.After = append(got, d.Conversation), d.Place()
		}
		if len(page) < f.Limit {
			break
		}
	}
	require.Equal(w.t, all, got, "the router's only, each once")
	require.Empty(w.t, read(conversation.DecisionFilter{Tenant: tenant, Since: time.Now().Add(time.Minute)}))
	require.Empty(w.t, read(conversation.DecisionFilter{Tenant: "another", Since: from}))
}

func aDecisionOnABurst(w *world) {
	x := w.begins()
	for range conversation.FactsMessages + 2 {
		x.write()
	}
	x.decided(aiF)
	x.same("at once")
	x.write()
	x.same("with a message after it")
	x.turn(w.me)
	x.same("taken")
	x.do(conversation.Command{Verb: conversation.VerbPass, To: aiG})
	x.same("given back")
	x.answered()
	x.same("answered")
	x.write()
	x.do(conversation.Command{Verb: conversation.VerbTake, Actor: acting(ana)})
	x.do(conversation.Command{Verb: conversation.VerbRelease, Actor: acting(ana)})
	x.write()
	x.same("and long after")
}

func aDecisionOnAReopenedConversation(w *world) {
	x := w.begins()
	x.decided(aiF)
	x.answered()
	x.do(conversation.Command{Verb: conversation.VerbClose})
	x.write()
	x.write()
	x.decided(aiF)
	x.same("at once")
	x.answered()
	x.do(conversation.Command{Verb: conversation.VerbClose})
	x.write()
	x.decided(queue)
	x.write()
	x.same("closed and open again")
}

func aDecisionOnAReleasedConversation(w *world) {
	x := w.begins()
	x.decided(aiF)
	turn := x.turn(w.me)
	x.do(conversation.Command{Verb: conversation.VerbRelease})
	x.write()
	x.decided(queue)
	x.same("the turn gave its message back")
	x.do(conversation.Command{Verb: conversation.VerbPass, To: aiG})
	require.ErrorIs(w.t, w.store().Reply(w.t.Context(), turn.TurnRef, turn.Token, nil), conversation.ErrStaleEpoch)
	x.answered()
	x.write()
	x.do(conversation.Command{Verb: conversation.VerbRelease})
	x.decided(aiF)
	x.same("released again")
	x.answered()
	x.same("answered")
}

func aDecisionAfterAHuman(w *world) {
	x := w.begins()
	x.decided(queue)
	x.do(conversation.Command{Verb: conversation.VerbTake, Actor: acting(ana)})
	x.write()
	x.do(conversation.Command{Verb: conversation.VerbRelease, Actor: acting(ana)})
	x.write()
	x.decided(aiF)
	x.same("at once")
	x.answered()
	x.do(conversation.Command{Verb: conversation.VerbTake, Actor: acting(bia)})
	x.write()
	x.do(conversation.Command{Verb: conversation.VerbRelease, Actor: acting(bia)})
	x.write()
	x.decided(queue)
	x.same("another one had it, too")
	x.do(conversation.Command{Verb: conversation.VerbHold})
	x.do(conversation.Command{Verb: conversation.VerbResume})
	x.do(conversation.Command{Verb: conversation.VerbClose})
	x.same("closed")
}

func aDecisionOnWhatAHumanReadLater(w *world) {
	x := w.begins()
	x.write()
	x.decided(queue)
	x.write()
	x.do(conversation.Command{Verb: conversation.VerbTake, Actor: acting(ana)})
	x.same("taken")
	x.do(conversation.Command{Verb: conversation.VerbHandback, Actor: acting(ana), To: aiF, Through: 1})
	x.same("handed back, read in part")
	x.answered()
	x.same("and answered in part")
}

func aDecisionAndADeadLetter(w *world) {
	x := w.begins()
	x.decided(aiF)
	letter := x.giveUp(conversation.ReasonDeadline)
	x.same("given up")
	x.write()
	x.do(conversation.Command{Verb: conversation.VerbRelease})
	x.decided(queue)
	x.same("what came after it waits")
	_, err := w.decide(letter, conversation.LetterRedriven)
	require.NoError(w.t, err)
	x.same("redriven")
	x.answered()
	x.same("and answered")
	x.write()
	x.giveUp(conversation.ReasonFlowRefused)
	x.write()
	x.do(conversation.Command{Verb: conversation.VerbRelease})
	x.decided(aiF)
	x.answered()
	x.same("and again")
}

// onTheWire is a decision made while nobody knew whether the first message was answered.
func (w *world) onTheWire() (replayed, conversation.Turn) {
	w.t.Helper()
	x := w.begins()
	x.decided(aiF)
	turn := x.replied("um", "dois")
	require.True(w.t, x.pass(turn.TurnRef, 1))
	x.write()
	x.do(conversation.Command{Verb: conversation.VerbRelease})
	x.decided(queue)
	x.same("on the wire")
	return x, turn
}

func aDecisionWhileAnAnswerGoesOut(w *world) {
	y, went := w.onTheWire()
	require.True(w.t, y.sent(went.TurnRef, 1))
	y.same("sent")

	x, turn := w.onTheWire()
	ok, err := w.store().Unknown(w.t.Context(), conversation.PartRef{TurnRef: turn.TurnRef, Part: 1}, conversation.ReasonAmbiguous)
	require.NoError(w.t, err)
	require.True(w.t, ok)
	require.NoError(w.t, w.store().Settle(w.t.Context(), conversation.Settlement{Tenant: tenant, Conversation: x.id, No: turn.No, Part: 1, Sent: false, Actor: operator}))
	require.Equal(w.t, []string{"pending", "pending"}, w.Messages(x.id))
	x.same("not sent, and so the first message waits again")
	x.do(conversation.Command{Verb: conversation.VerbPass, To: aiF})
	x.answered()
	x.same("answered")
}

// aDecisionOnWhatWasRedriven is about a message older than one that was answered.
func aDecisionOnWhatWasRedriven(w *world) {
	x := w.begins()
	x.decided(aiF)
	letter := x.giveUp(conversation.ReasonDeadline)
	x.do(conversation.Command{Verb: conversation.VerbPass, To: aiF})
	x.write()
	x.answered()
	_, err := w.decide(letter, conversation.LetterRedriven)
	require.NoError(w.t, err)
	x.do(conversation.Command{Verb: conversation.VerbRelease})
	x.decided(queue)
	require.Equal(w.t, []any{1, int64(1)}, []any{(*x.made)[1].Facts.Waiting, (*x.made)[1].Facts.Before})
	x.same("at once")
	x.do(conversation.Command{Verb: conversation.VerbPass, To: aiF})
	x.answered()
	x.same("answered")
}

func aDecisionOnWhatWasClosed(w *world) {
	x := w.begins()
	x.decided(queue)
	x.write()
	x.do(conversation.Command{Verb: conversation.VerbClose})
	x.same("closed")
	x.write()
	x.decided(queue)
	x.same("and reopened")
	x.do(conversation.Command{Verb: conversation.VerbClose})
	x.same("and closed again")
}

func aDecisionOnWhatIsMerged(w *world) {
	x, y := w.begins(), w.begins()
	x.decided(queue)
	x.write()
	y.write()
	y.decided(aiF)
	y.write()
	joined, err := w.store().Merge(w.t.Context(), tenant, x.id, y.id)
	require.NoError(w.t, err)
	require.Equal(w.t, []any{x.id, 3}, []any{joined.Stays, joined.Moved})
	x.same("the other's messages were not there")
	y.same("they were here")
	x.do(conversation.Command{Verb: conversation.VerbPass, To: aiF})
	x.answered()
	x.same("answered")
	y.same("answered there")
}

// aDecisionAfterAMerge is about all that is there, in the order in which it was written.
func aDecisionAfterAMerge(w *world) {
	w.putRules("one", "rules")
	at := time.Now().Add(-time.Hour)
	jid, other := uuid.NewString()+"@lid", uuid.NewString()+"@lid"
	x := (&talk{world: w, id: w.write2(jid, "", at), chat: jid}).replayed()
	y := (&talk{world: w, id: w.write2(other, "", at.Add(-time.Minute)), chat: other}).replayed()
	w.write2(jid, "", at.Add(-2*time.Minute))
	joined, err := w.store().Merge(w.t.Context(), tenant, x.id, y.id)
	require.NoError(w.t, err)
	require.Equal(w.t, x.id, joined.Stays, fmt.Sprint(joined))
	x.decided(aiF)
	require.Equal(w.t, 3, (*x.made)[0].Facts.Waiting)
	x.same("at once")
	x.answered()
	x.write()
	x.same("answered")
	y.same("nobody ever decided about it")
}
