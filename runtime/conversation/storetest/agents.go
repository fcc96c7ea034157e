package storetest

import (
	"fmt"
	"sync"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

var agentCases = map[string]func(*world){
	"CapacityUnderConcurrency":   capacityUnderConcurrency,
	"CapacityCountsWhatWasGiven": capacityCountsWhatWasGiven,
	"CapacityOfNobody":           capacityOfNobody,
	"AgentsAndPresence":          agentsAndPresence,
}

func (w *world) agent(o conversation.Owner) conversation.Agent {
	w.t.Helper()
	list, err := w.store().Agents(w.t.Context(), tenant)
	require.NoError(w.t, err)
	for _, a := range list {
		if a.Owner == o {
			return a
		}
	}
	require.Fail(w.t, "no such agent", "%s", o)
	return conversation.Agent{}
}

func (w *world) capacity(o conversation.Owner, n int) {
	w.t.Helper()
	require.NoError(w.t, w.store().PutAgent(w.t.Context(), conversation.Agent{Tenant: tenant, Owner: o, Capacity: &n}))
}

// capacityUnderConcurrency: twenty at once are given to an agent that takes three.
func capacityUnderConcurrency(w *world) {
	small := conversation.Owner{Kind: conversation.OwnedByAI, ID: "small"}
	w.capacity(small, 3)
	var (
		talks []*talk
		gives []func(conversation.Store) error
	)
	for i := range 20 {
		var x *talk
		c := conversation.Command{To: small, Key: fmt.Sprint("give ", i)}
		switch i % 3 {
		case 0:
			x, c.Verb = w.talk(), conversation.VerbClaim
		case 1:
			x, c.Verb = w.talkOf(aiF), conversation.VerbPass
		case 2:
			x = w.talkOf(ana)
			x.do(conversation.Command{Verb: conversation.VerbOffer, To: small, Wait: time.Hour})
			c = conversation.Command{Verb: conversation.VerbAccept, Offer: x.find().Offer.ID, Actor: acting(small), Key: c.Key}
		}
		talks, gives = append(talks, x), append(gives, doing(x.meant(c)))
	}
	before := make([]conversation.Conversation, len(talks))
	for i, x := range talks {
		before[i] = x.find()
	}

	stop := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				list, err := w.A.Agents(w.t.Context(), tenant)
				assert.NoError(w.t, err)
				for _, a := range list {
					assert.LessOrEqual(w.t, a.Given, 3)
				}
			}
		}
	})
	failures := w.atOnce(gives...)
	close(stop)
	watch.Wait()

	given := 0
	for i, err := range failures {
		if err == nil {
			given++
			require.Equal(w.t, small, talks[i].find().Owner)
			continue
		}
		var refused *conversation.RefusedError
		require.ErrorIs(w.t, err, conversation.ErrAtCapacity)
		require.ErrorAs(w.t, err, &refused)
		require.Equal(w.t, bare(before[i]), bare(refused.Now))
		require.Equal(w.t, before[i], talks[i].find(), "a refusal leaves nothing behind")
		talks[i].trail()
	}
	require.Equal(w.t, 3, given, "all places are taken, none twice")
	require.Equal(w.t, 3, w.agent(small).Given)

	// The key of a refused one was not used up.
	for i, err := range failures {
		if err != nil {
			w.capacity(small, 4)
			require.NoError(w.t, gives[i](w.store()))
			break
		}
	}
	require.Equal(w.t, 4, w.agent(small).Given)
}

