package storetest

import (
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

var ruleCases = map[string]func(*world){
	"RulesInForce":          rulesInForce,
	"FactsOfTheUnrouted":    factsOfTheUnrouted,
	"AClaimSaysSomething":   aClaimSaysSomething,
	"OnlyTheRouterMaySayIt": onlyTheRouterMaySayIt,
}

func (w *world) putRules(version, text string) bool {
	changed, err := w.store().PutRules(w.t.Context(), conversation.Rulebook{Tenant: tenant, Version: version, Text: text, By: "operator:op"})
	require.NoError(w.t, err)
	return changed
}

func rulesInForce(w *world) {
	_, err := w.store().Rules(w.t.Context(), tenant, "")
	require.ErrorIs(w.t, err, conversation.ErrNoRules)
	require.True(w.t, w.putRules("one", "first"))
	require.False(w.t, w.putRules("one", "first"), "they are in force already")
	require.True(w.t, w.putRules("two", "second"))
	require.True(w.t, w.putRules("one", "first"), "and back again")
	require.True(w.t, w.putRules("two", "never the other"))
	read := func(version string) conversation.Rulebook {
		r, err := w.store().Rules(w.t.Context(), tenant, version)
		require.NoError(w.t, err)
		require.WithinDuration(w.t, time.Now(), r.At, time.Minute)
		r.At = time.Time{}
		return r
	}
	require.Equal(w.t, conversation.Rulebook{Tenant: tenant, Version: "two", Text: "second", By: "operator:op"}, read(""), "what is stored stays")
	require.Equal(w.t, "first", read("one").Text)
	_, err = w.store().Rules(w.t.Context(), tenant, "three")
	require.ErrorIs(w.t, err, conversation.ErrNoRules)
	_, err = w.store().Rules(w.t.Context(), "another", "one")
	require.ErrorIs(w.t, err, conversation.ErrNoRules, "they are the tenant's")
	_, err = w.store().PutRules(w.t.Context(), conversation.Rulebook{Tenant: tenant, Version: "x", Text: "a\x00b", By: "operator:op"})
	require.ErrorIs(w.t, err, conversation.ErrInvalid)
}

// unrouted is the only one there is.
func (w *world) unrouted() conversation.Unrouted {
	list, err := w.store().Unrouted(w.t.Context(), 10)
	require.NoError(w.t, err)
	require.Len(w.t, list, 1)
	return list[0]
}

func factsOfTheUnrouted(w *world) {
	x := w.talk()
	require.Equal(w.t, conversation.Facts{}, w.unrouted().Facts, "without rules nothing is read")
	w.putRules("one", "rules")
	u := w.unrouted()
	require.Equal(w.t, "one", u.Rules)
	require.WithinDuration(w.t, time.Now(), u.Facts.Now, time.Minute)
	require.Equal(w.t, []any{1, 1, int64(0), true, 0, conversation.Nobody}, []any{len(u.Facts.Texts), u.Facts.Waiting, u.Facts.Before, u.Facts.BeforeAt.IsZero(), u.Facts.Stretches, u.Facts.LastOwner})
	require.NotEmpty(w.t, u.Facts.Contact.JID)

	x.do(conversation.Command{Verb: conversation.VerbTake, Actor: acting(ana)})
	x.do(conversation.Command{Verb: conversation.VerbRelease, Actor: acting(ana)})
	x.write()
	x.write()
	u = w.unrouted()
	require.Equal(w.t, conversation.Routing, u.State)
	require.Equal(w.t, []any{2, 2, int64(1), 1, ana}, []any{len(u.Facts.Texts), u.Facts.Waiting, u.Facts.Before, u.Facts.Stretches, u.Facts.LastOwner})
	require.False(w.t, u.Facts.BeforeAt.IsZero())
	require.WithinDuration(w.t, u.Facts.Now, u.Facts.LastOwnerAt, time.Minute)
	require.WithinDuration(w.t, u.Facts.Now, u.Facts.Since, time.Minute)
	first := u.Facts.Since

	require.Equal(w.t, []any{0, 0}, []any{u.Facts.Attempts, len(u.Facts.Labels)})
	y := w.talkOf(aiF)
	y.fails(conversation.ReasonDeadline)
	y.do(conversation.Command{Verb: conversation.VerbHandback, To: aiF})
	y.write()
	y.fails(conversation.ReasonDeadline)
	y.do(conversation.Command{Verb: conversation.VerbRelease})
	y.write()
	list, err := w.store().Unrouted(w.t.Context(), 10)
	require.NoError(w.t, err)
	require.Len(w.t, list, 2)
	require.Equal(w.t, 2, list[1].Facts.Attempts, "since an AI answered")
	y.do(conversation.Command{Verb: conversation.VerbClose})

	for range conversation.FactsMessages {
		x.write()
	}
	u = w.unrouted()
	require.Len(w.t, u.Facts.Texts, conversation.FactsMessages)
	require.Equal(w.t, conversation.FactsMessages+2, u.Facts.Waiting, "all are counted")
	require.Equal(w.t, first, u.Facts.Since, "since the first of them came")
}

func aClaimSaysSomething(w *world) {
	x := w.talk()
	x.do(conversation.Command{Verb: conversation.VerbClaim, To: queue, Actor: conversation.Router, Reason: "rule:closed", RuleVersion: "one", Say: "Estamos fechados."})
	x.stands("HUMAN_QUEUED queue 1")
	require.Equal(w.t, []string{"queued"}, w.Parts(x.id, 1))
	turn, err := w.store().ReclaimTurn(w.t.Context(), w.terms(w.me))
	require.NoError(w.t, err)
	require.Equal(w.t, conversation.SaidByRouter, turn.Kind)
	parts, err := w.store().QueuedParts(w.t.Context(), turn.TurnRef)
	require.NoError(w.t, err)
	require.Equal(w.t, "Estamos fechados.", parts[0].Text)
}

func onlyTheRouterMaySayIt(w *world) {
	x := w.talk()
	_, err := w.store().Do(w.t.Context(), conversation.Command{Verb: conversation.VerbClaim, Tenant: tenant, Conversation: x.id, To: queue, Actor: operator, Say: "x"})
	require.ErrorIs(w.t, err, conversation.ErrInvalid)
}
