package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

var mergeCases = map[string]func(*world){
	"MergedByTheMessageThatNamesBoth": mergedByTheMessageThatNamesBoth,
	"MergeKeepsTheHuman":              mergeKeepsTheHuman,
	"MergeOrdersWhatWaits":            mergeOrdersWhatWaits,
	"MergeEndsBothTurns":              mergeEndsBothTurns,
	"MergeWaitsForTheWire":            mergeWaitsForTheWire,
	"MergeOfAMerge":                   mergeOfAMerge,
	"MergedAnswersWhereItWent":        mergedAnswersWhereItWent,
	"LateMessagesFollow":              lateMessagesFollow,
	"MergeAtOnce":                     mergeAtOnce,
	"MergeRefusesNonsense":            mergeRefusesNonsense,
	"MergeAgainstTakes":               mergeAgainstTakes,
	"MergeKeepsASuspension":           mergeKeepsASuspension,
	"MergeKeepsAHumansWords":          mergeKeepsAHumansWords,
}

// write2 is a message in which WhatsApp names two ids of its sender; it lands where the first leads.
func (w *world) write2(jid, alt string, sentAt time.Time) conversation.ID {
	w.t.Helper()
	id := uuid.NewString()
	receipts, err := w.store().Receive(w.t.Context(), []conversation.Event{{
		Tenant: tenant, Channel: channel, Kind: conversation.KindMessage, WAID: id, ChatJID: jid, AltJID: alt, Type: "text", Text: id,
		Body: []byte(`{}`), State: conversation.Pending, Begins: true, SentAt: sentAt,
	}}, conversation.Window{})
	require.NoError(w.t, err)
	return receipts[0].Conversation
}

func (w *world) conflicts() []conversation.Conflict {
	w.t.Helper()
	list, err := w.store().Conflicts(w.t.Context(), 100)
	require.NoError(w.t, err)
	return list
}

// merge joins two conversations and looks at both replicas and both chains what became of them.
func (w *world) merge(a, b *talk) conversation.Joined {
	w.t.Helper()
	before := map[conversation.ID]conversation.Conversation{a.id: a.find(), b.id: b.find()}
	joined, err := w.store().Merge(w.t.Context(), tenant, a.id, b.id)
	require.NoError(w.t, err)
	require.False(w.t, joined.Already)
	stays, goes := a, b
	if joined.Stays == b.id {
		stays, goes = b, a
	}
	c, gone := stays.find(), goes.find()
	require.Equal(w.t, joined.Epoch, c.Epoch)
	require.Equal(w.t, max(before[a.id].Epoch, before[b.id].Epoch)+1, c.Epoch, "the higher epoch + 1")
	require.Zero(w.t, c.MergedInto)
	require.Equal(w.t, stays.id, gone.MergedInto)
	require.Equal(w.t, []any{conversation.Closed, conversation.Nobody, false}, []any{gone.State, gone.Owner, gone.Waiting})
	require.NotContains(w.t, w.Messages(goes.id), "pending")
	require.Equal(w.t, slices.Contains(w.Messages(stays.id), "pending"), c.Waiting, "a window is open for what waits")
	linked(w, stays, goes, conversation.VerbMerge, "absorbed")
	return joined
}

// linked expects the newest entries of two chains to name each other.
func linked(w *world, stays, goes *talk, verb conversation.Verb, key string) {
	w.t.Helper()
	require.NoError(w.t, w.Verify(stays.id))
	require.NoError(w.t, w.Verify(goes.id))
	last := func(x *talk) conversation.Recorded {
		list, err := w.store().Trail(w.t.Context(), tenant, x.id, 0, 500)
		require.NoError(w.t, err)
		return list[len(list)-1]
	}
	one, other := last(stays), last(goes)
	require.Equal(w.t, []any{verb, verb}, []any{one.Verb, other.Verb})
	require.Equal(w.t, goes.id.String(), one.Detail[key])
	require.Equal(w.t, stays.id.String(), other.Detail["into"])
	require.Equal(w.t, other.Detail["moved"], one.Detail["moved"])
	require.Len(w.t, one.Detail["absorbed_hash"], 64)
}

