package storetest

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

var verbCases = map[string]func(*world){
	"APageAndOneMore":              aPageAndOneMore,
	"ClaimPassRelease":             claimPassRelease,
	"OfferAcceptDecline":           offerAcceptDecline,
	"TakeAndHandBack":              takeAndHandBack,
	"HoldAndResume":                holdAndResume,
	"CloseAndReopen":               closeAndReopen,
	"CloseOfASuspendedHumanTalk":   closeOfASuspendedHumanTalk,
	"RefusalsCarryWhereItStands":   refusalsCarryWhereItStands,
	"UnknownConversations":         unknownConversations,
	"ListNarrowsAndGoesOn":         listNarrowsAndGoesOn,
	"TrailGoesOn":                  trailGoesOn,
	"ContextIsHandedOver":          contextIsHandedOver,
	"HumanStretches":               humanStretches,
	"HandBackThroughLeavesTheRest": handBackThroughLeavesTheRest,
	"EpochOfAnOfferDoesNotChange":  epochOfAnOfferDoesNotChange,
	"AiToAiBudget":                 aiToAIBudget,
}

func claimPassRelease(w *world) {
	x := w.talk()
	x.stands("IDLE none 0")
	r := x.do(conversation.Command{Verb: conversation.VerbClaim, To: aiF, Actor: conversation.Router, Reason: "rule", RuleVersion: "v1"})
	require.EqualValues(w.t, 2, r.Seq, "a claim of an idle conversation is two entries")
	x.stands("AI_ACTIVE ai:f 1")
	require.True(w.t, x.find().Given)
	x.do(conversation.Command{Verb: conversation.VerbPass, To: aiG, Actor: acting(aiF), Reason: "billing"})
	x.stands("AI_ACTIVE ai:g 2")
	require.Equal(w.t, 1, x.find().Handovers)
	x.do(conversation.Command{Verb: conversation.VerbPass, To: ana, Actor: acting(aiG)})
	x.stands("HUMAN_ACTIVE human:ana 3")
	x.do(conversation.Command{Verb: conversation.VerbPass, To: conversation.Owner{Kind: conversation.OwnedByQueue, ID: "vendas"}, Actor: acting(ana)})
	x.stands("HUMAN_QUEUED queue:vendas 4")
	x.do(conversation.Command{Verb: conversation.VerbRelease})
	x.stands("ROUTING none 5")
	x.do(conversation.Command{Verb: conversation.VerbClaim, To: queue, Actor: conversation.Router})
	x.stands("HUMAN_QUEUED queue 6")

	trail := x.trail()
	require.Equal(w.t, []any{conversation.VerbInbound, conversation.Routing, "router"}, []any{trail[0].Verb, trail[0].StateTo, trail[0].Actor})
	require.Equal(w.t, []string{"rule", "v1", "billing"}, []string{trail[1].Reason, trail[1].RuleVersion, trail[2].Reason})
}

func offerAcceptDecline(w *world) {
	x := w.talkOf(aiF)
	offer := func(to conversation.Owner, otherwise conversation.Otherwise) int64 {
		r := x.do(conversation.Command{Verb: conversation.VerbOffer, To: to, Actor: acting(aiF), Wait: time.Minute, Else: otherwise})
		require.Equal(w.t, r.Seq, r.Conversation.Offer.ID, "the offer is named by the entry that made it")
		require.Equal(w.t, to, r.Conversation.Offer.To)
		return r.Seq
	}
	older := offer(ana, "")
	newer := offer(bia, conversation.ElseQueue)
	x.refuse(conversation.Command{Verb: conversation.VerbAccept, Offer: older, Actor: acting(ana)}, conversation.ErrOfferGone)
	x.refuse(conversation.Command{Verb: conversation.VerbAccept, Offer: newer, Actor: acting(ana)}, conversation.ErrNotOwner)
	x.do(conversation.Command{Verb: conversation.VerbDecline, Offer: newer, Actor: acting(bia)})
	x.stands("HUMAN_QUEUED queue 2")
	x.refuse(conversation.Command{Verb: conversation.VerbAccept, Offer: newer, Actor: acting(bia)}, conversation.ErrOfferGone)

	x = w.talkOf(aiF)
	x.do(conversation.Command{Verb: conversation.VerbDecline, Offer: offer(ana, conversation.ElseReturn), Actor: acting(ana)})
	x.stands("AI_ACTIVE ai:f 1")
	r := x.do(conversation.Command{Verb: conversation.VerbAccept, Offer: offer(ana, ""), Actor: acting(ana), Wait: time.Minute})
	x.stands("HUMAN_ACTIVE human:ana 2")
	require.Equal(w.t, time.Minute, r.Conversation.Silence)
	require.True(w.t, r.Conversation.Given, "others chose her")
}

