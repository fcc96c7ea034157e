package storetest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"plantao/runtime/conversation"
)

// randomBudget is how long random runs go on where -rapid.checks does not say how many there are to be.
const randomBudget = 5 * time.Second

// randomVerbs plays random verbs of several actors on two conversations, at two handles, and asks after each whether the
// store did what Decide says of the conversation as it was read before.
func randomVerbs(w *world) {
	counted := false
	flag.Visit(func(f *flag.Flag) { counted = counted || f.Name == "rapid.checks" })
	end, runs, failed := time.Now().Add(randomBudget), 0, false
	rapid.Check(w.t, func(t *rapid.T) {
		if !counted && !failed && runs > 0 && time.Now().After(end) {
			return
		}
		runs++
		passed := false
		defer func() { failed = failed || !passed }() // a failure is run again to make it small, however long that takes
		w.play(t)
		passed = true
	})
	w.t.Logf("%d runs", runs)
}

func (w *world) play(t *rapid.T) {
	talks := []*player{w.player(t), w.player(t)}
	where := func(t *rapid.T) *player { return rapid.SampledFrom(talks).Draw(t, "where") }
	actions := map[string]func(*rapid.T){
		"age": func(t *rapid.T) {
			w.Age(rapid.SampledFrom([]time.Duration{time.Minute, conversation.HandoverWindow}).Draw(t, "age"))
		},
		"write": func(t *rapid.T) { where(t).write(t) },
		"turn":  func(t *rapid.T) { where(t).answer(t) },
	}
	for i := range 6 { // verbs come up twice as often as the rest together
		actions[fmt.Sprint("verb ", i)] = func(t *rapid.T) { where(t).do(t) }
	}
	t.Repeat(actions)
	for _, p := range talks {
		p.verify(t)
	}
}

// player is one conversation of a random run.
type player struct {
	w    *world
	id   conversation.ID
	chat string
}

// String keeps rapid's account of a run short.
func (p *player) String() string { return "conversation " + p.id.String() }

func (w *world) player(t *rapid.T) *player {
	p := &player{w: w, chat: uuid.NewString() + "@lid"}
	p.write(t)
	return p
}

func (p *player) handle(t *rapid.T) conversation.Store {
	return rapid.SampledFrom([]conversation.Store{p.w.A, p.w.B}).Draw(t, "handle")
}

func (p *player) write(t *rapid.T) {
	id := uuid.NewString()
	receipts, err := p.w.store().Receive(context.Background(), []conversation.Event{{
		Tenant: tenant, Channel: channel, Kind: conversation.KindMessage, WAID: id, ChatJID: p.chat, Type: "text", Text: id,
		Body: []byte(`{}`), State: conversation.Pending, Begins: true,
	}}, conversation.Window{})
	require.NoError(t, err)
	p.id = receipts[0].Conversation
}

func (p *player) find(t *rapid.T) conversation.Conversation {
	c, err := p.w.store().Find(context.Background(), tenant, p.id)
	require.NoError(t, err)
	return c
}

func (p *player) do(t *rapid.T) {
	before := p.find(t)
	cmd := drawCommand(t, before)
	result, err := p.handle(t).Do(context.Background(), cmd)
	after := p.find(t)
	if err != nil {
		// Deadlines here are whole minutes away, so any moment of this step decides the same.
		_, want := conversation.Decide(before, cmd, conversation.Terms{Now: time.Now(), Cluster: before.Cluster})
		require.Error(t, want, "the store refused what Decide allows: %v", err)
		require.Equal(t, sentinel(want), sentinel(err), "%v", err)
		require.Equal(t, before, after, "a refused command moves nothing")
		return
	}
	require.Equal(t, bare(result.Conversation), bare(after))
	p.agreesWithDecide(t, before, cmd, after)
}

func (p *player) agreesWithDecide(t *rapid.T, before conversation.Conversation, cmd conversation.Command, after conversation.Conversation) {
	now := time.Now()
	entries, err := p.w.store().Trail(context.Background(), tenant, p.id, before.Version, 10)
	require.NoError(t, err)
	if len(entries) > 0 {
		now = entries[0].At // the moment the store decided at
	} else if !after.SilenceUntil.IsZero() {
		now = after.SilenceUntil.Add(-after.Silence)
	}
	change, err := conversation.Decide(before, cmd, conversation.Terms{Now: now, Cluster: before.Cluster})
	require.NoError(t, err, "the store allowed what Decide refuses")
	want := change.After
	want.Version += int64(len(change.Steps))
	if want.Offer != nil && want.Offer.ID == 0 {
		offer := *want.Offer
		offer.ID = want.Version
		want.Offer = &offer
	}
	require.Equal(t, bare(want), bare(after), "%s", cmd.Verb)
	require.Len(t, entries, len(change.Steps))
	for i, s := range change.Steps {
		e := entries[i]
		require.Equal(t, []any{s.Verb, s.Actor.String(), s.StateFrom, s.StateTo, s.EpochFrom, s.EpochTo, s.Reason, s.Owner.String()},
			[]any{e.Verb, e.Actor, e.StateFrom, e.StateTo, e.EpochFrom, e.EpochTo, e.Reason, e.Detail["owner"]})
	}
	if change.Revoke && before.Turn != nil {
		open := before.Turn.State == conversation.TurnSending || before.Turn.State == conversation.TurnAmbiguous
		require.Equal(t, open, after.Turn != nil, "only a part on the wire keeps a turn open")
	}
	if change.Drop || change.StretchEnds && change.Through == 0 {
		require.False(t, after.Waiting)
	}
}

