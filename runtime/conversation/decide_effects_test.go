package conversation

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// timeline plays commands one after another, as the store does between commits.
type timeline struct {
	t     *testing.T
	c     Conversation
	terms Terms
}

func play(t *testing.T, c Conversation) *timeline { return &timeline{t: t, c: c, terms: terms} }

func (l *timeline) do(cmd Command) Change {
	l.t.Helper()
	if cmd.Actor == (Actor{}) {
		cmd.Actor = operator
	}
	if cmd.Verb != VerbTake {
		cmd.IfEpoch = l.c.Epoch
	} else {
		cmd.IfEpoch = AnyEpoch
	}
	change, err := Decide(l.c, cmd, l.terms)
	require.NoError(l.t, err, "%s from %s", cmd.Verb, l.c.State)
	l.c = stored(change)
	return change
}

// stored is what the store makes of a change.
func stored(ch Change) Conversation {
	c := ch.After
	c.Version += int64(len(ch.Steps))
	if c.Offer != nil && c.Offer.ID == 0 {
		offer := *c.Offer
		offer.ID = c.Version
		c.Offer = &offer
	}
	return c
}

func (l *timeline) pass(to Owner) Owner {
	l.t.Helper()
	l.do(Command{Verb: VerbPass, To: to})
	return l.c.Owner
}

func TestHandoverBudget(t *testing.T) {
	t.Parallel()
	b := Owner{Kind: OwnedByAI, ID: "b"}
	threePasses := func(l *timeline) {
		for _, to := range []Owner{b, aiA, b} {
			require.Equal(t, to, l.pass(to))
		}
	}
	t.Run("the fourth goes to the queue", func(t *testing.T) {
		l := play(t, standing(AIActive))
		threePasses(l)
		ch := l.do(Command{Verb: VerbPass, To: aiA, Reason: "x"})
		require.Equal(t, queue, l.c.Owner)
		require.Equal(t, HumanQueued, l.c.State)
		require.Equal(t, "handover_budget", ch.Steps[0].Reason)
		require.Equal(t, "ai:a", ch.Steps[0].Detail["wanted"])
		require.False(t, ch.Gives, "a queue has no capacity")
		require.Equal(t, aiA, l.pass(aiA), "the queue is not an AI: it starts anew")
		require.Zero(t, l.c.Handovers)
	})
	t.Run("by accept", func(t *testing.T) {
		l := play(t, standing(AIActive))
		threePasses(l)
		l.do(Command{Verb: VerbOffer, To: aiA, Wait: time.Minute})
		ch := l.do(Command{Verb: VerbAccept, Offer: l.c.Offer.ID, Actor: acting(aiA)})
		require.Equal(t, queue, l.c.Owner)
		require.Equal(t, "handover_budget", ch.Steps[0].Reason)
		require.Nil(t, l.c.Offer)
	})
	t.Run("by release and claim", func(t *testing.T) {
		l := play(t, standing(AIActive))
		for range HandoverBudget {
			l.do(Command{Verb: VerbRelease})
			l.do(Command{Verb: VerbClaim, To: aiN})
			require.Equal(t, aiN, l.c.Owner)
		}
		l.do(Command{Verb: VerbRelease})
		l.do(Command{Verb: VerbClaim, To: aiN})
		require.Equal(t, queue, l.c.Owner)
	})
	t.Run("a human resets it", func(t *testing.T) {
		l := play(t, standing(AIActive))
		threePasses(l)
		l.do(Command{Verb: VerbTake, To: ana})
		l.do(Command{Verb: VerbHandback})
		require.Zero(t, l.c.Handovers)
		require.Equal(t, b, l.c.Owner)
		require.Equal(t, aiA, l.pass(aiA))
		require.Equal(t, 1, l.c.Handovers)
	})
	t.Run("the window resets it", func(t *testing.T) {
		l := play(t, standing(AIActive))
		threePasses(l)
		l.terms.Now = noon.Add(HandoverWindow - 1)
		refused := play(t, l.c)
		refused.terms = l.terms
		require.Equal(t, queue, refused.pass(aiA), "the window counts from its first handover")
		l.terms.Now = noon.Add(HandoverWindow)
		require.Equal(t, aiA, l.pass(aiA))
		require.Equal(t, 1, l.c.Handovers)
		require.Equal(t, l.terms.Now, l.c.HandoversSince)
	})
	t.Run("humans are not counted", func(t *testing.T) {
		l := play(t, standing(AIActive))
		threePasses(l)
		require.Equal(t, ana, l.pass(ana))
		require.Equal(t, bia, l.pass(bia))
		require.Equal(t, aiA, l.pass(aiA))
	})
}

