package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

var raceCases = map[string]func(*world){
	"TakeAcceptAndExpireAtOnce":  takeAcceptAndExpireAtOnce,
	"TakesAtOnceFollowEachOther": takesAtOnceFollowEachOther,
	"OnePassAtOnceWins":          onePassAtOnceWins,
	"TakeAgainstTheGate":         takeAgainstTheGate,
	"TakeAgainstAnAnswer":        takeAgainstAnAnswer,
	"TakeAgainstTheLastProof":    takeAgainstTheLastProof,
	"TakeAgainstAPartPutBack":    takeAgainstAPartPutBack,
	"OneOfManyReclaims":          oneOfManyReclaims,
}

// atOnce runs functions side by side, each at a handle, and returns their errors.
func (w *world) atOnce(functions ...func(conversation.Store) error) []error {
	var all sync.WaitGroup
	failures := make([]error, len(functions))
	begin := make(chan struct{})
	for i, f := range functions {
		store := w.store()
		all.Go(func() {
			<-begin
			failures[i] = f(store)
		})
	}
	close(begin)
	all.Wait()
	return failures
}

func doing(c conversation.Command) func(conversation.Store) error {
	return func(s conversation.Store) error {
		_, err := s.Do(context.Background(), c)
		return err
	}
}

func takeAcceptAndExpireAtOnce(w *world) {
	won := map[string]int{}
	for i := range 30 {
		x := w.talkOf(aiF)
		// The offer runs out in the middle of the race, now and then before it.
		x.do(conversation.Command{Verb: conversation.VerbOffer, To: bia, Wait: time.Duration(1+i%10) * 2 * time.Millisecond, Else: conversation.ElseQueue})
		c := x.find()
		as := func(v conversation.Verb, a conversation.Actor) func(conversation.Store) error {
			m := conversation.Command{Verb: v, Tenant: tenant, Conversation: x.id, IfEpoch: c.Epoch, Actor: a}
			if v == conversation.VerbTake {
				m.IfEpoch = conversation.AnyEpoch
			}
			if c.Offer != nil {
				m.Offer = c.Offer.ID
			}
			return doing(m)
		}
		failures := w.atOnce(as(conversation.VerbExpire, conversation.Router), as(conversation.VerbAccept, acting(bia)),
			as(conversation.VerbTake, acting(ana)), as(conversation.VerbExpire, conversation.Router))
		for _, err := range failures[:2] {
			if err != nil {
				require.True(w.t, errors.Is(err, conversation.ErrStaleEpoch) || errors.Is(err, conversation.ErrOfferGone) ||
					errors.Is(err, conversation.ErrNotYet), "%v", err)
			}
		}
		require.NoError(w.t, failures[2], "a human always wins")
		x.trail() // exactly one entry for each epoch
		now := x.find()
		require.Equal(w.t, ana, now.Owner)
		require.Nil(w.t, now.Offer)
		switch now.Epoch {
		case 2:
			won["the take alone"]++
		case 3:
			won["another before it"]++
		default:
			require.Fail(w.t, "accept and expire both won", "epoch %d", now.Epoch)
		}
	}
	w.t.Log(won)
}

func takesAtOnceFollowEachOther(w *world) {
	x := w.talkOf(aiF)
	var takes []func(conversation.Store) error
	for i := range 8 {
		takes = append(takes, doing(x.meant(conversation.Command{Verb: conversation.VerbTake,
			Actor: conversation.Actor{Kind: conversation.ActorHuman, ID: fmt.Sprint(i)}})))
	}
	for _, err := range w.atOnce(takes...) {
		require.NoError(w.t, err)
	}
	require.EqualValues(w.t, 9, x.find().Epoch)
	owners := map[string]bool{}
	for i, r := range x.trail()[2:] {
		require.EqualValues(w.t, i+2, r.EpochTo, "consecutive")
		owners[r.Detail["owner"]] = true
	}
	require.Len(w.t, owners, 8)
}

func onePassAtOnceWins(w *world) {
	x := w.talkOf(aiF)
	var passes []func(conversation.Store) error
	for i := range 8 {
		passes = append(passes, doing(x.meant(conversation.Command{Verb: conversation.VerbPass,
			To: conversation.Owner{Kind: conversation.OwnedByHuman, ID: fmt.Sprint(i)}})))
	}
	failures := w.atOnce(passes...)
	winner := x.find().Owner
	lost := 0
	for i, err := range failures {
		if err == nil {
			require.Equal(w.t, winner.ID, fmt.Sprint(i))
			continue
		}
		lost++
		var refused *conversation.RefusedError
		require.ErrorIs(w.t, err, conversation.ErrStaleEpoch)
		require.ErrorAs(w.t, err, &refused)
		require.Equal(w.t, winner, refused.Now.Owner, "a conflict names who has it")
		require.EqualValues(w.t, 2, refused.Now.Epoch)
	}
	require.Equal(w.t, 7, lost)
	x.trail()
}