func takeAndHandBack(w *world) {
	x := w.talkOf(aiF)
	r := x.do(conversation.Command{Verb: conversation.VerbTake, Actor: acting(ana), Reason: "answered_on_phone", Wait: time.Hour})
	x.stands("HUMAN_ACTIVE human:ana 2")
	require.False(w.t, r.Conversation.Given, "she chose it herself")
	require.Equal(w.t, time.Hour, r.Conversation.Silence)
	require.WithinDuration(w.t, r.Conversation.OwnerSince.Add(time.Hour), r.Conversation.SilenceUntil, 0)

	version := x.find().Version
	again, err := w.store().Do(w.t.Context(), x.meant(conversation.Command{Verb: conversation.VerbTake, Actor: acting(ana), Wait: 2 * time.Hour}))
	require.NoError(w.t, err)
	require.Equal(w.t, version, again.Seq, "nothing to record")
	require.Equal(w.t, 2*time.Hour, x.find().Silence, "but the silence begins anew")

	x.refuse(conversation.Command{Verb: conversation.VerbHandback, Actor: acting(bia)}, conversation.ErrNotOwner)
	x.refuse(conversation.Command{Verb: conversation.VerbHandback, Actor: conversation.Router}, conversation.ErrNotYet)
	x.do(conversation.Command{Verb: conversation.VerbTake, To: bia, Actor: operator})
	x.stands("HUMAN_ACTIVE human:bia 3")
	require.Zero(w.t, x.find().Silence)
	x.do(conversation.Command{Verb: conversation.VerbHandback, Actor: acting(bia)})
	x.stands("AI_ACTIVE ai:f 4")
	x.do(conversation.Command{Verb: conversation.VerbTake, Actor: acting(ana)})
	x.do(conversation.Command{Verb: conversation.VerbHandback, Actor: acting(ana), To: aiG})
	x.stands("AI_ACTIVE ai:g 6")
}

func holdAndResume(w *world) {
	x := w.talkOf(aiF)
	x.do(conversation.Command{Verb: conversation.VerbHold, Reason: "incident"})
	x.stands("SUSPENDED none 2")
	require.Equal(w.t, &conversation.Held{State: conversation.AIActive, Owner: aiF}, x.find().Held)
	x.write()
	_, err := w.store().ClaimTurn(w.t.Context(), w.terms(w.me))
	require.ErrorIs(w.t, err, conversation.ErrNothingDue, "nobody answers")
	unrouted, err := w.store().Unrouted(w.t.Context(), 10)
	require.NoError(w.t, err)
	require.Empty(w.t, unrouted, "nor is it given to anybody")
	x.do(conversation.Command{Verb: conversation.VerbResume})
	x.stands("AI_ACTIVE ai:f 3")
	require.Len(w.t, x.turn(w.me).Messages, 2)

	idle := w.talk()
	idle.do(conversation.Command{Verb: conversation.VerbHold})
	idle.stands("SUSPENDED none 0")
	require.Equal(w.t, &conversation.Held{State: conversation.Idle, Owner: conversation.Nobody}, idle.find().Held)
	idle.do(conversation.Command{Verb: conversation.VerbResume})
	idle.stands("IDLE none 0")
}