// answer has the AI on duty answer what waits, and a human perhaps take the conversation in between.
func (p *player) answer(t *rapid.T) {
	ctx := context.Background()
	turn, err := p.handle(t).ClaimTurn(ctx, p.w.terms(p.w.me))
	if errors.Is(err, conversation.ErrNothingDue) {
		return
	}
	require.NoError(t, err)
	c, err := p.w.store().Find(ctx, tenant, turn.Conversation)
	require.NoError(t, err)
	require.Equal(t, []any{conversation.OwnedByAI, turn.Epoch, turn.No}, []any{c.Owner.Kind, c.Epoch, c.Turn.No})
	taken := rapid.IntRange(0, 2).Draw(t, "taken") == 0
	if taken {
		_, err := p.handle(t).Do(ctx, conversation.Command{Verb: conversation.VerbTake, Tenant: tenant, Conversation: turn.Conversation,
			IfEpoch: conversation.AnyEpoch, Actor: acting(ana)})
		require.NoError(t, err)
	}
	err = p.handle(t).Reply(ctx, turn.TurnRef, turn.Token, []conversation.Part{{Text: "um"}})
	if taken {
		require.ErrorIs(t, err, conversation.ErrStaleEpoch)
		return
	}
	require.NoError(t, err)
	part := conversation.PartRef{TurnRef: turn.TurnRef, Part: 1}
	ok, err := p.handle(t).Pass(ctx, part, p.w.me, lease)
	require.NoError(t, err)
	require.True(t, ok)
	ok, err = p.handle(t).Sent(ctx, part, conversation.Delivery{MessageID: uuid.NewString()})
	require.NoError(t, err)
	require.True(t, ok)
}

func (p *player) verify(t *rapid.T) {
	require.NoError(t, p.w.Verify(p.id))
	entries, err := p.w.store().Trail(context.Background(), tenant, p.id, 0, 500)
	require.NoError(t, err)
	require.EqualValues(t, len(entries), p.find(t).Version)
}

// drawCommand draws a command that makes sense by itself, and mostly also where the conversation stands.
func drawCommand(t *rapid.T, c conversation.Conversation) conversation.Command {
	verb := rapid.SampledFrom(conversation.Verbs()).Draw(t, "verb")
	actors := []conversation.Actor{operator, conversation.Router, acting(aiF), acting(ana), acting(bia)}
	switch {
	case (verb == conversation.VerbAccept || verb == conversation.VerbDecline) && c.Offer != nil:
		actors = append(actors, acting(c.Offer.To), acting(c.Offer.To), acting(c.Offer.To))
	case c.Owner.Kind == conversation.OwnedByAI || c.Owner.Kind == conversation.OwnedByHuman:
		actors = append(actors, acting(c.Owner), acting(c.Owner))
	}
	cmd := conversation.Command{Verb: verb, Tenant: tenant, Conversation: c.ID, IfEpoch: c.Epoch,
		Actor: rapid.SampledFrom(actors).Draw(t, "actor"), Reason: rapid.SampledFrom([]string{"", "because"}).Draw(t, "reason")}
	if rapid.IntRange(0, 9).Draw(t, "stale") == 0 && c.Epoch > 0 {
		cmd.IfEpoch--
	}
	owners := []conversation.Owner{aiF, aiG, ana, bia, queue}
	draw := func(of []conversation.Owner) conversation.Owner { return rapid.SampledFrom(of).Draw(t, "to") }
	minutes := func() time.Duration {
		return rapid.SampledFrom([]time.Duration{30 * time.Second, 90 * time.Second, 24 * time.Hour}).Draw(t, "wait")
	}
	switch verb {
	case conversation.VerbClaim, conversation.VerbPass:
		cmd.To = draw(owners)
	case conversation.VerbOffer:
		cmd.To, cmd.Wait = draw(owners[:4]), minutes()
		cmd.Else = rapid.SampledFrom([]conversation.Otherwise{conversation.ElseReturn, conversation.ElseQueue}).Draw(t, "else")
	case conversation.VerbRequest:
		cmd.Wait = minutes()
		cmd.Else = rapid.SampledFrom([]conversation.Otherwise{conversation.ElseIgnore, conversation.ElseQueue}).Draw(t, "else")
	case conversation.VerbAccept, conversation.VerbDecline:
		if c.Offer != nil {
			cmd.Offer = c.Offer.ID
		}
	case conversation.VerbTake:
		cmd.IfEpoch = conversation.AnyEpoch
		if cmd.Actor.Kind != conversation.ActorHuman {
			cmd.To = draw(owners[2:4])
		}
		if rapid.Bool().Draw(t, "hands back when silent") {
			cmd.Wait = minutes()
		}
	case conversation.VerbHandback:
		cmd.To = draw([]conversation.Owner{{}, aiF, aiG})
		cmd.Through = rapid.SampledFrom([]int64{0, 0, c.LastSeq - 1}).Draw(t, "through")
	}
	return cmd
}

// sentinel is which of the domain's errors it is.
func sentinel(err error) error {
	for _, s := range []error{conversation.ErrInvalid, conversation.ErrStaleEpoch, conversation.ErrNotOwner, conversation.ErrWrongState,
		conversation.ErrOfferGone, conversation.ErrNotYet, conversation.ErrNoAgent, conversation.ErrAtCapacity, conversation.ErrNotFound,
		conversation.ErrKeyReused} {
		if errors.Is(err, s) {
			return s
		}
	}
	return err
}
