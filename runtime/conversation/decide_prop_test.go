package conversation

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// machine plays random commands on Decide and on the reference side by side.
type machine struct {
	c       Conversation
	ref     reference
	now     time.Time
	cluster int64
}

func TestRandomVerbsKeepTheInvariants(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{now: noon, cluster: 1}
		m.c = Conversation{ID: 1, Tenant: "t", State: Idle, Owner: Nobody, LastOwner: Nobody, Cluster: 1,
			Flow: rapid.SampledFrom([]string{"", "f"}).Draw(t, "flow")}
		m.ref = reference{state: Idle, owner: Nobody, last: Nobody, cluster: 1}
		actions := map[string]func(*rapid.T){
			"":           m.check,
			"time":       m.pass,
			"generation": func(*rapid.T) { m.cluster++ },
		}
		for _, v := range append(Verbs(), VerbQueue, VerbRecover) {
			actions[string(v)] = func(t *rapid.T) { m.do(t, drawCommand(t, m.c, v)) }
		}
		// A busy line: the verbs that move an owner come up more often than one in eighteen.
		for _, name := range []string{"again", "and again", "once more"} {
			actions[name] = func(t *rapid.T) {
				v := rapid.SampledFrom([]Verb{VerbPass, VerbOffer, VerbAccept, VerbTake, VerbClaim, VerbResume}).Draw(t, "verb")
				m.do(t, drawCommand(t, m.c, v))
			}
		}
		t.Repeat(actions)
	})
}

var (
	somebody = []Owner{aiA, aiN, ana, bia, queue}
	someone  = []Actor{acting(aiA), acting(aiN), acting(ana), acting(bia), operator, Router}
	aWhile   = []time.Duration{time.Second, time.Minute, HandoverWindow - 1, HandoverWindow}
)

// drawCommand draws a command that makes sense by itself, and mostly also where the conversation stands.
func drawCommand(t *rapid.T, c Conversation, v Verb) Command {
	cmd := Command{Verb: v, Tenant: "t", Conversation: 1, Actor: rapid.SampledFrom(someone).Draw(t, "actor"), IfEpoch: c.Epoch}
	if rapid.IntRange(0, 3).Draw(t, "actor fits") > 0 {
		switch {
		case (v == VerbAccept || v == VerbDecline) && c.Offer != nil:
			cmd.Actor = acting(c.Offer.To)
		case c.Owner.Kind == OwnedByAI || c.Owner.Kind == OwnedByHuman:
			cmd.Actor = rapid.SampledFrom([]Actor{operator, acting(c.Owner)}).Draw(t, "fitting actor")
		}
	}
	if rapid.IntRange(0, 7).Draw(t, "epoch differs") == 0 {
		cmd.IfEpoch = max(0, c.Epoch+rapid.SampledFrom([]int64{-1001, -1, 1}).Draw(t, "by"))
	}
	draw := func(of []Owner) Owner { return rapid.SampledFrom(of).Draw(t, "to") }
	switch v {
	case VerbClaim, VerbPass:
		cmd.To = draw(somebody)
	case VerbQueue:
		cmd.To = queue
	case VerbOffer:
		cmd.To, cmd.Wait = draw(somebody[:4]), rapid.SampledFrom(aWhile).Draw(t, "wait")
		cmd.Else = rapid.SampledFrom([]Otherwise{ElseReturn, ElseQueue}).Draw(t, "else")
	case VerbRequest:
		cmd.Wait = rapid.SampledFrom(aWhile).Draw(t, "wait")
		cmd.Else = rapid.SampledFrom([]Otherwise{ElseIgnore, ElseQueue}).Draw(t, "else")
	case VerbAccept, VerbDecline:
		cmd.Offer, cmd.Wait = c.Version, rapid.SampledFrom(append(aWhile, 0)).Draw(t, "silence")
		if c.Offer != nil && rapid.IntRange(0, 7).Draw(t, "another offer") > 0 {
			cmd.Offer = c.Offer.ID
		}
	case VerbTake:
		if rapid.Bool().Draw(t, "any epoch") {
			cmd.IfEpoch = AnyEpoch
		}
		cmd.Wait = rapid.SampledFrom(append(aWhile, 0)).Draw(t, "silence")
		if cmd.Actor.Kind != ActorHuman {
			cmd.To = draw([]Owner{ana, bia})
		}
	case VerbHandback:
		cmd.To = draw([]Owner{{}, aiA, aiN})
	}
	return cmd
}

func (m *machine) pass(t *rapid.T) { m.now = m.now.Add(rapid.SampledFrom(aWhile).Draw(t, "passes")) }