func closeAndReopen(w *world) {
	x := w.talkOf(aiF)
	x.do(conversation.Command{Verb: conversation.VerbClose})
	x.stands("CLOSED none 2")
	require.Equal(w.t, []string{"ignored"}, w.Messages(x.id))
	require.False(w.t, x.find().Waiting, "what waits is not answered")
	x.do(conversation.Command{Verb: conversation.VerbReopen})
	x.stands("ROUTING none 2")
	x.do(conversation.Command{Verb: conversation.VerbClose})

	x.write()
	unrouted, err := w.store().Unrouted(w.t.Context(), 10)
	require.NoError(w.t, err)
	require.Equal(w.t, []conversation.Unrouted{{Conversation: x.id, Tenant: tenant, Channel: channel, Flow: flow,
		State: conversation.Closed, Epoch: 2}}, unrouted)
	x.do(conversation.Command{Verb: conversation.VerbClaim, To: aiF, Actor: conversation.Router})
	x.stands("AI_ACTIVE ai:f 3")
	trail := x.trail()
	require.Equal(w.t, conversation.VerbReopen, trail[len(trail)-2].Verb)
	require.Len(w.t, x.turn(w.me).Messages, 1, "the message that reopened it")
}

// closeOfASuspendedHumanTalk: what is written after the close is a new matter and no human's.
func closeOfASuspendedHumanTalk(w *world) {
	x := w.talkOf(ana)
	x.write()
	x.do(conversation.Command{Verb: conversation.VerbHold})
	require.True(w.t, x.find().InStretch)
	x.do(conversation.Command{Verb: conversation.VerbClose})
	require.False(w.t, x.find().InStretch)
	require.Equal(w.t, []Stretch{{Agent: ana.String(), From: 1, To: 2, Epoch: 3}}, w.Stretches(x.id))
	x.write()
	x.do(conversation.Command{Verb: conversation.VerbClaim, To: aiF, Actor: conversation.Router})
	require.Len(w.t, x.turn(w.me).Messages, 1)
	require.Len(w.t, w.Stretches(x.id), 1)
}

func refusalsCarryWhereItStands(w *world) {
	x := w.talkOf(aiF)
	stale := x.find().Epoch
	x.do(conversation.Command{Verb: conversation.VerbTake, Actor: acting(ana)})
	for _, v := range conversation.Verbs() {
		c := conversation.Command{Verb: v, IfEpoch: stale, Actor: operator}
		switch v {
		case conversation.VerbTake:
			c.To = bia
		case conversation.VerbClaim, conversation.VerbPass:
			c.To = aiF
		case conversation.VerbOffer:
			c.To, c.Wait = bia, time.Minute
		case conversation.VerbRequest:
			c.Wait = time.Minute
		}
		now := x.refuse(c, conversation.ErrStaleEpoch)
		require.Equal(w.t, ana, now.Owner)
		require.EqualValues(w.t, 2, now.Epoch)
	}
	x.refuse(conversation.Command{Verb: conversation.VerbPass, To: aiF, Actor: acting(bia)}, conversation.ErrNotOwner)
	x.refuse(conversation.Command{Verb: conversation.VerbClaim, To: aiF}, conversation.ErrWrongState)
	x.refuse(conversation.Command{Verb: conversation.VerbExpire}, conversation.ErrNotYet)
	x.refuse(conversation.Command{Verb: "steal"}, conversation.ErrInvalid)
	x.refuse(conversation.Command{Verb: conversation.VerbTake, Actor: acting(aiF), To: ana}, conversation.ErrNotOwner)
}

