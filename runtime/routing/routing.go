// Package routing decides which agent answers a conversation that has no owner: by the rules in force, or by the channel's flow
// where there are none. The claim verb then records the decision with its reason and rule version.
package routing

import (
	"strings"

	"plantao/runtime/conversation"
	"plantao/runtime/routing/rules"
)

// Decision names the next owner and why.
type Decision struct {
	To          conversation.Owner
	Reason      string // short constant, or rule:NAME; recorded in the audit
	RuleVersion string
	Say         string // what the customer is told; empty: nothing
	// Plan is what is tried from here on, beginning with To; nil: To has it, and that is all.
	Plan *conversation.Plan
	// Failed are rules that could not be told for these facts, and so did not hold.
	Failed []rules.Failure
	// Promises are those of the SLA that applies, where a conversation begins.
	Promises []conversation.Promise
}

// ReasonRule, with a rule's name behind it, is the reason of a decision made by a rule.
const ReasonRule = "rule:"

// ReasonUnreadable is the reason of a decision made without the rules in force, which this router cannot read.
const ReasonUnreadable = "rules_unreadable"

// byChannel gives a conversation to its channel's flow, and to the human queue if the channel has none.
func byChannel(u conversation.Unrouted) Decision {
	d := Decision{To: conversation.Owner{Kind: conversation.OwnedByAI, ID: u.Flow}, Reason: "channel_flow", RuleVersion: "channel-flow/1"}
	if u.Flow == "" {
		d.To, d.Reason = conversation.Owner{Kind: conversation.OwnedByQueue}, "channel_has_no_flow"
	}
	return d
}

// Decide is pure: equal facts and rules give equal decisions. Without rules (nil), and where none holds, the channel decides.
func Decide(u conversation.Unrouted, set *rules.Set) Decision {
	d := choose(u, set)
	if set != nil {
		promises, failed := promise(u, set)
		d.Promises, d.Failed = promises, append(d.Failed, failed...)
	}
	return d
}

// promise is what the customer is promised. Where an agent gave the conversation back, what was promised before still holds.
func promise(u conversation.Unrouted, set *rules.Set) (list []conversation.Promise, failed []rules.Failure) {
	if u.State == conversation.Routing || !set.Promises() {
		return nil, nil
	}
	p := set.Promise(Facts(u), u.Facts.Since)
	made := conversation.Promise{Name: p.SLA, Since: u.Facts.Since}
	if !p.FirstResponse.IsZero() {
		made.Kind, made.Due = conversation.FirstResponse, p.FirstResponse
		list = append(list, made)
	}
	if !p.Resolution.IsZero() {
		made.Kind, made.Due = conversation.Resolution, p.Resolution
		list = append(list, made)
	}
	return list, p.Failed
}

// choose says who gets the conversation.
func choose(u conversation.Unrouted, set *rules.Set) Decision {
	channel := byChannel(u)
	if set == nil {
		return channel
	}
	found := set.Decide(Facts(u))
	if found.Rule == "" {
		channel.RuleVersion, channel.Failed = found.Version, found.Failed
		return channel
	}
	plan := planOf(found, set)
	plan.Since = u.Facts.Now
	first := plan.Target()
	d := Decision{To: first.Owner(), Reason: ReasonRule + found.Rule, RuleVersion: found.Version, Say: first.Say, Failed: found.Failed}
	if first.Kind == conversation.TargetTeam || first.Kind == conversation.TargetLast || !plan.Last() || first.Attempts > 1 {
		plan.Wait = waitIn(first)
		d.Plan = &plan
	}
	return d
}

// Facts are a conversation as rules see it.
func Facts(u conversation.Unrouted) rules.Facts {
	f := rules.Facts{
		Now: u.Facts.Now, Channel: u.Channel,
		Contact:  rules.Contact{Name: u.Facts.Contact.Name, Phone: phone(u.Facts.Contact.JID)},
		Message:  rules.Message{Text: strings.Join(u.Facts.Texts, "\n"), Kinds: u.Facts.Kinds, Count: u.Facts.Waiting},
		History:  rules.History{Messages: int(u.Facts.Before), Stretches: u.Facts.Stretches},
		Last:     rules.Last{Kind: string(u.Facts.LastOwner.Kind), ID: u.Facts.LastOwner.ID},
		Attempts: u.Facts.Attempts, Labels: u.Facts.Labels,
		Cause: "message",
	}
	if u.State == conversation.Routing {
		f.Cause = "released"
	}
	if !u.Facts.BeforeAt.IsZero() {
		f.History.Since = f.Now.Sub(u.Facts.BeforeAt)
	}
	if f.Last.Kind != string(conversation.OwnedByNone) {
		f.Last.Since = f.Now.Sub(u.Facts.LastOwnerAt)
	}
	return f
}

// phone is the number of a contact whose id is one. A hidden one (@lid) has none.
func phone(jid string) string {
	number, ok := strings.CutSuffix(jid, "@s.whatsapp.net")
	if !ok {
		return ""
	}
	return number
}