func TestEpochJumpsOncePerClusterGeneration(t *testing.T) {
	t.Parallel()
	l := play(t, standing(HumanActive))
	l.terms.Cluster = 3
	ch := l.do(Command{Verb: VerbOffer, To: bia, Wait: time.Minute})
	require.EqualValues(t, 5, l.c.Epoch, "no owner changed")
	require.EqualValues(t, 1, l.c.Cluster)
	require.NotContains(t, ch.Steps[0].Detail, "cluster")
	ch = l.do(Command{Verb: VerbHandback})
	require.EqualValues(t, 5+1+EpochGap, l.c.Epoch)
	require.EqualValues(t, 3, l.c.Cluster)
	require.Equal(t, "3", ch.Steps[0].Detail["cluster"])
	l.pass(aiN)
	require.EqualValues(t, 5+2+EpochGap, l.c.Epoch, "once")
	l.terms.Cluster = 2 // a replica that has not noticed yet
	l.pass(aiA)
	require.EqualValues(t, 5+3+EpochGap, l.c.Epoch)
	require.EqualValues(t, 3, l.c.Cluster)

	l = play(t, standing(Idle))
	l.terms.Cluster = 2
	ch = l.do(Command{Verb: VerbClaim, To: aiN})
	require.EqualValues(t, 5+1+EpochGap, l.c.Epoch, "two steps, one owner")
	require.Len(t, ch.Steps, 2)
}

func TestNewerOfferVoidsTheOlder(t *testing.T) {
	t.Parallel()
	l := play(t, standing(AIActive))
	l.do(Command{Verb: VerbOffer, To: ana, Wait: time.Minute})
	older := l.c.Offer.ID
	l.do(Command{Verb: VerbOffer, To: bia, Wait: time.Minute})
	require.Equal(t, bia, l.c.Offer.To)
	require.NotEqual(t, older, l.c.Offer.ID)
	for _, a := range []Actor{acting(ana), acting(bia), operator} {
		_, err := Decide(l.c, Command{Verb: VerbAccept, IfEpoch: l.c.Epoch, Offer: older, Actor: a}, l.terms)
		require.ErrorIs(t, err, ErrOfferGone)
	}
}

func TestWhatAnUnansweredOfferAndRequestDo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name           string
		offer, request Otherwise // empty: there is none
		by             Verb
		want           string
	}{
		{"offer returns", ElseReturn, "", VerbExpire, "AI_ACTIVE ai:a 0"},
		{"offer to the queue", ElseQueue, "", VerbExpire, "HUMAN_QUEUED queue 1 R"},
		{"decline to the queue", ElseQueue, "", VerbDecline, "HUMAN_QUEUED queue 1 R"},
		{"request ignored", "", ElseIgnore, VerbExpire, "AI_ACTIVE ai:a 0"},
		{"request to the queue", "", ElseQueue, VerbExpire, "HUMAN_QUEUED queue 1 R"},
		{"both, offer returns first", ElseReturn, ElseQueue, VerbExpire, "HUMAN_QUEUED queue 1 R expire,expire"},
		{"both, offer's queue voids the request", ElseQueue, ElseQueue, VerbExpire, "HUMAN_QUEUED queue 1 R"},
		{"both, nothing but forgotten", ElseReturn, ElseIgnore, VerbExpire, "AI_ACTIVE ai:a 0 expire,expire"},
	} {
		before := standing(AIActive)
		before.Request = nil
		if c.offer != "" {
			before = standing(Offered)
			before.Offer.Else = c.offer
		}
		if c.request != "" {
			before.Request = &Request{By: "human:bia", Else: c.request, Until: noon.Add(time.Minute)}
		}
		when := late
		if c.by == VerbDecline {
			when = terms
		}
		ch, err := Decide(before, Command{Verb: c.by, IfEpoch: 5, Offer: 7, Actor: Router}, when)
		require.NoError(t, err, c.name)
		require.Equal(t, c.want, summary(before, ch, c.by), c.name)
	}

	before := standing(Offered)
	before.Request = &Request{By: "human:bia", Else: ElseIgnore, Until: noon}
	ch, err := Decide(before, Command{Verb: VerbExpire, IfEpoch: 5, Actor: Router}, terms)
	require.NoError(t, err, "a deadline is due at its very moment")
	require.Equal(t, "OFFERED ai:a 0 O", summary(before, ch, VerbExpire), "the offer that is not due stays")
	require.EqualValues(t, 7, ch.After.Offer.ID)

	before = standing(HumanQueued)
	before.Request = &Request{By: "human:bia", Else: ElseQueue, Until: noon}
	ch, err = Decide(before, Command{Verb: VerbExpire, IfEpoch: 5, Actor: Router}, terms)
	require.NoError(t, err)
	require.Equal(t, "HUMAN_QUEUED queue 0", summary(before, ch, VerbExpire), "it is in the queue already")
}

