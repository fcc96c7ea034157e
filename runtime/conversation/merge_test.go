package conversation

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestWhoStays(t *testing.T) {
	t.Parallel()
	at := func(id ID, o Owner, epoch int64) Conversation {
		return Conversation{ID: id, Tenant: "t", Channel: "p", State: stateOf(o), Owner: o, Epoch: epoch, LastOwner: Nobody, Cluster: 1}
	}
	closed, idle := at(1, Nobody, 9), at(2, Nobody, 0)
	closed.State, idle.State = Closed, Idle
	held := func(c Conversation) Conversation {
		c.Held, c.State, c.Owner = &Held{State: c.State, Owner: c.Owner}, Suspended, Nobody
		return c
	}
	for name, c := range map[string]struct {
		a, b  Conversation
		stays ID
		state State
		owner Owner
		epoch int64
	}{
		"a human before an AI":             {at(1, aiA, 9), at(2, ana, 3), 2, HumanActive, ana, 10},
		"a human before the queue":         {at(1, queue, 9), at(2, ana, 3), 2, HumanActive, ana, 10},
		"the queue before an AI":           {at(1, aiA, 9), at(2, queue, 3), 2, HumanQueued, queue, 10},
		"an AI before nobody":              {at(1, Nobody, 9), at(2, aiA, 3), 2, AIActive, aiA, 10},
		"an open one before a closed one":  {closed, idle, 2, Idle, Nobody, 10},
		"the higher epoch of two AIs":      {at(1, aiA, 3), at(2, aiN, 9), 2, AIActive, aiN, 10},
		"the older of two":                 {at(2, aiA, 3), at(1, aiN, 3), 1, AIActive, aiN, 4},
		"of two humans the higher epoch":   {at(1, ana, 3), at(2, bia, 4), 2, HumanActive, bia, 5},
		"suspended, and a human":           {held(at(1, aiA, 9)), at(2, ana, 3), 2, Suspended, Nobody, 10},
		"suspended for a human, and an AI": {held(at(1, ana, 3)), at(2, aiA, 9), 1, Suspended, Nobody, 10},
		"two closed ones":                  {closed, func() Conversation { c := closed; c.ID, c.Epoch = 5, 10; return c }(), 5, Closed, Nobody, 11},
	} {
		for range 2 {
			m, err := Merge(Joining{Conversation: c.a}, Joining{Conversation: c.b}, Terms{Now: noon, Cluster: 1})
			require.NoError(t, err, name)
			s, g := m.Stays.After, m.Goes.After
			require.Equal(t, []any{c.stays, c.state, c.owner, c.epoch}, []any{s.ID, s.State, s.Owner, s.Epoch}, name)
			require.Equal(t, []any{c.a.ID + c.b.ID - c.stays, Closed, Nobody, c.stays}, []any{g.ID, g.State, g.Owner, g.MergedInto}, name)
			c.a, c.b = c.b, c.a // the order they are named in does not matter
		}
	}
}

func TestMergeRefuses(t *testing.T) {
	t.Parallel()
	a := Joining{Conversation: Conversation{ID: 1, Tenant: "t", Channel: "p", State: HumanActive, Owner: ana, Epoch: 2, LastOwner: Nobody}}
	b := Joining{Conversation: Conversation{ID: 2, Tenant: "t", Channel: "p", State: AIActive, Owner: aiA, Epoch: 1, LastOwner: Nobody}}
	refused := func(a, b Joining, want error) {
		t.Helper()
		m, err := Merge(a, b, Terms{Now: noon})
		require.ErrorIs(t, err, want)
		require.Zero(t, m)
	}
	with := func(c Joining, change func(*Joining)) Joining { change(&c); return c }
	refused(a, a, ErrInvalid)
	refused(a, with(b, func(c *Joining) { c.Tenant = "other" }), ErrInvalid)
	refused(a, with(b, func(c *Joining) { c.Channel = "q" }), ErrInvalid)
	refused(a, with(b, func(c *Joining) { c.MergedInto = 3 }), ErrMerged)
	refused(with(a, func(c *Joining) { c.MergedInto = 3 }), b, ErrMerged)
	refused(a, with(b, func(c *Joining) { c.OnTheWire = true }), ErrOnTheWire)
	_, err := Merge(with(a, func(c *Joining) { c.OnTheWire = true }), b, Terms{Now: noon})
	require.NoError(t, err, "what the one that stays has on the wire keeps its own AI silent")
	_, err = Decide(with(b, func(c *Joining) { c.MergedInto = 1 }).Conversation,
		Command{Verb: VerbTake, IfEpoch: AnyEpoch, Actor: acting(ana)}, Terms{Now: noon})
	require.ErrorIs(t, err, ErrMerged, "not even a human takes what is elsewhere")
	require.ErrorContains(t, err, "conversation 1 goes on for it")
}

