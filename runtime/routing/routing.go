// Package routing decides which agent answers a conversation that has no owner. Deciding reads nothing and changes
// nothing: facts in, decision out. The claim verb then records the decision with its reason and rule version.
package routing

import "plantao/runtime/conversation"

// Decision names the next owner and why.
type Decision struct {
	To          conversation.Owner
	Reason      string // short constant, recorded in the audit
	RuleVersion string
}

// Router decides. Implementations are pure: equal facts give equal decisions.
type Router interface {
	Decide(u conversation.Unrouted) Decision
}

// ChannelFlow gives every conversation to its channel's flow, and to the human queue if the channel has none.
type ChannelFlow struct{}

// Decide is pure.
func (ChannelFlow) Decide(u conversation.Unrouted) Decision {
	if u.Flow == "" {
		return Decision{
			To:          conversation.Owner{Kind: conversation.OwnedByQueue},
			Reason:      "channel_has_no_flow",
			RuleVersion: "channel-flow/1",
		}
	}
	return Decision{
		To:          conversation.Owner{Kind: conversation.OwnedByAI, ID: u.Flow},
		Reason:      "channel_flow",
		RuleVersion: "channel-flow/1",
	}
}