func TestSilence(t *testing.T) {
	t.Parallel()
	l := play(t, standing(AIActive))
	l.do(Command{Verb: VerbTake, Actor: acting(ana), Wait: time.Minute})
	require.Equal(t, time.Minute, l.c.Silence)
	require.Equal(t, noon.Add(time.Minute), l.c.SilenceUntil)

	l.terms.Now = noon.Add(30 * time.Second)
	ch := l.do(Command{Verb: VerbTake, Actor: acting(ana), Wait: time.Minute})
	require.Empty(t, ch.Steps, "on duty already: nothing to record")
	require.Equal(t, noon.Add(90*time.Second), l.c.SilenceUntil, "but she is not silent")

	l.terms.Now = l.c.SilenceUntil
	before := l.c
	ch = l.do(Command{Verb: VerbHandback, Actor: Router, Reason: "human_silent"})
	require.Equal(t, "AI_ACTIVE ai:a 1 EG", summary(before, ch, VerbHandback))
	require.Zero(t, l.c.Silence)
	require.Zero(t, l.c.SilenceUntil)

	l = play(t, standing(AIActive))
	l.do(Command{Verb: VerbTake, Actor: acting(ana)})
	require.Zero(t, l.c.Silence, "zero: never")
	_, err := Decide(l.c, Command{Verb: VerbHandback, IfEpoch: l.c.Epoch, Actor: Router}, Terms{Now: noon.AddDate(1, 0, 0), Cluster: 1})
	require.ErrorIs(t, err, ErrNotYet)

	l = play(t, standing(HumanActive))
	l.terms.Now = l.c.SilenceUntil.Add(-time.Second)
	l.pass(bia)
	require.Equal(t, l.terms.Now.Add(time.Minute), l.c.SilenceUntil, "the next human's silence begins now")

	l = play(t, standing(Offered))
	l.do(Command{Verb: VerbAccept, Offer: 7, Actor: acting(ana), Wait: time.Hour})
	require.Equal(t, noon.Add(time.Hour), l.c.SilenceUntil)
}

func TestWhoAHandBackGoesTo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name         string
		lastAI, flow string
		actor        Actor
		to, want     Owner
		err          error
	}{
		{"the one named", "a", "f", operator, aiN, aiN, nil},
		{"the last", "a", "f", operator, Owner{}, aiA, nil},
		{"the channel's", "", "f", operator, Owner{}, Owner{Kind: OwnedByAI, ID: "f"}, nil},
		{"nobody", "", "", operator, Owner{}, Owner{}, ErrNoAgent},
		{"a timer has nobody to tell", "", "", Router, Owner{}, queue, nil},
	} {
		before := standing(HumanActive)
		before.LastAI, before.Flow = c.lastAI, c.flow
		ch, err := Decide(before, Command{Verb: VerbHandback, IfEpoch: 5, Actor: c.actor, To: c.to, Through: 2}, late)
		require.ErrorIs(t, err, c.err, c.name)
		if c.err == nil {
			require.Equal(t, c.want, ch.After.Owner, c.name)
			require.EqualValues(t, 2, ch.Through, c.name)
			require.Equal(t, c.want.Kind == OwnedByAI, ch.StretchEnds, "a human stretch goes on in the queue")
		}
	}
}

func TestTakeByTheOwnerOnlyVoidsTheOffer(t *testing.T) {
	t.Parallel()
	l := play(t, standing(HumanActive))
	l.do(Command{Verb: VerbOffer, To: bia, Wait: time.Minute})
	ch := l.do(Command{Verb: VerbTake, Actor: acting(ana)})
	require.Equal(t, HumanActive, l.c.State)
	require.EqualValues(t, 5, l.c.Epoch)
	require.Nil(t, l.c.Offer)
	require.Len(t, ch.Steps, 1)
}

func TestTakeMayNameAnEpoch(t *testing.T) {
	t.Parallel()
	take := Command{Verb: VerbTake, Actor: acting(ana), IfEpoch: 5}
	_, err := Decide(standing(AIActive), take, terms)
	require.NoError(t, err)
	take.IfEpoch = 4
	_, err = Decide(standing(AIActive), take, terms)
	require.ErrorIs(t, err, ErrStaleEpoch, "who names one means it")
}

func TestSuspensionGoesBackToWhatWas(t *testing.T) {
	t.Parallel()
	for _, s := range States() {
		if s == Suspended {
			continue
		}
		l := play(t, standing(s))
		before := l.c
		l.do(Command{Verb: VerbHold})
		require.Equal(t, before.InStretch, l.c.InStretch, "a human stretch outlives a suspension: %s", s)
		l.do(Command{Verb: VerbResume})
		want := s
		if s == Offered {
			want = AIActive
		}
		require.Equal(t, want, l.c.State)
		require.Equal(t, before.Owner, l.c.Owner)
		require.Equal(t, before.InStretch, l.c.InStretch)
		require.Nil(t, l.c.Held)
		if before.Owner != Nobody {
			require.EqualValues(t, before.Epoch+2, l.c.Epoch)
		}
	}
}

// TestNoStretchWithoutAHuman: messages of a stretch nobody ends would be nobody's to answer.
func TestNoStretchWithoutAHuman(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string][]Verb{
		"release": {VerbRelease}, "close": {VerbClose}, "hold, close": {VerbHold, VerbClose}, "handback": {VerbHandback},
	} {
		l := play(t, standing(HumanActive))
		ended := 0
		for _, v := range leave {
			if l.do(Command{Verb: v}).StretchEnds {
				ended++
			}
		}
		require.False(t, l.c.InStretch, name)
		require.Equal(t, 1, ended, name)
	}
}