// Conversations as random verbs leave them, merged until one is left.
func TestRandomMergesKeepTheInvariants(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		cluster := int64(1)
		var open []*machine
		for i := range rapid.IntRange(2, 4).Draw(t, "conversations") {
			m := &machine{now: noon, cluster: 1}
			m.c = Conversation{ID: ID(i + 1), Tenant: "t", Channel: "p", State: Idle, Owner: Nobody, LastOwner: Nobody, Cluster: 1, Flow: "f"}
			m.ref = reference{state: Idle, owner: Nobody, last: Nobody, cluster: 1}
			for range rapid.IntRange(0, 8).Draw(t, "verbs") {
				m.do(t, drawCommand(t, m.c, rapid.SampledFrom(append(Verbs(), VerbQueue, VerbRecover)).Draw(t, "verb")))
			}
			open = append(open, m)
		}
		cluster += rapid.Int64Range(0, 1).Draw(t, "generations")
		for len(open) > 1 {
			a, b := open[len(open)-1], open[rapid.IntRange(0, len(open)-2).Draw(t, "with")]
			before := []string{written(t, a.c), written(t, b.c)}
			m, err := Merge(Joining{Conversation: a.c}, Joining{Conversation: b.c}, Terms{Now: noon.Add(time.Hour), Cluster: cluster})
			require.NoError(t, err)
			require.Equal(t, before, []string{written(t, a.c), written(t, b.c)}, "Merge changes nothing it was given")
			checkMerging(t, a.c, b.c, m, cluster)
			survivor := &machine{now: a.now, cluster: cluster, c: stored(m.Stays)}
			kept := open[:0]
			for _, o := range open[:len(open)-1] {
				if o != b {
					kept = append(kept, o)
				}
			}
			open = append(kept, survivor)
		}
	})
}

func checkMerging(t *rapid.T, a, b Conversation, m Merging, cluster int64) {
	s, g := m.Stays.After, m.Goes.After
	stays, goes := a, b
	if s.ID == b.ID {
		stays, goes = b, a
	}
	require.Equal(t, goes.ID, g.ID)

	// Epochs: never lower, and the one that stays beyond both, so that nothing meant for either passes.
	gap := int64(1)
	if stays.Cluster < cluster {
		gap += EpochGap
	}
	require.Equal(t, max(a.Epoch, b.Epoch)+gap, s.Epoch)
	require.GreaterOrEqual(t, g.Epoch, goes.Epoch)
	require.Equal(t, goes.Owner != Nobody, g.Epoch > goes.Epoch, "one that somebody had changed its owner")

	// Owners: a human who had either has it, or will have it back.
	has := func(c Conversation) Owner {
		if c.Held != nil {
			return c.Held.Owner
		}
		return c.Owner
	}
	for _, k := range []OwnerKind{OwnedByHuman, OwnedByQueue, OwnedByAI} {
		if has(a).Kind == k || has(b).Kind == k {
			require.Equal(t, k, has(s).Kind)
			break
		}
	}
	require.Equal(t, has(stays), has(s), "whoever has the one that stays keeps it")
	require.Equal(t, a.State == Suspended || b.State == Suspended, s.State == Suspended, "suspended stays suspended")
	require.Equal(t, []any{Closed, Nobody, s.ID, false}, []any{g.State, g.Owner, g.MergedInto, g.InStretch})
	require.Equal(t, g.State == Suspended, g.Held != nil)
	require.Nil(t, g.Offer)
	require.Equal(t, s.State == Offered, s.Offer != nil)
	require.Equal(t, s.State == Suspended, s.Held != nil)
	if s.Owner.Kind == OwnedByHuman {
		require.True(t, s.InStretch)
	}
	require.Equal(t, a.InStretch || b.InStretch, s.InStretch, "what a human has read is not an AI's to answer")
	require.Zero(t, s.MergedInto)

	// The audit: one entry in each, each naming the other; nothing that waits is dropped.
	require.Len(t, m.Stays.Steps, 1)
	require.Len(t, m.Goes.Steps, 1)
	in, out := m.Stays.Steps[0], m.Goes.Steps[0]
	require.Equal(t, []any{VerbMerge, stays.State, s.State, stays.Epoch, s.Epoch, s.Owner, goes.ID.String()},
		[]any{in.Verb, in.StateFrom, in.StateTo, in.EpochFrom, in.EpochTo, in.Owner, in.Detail["absorbed"]})
	require.Equal(t, []any{VerbMerge, goes.State, Closed, goes.Epoch, g.Epoch, Nobody, stays.ID.String()},
		[]any{out.Verb, out.StateFrom, out.StateTo, out.EpochFrom, out.EpochTo, out.Owner, out.Detail["into"]})
	for _, c := range []Change{m.Stays, m.Goes} {
		require.False(t, c.Drop)
		require.True(t, c.Revoke && c.Moved)
	}
	require.Equal(t, goes.InStretch, m.Goes.StretchEnds)
	require.False(t, m.Stays.StretchEnds)
	require.Equal(t, !stays.InStretch && s.InStretch, m.Stays.StretchBegins)
}