func mergedByTheMessageThatNamesBoth(w *world) {
	phone, lid := w.talkOf(aiF), w.talk()
	require.Empty(w.t, w.conflicts())
	landed := w.write2(phone.chat, lid.chat, time.Time{})
	require.Equal(w.t, phone.id, landed)
	require.Equal(w.t, []conversation.Conflict{{Tenant: tenant, A: phone.id, B: lid.id}}, w.conflicts())
	joined := w.merge(phone, lid)
	require.Equal(w.t, phone.id, joined.Stays, "somebody has it")
	require.Equal(w.t, 1, joined.Moved)
	phone.stands("AI_ACTIVE ai:f 2")
	lid.stands("CLOSED none 0")
	require.Equal(w.t, []string{"pending", "pending", "pending"}, w.Messages(phone.id))
	require.Empty(w.t, w.Messages(lid.id))
	require.Empty(w.t, w.conflicts())
	require.Equal(w.t, phone.id, lid.write(), "its ids lead there now")
	require.Equal(w.t, phone.id, w.write2(lid.chat, phone.chat, time.Time{}))
	require.Empty(w.t, w.conflicts())
	require.Len(w.t, phone.turn(w.me).Messages, 5)
	unrouted, err := w.store().Unrouted(w.t.Context(), 10)
	require.NoError(w.t, err)
	require.Empty(w.t, unrouted)
}

func mergeKeepsTheHuman(w *world) {
	for _, c := range []struct {
		a, b   conversation.Owner
		stands string
		second bool // the second stays
	}{
		{ana, aiF, "HUMAN_ACTIVE human:ana 3", false},
		{aiF, ana, "HUMAN_ACTIVE human:ana 3", true},
		{queue, aiF, "HUMAN_QUEUED queue 3", false},
		{aiF, queue, "HUMAN_QUEUED queue 3", true},
		{bia, queue, "HUMAN_ACTIVE human:bia 3", false},
		{aiF, aiG, "AI_ACTIVE ai:g 3", true}, // of the higher epoch
		{aiF, aiF, "AI_ACTIVE ai:f 2", false},
	} {
		a, b := w.talkOf(c.a), w.talkOf(c.b)
		joined := w.merge(a, b)
		stays := a
		if c.second {
			stays = b
		}
		require.Equal(w.t, stays.id, joined.Stays, "%s and %s", c.a, c.b)
		stays.stands(c.stands)
	}
}

func mergeOrdersWhatWaits(w *world) {
	a, b := w.talkOf(ana), w.talkOf(aiF)
	noon := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	var ids []string
	for _, at := range []int{3, 1, 2} { // arrived in another order than written
		w.write2(b.chat, "", noon.Add(time.Duration(at)*time.Second))
	}
	before := a.find().LastSeq
	require.Equal(w.t, 4, w.merge(a, b).Moved)
	require.Equal(w.t, before+4, a.find().LastSeq)
	a.do(conversation.Command{Verb: conversation.VerbHandback, Through: before, To: aiF})
	for _, m := range a.turn(w.me).Messages {
		ids = append(ids, fmt.Sprint(m.TS.Sub(noon).Round(time.Second)))
	}
	require.Equal(w.t, []string{"1s", "2s", "3s"}, ids[:3])
	require.Len(w.t, ids, 4)
	stretch := w.Stretches(a.id)
	require.Equal(w.t, []int64{1, before}, []int64{stretch[0].From, stretch[0].To}, "what moved was not read by the human, as they said")
}

