package storetest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

var repeatCases = map[string]func(*world){
	"RepeatedKeyGetsTheFirstResult":   repeatedKeyGetsTheFirstResult,
	"KeyForAnotherRequest":            keyForAnotherRequest,
	"RefusedCommandIsNotRemembered":   refusedCommandIsNotRemembered,
	"OneKeyAtOnce":                    oneKeyAtOnce,
	"OneKeyAtOnceInTwoConversations":  oneKeyAtOnceInTwoConversations,
	"KeyOfACommandWithNothingToDo":    keyOfACommandWithNothingToDo,
	"KeyLessCommandsAreNotRemembered": keyLessCommandsAreNotRemembered,
}

// again repeats a command, at the other replica.
func (x *talk) again(c conversation.Command, first conversation.Result) {
	x.t.Helper()
	got, err := x.store().Do(x.t.Context(), c)
	require.NoError(x.t, err)
	require.True(x.t, got.Replayed)
	require.Equal(x.t, first.Seq, got.Seq)
	require.Equal(x.t, bare(first.Conversation), bare(got.Conversation))
}

func repeatedKeyGetsTheFirstResult(w *world) {
	for name, c := range map[string]conversation.Command{
		"pass":     {Verb: conversation.VerbPass, To: ana, Context: []byte(`{"a":  1}`)},
		"offer":    {Verb: conversation.VerbOffer, To: ana, Wait: time.Minute, Else: conversation.ElseQueue},
		"request":  {Verb: conversation.VerbRequest, Wait: time.Minute},
		"take":     {Verb: conversation.VerbTake, To: ana, Wait: time.Minute},
		"hold":     {Verb: conversation.VerbHold},
		"close":    {Verb: conversation.VerbClose},
		"release":  {Verb: conversation.VerbRelease},
		"handover": {Verb: conversation.VerbPass, To: aiG},
	} {
		x := w.talkOf(aiF)
		c.Key = "key-" + name
		c = x.meant(c)
		first := x.do(c)
		entries := len(x.trail())
		x.again(c, first)
		x.do(conversation.Command{Verb: conversation.VerbTake, To: bia})
		x.again(c, first)
		require.Len(w.t, x.trail(), entries+1, "only the take was done meanwhile: %s", name)
		require.Equal(w.t, bia, x.find().Owner)
	}
}

func keyForAnotherRequest(w *world) {
	x, other := w.talkOf(aiF), w.talkOf(aiF)
	x.do(conversation.Command{Verb: conversation.VerbPass, To: ana, Key: "k", IfEpoch: 1})
	x.refuse(conversation.Command{Verb: conversation.VerbPass, To: bia, Key: "k", IfEpoch: 1}, conversation.ErrKeyReused)
	x.refuse(conversation.Command{Verb: conversation.VerbPass, To: ana, Key: "k", IfEpoch: 2}, conversation.ErrKeyReused)
	x.refuse(conversation.Command{Verb: conversation.VerbTake, To: ana, Key: "k"}, conversation.ErrKeyReused)
	other.refuse(conversation.Command{Verb: conversation.VerbPass, To: ana, Key: "k", IfEpoch: 1}, conversation.ErrKeyReused)
	other.do(conversation.Command{Verb: conversation.VerbPass, To: ana, Key: "l"})
}

func refusedCommandIsNotRemembered(w *world) {
	x := w.talkOf(aiF)
	pass := conversation.Command{Verb: conversation.VerbPass, To: ana, Key: "k", IfEpoch: 7}
	x.refuse(pass, conversation.ErrStaleEpoch)
	pass.IfEpoch = 1
	x.do(pass)
	x.stands("HUMAN_ACTIVE human:ana 2")
}

func oneKeyAtOnce(w *world) {
	x := w.talkOf(aiF)
	take := x.meant(conversation.Command{Verb: conversation.VerbTake, To: ana, Key: "k", Wait: time.Minute})
	var all sync.WaitGroup
	results := make([]conversation.Result, 12)
	for i := range results {
		all.Go(func() {
			var err error
			results[i], err = w.store().Do(context.Background(), take)
			assert.NoError(w.t, err)
		})
	}
	all.Wait()
	fresh := 0
	for _, r := range results {
		if !r.Replayed {
			fresh++
		}
		require.Equal(w.t, results[0].Seq, r.Seq)
		require.Equal(w.t, bare(results[0].Conversation), bare(r.Conversation))
	}
	require.Equal(w.t, 1, fresh)
	require.Len(w.t, x.trail(), 3)
}

func oneKeyAtOnceInTwoConversations(w *world) {
	x, y := w.talkOf(aiF), w.talkOf(aiF)
	for i := range 10 {
		key := fmt.Sprint("k", i)
		var all sync.WaitGroup
		failures := make([]error, 2)
		for n, talk := range []*talk{x, y} {
			c := talk.meant(conversation.Command{Verb: conversation.VerbRequest, Wait: time.Minute, Key: key})
			all.Go(func() { _, failures[n] = w.store().Do(context.Background(), c) })
		}
		all.Wait()
		if failures[0] != nil {
			failures[0], failures[1] = failures[1], failures[0]
		}
		require.NoError(w.t, failures[0])
		require.ErrorIs(w.t, failures[1], conversation.ErrKeyReused)
	}
	require.Equal(w.t, 10, len(x.trail())+len(y.trail())-4)
}

func keyOfACommandWithNothingToDo(w *world) {
	x := w.talkOf(ana)
	take := x.meant(conversation.Command{Verb: conversation.VerbTake, To: ana, Key: "k", Wait: time.Minute})
	first, err := w.store().Do(w.t.Context(), take)
	require.NoError(w.t, err)
	require.EqualValues(w.t, 3, first.Seq, "the newest entry there is")
	x.do(conversation.Command{Verb: conversation.VerbTake, To: bia})
	x.again(take, first)
	x.stands("HUMAN_ACTIVE human:bia 3")
}

func keyLessCommandsAreNotRemembered(w *world) {
	x := w.talkOf(aiF)
	request := conversation.Command{Verb: conversation.VerbRequest, Wait: time.Minute}
	x.do(request)
	x.do(request)
	require.Len(w.t, x.trail(), 4)
}