func (m *machine) do(t *rapid.T, cmd Command) {
	before := written(t, m.c)
	change, err := Decide(m.c, cmd, Terms{Now: m.now, Cluster: m.cluster})
	require.Equal(t, before, written(t, m.c), "Decide changes nothing it was given")
	require.Equal(t, m.ref.refuses(cmd, m.now, m.c.Flow), err != nil, "%s by %s from %s of %s: %v", cmd.Verb, cmd.Actor, m.c.State, m.c.Owner, err)
	if cmd.Verb == VerbTake && (cmd.Actor.Kind == ActorHuman || cmd.Actor.Kind == ActorOperator) && cmd.IfEpoch == AnyEpoch {
		require.NoError(t, err, "a human always wins")
	}
	if cmd.IfEpoch != AnyEpoch && cmd.IfEpoch != m.c.Epoch {
		require.ErrorIs(t, err, ErrStaleEpoch)
	}
	if err != nil {
		require.Zero(t, change)
		return
	}
	m.checkSteps(t, cmd, change)
	m.ref.apply(cmd, m.now, m.cluster, m.c.Flow)
	m.c = stored(change)
}

// checkSteps holds for any change, whatever the conversation was.
func (m *machine) checkSteps(t *rapid.T, cmd Command, ch Change) {
	state, owner, epoch := m.c.State, m.c.Owner, m.c.Epoch
	for _, s := range ch.Steps {
		require.Equal(t, state, s.StateFrom, "a step begins where the one before ended")
		require.Equal(t, epoch, s.EpochFrom, "a step begins where the one before ended")
		require.GreaterOrEqual(t, s.EpochTo, s.EpochFrom, "an epoch never decreases")
		require.Equal(t, s.Owner != owner, s.EpochTo != s.EpochFrom, "the epoch grows with the owner, and only with it")
		if s.Owner != owner && s.Owner.Kind == OwnedByAI {
			require.Contains(t, []Verb{VerbClaim, VerbPass, VerbAccept, VerbHandback, VerbResume}, s.Verb)
		}
		state, owner, epoch = s.StateTo, s.Owner, s.EpochTo
	}
	a := ch.After
	require.Equal(t, []any{state, owner, epoch}, []any{a.State, a.Owner, a.Epoch}, "the last step leads to where it stands")
	if len(ch.Steps) == 0 {
		require.Equal(t, VerbTake, cmd.Verb, "only a take by who has it already has nothing to do")
	}
	require.Equal(t, m.c.Owner.Kind == OwnedByAI && a.Epoch != m.c.Epoch, ch.Revoke, "an AI loses its turn with the conversation")
	require.Equal(t, cmd.Verb == VerbClose, ch.Drop)
	require.Equal(t, a.InStretch, m.c.InStretch && !ch.StretchEnds || ch.StretchBegins)
	require.False(t, ch.StretchBegins && ch.StretchEnds)
}

// check is what must hold between commands.
func (m *machine) check(t *rapid.T) {
	c := m.c
	fits := map[State][]OwnerKind{
		AIActive: {OwnedByAI}, HumanActive: {OwnedByHuman}, HumanQueued: {OwnedByQueue},
		Offered: {OwnedByAI, OwnedByHuman, OwnedByQueue},
	}[c.State]
	if fits == nil {
		fits = []OwnerKind{OwnedByNone}
	}
	require.Contains(t, fits, c.Owner.Kind, c.State)
	require.Equal(t, c.State == Offered, c.Offer != nil)
	require.Equal(t, c.State == Suspended, c.Held != nil)
	if c.Owner.Kind == OwnedByHuman {
		require.True(t, c.InStretch)
	}
	if c.InStretch {
		require.True(t, slices.Contains([]OwnerKind{OwnedByHuman, OwnedByQueue}, c.Owner.Kind) || c.State == Suspended,
			"a stretch needs a human, or somebody a human gave it to: %s", c.State)
	}
	if c.Request != nil {
		require.NotEqual(t, OwnedByNone, c.Owner.Kind, "a request is to somebody")
	}
	require.Equal(t, c.Silence == 0, c.SilenceUntil.IsZero())
	if c.Silence != 0 {
		require.Equal(t, OwnedByHuman, c.Owner.Kind)
	}
	require.LessOrEqual(t, c.Handovers, HandoverBudget)

	r := m.ref
	require.Equal(t, []any{r.state, r.owner, r.epoch, r.cluster, r.recorded, r.last, r.lastAI, r.silence},
		[]any{c.State, c.Owner, c.Epoch, c.Cluster, c.Version, c.LastOwner, c.LastAI, c.SilenceUntil}, "as the reference has it")
	require.Equal(t, r.offer, c.Offer)
	require.Equal(t, r.request, c.Request)
	require.Equal(t, r.held, c.Held)
}

func written(t *rapid.T, c Conversation) string {
	text, err := json.Marshal(c)
	require.NoError(t, err)
	return string(text)
}