func mergeEndsBothTurns(w *world) {
	a, b := w.talkOf(aiF), w.talkOf(aiF)
	terms := w.terms(w.me)
	var turns []conversation.Turn
	for range 2 {
		t, err := w.store().ClaimTurn(w.t.Context(), terms)
		require.NoError(w.t, err)
		turns = append(turns, t)
	}
	require.NoError(w.t, w.store().Reply(w.t.Context(), turns[1].TurnRef, turns[1].Token, []conversation.Part{{Text: "um"}, {Text: "dois"}}))
	joined := w.merge(a, b)
	require.Equal(w.t, 1, joined.Moved)
	require.ErrorIs(w.t, w.store().Reply(w.t.Context(), turns[0].TurnRef, turns[0].Token, nil), conversation.ErrStaleEpoch)
	require.False(w.t, a.pass(turns[1].TurnRef, 1))
	require.Equal(w.t, []string{"dropped", "dropped"}, w.Parts(turns[1].Conversation, 1))
	require.Equal(w.t, []string{"pending", "pending"}, w.Messages(joined.Stays))
	stays := a
	if joined.Stays == b.id {
		stays = b
	}
	require.Len(w.t, stays.turn(w.me).Messages, 2, "one turn with what both were to answer")
}

func mergeWaitsForTheWire(w *world) {
	human, ai := w.talkOf(ana), w.talkOf(aiF)
	w.write2(human.chat, ai.chat, time.Time{})
	turn := ai.replied("um", "dois")
	require.True(w.t, ai.pass(turn.TurnRef, 1))
	waits := func() {
		w.t.Helper()
		_, err := w.store().Merge(w.t.Context(), tenant, human.id, ai.id)
		require.ErrorIs(w.t, err, conversation.ErrOnTheWire)
		ai.stands("AI_ACTIVE ai:f 1")
		require.Empty(w.t, w.conflicts(), "left alone for a while")
	}
	waits()
	ok, err := w.store().Unknown(w.t.Context(), conversation.PartRef{TurnRef: turn.TurnRef, Part: 1}, "timeout")
	require.NoError(w.t, err)
	require.True(w.t, ok)
	waits()
	w.Age(time.Minute)
	require.Len(w.t, w.conflicts(), 1)
	require.NoError(w.t, ai.settle(turn, 1, true))
	joined := w.merge(human, ai)
	require.Equal(w.t, human.id, joined.Stays)
	require.Zero(w.t, joined.Moved, "its message was answered")
	require.Equal(w.t, []string{"sent", "dropped"}, w.Parts(ai.id, turn.No))
	require.Equal(w.t, []string{"done"}, w.Messages(ai.id), "its history stays where it was")

	// What the one that stays has on the wire does not matter: its AI stays silent until that is known.
	busy, idle := w.talkOf(aiF), w.talk()
	turn = busy.replied("um", "dois")
	require.True(w.t, busy.pass(turn.TurnRef, 1))
	require.Equal(w.t, busy.id, w.merge(busy, idle).Stays)
	_, err = w.store().ClaimTurn(w.t.Context(), w.terms(w.me))
	require.ErrorIs(w.t, err, conversation.ErrNothingDue)
	require.True(w.t, busy.sent(turn.TurnRef, 1))
	require.Equal(w.t, []string{"sent", "dropped"}, w.Parts(busy.id, turn.No))
	require.Len(w.t, busy.turn(w.me).Messages, 1)
}

func mergeOfAMerge(w *world) {
	a, b, c := w.talk(), w.talkOf(aiF), w.talkOf(ana)
	require.Equal(w.t, b.id, w.merge(a, b).Stays)
	require.Equal(w.t, c.id, w.merge(b, c).Stays)
	require.Equal(w.t, c.id, a.find().MergedInto, "to the end of the chain")
	require.Equal(w.t, []string{"pending", "pending", "pending"}, w.Messages(c.id))
	// By any name: a and c are one by now, a and a fourth are c and the fourth.
	joined, err := w.store().Merge(w.t.Context(), tenant, a.id, c.id)
	require.NoError(w.t, err)
	require.Equal(w.t, conversation.Joined{Stays: c.id, Goes: a.id, Epoch: 3, Already: true}, joined)
	d := w.talk()
	w.write2(d.chat, a.chat, time.Time{})
	require.Len(w.t, w.conflicts(), 1)
	joined, err = w.store().Merge(w.t.Context(), tenant, d.id, a.id)
	require.NoError(w.t, err)
	require.Equal(w.t, []any{c.id, d.id, 2}, []any{joined.Stays, joined.Goes, joined.Moved})
	require.Empty(w.t, w.conflicts())
	for _, x := range []*talk{a, b, c, d} {
		require.Equal(w.t, c.id, x.write())
	}
	require.Len(w.t, w.Messages(c.id), 9)
	c.stands("HUMAN_ACTIVE human:ana 4")
	c.trail()
}