func unknownConversations(w *world) {
	x := w.talkOf(aiF)
	take := x.meant(conversation.Command{Verb: conversation.VerbTake, Actor: acting(ana)})
	for _, of := range []struct {
		tenant string
		id     conversation.ID
	}{{tenant, x.id + 1000}, {"other", x.id}} {
		_, err := w.A.Find(w.t.Context(), of.tenant, of.id)
		require.ErrorIs(w.t, err, conversation.ErrNotFound)
		_, err = w.A.Trail(w.t.Context(), of.tenant, of.id, 0, 10)
		require.ErrorIs(w.t, err, conversation.ErrNotFound)
		c := take
		c.Tenant, c.Conversation, c.Key = of.tenant, of.id, "k"
		_, err = w.A.Do(w.t.Context(), c)
		require.ErrorIs(w.t, err, conversation.ErrNotFound)
		err = w.A.Settle(w.t.Context(), conversation.Settlement{Tenant: of.tenant, Conversation: of.id, No: 1, Part: 1, Actor: operator})
		require.ErrorIs(w.t, err, conversation.ErrNotFound)
	}
	list, err := w.A.List(w.t.Context(), conversation.Filter{Tenant: "other"})
	require.NoError(w.t, err)
	require.Empty(w.t, list)
	x.stands("AI_ACTIVE ai:f 1")
}

func listNarrowsAndGoesOn(w *world) {
	w.Channel("q", "")
	var ids []conversation.ID
	for _, o := range []conversation.Owner{aiF, ana, bia, ana, queue, aiG} {
		ids = append(ids, w.talkOf(o).id)
	}
	w.talk()
	list := func(f conversation.Filter) []conversation.ID {
		f.Tenant = tenant
		var got []conversation.ID
		all, err := w.store().List(w.t.Context(), f)
		require.NoError(w.t, err)
		for _, c := range all {
			got = append(got, c.ID)
			found, err := w.store().Find(w.t.Context(), tenant, c.ID)
			require.NoError(w.t, err)
			require.Equal(w.t, found, c)
		}
		return got
	}
	require.Len(w.t, list(conversation.Filter{}), 7)
	require.Equal(w.t, []conversation.ID{ids[1], ids[2], ids[3]}, list(conversation.Filter{State: conversation.HumanActive}))
	require.Equal(w.t, []conversation.ID{ids[1], ids[3]}, list(conversation.Filter{Owner: ana}))
	require.Equal(w.t, []conversation.ID{ids[0], ids[5]}, list(conversation.Filter{Owner: conversation.Owner{Kind: conversation.OwnedByAI}}))
	require.Empty(w.t, list(conversation.Filter{Channel: "q"}))
	require.Len(w.t, list(conversation.Filter{Channel: channel}), 7)
	require.Equal(w.t, []conversation.ID{ids[4]}, list(conversation.Filter{Owner: queue, Channel: channel, State: conversation.HumanQueued}))

	var paged []conversation.ID
	for after := conversation.ID(0); ; {
		page := list(conversation.Filter{Owner: conversation.Owner{Kind: conversation.OwnedByHuman}, After: after, Limit: 2})
		if len(page) == 0 {
			break
		}
		require.LessOrEqual(w.t, len(page), 2)
		paged, after = append(paged, page...), page[len(page)-1]
	}
	require.Equal(w.t, ids[1:4], paged)
}

func trailGoesOn(w *world) {
	x := w.talkOf(ana)
	all := x.trail()
	require.Len(w.t, all, 3)
	page, err := w.store().Trail(w.t.Context(), tenant, x.id, 1, 1)
	require.NoError(w.t, err)
	require.Equal(w.t, all[1:2], page)
	page, err = w.store().Trail(w.t.Context(), tenant, x.id, 3, 10)
	require.NoError(w.t, err)
	require.Empty(w.t, page, "there is no more, which is no error")
}

