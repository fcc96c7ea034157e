package api

import (
	"fmt"
	"strings"
	"time"

	"plantao/runtime/conversation"
)

// Decision is whom the router gave a conversation that nobody had, and what it was like then: what rules may ask about.
type Decision struct {
	Conversation string    `json:"conversation"`
	Seq          int64     `json:"seq" doc:"The audit entry"`
	At           time.Time `json:"at"`
	Owner        string    `json:"owner" doc:"Who was given it, kind:id"`
	Reason       string    `json:"reason" doc:"agent_at_capacity and handover_budget: not whom the rules had chosen"`
	RuleVersion  string    `json:"rule_version"`
	Channel      string    `json:"channel"`
	Flow         string    `json:"flow" doc:"The channel's, today; empty: it has none"`
	State        string    `json:"state" enum:"IDLE,ROUTING,CLOSED" doc:"Before; ROUTING: an agent had given it back"`
	Facts        Facts     `json:"facts"`
}

// Facts are what rules may ask about beside the channel.
type Facts struct {
	Contact     Contact    `json:"contact" doc:"As it is called today"`
	Texts       []string   `json:"texts" doc:"Of the messages that waited, the first 64, in the order in which they are answered; of all together no more than a condition sees"`
	Kinds       []string   `json:"kinds" doc:"Of the same messages, as WhatsApp calls them"`
	Waiting     int        `json:"waiting" doc:"How many waited"`
	Since       *time.Time `json:"since,omitempty" doc:"When the first of them came; absent: the customer took back all of them"`
	Before      int64      `json:"before" doc:"How many messages came before them"`
	BeforeAt    *time.Time `json:"before_at,omitempty" doc:"When the last of those came"`
	Stretches   int        `json:"stretches" doc:"How often a human had the conversation"`
	Attempts    int        `json:"attempts" doc:"How many turns had failed since an AI answered last"`
	Labels      []string   `json:"labels" doc:"Those the conversation has in Chatwoot today"`
	LastOwner   string     `json:"last_owner" doc:"Who had it before, kind:id; none: nobody"`
	LastOwnerAt time.Time  `json:"last_owner_at" doc:"Until when"`
}

// Decisions is a page of a list, in the order in which they were made.
type Decisions struct {
	Decisions []Decision `json:"decisions"`
	Next      string     `json:"next,omitempty" doc:"Pass it as after to read on; absent at the end"`
}

// FromDecided is a decision on the wire, with at most textBytes of texts.
func FromDecided(d conversation.Decided, textBytes int) Decision {
	f := d.Facts
	return Decision{
		Conversation: d.Conversation.String(), Seq: d.Seq, At: f.Now.UTC(), Owner: d.Owner.String(), Reason: d.Reason, RuleVersion: d.RuleVersion,
		Channel: d.Channel, Flow: d.Flow, State: string(d.State), Facts: Facts{
			Contact: Contact{ID: f.Contact.JID, Name: f.Contact.Name}, Texts: within(f.Texts, textBytes), Kinds: append([]string{}, f.Kinds...), Waiting: f.Waiting,
			Since: orAbsent(f.Since), Before: f.Before, BeforeAt: orAbsent(f.BeforeAt), Stretches: f.Stretches,
			Attempts: f.Attempts, Labels: append([]string{}, f.Labels...),
			LastOwner: f.LastOwner.String(), LastOwnerAt: f.LastOwnerAt.UTC(),
		},
	}
}

// Unrouted is the conversation as rules are asked about it.
func (d Decision) Unrouted() (conversation.Unrouted, error) {
	u := conversation.Unrouted{
		Tenant: conversation.DefaultTenant, Channel: d.Channel, Flow: d.Flow, State: conversation.State(d.State),
		Facts: conversation.Facts{
			Now: d.At, Contact: conversation.Contact{JID: d.Facts.Contact.ID, Name: d.Facts.Contact.Name}, Texts: d.Facts.Texts, Kinds: d.Facts.Kinds,
			Waiting: d.Facts.Waiting, Since: orZero(d.Facts.Since), Before: d.Facts.Before, BeforeAt: orZero(d.Facts.BeforeAt), Stretches: d.Facts.Stretches,
			Attempts: d.Facts.Attempts, Labels: d.Facts.Labels,
			LastOwner: conversation.Nobody, LastOwnerAt: d.Facts.LastOwnerAt,
		},
	}
	if d.Facts.LastOwner == conversation.Nobody.String() {
		return u, nil
	}
	last, err := conversation.ParseOwner(d.Facts.LastOwner)
	if err != nil {
		return u, fmt.Errorf("entry %d of conversation %s: %w", d.Seq, d.Conversation, err)
	}
	u.Facts.LastOwner = last
	return u, nil
}

// within keeps as many bytes of texts as are asked for. One is cut where a character ends; those after it are empty, as each has its kind.
func within(texts []string, most int) []string {
	kept := make([]string, len(texts))
	for i, t := range texts {
		kept[i] = t[:min(len(t), most)]
		most -= len(kept[i])
		if len(kept[i]) < len(t) {
			kept[i] = strings.ToValidUTF8(kept[i], "")
		}
	}
	return kept
}

func orAbsent(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}
