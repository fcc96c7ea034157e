package conversation

import (
	"context"
	"time"
)

// TargetKind says what a target of a plan is.
type TargetKind string

// The kinds of target.
const (
	TargetAI    TargetKind = "ai"    // the flow gets it
	TargetTeam  TargetKind = "team"  // it is offered to the team's humans, one after the other
	TargetLast  TargetKind = "last"  // it is offered to the human who had it last
	TargetQueue TargetKind = "queue" // it waits there for any human
	TargetSay   TargetKind = "say"   // the customer is told something; it stays where it is
)

// Strategy says which human of a team is offered a conversation first.
type Strategy string

// The strategies.
const (
	LeastBusy   Strategy = "least_busy"   // who has the fewest conversations
	LongestIdle Strategy = "longest_idle" // who has none, and of those who got or lost their last one the longest ago
	RoundRobin  Strategy = "round_robin"  // who was offered one least lately
)

// Target is one step of a plan.
type Target struct {
	Kind      TargetKind
	ID        string        `json:",omitempty"` // ai: the flow; team and queue: the team's name
	Attempts  int           `json:",omitempty"` // ai: how many turns may fail in a row
	Within    time.Duration `json:",omitempty"` // last: how long ago they may have had it
	Skills    []string      `json:",omitempty"` // team: who has all of these
	Languages []string      `json:",omitempty"` // team: who speaks one of these
	Reserve   time.Duration `json:",omitempty"` // team and last: how long one human has to accept
	Strategy  Strategy      `json:",omitempty"` // team
	Hours     string        `json:",omitempty"` // team: the calendar in whose hours it is offered
	For       time.Duration `json:",omitempty"` // then the next target is tried; zero: team and last, when each was asked once
	Say       string        `json:",omitempty"` // what the customer is told when it goes there
}

// Owner is who has the conversation while the target is tried. Whoever is offered one gets it from the queue.
func (t Target) Owner() Owner {
	switch t.Kind {
	case TargetAI:
		return Owner{Kind: OwnedByAI, ID: t.ID}
	case TargetTeam, TargetQueue:
		return Owner{Kind: OwnedByQueue, ID: t.ID}
	}
	return Owner{Kind: OwnedByQueue}
}

// Plan is what is tried for a conversation, target after target, until somebody has it. It belongs to the epoch in which its present
// target got the conversation: any other change of owner voids it.
type Plan struct {
	Rule    string // whose targets these are
	Version string // of the rules
	Targets []Target
	Step    int       // the target being tried
	Since   time.Time // when its turn came
	Tried   []string  `json:",omitempty"` // humans who were offered it and did not accept, since then
	Failed  int       `json:",omitempty"` // turns of the AI that failed in a row, since then
	// Answered is the turn in which an AI had answered last when Failed was counted.
	Answered int `json:",omitempty"`
	// Next is set when the present target has failed: the next one is to be tried now.
	Next bool `json:",omitempty"`
	// Wait is how soon to look at it again; zero: not before something happens.
	Wait time.Duration `json:"-"`
}

// Target is the one being tried.
func (p Plan) Target() Target { return p.Targets[p.Step] }

// Last says that no other target follows.
func (p Plan) Last() bool { return p.Step == len(p.Targets)-1 }

// Successor says who tries next when an AI's turn has failed.
type Successor string

// The successors.
const (
	NobodyNext Successor = ""       // any human
	SameNext   Successor = "same"   // the same AI, once more
	TargetNext Successor = "target" // the next target
)

// AfterFailure says who tries next when a turn of the plan's AI has failed. Nil is the plan of a conversation that has none.
func (p *Plan) AfterFailure(f Failure) Successor {
	if p == nil || p.Target().Kind != TargetAI {
		return NobodyNext
	}
	// What WhatsApp refuses, it refuses again: another turn of the same agent helps nobody.
	answered := f.Reason != ReasonDeadline && f.Reason != ReasonFlowRefused
	switch {
	case !answered && p.Failed+1 < p.Target().Attempts:
		return SameNext
	case !p.Last():
		return TargetNext
	}
	return NobodyNext
}

// Pause is how long an AI is left alone after a turn that failed: ten seconds, and with each further one twice as long, up to two minutes.
func (p *Plan) Pause() time.Duration {
	if p == nil || p.Failed+1 >= p.Target().Attempts {
		return 0
	}
	return min(2*time.Minute, 10*time.Second<<min(p.Failed, 10))
}

// DuePlan is a plan that is to be looked at, with its conversation as it stands.
type DuePlan struct {
	Plan
	Tenant       string
	Conversation ID
	Channel      string
	State        State
	Owner        Owner
	Epoch        int64
	Now          time.Time
	// LastHuman had it last, until LastHumanAt; empty: none had.
	LastHuman   string
	LastHumanAt time.Time
	// Rules is the version in force, which says what is known of humans; empty: there are none.
	Rules string
}

// Mate is a human as a plan sees them: what they do now, and since when.
type Mate struct {
	ID, Email string
	Presence  Presence
	Capacity  *int      // nil: any number
	Given     int       // how many conversations they were given and have
	Active    int       // how many they have
	Offers    int       // how many they are offered now
	OfferedAt time.Time // when they were offered one last; zero: never
	FreedAt   time.Time // when they got or lost one last; zero: never
}

// Plans keeps what is tried for conversations.
type Plans interface {
	// DuePlans lists plans whose time has come, those of channels in turn: a channel in which many wait does not hold up the others.
	// Plans that are void are forgotten.
	DuePlans(ctx context.Context, limit int) ([]DuePlan, error)
	// Mates lists a team's humans by id; of an empty team, the human named.
	Mates(ctx context.Context, tenant, team, id string) ([]Mate, error)
	// Place is the place a conversation has in a queue, 1 for the first; if it is not there, the place it would have.
	Place(ctx context.Context, tenant, queue string, id ID) (int, error)
	// KeepPlan writes a plan anew that still belongs to its conversation's epoch, and when it is due again; false if it does not any more.
	KeepPlan(ctx context.Context, d DuePlan) (bool, error)
}
