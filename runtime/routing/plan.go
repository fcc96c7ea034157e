package routing

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"plantao/runtime/conversation"
	"plantao/runtime/routing/rules"
)

const (
	// soon is when a plan is due that should be looked at now.
	soon = time.Millisecond
	// recheck is how soon it is looked again whether somebody of a team can be offered a conversation.
	recheck = 5 * time.Second
	// recheckClosed is the same while a team's hours are over.
	recheckClosed = time.Minute
)

// planOf makes a plan of the rule that decided: its targets, with what is to be known of them filled in, so that a plan goes on as it
// began when other rules are put in force.
func planOf(d rules.Decision, set *rules.Set) conversation.Plan {
	p := conversation.Plan{Rule: d.Rule, Version: d.Version}
	for _, to := range d.To {
		t := conversation.Target{Say: to.Say, For: rules.Duration(to.For)}
		team := set.Team(to.Team)
		switch {
		case to.AI != "":
			t.Kind, t.ID, t.Attempts = conversation.TargetAI, to.AI, max(1, to.Attempts)
		case to.Team != "":
			t.Kind, t.ID, t.Skills, t.Languages = conversation.TargetTeam, to.Team, to.Skills, to.Languages
			t.Strategy, t.Reserve, t.Hours = conversation.Strategy(team.Strategy), rules.Duration(team.Reserve), team.Hours
		case to.Last != "":
			t.Kind, t.Within, t.Reserve = conversation.TargetLast, rules.Duration(to.Last), rules.Duration(team.Reserve)
		case to.Queue != nil:
			t.Kind, t.ID = conversation.TargetQueue, *to.Queue
		default:
			t.Kind = conversation.TargetSay
		}
		p.Targets = append(p.Targets, t)
	}
	return p
}

// waitIn is how soon a plan is due again whose target has just got the conversation; zero: not before something happens.
func waitIn(t conversation.Target) time.Duration {
	switch t.Kind {
	case conversation.TargetTeam, conversation.TargetLast, conversation.TargetSay:
		return soon
	case conversation.TargetQueue:
		return t.For
	}
	return 0
}

// Move is what is done for a plan now: Offer, or Pass, or neither. Plan is what it becomes.
type Move struct {
	Offer string // the human who is offered the conversation, for the target's Reserve
	// Pass: the next target gets the conversation.
	Pass bool
	Plan conversation.Plan
}

// Next decides: pure, so that equal plans and mates give equal moves. mates are the humans of the present target; set says what is known
// of them, and may be nil.
func Next(d conversation.DuePlan, mates []conversation.Mate, set *rules.Set) Move {
	p, t := d.Plan, d.Target()
	left := time.Duration(-1) // of the target's time; negative: it has no end
	if t.For > 0 {
		left = max(0, t.For-d.Now.Sub(p.Since))
	}
	switch {
	case d.State == conversation.Offered: // its end is another timer's
		return wait(p, time.Second)
	case p.Next || t.Kind == conversation.TargetSay || left == 0:
		return onward(p, d.Now)
	case t.Kind == conversation.TargetAI:
		return wait(p, 0)
	case t.Kind == conversation.TargetQueue:
		return wait(p, max(0, left))
	}
	able, closed := ableTo(d, mates, set)
	fresh := slices.DeleteFunc(slices.Clone(able), func(m conversation.Mate) bool { return slices.Contains(p.Tried, m.ID) })
	if len(fresh) > 0 {
		chosen := slices.MinFunc(fresh, by(t.Strategy)).ID
		p.Tried = append(slices.Clone(p.Tried), chosen)
		p.Wait = t.Reserve
		return Move{Offer: chosen, Plan: p}
	}
	if t.For == 0 && !p.Last() {
		return onward(p, d.Now)
	}
	pause := recheck
	switch {
	case closed:
		pause = recheckClosed
	case len(able) > 0: // each was asked: another round, after a while
		p.Tried, pause = nil, max(t.Reserve, recheck)
	}
	if left > 0 {
		pause = min(pause, left)
	}
	return wait(p, pause)
}

func wait(p conversation.Plan, d time.Duration) Move {
	p.Wait = d
	return Move{Plan: p}
}

// onward goes to the next target. After the last one, the conversation stays where it is; of a team, its humans are asked again.
func onward(p conversation.Plan, now time.Time) Move {
	p.Tried, p.Failed, p.Next = nil, 0, false
	if p.Last() {
		p.Since = now
		if k := p.Target().Kind; k == conversation.TargetTeam || k == conversation.TargetLast {
			return wait(p, recheck)
		}
		return wait(p, 0)
	}
	p.Step++
	p.Since, p.Wait = now, waitIn(p.Target())
	return Move{Pass: true, Plan: p}
}

// ableTo lists the humans who could be offered the conversation now, and says whether it is the team's hours that are over.
func ableTo(d conversation.DuePlan, mates []conversation.Mate, set *rules.Set) (able []conversation.Mate, closed bool) {
	t := d.Target()
	if set != nil && t.Hours != "" && !set.Open(t.Hours, d.Now) {
		return nil, true
	}
	if t.Kind == conversation.TargetLast && (d.LastHuman == "" || d.Now.Sub(d.LastHumanAt) > t.Within) {
		return nil, false
	}
	for _, m := range mates {
		var known rules.Agent
		if set != nil && m.Email != "" {
			known = set.Agent(m.Email)
		}
		capacity := m.Capacity
		if known.Capacity != nil {
			capacity = known.Capacity
		}
		switch {
		case t.Kind == conversation.TargetLast && m.ID != d.LastHuman:
		case m.Presence != conversation.Online:
		case capacity != nil && m.Active+m.Offers >= *capacity:
		case known.Hours != "" && !set.Open(known.Hours, d.Now):
		case len(known.Channels) > 0 && !slices.Contains(known.Channels, d.Channel):
		case slices.ContainsFunc(t.Skills, func(s string) bool { return !slices.Contains(known.Skills, s) }):
		case len(t.Languages) > 0 && !slices.ContainsFunc(t.Languages, func(s string) bool { return slices.Contains(known.Languages, s) }):
		default:
			able = append(able, m)
		}
	}
	return able, false
}

// by orders humans: the first is offered the conversation. Who was offered one least lately breaks a tie, so that nobody is passed over.
func by(s conversation.Strategy) func(a, b conversation.Mate) int {
	inTurn := func(a, b conversation.Mate) int {
		return cmp.Or(a.OfferedAt.Compare(b.OfferedAt), strings.Compare(a.ID, b.ID))
	}
	switch s {
	case conversation.RoundRobin:
		return inTurn
	case conversation.LongestIdle:
		return func(a, b conversation.Mate) int {
			return cmp.Or(min(1, a.Active+a.Offers)-min(1, b.Active+b.Offers), a.FreedAt.Compare(b.FreedAt), inTurn(a, b))
		}
	}
	return func(a, b conversation.Mate) int { return cmp.Or((a.Active+a.Offers)-(b.Active+b.Offers), inTurn(a, b)) }
}