func mergedAnswersWhereItWent(w *world) {
	a, b := w.talkOf(ana), w.talkOf(aiF)
	taken := b.meant(conversation.Command{Verb: conversation.VerbRequest, Wait: time.Minute, Key: uuid.NewString()})
	_, err := w.store().Do(w.t.Context(), taken)
	require.NoError(w.t, err)
	w.merge(a, b)
	for _, v := range []conversation.Command{
		{Verb: conversation.VerbTake, Actor: acting(bia)}, {Verb: conversation.VerbReopen}, {Verb: conversation.VerbClaim, To: aiF},
		{Verb: conversation.VerbHold}, {Verb: conversation.VerbClose},
	} {
		now := b.refuse(v, conversation.ErrMerged)
		require.Equal(w.t, a.id, now.MergedInto)
	}
	again, err := w.store().Do(w.t.Context(), taken)
	require.NoError(w.t, err, "what was answered once is answered so again")
	require.True(w.t, again.Replayed)
	_, _, err = w.store().Say(w.t.Context(), conversation.Said{Tenant: tenant, Conversation: b.id, Kind: conversation.SaidByHuman, By: "ana",
		Source: "chatwoot:1:1", Parts: []conversation.Part{{Text: "oi"}}, Within: time.Minute})
	require.ErrorIs(w.t, err, conversation.ErrMerged)
	var refused *conversation.RefusedError
	require.ErrorAs(w.t, err, &refused)
	require.Equal(w.t, a.id, refused.Now.MergedInto)
}

// lateMessagesFollow: a message filed by an alias that was read before the merge.
func lateMessagesFollow(w *world) {
	a, b := w.talkOf(ana), w.talkOf(aiF)
	w.merge(a, b)
	w.Stray(b.chat, b.id)
	require.Equal(w.t, b.id, b.write())
	require.Equal(w.t, []conversation.Conflict{{Tenant: tenant, A: a.id, B: b.id}}, w.conflicts())
	epoch := a.find().Epoch
	joined, err := w.store().Merge(w.t.Context(), tenant, a.id, b.id)
	require.NoError(w.t, err)
	require.Equal(w.t, conversation.Joined{Stays: a.id, Goes: b.id, Epoch: epoch, Moved: 1, Already: true}, joined)
	linked(w, a, b, conversation.VerbFollow, "from")
	require.Empty(w.t, w.conflicts())
	require.Equal(w.t, []string{"pending", "pending", "pending"}, w.Messages(a.id))
	require.Equal(w.t, a.id, b.write(), "the alias was put right with it")
}

func mergeAtOnce(w *world) {
	for range 10 {
		a, b, c := w.talkOf(aiF), w.talkOf(ana), w.talk()
		merge := func(x, y *talk) func(conversation.Store) error {
			return func(s conversation.Store) error {
				_, err := s.Merge(w.t.Context(), tenant, x.id, y.id)
				return err
			}
		}
		for _, err := range w.atOnce(merge(a, b), merge(b, a), merge(c, a), merge(b, c), merge(c, b)) {
			require.NoError(w.t, err)
		}
		require.Equal(w.t, []conversation.ID{b.id, 0, b.id}, []conversation.ID{a.find().MergedInto, b.find().MergedInto, c.find().MergedInto})
		require.Equal(w.t, []string{"pending", "pending", "pending"}, w.Messages(b.id))
		merges := 0
		for _, x := range []*talk{a, b, c} {
			require.NoError(w.t, w.Verify(x.id))
			list, err := w.store().Trail(w.t.Context(), tenant, x.id, 0, 500)
			require.NoError(w.t, err)
			for _, e := range list {
				if e.Verb == conversation.VerbMerge {
					merges++
				}
			}
		}
		require.Equal(w.t, 4, merges, "two merges, an entry in each of the two")
	}
}

