package storetest

import (
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

var deadlineCases = map[string]func(*world){
	"OffersRunOut":               offersRunOut,
	"RequestsRunOut":             requestsRunOut,
	"SilenceHandsBack":           silenceHandsBack,
	"SilenceWithNobodyToHandTo":  silenceWithNobodyToHandTo,
	"OverdueDoneTwiceIsHarmless": overdueDoneTwiceIsHarmless,
}

// overdue is the one command whose time has come.
func (w *world) overdue() conversation.Command {
	w.t.Helper()
	list := w.allOverdue()
	require.Len(w.t, list, 1)
	return list[0]
}

func (w *world) allOverdue() []conversation.Command {
	w.t.Helper()
	list, err := w.store().Overdue(w.t.Context(), 100)
	require.NoError(w.t, err)
	return list
}

func offersRunOut(w *world) {
	x, y := w.talkOf(aiF), w.talkOf(aiF)
	for _, c := range []struct {
		*talk
		otherwise conversation.Otherwise
	}{{x, conversation.ElseReturn}, {y, conversation.ElseQueue}} {
		c.do(conversation.Command{Verb: conversation.VerbOffer, To: bia, Wait: time.Minute, Else: c.otherwise})
	}
	require.Empty(w.t, w.allOverdue())
	x.refuse(conversation.Command{Verb: conversation.VerbExpire, Actor: conversation.Router}, conversation.ErrNotYet)
	w.Age(time.Minute)
	for _, talk := range []*talk{x, y} {
		talk.refuse(conversation.Command{Verb: conversation.VerbAccept, Offer: talk.find().Offer.ID, Actor: acting(bia)}, conversation.ErrOfferGone)
	}
	list := w.allOverdue()
	require.Len(w.t, list, 2)
	for _, c := range list {
		require.Equal(w.t, []any{conversation.VerbExpire, conversation.Router}, []any{c.Verb, c.Actor})
		_, err := w.store().Do(w.t.Context(), c)
		require.NoError(w.t, err)
	}
	x.stands("AI_ACTIVE ai:f 1")
	y.stands("HUMAN_QUEUED queue 2")
	require.Nil(w.t, x.find().Offer)
	require.Equal(w.t, "offer_not_answered", x.trail()[3].Reason)
	require.Empty(w.t, w.allOverdue())
}

func requestsRunOut(w *world) {
	x := w.talkOf(aiF)
	x.do(conversation.Command{Verb: conversation.VerbRequest, Actor: acting(bia), Wait: time.Minute, Reason: "vip"})
	require.Equal(w.t, "human:bia", x.find().Request.By)
	w.Age(time.Minute)
	x.do(w.overdue())
	x.stands("AI_ACTIVE ai:f 1")
	require.Nil(w.t, x.find().Request)

	// Both run out: the offer returns, the request goes to the queue, in one transaction.
	x.do(conversation.Command{Verb: conversation.VerbRequest, Actor: acting(bia), Wait: time.Minute, Else: conversation.ElseQueue})
	x.do(conversation.Command{Verb: conversation.VerbOffer, To: ana, Wait: time.Minute})
	w.Age(time.Hour)
	before := len(x.trail())
	x.do(w.overdue())
	x.stands("HUMAN_QUEUED queue 2")
	require.Len(w.t, x.trail(), before+2)

	x.do(conversation.Command{Verb: conversation.VerbRequest, Actor: acting(bia), Wait: time.Minute})
	x.do(conversation.Command{Verb: conversation.VerbTake, Actor: acting(bia)})
	require.Nil(w.t, x.find().Request, "whoever has it now was not asked")
	w.Age(time.Hour)
	require.Empty(w.t, w.allOverdue())
}

func silenceHandsBack(w *world) {
	x := w.talkOf(aiF)
	x.do(conversation.Command{Verb: conversation.VerbTake, Actor: acting(ana), Wait: time.Minute})
	x.write()
	w.Age(time.Minute)
	c := w.overdue()
	require.Equal(w.t, []any{conversation.VerbHandback, conversation.Router, "human_silent", int64(2)}, []any{c.Verb, c.Actor, c.Reason, c.IfEpoch})
	x.do(c)
	x.stands("AI_ACTIVE ai:f 3")
	require.Equal(w.t, []string{"human", "human"}, w.Messages(x.id))
	require.Empty(w.t, w.allOverdue())

	x.do(conversation.Command{Verb: conversation.VerbTake, Actor: acting(ana), Wait: time.Minute})
	w.Age(30 * time.Second)
	_, err := w.store().Do(w.t.Context(), x.meant(conversation.Command{Verb: conversation.VerbTake, Actor: acting(ana), Wait: time.Minute}))
	require.NoError(w.t, err)
	w.Age(40 * time.Second)
	require.Empty(w.t, w.allOverdue(), "she spoke meanwhile")
	x.do(conversation.Command{Verb: conversation.VerbPass, To: bia})
	w.Age(30 * time.Second)
	require.Empty(w.t, w.allOverdue(), "the silence before was not bia's")
	w.Age(30 * time.Second)
	x.do(w.overdue())
	x.stands("AI_ACTIVE ai:f 6")
}

func silenceWithNobodyToHandTo(w *world) {
	w.Channel(channel, "")
	x := w.talk()
	x.do(conversation.Command{Verb: conversation.VerbTake, Actor: acting(ana), Wait: time.Minute})
	x.refuse(conversation.Command{Verb: conversation.VerbHandback, Actor: acting(ana)}, conversation.ErrNoAgent)
	w.Age(time.Minute)
	x.do(w.overdue())
	x.stands("HUMAN_QUEUED queue 2")
	require.True(w.t, x.find().InStretch, "still a human's to read")
	require.Empty(w.t, w.allOverdue())
}

// overdueDoneTwiceIsHarmless: two replicas look at the same moment.
func overdueDoneTwiceIsHarmless(w *world) {
	var talks []*talk
	for range 5 {
		x := w.talkOf(aiF)
		x.do(conversation.Command{Verb: conversation.VerbOffer, To: bia, Wait: time.Minute, Else: conversation.ElseQueue})
		y := w.talkOf(aiF)
		y.do(conversation.Command{Verb: conversation.VerbTake, Actor: acting(ana), Wait: time.Minute})
		talks = append(talks, x, y)
	}
	w.Age(time.Hour)
	var twice []func(conversation.Store) error
	for _, c := range append(w.allOverdue(), w.allOverdue()...) {
		twice = append(twice, doing(c))
	}
	require.Len(w.t, twice, 20)
	done := 0
	for _, err := range w.atOnce(twice...) {
		if err == nil {
			done++
			continue
		}
		require.ErrorIs(w.t, err, conversation.ErrStaleEpoch)
	}
	require.Equal(w.t, 10, done)
	for _, x := range talks {
		x.trail()
	}
	require.Empty(w.t, w.allOverdue())
}
