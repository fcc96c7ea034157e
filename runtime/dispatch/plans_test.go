package dispatch

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

// planned is a store with plans that are due.
type planned struct {
	store
	plans []conversation.DuePlan
	mates []conversation.Mate
	asked int // how often for mates
	full  map[conversation.Owner]bool
	did   []conversation.Command
	keeps []conversation.DuePlan
	said  []conversation.Said
}

func (s *planned) DuePlans(context.Context, int) ([]conversation.DuePlan, error) { return s.plans, nil }

func (s *planned) Mates(_ context.Context, _, _, _ string) ([]conversation.Mate, error) {
	s.asked++
	return slices.Clone(s.mates), nil
}

func (s *planned) KeepPlan(_ context.Context, d conversation.DuePlan) (bool, error) {
	s.keeps = append(s.keeps, d)
	return true, nil
}

func (*planned) Place(context.Context, string, string, conversation.ID) (int, error) { return 3, nil }

func (s *planned) Say(_ context.Context, said conversation.Said) (int, bool, error) {
	s.said = append(s.said, said)
	return 1, true, nil
}

func (s *planned) Do(_ context.Context, c conversation.Command) (conversation.Result, error) {
	if s.full[c.To] {
		return conversation.Result{}, &conversation.RefusedError{Err: conversation.ErrAtCapacity}
	}
	s.did = append(s.did, c)
	return conversation.Result{Conversation: conversation.Conversation{Owner: c.To, Offer: &conversation.Offer{To: c.To}}}, nil
}

var (
	team = conversation.Target{Kind: conversation.TargetTeam, ID: "vendas", Reserve: 45 * time.Second, Strategy: conversation.LeastBusy}
)

func due(id conversation.ID, targets ...conversation.Target) conversation.DuePlan {
	now := time.Date(2026, 11, 24, 13, 0, 0, 0, time.UTC)
	return conversation.DuePlan{Conversation: id, Tenant: "t", State: conversation.HumanQueued, Owner: targets[0].Owner(), Epoch: 7, Now: now,
		Plan: conversation.Plan{Rule: "r", Version: "v", Targets: targets, Since: now}}
}

func mate(id string, active int) conversation.Mate {
	return conversation.Mate{ID: id, Presence: conversation.Online, Active: active}
}

func human(id string) conversation.Owner {
	return conversation.Owner{Kind: conversation.OwnedByHuman, ID: id}
}

func TestOffersAreSpreadOverATeam(t *testing.T) {
	t.Parallel()
	s := &planned{mates: []conversation.Mate{mate("1", 1), mate("2", 0)}}
	for i := range 4 {
		s.plans = append(s.plans, due(conversation.ID(i), team))
	}
	require.NoError(t, newDispatcher(s, &flow{}).further(t.Context()))
	var to []string
	for _, c := range s.did {
		require.Equal(t, []any{conversation.VerbOffer, conversation.Router, int64(7), 45 * time.Second, conversation.ElseReturn, "rule:r", "v"},
			[]any{c.Verb, c.Actor, c.IfEpoch, c.Wait, c.Else, c.Reason, c.RuleVersion})
		require.Equal(t, []string{c.To.ID}, c.Plan.Tried)
		to = append(to, c.To.ID)
	}
	require.Equal(t, []string{"2", "1", "2", "1"}, to, "what is offered counts at once; equal, who was offered one least lately")
	require.Equal(t, 1, s.asked, "a team is read once for all that wait for it")
}

func TestWhoIsFullIsPassedOver(t *testing.T) {
	t.Parallel()
	s := &planned{plans: []conversation.DuePlan{due(1, team)}, mates: []conversation.Mate{mate("1", 0), mate("2", 1)}, full: map[conversation.Owner]bool{human("1"): true}}
	require.NoError(t, newDispatcher(s, &flow{}).further(t.Context()))
	require.Empty(t, s.did)
	require.Len(t, s.keeps, 1)
	require.Equal(t, []any{[]string{"1"}, soonest}, []any{s.keeps[0].Tried, s.keeps[0].Wait}, "the next one is asked at once")
}

