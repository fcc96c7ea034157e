package conversation

import "time"

// Decided is a decision of the router's in its history: a conversation nobody had, as it was then, and who was given it. What it was is
// put together from what became of it. Its contact's name, its labels and its channel's flow are those of today, a message that was corrected
// later has today's text, and one that the customer took back is not there.
type Decided struct {
	// Facts are filled also where no rules were in force; Facts.Now is when it was decided. Rules are those in force then.
	Unrouted
	Seq         int64 // the audit entry of the claim
	Owner       Owner // who was given it
	Reason      string
	RuleVersion string
}

// Place is where a list goes on after this decision.
func (d Decided) Place() DecisionPlace {
	return DecisionPlace{At: d.Facts.Now, Conversation: d.Conversation, Seq: d.Seq}
}

// DecisionPlace is a place in the order of decisions: by time, and for those of one moment by conversation and audit entry.
type DecisionPlace struct {
	At           time.Time
	Conversation ID
	Seq          int64
}

// DecisionFilter narrows a list of decisions.
type DecisionFilter struct {
	Tenant string    // required
	Since  time.Time // required: history is long
	After  DecisionPlace
	Limit  int // zero means 500, the largest page
}

// The reasons of claims in which somebody else than the rules had the last word.
const (
	ReasonAtCapacity     = "agent_at_capacity" // who was chosen had no room
	ReasonHandoverBudget = "handover_budget"   // the conversation went from AI to AI too often
)