func capacityCountsWhatWasGiven(w *world) {
	w.capacity(ana, 1)
	count := func(given, active int) {
		a := w.agent(ana)
		require.Equal(w.t, []int{given, active}, []int{a.Given, a.Active})
	}
	first := w.talkOf(aiF)
	first.do(conversation.Command{Verb: conversation.VerbPass, To: ana})
	count(1, 1)
	second := w.talkOf(aiF)
	second.refuse(conversation.Command{Verb: conversation.VerbPass, To: ana}, conversation.ErrAtCapacity)
	second.do(conversation.Command{Verb: conversation.VerbTake, Actor: acting(ana)})
	count(1, 2) // what she takes herself does not count
	third := w.talkOf(aiF)
	third.do(conversation.Command{Verb: conversation.VerbOffer, To: ana, Wait: time.Minute})
	third.refuse(conversation.Command{Verb: conversation.VerbAccept, Offer: third.find().Offer.ID, Actor: acting(ana)}, conversation.ErrAtCapacity)
	third.stands("OFFERED ai:f 1")

	first.do(conversation.Command{Verb: conversation.VerbHold})
	count(0, 1)
	third.do(conversation.Command{Verb: conversation.VerbAccept, Offer: third.find().Offer.ID, Actor: acting(ana)})
	first.refuse(conversation.Command{Verb: conversation.VerbResume}, conversation.ErrAtCapacity)
	third.do(conversation.Command{Verb: conversation.VerbClose})
	first.do(conversation.Command{Verb: conversation.VerbResume})
	count(1, 2)

	// Fewer places than are taken: who is on duty stays, nobody comes.
	w.capacity(ana, 0)
	first.stands("HUMAN_ACTIVE human:ana 4")
	w.talkOf(aiF).refuse(conversation.Command{Verb: conversation.VerbPass, To: ana}, conversation.ErrAtCapacity)
	require.NoError(w.t, w.store().PutAgent(w.t.Context(), conversation.Agent{Tenant: tenant, Owner: ana, Name: "Ana"}))
	require.Nil(w.t, w.agent(ana).Capacity)
	w.talkOf(aiF).do(conversation.Command{Verb: conversation.VerbPass, To: ana})
	count(2, 3)
}

func capacityOfNobody(w *world) {
	w.capacity(conversation.Owner{Kind: conversation.OwnedByHuman, ID: aiG.ID}, 0) // a human who is called as the AI
	for range 3 {
		w.talkOf(aiG) // an agent nobody described has no bound
	}
	require.NoError(w.t, w.store().PutAgent(w.t.Context(), conversation.Agent{Tenant: "other", Owner: aiG, Capacity: new(int)}))
	w.talkOf(aiG)
}

func agentsAndPresence(w *world) {
	two := 2
	require.NoError(w.t, w.store().PutAgent(w.t.Context(), conversation.Agent{Tenant: tenant, Owner: ana, Name: "Ana", Capacity: &two}))
	require.NoError(w.t, w.store().PutAgent(w.t.Context(), conversation.Agent{Tenant: tenant, Owner: aiF, Name: "Flow"}))
	require.Equal(w.t, conversation.Agent{Tenant: tenant, Owner: ana, Name: "Ana", Capacity: &two, Presence: conversation.Unknown}, w.agent(ana))
	require.NoError(w.t, w.store().Present(w.t.Context(), tenant, ana, conversation.Online, time.Minute))
	require.Equal(w.t, conversation.Online, w.agent(ana).Presence)
	require.NoError(w.t, w.store().PutAgent(w.t.Context(), conversation.Agent{Tenant: tenant, Owner: ana, Name: "Ana Maria", Capacity: &two}))
	require.Equal(w.t, conversation.Online, w.agent(ana).Presence, "a new name does not send her away")
	require.NoError(w.t, w.store().Present(w.t.Context(), tenant, ana, conversation.Away, time.Minute))
	require.Equal(w.t, conversation.Away, w.agent(ana).Presence)
	w.Age(time.Minute)
	require.Equal(w.t, conversation.Unknown, w.agent(ana).Presence, "who says nothing for so long is not known to be there")
	require.Equal(w.t, "Ana Maria", w.agent(ana).Name)

	require.NoError(w.t, w.store().Present(w.t.Context(), tenant, bia, conversation.Offline, time.Minute))
	require.Equal(w.t, conversation.Agent{Tenant: tenant, Owner: bia, Presence: conversation.Offline}, w.agent(bia), "known by showing up")
	list, err := w.store().Agents(w.t.Context(), tenant)
	require.NoError(w.t, err)
	var order []string
	for _, a := range list {
		order = append(order, a.Owner.String())
	}
	require.Equal(w.t, []string{"ai:f", "human:ana", "human:bia"}, order)
	list, err = w.store().Agents(w.t.Context(), "other")
	require.NoError(w.t, err)
	require.Empty(w.t, list)
}