// takeAgainstTheGate: a part whose intent committed before the take may follow it; no other may.
func takeAgainstTheGate(w *world) {
	for range 15 {
		x := w.talkOf(aiF)
		turn := x.replied("um", "dois")
		passed := false
		failures := w.atOnce(func(s conversation.Store) (err error) {
			passed, err = s.Pass(context.Background(), conversation.PartRef{TurnRef: turn.TurnRef, Part: 1}, w.me, lease)
			return err
		}, doing(x.meant(conversation.Command{Verb: conversation.VerbTake, To: ana})))
		require.NoError(w.t, errors.Join(failures...))
		open := x.find().Turn
		require.Equal(w.t, passed, open != nil, "a part on the wire keeps the turn open, and nothing else does")
		if passed {
			require.Equal(w.t, conversation.TurnSending, open.State)
			require.Equal(w.t, []string{"sending", "dropped"}, w.Parts(x.id, turn.No))
			require.True(w.t, x.sent(turn.TurnRef, 1))
			require.Equal(w.t, []string{"done"}, w.Messages(x.id))
		} else {
			require.Equal(w.t, []string{"dropped", "dropped"}, w.Parts(x.id, turn.No))
			require.Equal(w.t, []string{"pending"}, w.Messages(x.id))
		}
		require.Nil(w.t, x.find().Turn)
		require.False(w.t, x.pass(turn.TurnRef, 2))
		x.trail()
	}
}

func takeAgainstAnAnswer(w *world) {
	for range 15 {
		x := w.talkOf(aiF)
		turn := x.turn(w.me)
		failures := w.atOnce(func(s conversation.Store) error {
			return s.Reply(context.Background(), turn.TurnRef, turn.Token, []conversation.Part{{Text: "um"}})
		}, doing(x.meant(conversation.Command{Verb: conversation.VerbTake, To: ana})))
		require.NoError(w.t, failures[1])
		if failures[0] != nil {
			require.ErrorIs(w.t, failures[0], conversation.ErrStaleEpoch)
		}
		require.Nil(w.t, x.find().Turn)
		require.Equal(w.t, []string{"pending"}, w.Messages(x.id))
		require.False(w.t, slices.ContainsFunc(w.Parts(x.id, turn.No), func(s string) bool { return s != "dropped" }))
	}
}

// takeAgainstTheLastProof: the turn whose part is proved sent while its conversation is taken has nothing left to send.
func takeAgainstTheLastProof(w *world) {
	for range 30 {
		x := w.talkOf(aiF)
		turn := x.replied("um", "dois")
		require.True(w.t, x.pass(turn.TurnRef, 1))
		failures := w.atOnce(func(s conversation.Store) error {
			_, err := s.Sent(context.Background(), conversation.PartRef{TurnRef: turn.TurnRef, Part: 1}, conversation.Delivery{MessageID: x.chat})
			return err
		}, doing(x.meant(conversation.Command{Verb: conversation.VerbTake, To: ana})))
		require.NoError(w.t, errors.Join(failures...))
		require.Equal(w.t, []string{"sent", "dropped"}, w.Parts(x.id, turn.No))
		assert.Nil(w.t, x.find().Turn, "it is over")
		require.Equal(w.t, []string{"done"}, w.Messages(x.id))
	}
}

func takeAgainstAPartPutBack(w *world) {
	for range 20 {
		x := w.talkOf(aiF)
		turn := x.replied("um", "dois")
		require.True(w.t, x.pass(turn.TurnRef, 1))
		failures := w.atOnce(func(s conversation.Store) error {
			_, err := s.Unsent(context.Background(), conversation.PartRef{TurnRef: turn.TurnRef, Part: 1})
			return err
		}, doing(x.meant(conversation.Command{Verb: conversation.VerbTake, To: ana})))
		require.NoError(w.t, errors.Join(failures...))
		require.False(w.t, x.pass(turn.TurnRef, 1))
		require.NoError(w.t, w.store().Cancel(w.t.Context(), turn.TurnRef, conversation.ReasonOwnerChanged), "as whom the gate refuses does")
		require.Equal(w.t, []string{"dropped", "dropped"}, w.Parts(x.id, turn.No))
		require.Equal(w.t, []string{"pending"}, w.Messages(x.id))
		require.Nil(w.t, x.find().Turn)
	}
}

func oneOfManyReclaims(w *world) {
	x := w.talkOf(aiF)
	turn := x.turn(w.me)
	for gen := range 5 {
		w.Age(2 * lease)
		next := make([]conversation.Turn, 8)
		var reclaims []func(conversation.Store) error
		for i := range next {
			reclaims = append(reclaims, func(s conversation.Store) (err error) {
				next[i], err = s.ReclaimTurn(context.Background(), w.terms(w.me))
				return err
			})
		}
		got := 0
		for i, err := range w.atOnce(reclaims...) {
			if err == nil {
				got++
				require.Equal(w.t, turn.Gen+gen+1, next[i].Gen)
				continue
			}
			require.ErrorIs(w.t, err, conversation.ErrNothingDue)
		}
		require.Equal(w.t, 1, got)
	}
}
