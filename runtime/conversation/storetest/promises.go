package storetest

import (
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

var promiseCases = map[string]func(*world){
	"AClaimPromises":                  aClaimPromises,
	"OnlyABeginningPromises":          onlyABeginningPromises,
	"APromiseIsJudgedWhenItIsDue":     aPromiseIsJudgedWhenItIsDue,
	"ARulesWordsAreNoAnswer":          aRulesWordsAreNoAnswer,
	"AHumansWordsAreAnAnswer":         aHumansWordsAreAnAnswer,
	"APhonesWordsAreAnAnswer":         aPhonesWordsAreAnAnswer,
	"ClosedInTimeWithoutAnAnswer":     closedInTimeWithoutAnAnswer,
	"ReopenedAPromiseIsNotAnswered":   reopenedAPromiseIsNotAnswered,
	"AMergeEndsThePromisesOfWhatGoes": aMergeEndsThePromisesOfWhatGoes,
	"APromiseIsJudgedOnce":            aPromiseIsJudgedOnce,
}

// promised begins a conversation whose claim promises both, due after so long; in the past: too long ago.
func (w *world) promised(due time.Duration) *talk {
	w.t.Helper()
	x := w.talk()
	x.claim(aiF, due)
	return x
}

func (x *talk) claim(to conversation.Owner, due time.Duration) conversation.Result {
	x.t.Helper()
	now := time.Now().UTC().Truncate(time.Microsecond)
	promise := func(kind conversation.PromiseKind) conversation.Promise {
		return conversation.Promise{Kind: kind, Name: "vip", Since: now.Add(-time.Hour), Due: now.Add(due)}
	}
	return x.do(conversation.Command{Verb: conversation.VerbClaim, To: to, Actor: conversation.Router, RuleVersion: "one",
		Promises: []conversation.Promise{promise(conversation.FirstResponse), promise(conversation.Resolution)}})
}

// promises are what became of a conversation's, in the order they were made.
func (x *talk) promises() []string {
	x.t.Helper()
	list, err := x.store().ListPromises(x.t.Context(), conversation.PromiseFilter{Tenant: tenant, Conversation: x.id})
	require.NoError(x.t, err)
	var all []string
	for _, p := range list {
		require.Equal(x.t, p.State == conversation.PromiseOpen, p.EndedAt.IsZero())
		all = append(all, fmt.Sprintf("%s %s", p.Kind, p.State))
	}
	return all
}

// judged makes what was promised due, and waits until it is judged.
func (x *talk) judged() []string {
	x.t.Helper()
	x.Due(x.id)
	require.Eventually(x.t, func() bool {
		_, err := x.store().JudgePromises(x.t.Context(), 10)
		require.NoError(x.t, err)
		for _, p := range x.promises() {
			if p == "first_response open" || p == "resolution open" {
				return false
			}
		}
		return true
	}, 20*time.Second, 100*time.Millisecond)
	return x.promises()
}

func aClaimPromises(w *world) {
	x := w.talk()
	done := x.claim(queue, time.Hour)
	list, err := w.store().ListPromises(w.t.Context(), conversation.PromiseFilter{Tenant: tenant})
	require.NoError(w.t, err)
	require.Len(w.t, list, 2)
	for i, kind := range []conversation.PromiseKind{conversation.FirstResponse, conversation.Resolution} {
		p := list[i]
		require.Equal(w.t, []any{kind, "vip", tenant, x.id, done.Seq, "one", conversation.PromiseOpen},
			[]any{p.Kind, p.Name, p.Tenant, p.Conversation, p.Seq, p.RuleVersion, p.State})
		require.WithinDuration(w.t, time.Now().Add(time.Hour), p.Due, time.Minute)
		require.Equal(w.t, 2*time.Hour, p.Due.Sub(p.Since))
	}
	for _, f := range []struct {
		conversation.PromiseFilter
		found int
	}{
		{conversation.PromiseFilter{Tenant: tenant, Limit: 1}, 1},
		{conversation.PromiseFilter{Tenant: tenant, After: list[0].ID}, 1},
		{conversation.PromiseFilter{Tenant: tenant, State: conversation.PromiseBroken}, 0},
		{conversation.PromiseFilter{Tenant: tenant, State: conversation.PromiseOpen, Conversation: x.id}, 2},
		{conversation.PromiseFilter{Tenant: tenant, Conversation: x.id + 1}, 0},
		{conversation.PromiseFilter{Tenant: "another"}, 0},
	} {
		some, err := w.store().ListPromises(w.t.Context(), f.PromiseFilter)
		require.NoError(w.t, err)
		require.Len(w.t, some, f.found, "%+v", f.PromiseFilter)
	}
	none, err := w.store().JudgePromises(w.t.Context(), 10)
	require.NoError(w.t, err)
	require.Empty(w.t, none, "they are not due")
}

func onlyABeginningPromises(w *world) {
	x := w.promised(time.Hour)
	x.do(conversation.Command{Verb: conversation.VerbRelease})
	x.claim(queue, time.Hour)
	require.Len(w.t, x.promises(), 2, "an agent gave it back: the customer waits for what was promised before")
	x.do(conversation.Command{Verb: conversation.VerbClose})
	x.write()
	x.claim(queue, time.Hour)
	require.Len(w.t, x.promises(), 4, "another conversation with the same customer")
	_, err := w.store().Do(w.t.Context(), conversation.Command{Verb: conversation.VerbClaim, Tenant: tenant, Conversation: x.id, To: queue, Actor: operator,
		Promises: []conversation.Promise{{Kind: conversation.Resolution, Name: "vip", Since: time.Now(), Due: time.Now().Add(time.Hour)}}})
	require.ErrorIs(w.t, err, conversation.ErrInvalid, "only the router promises")
}

func aPromiseIsJudgedWhenItIsDue(w *world) {
	x := w.promised(-time.Minute)
	list, err := w.store().JudgePromises(w.t.Context(), 10)
	require.NoError(w.t, err)
	require.Len(w.t, list, 2)
	for _, p := range list {
		require.Equal(w.t, []any{x.id, conversation.PromiseBroken, p.Due}, []any{p.Conversation, p.State, p.EndedAt})
	}
	x.do(conversation.Command{Verb: conversation.VerbClose})
	require.Equal(w.t, []string{"first_response broken", "resolution broken"}, x.promises(), "too late changes nothing")

	z := w.promised(time.Hour)
	turn := z.replied("Oi", "tudo bem?")
	require.True(w.t, z.pass(turn.TurnRef, 1))
	require.True(w.t, z.sent(turn.TurnRef, 1))
	require.Equal(w.t, []string{"first_response met", "resolution broken"}, z.judged(), "a part of an answer is one")
}

func aRulesWordsAreNoAnswer(w *world) {
	x := w.talk()
	now := time.Now()
	x.do(conversation.Command{Verb: conversation.VerbClaim, To: queue, Actor: conversation.Router, Say: "Estamos fechados.",
		Promises: []conversation.Promise{{Kind: conversation.FirstResponse, Name: "vip", Since: now.Add(-time.Hour), Due: now.Add(time.Hour)}}})
	turn, err := w.store().ReclaimTurn(w.t.Context(), w.terms(w.me))
	require.NoError(w.t, err)
	require.True(w.t, x.pass(turn.TurnRef, 1))
	require.True(w.t, x.sent(turn.TurnRef, 1))
	require.Equal(w.t, []string{"first_response broken"}, x.judged())
}

// aHumansWordsAreAnAnswer also if the conversation is closed before they are sent.
func aHumansWordsAreAnAnswer(w *world) {
	x := w.promised(time.Hour)
	x.do(conversation.Command{Verb: conversation.VerbTake, Actor: acting(ana)})
	_, first, err := w.store().Say(w.t.Context(), conversation.Said{Tenant: tenant, Conversation: x.id, Kind: conversation.SaidByHuman, By: ana.String(),
		Source: uuid.NewString(), Parts: []conversation.Part{{Text: "Resolvido."}}, Within: time.Hour})
	require.NoError(w.t, err)
	require.True(w.t, first)
	x.do(conversation.Command{Verb: conversation.VerbClose})
	turn, err := w.store().ReclaimTurn(w.t.Context(), w.terms(w.me))
	require.NoError(w.t, err)
	require.True(w.t, x.pass(turn.TurnRef, 1))
	require.True(w.t, x.sent(turn.TurnRef, 1))
	require.Equal(w.t, []string{"first_response met", "resolution met"}, x.judged())
}

func aPhonesWordsAreAnAnswer(w *world) {
	x := w.promised(time.Hour)
	_, err := w.store().Receive(w.t.Context(), []conversation.Event{{
		Tenant: tenant, Channel: channel, Kind: conversation.KindMessage, WAID: uuid.NewString(), ChatJID: x.chat, Type: "text", Text: "Oi",
		Body: []byte(`{}`), State: conversation.Ignored, Reason: "from_me", FromMe: true,
	}}, conversation.Window{})
	require.NoError(w.t, err)
	x.Due(x.id)
	require.Eventually(w.t, func() bool {
		_, err := w.store().JudgePromises(w.t.Context(), 10)
		require.NoError(w.t, err)
		return x.promises()[1] == "resolution broken"
	}, 20*time.Second, 100*time.Millisecond)
	require.Equal(w.t, "first_response open", x.promises()[0], "nobody knows yet who wrote it")
	own, err := w.store().OwnMessages(w.t.Context(), 0, 10)
	require.NoError(w.t, err)
	require.Len(w.t, own, 1)
	_, err = w.store().JudgeOwn(w.t.Context(), own[0].ID, conversation.HumanOnPhone)
	require.NoError(w.t, err)
	list, err := w.store().JudgePromises(w.t.Context(), 10)
	require.NoError(w.t, err)
	require.Len(w.t, list, 1)
	require.Equal(w.t, []string{"first_response met", "resolution broken"}, x.promises())
}

func closedInTimeWithoutAnAnswer(w *world) {
	x := w.promised(time.Hour)
	x.do(conversation.Command{Verb: conversation.VerbClose})
	require.Equal(w.t, []string{"first_response void", "resolution met"}, x.judged())
}

func reopenedAPromiseIsNotAnswered(w *world) {
	x := w.promised(time.Hour)
	x.do(conversation.Command{Verb: conversation.VerbClose})
	x.write()
	x.claim(aiF, time.Hour)
	turn := x.replied("Oi")
	require.True(w.t, x.pass(turn.TurnRef, 1))
	require.True(w.t, x.sent(turn.TurnRef, 1))
	require.Equal(w.t, []string{"first_response void", "resolution met", "first_response met", "resolution broken"}, x.judged(),
		"what is said then answers what was asked then")
}

func aMergeEndsThePromisesOfWhatGoes(w *world) {
	x, y := w.promised(time.Hour), w.promised(time.Hour)
	x.do(conversation.Command{Verb: conversation.VerbTake, Actor: acting(ana)})
	joined, err := w.store().Merge(w.t.Context(), tenant, x.id, y.id)
	require.NoError(w.t, err)
	require.Equal(w.t, x.id, joined.Stays)
	require.Equal(w.t, []string{"first_response void", "resolution void"}, y.judged())
	require.Equal(w.t, []string{"first_response open", "resolution open"}, x.promises())
}

func aPromiseIsJudgedOnce(w *world) {
	const talks = 20
	for range talks {
		w.promised(-time.Minute)
	}
	var (
		judges sync.WaitGroup
		mu     sync.Mutex
		times  = map[int64]int{}
	)
	for range 4 {
		judges.Go(func() {
			for range talks {
				list, err := w.store().JudgePromises(w.t.Context(), 3)
				if err != nil {
					w.t.Error(err)
					return
				}
				mu.Lock()
				for _, p := range list {
					times[p.ID]++
				}
				mu.Unlock()
			}
		})
	}
	judges.Wait()
	require.Len(w.t, times, 2*talks)
	for id, n := range times {
		require.Equal(w.t, 1, n, "promise %d", id)
	}
}
