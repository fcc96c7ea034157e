package storetest

import (
	"fmt"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

var planCases = map[string]func(*world){
	"PlanOfAnEpoch":                   planOfAnEpoch,
	"PlansOfChannelsInTurn":           plansOfChannelsInTurn,
	"OffersStayWithinCapacity":        offersStayWithinCapacity,
	"DeclineMakesThePlanDue":          declineMakesThePlanDue,
	"AnAITriesAgain":                  anAITriesAgain,
	"AfterItsAttemptsTheNextTarget":   afterItsAttemptsTheNextTarget,
	"AnAnsweredTurnIsNotTriedAgain":   anAnsweredTurnIsNotTriedAgain,
	"PlaceInTheQueue":                 placeInTheQueue,
	"OnlyTheRouterMayPlan":            onlyTheRouterMayPlan,
	"MatesAndTheirLoad":               matesAndTheirLoad,
	"CapacitiesOfTheRulesInForce":     capacitiesOfTheRulesInForce,
	"WhoHadItLastIsKnownToThePlan":    whoHadItLastIsKnownToThePlan,
	"AFailedTurnWithoutAPlanIsAsEver": aFailedTurnWithoutAPlanIsAsEver,
}

func aiTarget(o conversation.Owner, attempts int) conversation.Target {
	return conversation.Target{Kind: conversation.TargetAI, ID: o.ID, Attempts: attempts}
}

var (
	teamTarget  = conversation.Target{Kind: conversation.TargetTeam, ID: "vendas", Reserve: time.Minute, Strategy: conversation.LeastBusy}
	vendas      = teamTarget.Owner()
	queueTarget = conversation.Target{Kind: conversation.TargetQueue}
)

// plans gives a new conversation to a plan's first target. A wait of zero is due when something happens.
func (w *world) plans(wait time.Duration, targets ...conversation.Target) *talk {
	w.t.Helper()
	x := w.talk()
	x.do(conversation.Command{Verb: conversation.VerbClaim, Actor: conversation.Router, To: targets[0].Owner(), Reason: "rule:r", RuleVersion: "v",
		Plan: &conversation.Plan{Rule: "r", Version: "v", Targets: targets, Since: time.Now().UTC(), Wait: wait}})
	return x
}

func (w *world) due() []conversation.DuePlan {
	w.t.Helper()
	list, err := w.store().DuePlans(w.t.Context(), 100)
	require.NoError(w.t, err)
	return list
}

// offered is what the router does with a plan that is due.
func (x *talk) offered(d conversation.DuePlan, to conversation.Owner) conversation.Command {
	d.Tried, d.Wait = append(d.Tried, to.ID), time.Minute
	return conversation.Command{Verb: conversation.VerbOffer, Actor: conversation.Router, To: to, Wait: time.Minute,
		Else: conversation.ElseReturn, Reason: "rule:r", RuleVersion: "v", Plan: &d.Plan}
}

func planOfAnEpoch(w *world) {
	x := w.plans(time.Minute, teamTarget, queueTarget)
	require.Empty(w.t, w.due(), "its time has not come")
	w.Age(time.Minute)
	due := w.due()
	require.Len(w.t, due, 1)
	d := due[0]
	require.Equal(w.t, []any{x.id, tenant, channel, conversation.HumanQueued, vendas, x.find().Epoch, "r", "v", 0, []conversation.Target{teamTarget, queueTarget}},
		[]any{d.Conversation, d.Tenant, d.Channel, d.State, d.Owner, d.Epoch, d.Rule, d.Version, d.Step, d.Targets})
	d.Wait, d.Tried = time.Minute, []string{"ana"}
	kept, err := w.store().KeepPlan(w.t.Context(), d)
	require.NoError(w.t, err)
	require.True(w.t, kept)
	require.Empty(w.t, w.due())
	w.Age(time.Minute)
	require.Equal(w.t, []string{"ana"}, w.due()[0].Tried)

	x.do(conversation.Command{Verb: conversation.VerbTake, Actor: acting(ana)})
	kept, err = w.store().KeepPlan(w.t.Context(), d)
	require.NoError(w.t, err)
	require.False(w.t, kept, "a human has it")
	require.Empty(w.t, w.due())
	x.do(conversation.Command{Verb: conversation.VerbPass, To: vendas})
	w.Age(time.Hour)
	require.Empty(w.t, w.due(), "what is void stays so")
}

// plansOfChannelsInTurn: a channel in which a dozen wait does not hold up the other.
func plansOfChannelsInTurn(w *world) {
	for range 12 {
		w.talk()
	}
	w.Channel("other", flow)
	y := &talk{world: w, chat: "other@lid"}
	receipts, err := w.store().Receive(w.t.Context(), []conversation.Event{{Tenant: tenant, Channel: "other", Kind: conversation.KindMessage, WAID: "o1",
		ChatJID: y.chat, Type: "text", Text: "x", Body: []byte(`{}`), State: conversation.Pending, Begins: true}}, conversation.Window{})
	require.NoError(w.t, err)
	y.id = receipts[0].Conversation
	waiting, err := w.store().Unrouted(w.t.Context(), 2)
	require.NoError(w.t, err)
	require.ElementsMatch(w.t, []string{channel, "other"}, []string{waiting[0].Channel, waiting[1].Channel}, "nor who has no owner yet")
	for range 12 {
		w.plans(time.Second, teamTarget)
	}
	y.do(conversation.Command{Verb: conversation.VerbClaim, Actor: conversation.Router, To: vendas,
		Plan: &conversation.Plan{Rule: "r", Version: "v", Targets: []conversation.Target{teamTarget}, Wait: time.Second}})
	w.Age(time.Minute)
	list, err := w.store().DuePlans(w.t.Context(), 2)
	require.NoError(w.t, err)
	require.ElementsMatch(w.t, []string{channel, "other"}, []string{list[0].Channel, list[1].Channel})
}

// offersStayWithinCapacity: ten conversations at once are offered to a human who takes three, by two replicas.
func offersStayWithinCapacity(w *world) {
	w.capacity(ana, 3)
	w.talkGivenTo(ana)
	var offers []func(conversation.Store) error
	var talks []*talk
	for range 10 {
		talks = append(talks, w.plans(time.Second, teamTarget))
	}
	w.Age(time.Second)
	for _, d := range w.due() {
		for _, x := range talks {
			if x.id == d.Conversation {
				offers = append(offers, doing(x.meant(x.offered(d, ana))))
			}
		}
	}
	require.Len(w.t, offers, 10)
	made := 0
	for _, err := range w.atOnce(offers...) {
		if err == nil {
			made++
			continue
		}
		require.ErrorIs(w.t, err, conversation.ErrAtCapacity)
	}
	require.Equal(w.t, 2, made, "one is given, two more may be")
	for _, x := range talks {
		if o := x.find().Offer; o != nil {
			x.do(conversation.Command{Verb: conversation.VerbAccept, Offer: o.ID, Actor: acting(ana)})
		}
	}
	require.Equal(w.t, 3, w.agent(ana).Given, "whoever was offered one may accept it")
	require.Len(w.t, w.due(), 8, "the others are tried for somebody else")
}

// talkGivenTo is a conversation somebody has by the choice of others.
func (w *world) talkGivenTo(o conversation.Owner) *talk {
	w.t.Helper()
	x := w.talkOf(aiF)
	x.do(conversation.Command{Verb: conversation.VerbPass, To: o})
	return x
}

func declineMakesThePlanDue(w *world) {
	x := w.plans(time.Second, teamTarget)
	w.Age(time.Second)
	x.do(x.offered(w.due()[0], ana))
	require.Empty(w.t, w.due())
	o := x.find().Offer
	require.Equal(w.t, ana, o.To)
	x.do(conversation.Command{Verb: conversation.VerbDecline, Offer: o.ID, Actor: acting(ana)})
	due := w.due()
	require.Len(w.t, due, 1, "the next is asked at once")
	require.Equal(w.t, []any{conversation.HumanQueued, vendas, []string{"ana"}}, []any{due[0].State, due[0].Owner, due[0].Tried})

	x.do(x.offered(due[0], bia))
	w.Age(time.Minute)
	x.do(conversation.Command{Verb: conversation.VerbExpire, Actor: conversation.Router})
	require.Equal(w.t, []string{"ana", "bia"}, w.due()[0].Tried)
}

func (x *talk) fails(reason string) {
	x.t.Helper()
	t := x.turn(x.me)
	require.NoError(x.t, x.store().Fail(x.t.Context(), t.TurnRef, conversation.Failure{Reason: reason, Detail: "it did"}))
	x.trail()
}

func anAITriesAgain(w *world) {
	w.policy(aiF, "", "Um momento.")
	x := w.plans(0, aiTarget(aiF, 3), teamTarget)
	epoch := x.find().Epoch
	for i := range 2 {
		x.fails(conversation.ReasonDeadline)
		x.stands(fmt.Sprintf("AI_ACTIVE %s %d", aiF, epoch))
		require.Equal(w.t, []string{"pending"}, w.Messages(x.id), "it waits for the next attempt")
		require.Zero(w.t, w.DeadLetters(x.id))
		_, err := w.store().ClaimTurn(w.t.Context(), w.terms(w.me))
		require.ErrorIs(w.t, err, conversation.ErrNothingDue, "after a while")
		w.Age(10 * time.Second << i)
	}
	answered := x.turn(w.me) // which ends the row
	require.NoError(w.t, w.store().Reply(w.t.Context(), answered.TurnRef, answered.Token, nil))
	x.write()
	for i := range 2 {
		x.fails(conversation.ReasonDeadline)
		x.stands(fmt.Sprintf("AI_ACTIVE %s %d", aiF, epoch))
		w.Age(10 * time.Second << i)
	}
	x.fails(conversation.ReasonFlowRefused)
	x.stands(fmt.Sprintf("HUMAN_QUEUED queue %d", epoch+1))
	due := w.due()
	require.Len(w.t, due, 1)
	require.True(w.t, due[0].Next, "the next target is to be tried")
	require.Zero(w.t, w.DeadLetters(x.id), "it has not been given up")
	require.Equal(w.t, []string{"done", "pending"}, w.Messages(x.id))
	trail := x.trail()
	require.Equal(w.t, []string{conversation.ReasonFlowRefused, "v"}, []string{trail[len(trail)-1].Reason, trail[len(trail)-1].RuleVersion})
}

// afterItsAttemptsTheNextTarget: another AI answers what the first could not.
func afterItsAttemptsTheNextTarget(w *world) {
	x := w.plans(0, aiTarget(aiF, 1), aiTarget(aiG, 1))
	x.fails(conversation.ReasonDeadline)
	d := w.due()[0]
	d.Step, d.Next, d.Wait = 1, false, 0
	x.do(conversation.Command{Verb: conversation.VerbPass, Actor: conversation.Router, To: aiG, Reason: "rule:r", RuleVersion: "v", Plan: &d.Plan, Say: "Um momento."})
	t := x.turn(w.me)
	require.Len(w.t, t.Messages, 1)
	require.NoError(w.t, w.store().Fail(w.t.Context(), t.TurnRef, conversation.Failure{Reason: conversation.ReasonDeadline}))
	require.Equal(w.t, 1, w.DeadLetters(x.id), "nobody is left to try")
	require.Equal(w.t, []string{"dead"}, w.Messages(x.id))
	require.Empty(w.t, w.due())
}

func anAnsweredTurnIsNotTriedAgain(w *world) {
	x := w.plans(0, aiTarget(aiF, 5), teamTarget)
	t := x.replied("um", "dois")
	require.NoError(w.t, w.store().Fail(w.t.Context(), t.TurnRef, conversation.Failure{Reason: conversation.ReasonDeadline}))
	require.Equal(w.t, 1, w.DeadLetters(x.id), "what the agent said is not asked for again")
	require.Equal(w.t, conversation.HumanQueued, x.find().State)
	require.True(w.t, w.due()[0].Next, "but the next target gets the conversation")
}

func aFailedTurnWithoutAPlanIsAsEver(w *world) {
	x := w.plans(0, aiTarget(aiF, 5), teamTarget)
	x.do(conversation.Command{Verb: conversation.VerbPass, To: aiG}) // by hand: the plan is void
	x.fails(conversation.ReasonDeadline)
	require.Equal(w.t, 1, w.DeadLetters(x.id))
	x.stands(fmt.Sprintf("HUMAN_QUEUED queue %d", x.find().Epoch))
	require.Empty(w.t, w.due())
}

func placeInTheQueue(w *world) {
	say := func() string {
		x := w.talk()
		x.do(conversation.Command{Verb: conversation.VerbClaim, Actor: conversation.Router, To: vendas, Say: "Você é o número {position}."})
		list, err := w.store().ReclaimTurn(w.t.Context(), w.terms(w.me))
		require.NoError(w.t, err)
		parts, err := w.store().QueuedParts(w.t.Context(), list.TurnRef)
		require.NoError(w.t, err)
		require.Len(w.t, parts, 1)
		return parts[0].Text
	}
	require.Equal(w.t, "Você é o número 1.", say())
	require.Equal(w.t, "Você é o número 2.", say())
	w.talkOf(queue)
	require.Equal(w.t, "Você é o número 3.", say(), "another queue is another queue")
	place := func(queue string, id conversation.ID) int {
		n, err := w.store().Place(w.t.Context(), tenant, queue, id)
		require.NoError(w.t, err)
		return n
	}
	list, err := w.store().List(w.t.Context(), conversation.Filter{Tenant: tenant, Owner: vendas})
	require.NoError(w.t, err)
	require.Equal(w.t, []int{1, 2, 3, 4, 2}, []int{place("vendas", list[0].ID), place("vendas", list[1].ID), place("vendas", list[2].ID), place("vendas", 0), place("", 0)})
}

func onlyTheRouterMayPlan(w *world) {
	x := w.talk()
	plan := &conversation.Plan{Targets: []conversation.Target{queueTarget}}
	x.refuse(conversation.Command{Verb: conversation.VerbClaim, To: queue, Plan: plan}, conversation.ErrInvalid)
	y := w.talkOf(aiF)
	y.refuse(conversation.Command{Verb: conversation.VerbTake, Actor: acting(ana), Plan: plan}, conversation.ErrInvalid)
}

func matesAndTheirLoad(w *world) {
	w.capacity(ana, 5)
	list, err := w.store().Mates(w.t.Context(), tenant, "", ana.ID)
	require.NoError(w.t, err)
	require.Len(w.t, list, 1)
	m := list[0]
	require.Equal(w.t, []any{ana.ID, conversation.Unknown, 5, 0, 0, 0, true, true},
		[]any{m.ID, m.Presence, *m.Capacity, m.Given, m.Active, m.Offers, m.OfferedAt.IsZero(), m.FreedAt.IsZero()})
	require.NoError(w.t, w.store().Present(w.t.Context(), tenant, ana, conversation.Online, time.Minute))
	w.talkGivenTo(ana)
	took := w.talkOf(ana)
	x := w.plans(time.Second, teamTarget)
	w.Age(time.Second)
	x.do(x.offered(w.due()[0], ana))
	mate := func() conversation.Mate {
		list, err := w.store().Mates(w.t.Context(), tenant, "", ana.ID)
		require.NoError(w.t, err)
		return list[0]
	}
	m = mate()
	require.Equal(w.t, []any{conversation.Online, 1, 2, 1}, []any{m.Presence, m.Given, m.Active, m.Offers})
	require.WithinDuration(w.t, time.Now(), m.OfferedAt, time.Minute)
	require.False(w.t, m.FreedAt.IsZero())
	took.do(conversation.Command{Verb: conversation.VerbClose, Actor: acting(ana)})
	require.Equal(w.t, 1, mate().Active)
	w.Age(time.Hour)
	require.Equal(w.t, []any{conversation.Unknown, 0}, []any{mate().Presence, mate().Offers}, "neither lasts for ever")
	none, err := w.store().Mates(w.t.Context(), "another", "", ana.ID)
	require.NoError(w.t, err)
	require.Empty(w.t, none)
}

func capacitiesOfTheRulesInForce(w *world) {
	put := func(version string, capacities map[string]int) {
		_, err := w.store().PutRules(w.t.Context(), conversation.Rulebook{Tenant: tenant, Version: version, Text: version, By: "operator:op", Capacities: capacities})
		require.NoError(w.t, err)
	}
	w.policy(aiG, conversation.MidTurnAppend, "Já volto.")
	put("one", map[string]int{aiF.String(): 2, aiG.String(): 1, "ninguem@loja.example": 3})
	require.Equal(w.t, 2, *w.agent(aiF).Capacity)
	g := w.agent(aiG)
	require.Equal(w.t, []any{1, conversation.MidTurnAppend, "Já volto."}, []any{*g.Capacity, g.MidTurn, g.Holding}, "nothing else of it changes")
	put("two", map[string]int{aiF.String(): 7})
	require.Equal(w.t, 7, *w.agent(aiF).Capacity)
	require.Equal(w.t, 1, *w.agent(aiG).Capacity, "what a file does not name stays")
}

func whoHadItLastIsKnownToThePlan(w *world) {
	x := w.plans(time.Second, teamTarget)
	w.Age(time.Second)
	require.Empty(w.t, w.due()[0].LastHuman)
	x.do(conversation.Command{Verb: conversation.VerbTake, Actor: acting(bia)})
	x.do(conversation.Command{Verb: conversation.VerbRelease, Actor: acting(bia)})
	x.write()
	x.do(conversation.Command{Verb: conversation.VerbClaim, Actor: conversation.Router, To: queue,
		Plan: &conversation.Plan{Rule: "r", Version: "v", Targets: []conversation.Target{{Kind: conversation.TargetLast, Within: time.Hour}}, Wait: time.Second}})
	w.Age(time.Second)
	d := w.due()[0]
	require.Equal(w.t, bia.ID, d.LastHuman)
	require.WithinDuration(w.t, d.Now, d.LastHumanAt, time.Minute)
}