func contextIsHandedOver(w *world) {
	x := w.talkOf(aiF)
	give := func(c conversation.Command, context string) {
		c.Context = json.RawMessage(context)
		r := x.do(c)
		require.JSONEq(w.t, context, w.Context(x.id, r.Seq))
	}
	give(conversation.Command{Verb: conversation.VerbPass, To: ana}, `{"order": "17", "tags": ["vip"]}`)
	give(conversation.Command{Verb: conversation.VerbOffer, To: bia, Wait: time.Minute}, `{}`)
	give(conversation.Command{Verb: conversation.VerbHandback}, `{"a": "`+strings.Repeat("ã", 2040)+`"}`)
	for name, dense := range map[string]string{"numbers": "1", "lists": "[]", "flags": "true"} {
		text := `{"a":[` + strings.TrimSuffix(strings.Repeat(dense+",", 4000/(len(dense)+1)), ",") + `]}`
		require.LessOrEqual(w.t, len(text), 4096, name)
		give(conversation.Command{Verb: conversation.VerbPass, To: ana}, text)
		give(conversation.Command{Verb: conversation.VerbPass, To: bia}, `{}`)
	}
	x.refuse(conversation.Command{Verb: conversation.VerbPass, To: aiF, Context: json.RawMessage(`{"a":"` + strings.Repeat("x", 4096) + `"}`)},
		conversation.ErrInvalid)
	for _, text := range []string{`{"a": "\u0000"}`, `{"a": "\ud800"}`, `{"a": 1e400000}`, `{"a": ` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + `}`} {
		c := x.meant(conversation.Command{Verb: conversation.VerbPass, To: aiF, Context: json.RawMessage(text)})
		if _, err := w.store().Do(w.t.Context(), c); err != nil {
			require.ErrorIs(w.t, err, conversation.ErrInvalid, "what JSON allows and the store cannot keep is the caller's mistake: %s", text)
		}
	}
	for _, text := range []string{"\xff", "a\x00"} {
		for _, c := range []conversation.Command{{Key: text}, {Reason: text}, {RuleVersion: text}, {To: conversation.Owner{Kind: conversation.OwnedByAI, ID: text}}} {
			c.Verb = conversation.VerbPass
			if c.To == (conversation.Owner{}) {
				c.To = aiG
			}
			_, err := w.store().Do(w.t.Context(), x.meant(c))
			require.ErrorIs(w.t, err, conversation.ErrInvalid, "%+v", c)
		}
	}
	r := x.do(conversation.Command{Verb: conversation.VerbTake, To: ana})
	require.Empty(w.t, w.Context(x.id, r.Seq))
}

func humanStretches(w *world) {
	x := w.talk() // message 1 waits already when a human takes it: she reads it
	x.do(conversation.Command{Verb: conversation.VerbTake, Actor: acting(ana)})
	x.write() // 2
	x.do(conversation.Command{Verb: conversation.VerbPass, To: queue})
	x.write() // 3
	x.do(conversation.Command{Verb: conversation.VerbTake, Actor: acting(bia)})
	require.Empty(w.t, w.Stretches(x.id), "it still runs")
	x.do(conversation.Command{Verb: conversation.VerbHandback, To: aiF})
	require.Equal(w.t, []Stretch{{Agent: "human:bia", From: 1, To: 3, Epoch: 4}}, w.Stretches(x.id))
	require.Equal(w.t, []string{"human", "human", "human"}, w.Messages(x.id))
	require.False(w.t, x.find().Waiting)

	x.write() // 4: the AI's
	x.replied()
	x.do(conversation.Command{Verb: conversation.VerbTake, Actor: acting(ana)})
	x.do(conversation.Command{Verb: conversation.VerbRelease, Actor: acting(ana)})
	require.Equal(w.t, Stretch{Agent: "human:ana", From: 5, To: 4, Epoch: 6}, w.Stretches(x.id)[1], "the customer wrote nothing")
	require.Equal(w.t, []string{"human", "human", "human", "done"}, w.Messages(x.id))

	x.write() // 5
	x.do(conversation.Command{Verb: conversation.VerbClaim, To: ana})
	x.do(conversation.Command{Verb: conversation.VerbHold})
	x.write() // 6
	x.do(conversation.Command{Verb: conversation.VerbResume})
	x.do(conversation.Command{Verb: conversation.VerbClose})
	require.Equal(w.t, Stretch{Agent: "human:ana", From: 5, To: 6, Epoch: 10}, w.Stretches(x.id)[2], "a suspension does not end it")
	require.Equal(w.t, []string{"human", "human"}, w.Messages(x.id)[4:])
}