func TestTheNextTarget(t *testing.T) {
	t.Parallel()
	ai := conversation.Target{Kind: conversation.TargetAI, ID: "f", Attempts: 1, Say: "Um momento."}
	waits := conversation.Target{Kind: conversation.TargetQueue, ID: "vendas", Say: "Espere: {position}."}
	word := conversation.Target{Kind: conversation.TargetSay, Say: "Amanhã."}
	past := func(targets ...conversation.Target) conversation.DuePlan {
		d := due(1, targets...)
		d.Plan.Next = true
		return d
	}
	for _, c := range []struct {
		name string
		plan conversation.DuePlan
		full bool
		did  []any // verb, owner, what is said
		said string
		next bool
	}{
		{"another agent", past(team, ai), false, []any{conversation.VerbPass, conversation.Owner{Kind: conversation.OwnedByAI, ID: "f"}, "Um momento."}, "", false},
		{"one without room", past(team, ai, word), true, nil, "", true},
		{"the same queue", past(team, waits), false, nil, "Espere: 3.", false},
		{"a word", past(team, word), false, nil, "Amanhã.", false},
	} {
		s := &planned{plans: []conversation.DuePlan{c.plan}, full: map[conversation.Owner]bool{ai.Owner(): c.full}}
		require.NoError(t, newDispatcher(s, &flow{}).further(t.Context()), c.name)
		if c.did != nil {
			require.Len(t, s.did, 1, c.name)
			require.Equal(t, c.did, []any{s.did[0].Verb, s.did[0].To, s.did[0].Say}, c.name)
			require.Equal(t, 1, s.did[0].Plan.Step, c.name)
			continue
		}
		require.Empty(t, s.did, c.name)
		require.Len(t, s.keeps, 1, c.name)
		require.Equal(t, []any{1, c.next}, []any{s.keeps[0].Step, s.keeps[0].Next}, c.name)
		if c.said != "" {
			require.Equal(t, []conversation.Part{{Text: c.said}}, s.said[0].Parts, c.name)
			require.Equal(t, []any{int64(7), conversation.SaidByRouter}, []any{s.said[0].IfEpoch, s.said[0].Kind}, c.name)
		}
	}
}

// flood is a store in which one channel has many turns due, and another some.
type flood struct {
	store
	due []conversation.Turn
}

func (s *flood) ClaimTurn(_ context.Context, terms conversation.TurnTerms) (conversation.Turn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.due, func(t conversation.Turn) bool { return !slices.Contains(terms.Crowded, t.Channel) })
	if i < 0 {
		return conversation.Turn{}, conversation.ErrNothingDue
	}
	t := s.due[i]
	s.due = slices.Delete(s.due, i, i+1)
	return t, nil
}

func TestAFloodInOneChannelDoesNotHoldUpAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &flood{}
		for no := range 40 {
			turn := running(no)
			turn.Channel, turn.Flow = "flooded", "f"
			s.due = append(s.due, turn)
		}
		quiet := running(100)
		quiet.Channel, quiet.Flow = "quiet", "g"
		s.due = append([]conversation.Turn{quiet}, s.due...) // it is known that there are two
		c := newDispatcher(s, &flow{block: true}).c
		c.MaxRunning, c.Grace = 6, 0
		d := New(c)
		require.NoError(t, d.takeAll(t.Context(), s.ClaimTurn))
		require.Equal(t, map[string]int{"flooded": 5, "quiet": 1}, d.channels, "nobody else waits, so every slot is used")
		quiet.No, quiet.TurnRef.Conversation = 101, 101
		s.due = append(s.due, quiet) // the youngest
		d.mu.Lock()
		for ref, h := range d.held {
			if ref.Conversation != 100 {
				h.end(errShutdown)
				break
			}
		}
		d.mu.Unlock()
		synctest.Wait()
		require.NoError(t, d.takeAll(t.Context(), s.ClaimTurn))
		require.Equal(t, map[string]int{"flooded": 4, "quiet": 2}, d.channels, "who waits elsewhere gets the next slot")
		d.drain()
	})
}