func mergeRefusesNonsense(w *world) {
	a := w.talk()
	_, err := w.store().Merge(w.t.Context(), tenant, a.id, 4711)
	require.ErrorIs(w.t, err, conversation.ErrNotFound)
	_, err = w.store().Merge(w.t.Context(), "other", a.id, a.id)
	require.ErrorIs(w.t, err, conversation.ErrNotFound)
	w.Channel("q", "")
	id := uuid.NewString()
	receipts, err := w.store().Receive(w.t.Context(), []conversation.Event{{Tenant: tenant, Channel: "q", Kind: conversation.KindMessage, WAID: id,
		ChatJID: id, Type: "text", Body: []byte(`{}`), State: conversation.Pending, Begins: true}}, conversation.Window{})
	require.NoError(w.t, err)
	_, err = w.store().Merge(w.t.Context(), tenant, a.id, receipts[0].Conversation)
	require.ErrorIs(w.t, err, conversation.ErrInvalid, "one contact on two channels is two conversations")
}

// mergeAgainstTakes: a human who takes either at the same moment has the one that stays.
func mergeAgainstTakes(w *world) {
	for i := range 20 {
		a, b := w.talkOf(aiF), w.talkOf(aiF)
		taken := []*talk{a, b}[i%2]
		errs := w.atOnce(doing(taken.meant(conversation.Command{Verb: conversation.VerbTake, Actor: acting(ana)})), func(s conversation.Store) error {
			_, err := s.Merge(w.t.Context(), tenant, a.id, b.id)
			return err
		})
		require.NoError(w.t, errs[1])
		var refused *conversation.RefusedError
		if errors.As(errs[0], &refused) { // the merge was first, and says where to
			require.ErrorIs(w.t, errs[0], conversation.ErrMerged)
			require.True(w.t, strings.Contains(refused.Extra, refused.Now.MergedInto.String()))
			continue
		}
		require.NoError(w.t, errs[0])
		stays := a
		if a.find().MergedInto != 0 {
			stays = b
		}
		require.Equal(w.t, ana, stays.find().Owner)
	}
}

func mergeKeepsASuspension(w *world) {
	a, b := w.talkOf(ana), w.talkOf(aiF)
	b.do(conversation.Command{Verb: conversation.VerbHold})
	require.Equal(w.t, a.id, w.merge(a, b).Stays)
	a.stands("SUSPENDED none 3")
	a.do(conversation.Command{Verb: conversation.VerbResume})
	a.stands("HUMAN_ACTIVE human:ana 4")

	c, d := w.talkOf(aiF), w.talk()
	c.do(conversation.Command{Verb: conversation.VerbHold})
	require.Equal(w.t, c.id, w.merge(d, c).Stays)
	c.stands("SUSPENDED none 3")
	require.Equal(w.t, aiF, c.find().Held.Owner)
}

func mergeKeepsAHumansWords(w *world) {
	a, b := w.talkOf(ana), w.talkOf(aiF)
	no, first, err := w.store().Say(w.t.Context(), conversation.Said{Tenant: tenant, Conversation: b.id, Kind: conversation.SaidByHuman, By: "bia",
		Source: "chatwoot:1:2", Parts: []conversation.Part{{Text: "já vejo"}}, Within: time.Hour})
	require.NoError(w.t, err)
	require.True(w.t, first)
	_, err = w.store().Merge(w.t.Context(), tenant, a.id, b.id)
	require.ErrorIs(w.t, err, conversation.ErrOnTheWire)
	said, err := w.store().ReclaimTurn(w.t.Context(), w.terms(w.me))
	require.NoError(w.t, err)
	require.Equal(w.t, no, said.No)
	require.True(w.t, b.pass(said.TurnRef, 1))
	require.True(w.t, b.sent(said.TurnRef, 1))
	w.merge(a, b)
	require.Equal(w.t, []string{"sent"}, w.Parts(b.id, no))
}