func handBackThroughLeavesTheRest(w *world) {
	x := w.talkOf(ana)
	for range 3 {
		x.write() // 2, 3, 4
	}
	x.do(conversation.Command{Verb: conversation.VerbHandback, Actor: acting(ana), Through: 2})
	require.Equal(w.t, []string{"human", "human", "pending", "pending"}, w.Messages(x.id))
	require.Equal(w.t, []Stretch{{Agent: "human:ana", From: 1, To: 2, Epoch: 3}}, w.Stretches(x.id))
	require.True(w.t, x.find().Waiting)
	require.Len(w.t, x.turn(w.me).Messages, 2, "what came after is the AI's")

	x.do(conversation.Command{Verb: conversation.VerbTake, Actor: acting(ana)})
	x.do(conversation.Command{Verb: conversation.VerbHandback, Actor: acting(ana), Through: 99})
	require.Equal(w.t, []string{"human", "human", "human", "human"}, w.Messages(x.id), "a number from the future is all that came")
	require.EqualValues(w.t, 4, w.Stretches(x.id)[1].To)
}

func epochOfAnOfferDoesNotChange(w *world) {
	x := w.talkOf(aiF)
	turn := x.replied("um", "dois")
	x.do(conversation.Command{Verb: conversation.VerbOffer, To: ana, Actor: acting(aiF), Wait: time.Minute})
	require.True(w.t, x.pass(turn.TurnRef, 1), "the owner stays on duty")
	require.True(w.t, x.sent(turn.TurnRef, 1))
	x.do(conversation.Command{Verb: conversation.VerbAccept, Offer: x.find().Offer.ID, Actor: acting(ana)})
	require.False(w.t, x.pass(turn.TurnRef, 2))
	require.Equal(w.t, []string{"sent", "dropped"}, w.Parts(x.id, turn.No))
}

func aiToAIBudget(w *world) {
	x := w.talkOf(aiF)
	for i := range conversation.HandoverBudget + 1 {
		x.do(conversation.Command{Verb: conversation.VerbPass, To: conversation.Owner{Kind: conversation.OwnedByAI, ID: fmt.Sprint(i)}})
	}
	x.stands("HUMAN_QUEUED queue 5")
	trail := x.trail()
	require.Equal(w.t, "handover_budget", trail[len(trail)-1].Reason)
	x = w.talkOf(aiF)
	for i := range 2 * conversation.HandoverBudget {
		if i == conversation.HandoverBudget {
			w.Age(conversation.HandoverWindow)
		}
		x.do(conversation.Command{Verb: conversation.VerbPass, To: conversation.Owner{Kind: conversation.OwnedByAI, ID: fmt.Sprint(i)}})
	}
	x.stands("AI_ACTIVE ai:5 7")
}

// aPageAndOneMore: whoever asks for a full page and one more learns that there is another.
func aPageAndOneMore(w *world) {
	var events []conversation.Event
	for i := range 502 {
		events = append(events, conversation.Event{Tenant: tenant, Channel: channel, Kind: conversation.KindMessage, WAID: fmt.Sprint("page-", i),
			ChatJID: fmt.Sprintf("page-%d@lid", i), Type: "text", Text: "x", Body: []byte(`{}`), State: conversation.Pending, Begins: true})
	}
	_, err := w.store().Receive(w.t.Context(), events, conversation.Window{})
	require.NoError(w.t, err)
	list := func(limit int) int {
		found, err := w.store().List(w.t.Context(), conversation.Filter{Tenant: tenant, Limit: limit})
		require.NoError(w.t, err)
		return len(found)
	}
	require.Equal(w.t, []int{500, 501, 501, 7}, []int{list(0), list(501), list(9999), list(7)})
}
