package ingest

import (
	"strings"

	"plantao/runtime/conversation"
)

// Reasons of ignored events, as they stand in the inbox. The store replaces ReasonFromMe by own_echo when the id is one of
// a part we sent.
const (
	ReasonFromMe           = "from_me"
	ReasonGroup            = "group"
	ReasonStatusBroadcast  = "status_broadcast"
	ReasonBroadcast        = "broadcast"
	ReasonNewsletter       = "newsletter"
	ReasonUnsupportedChat  = "unsupported_chat"
	ReasonDebugTrigger     = "debug_trigger"
	ReasonProtocol         = "protocol"
	ReasonDeliveryStatus   = "delivery_status"
	ReasonConnection       = "connection"
	ReasonInstanceMismatch = "instance_mismatch"
)

// judge decides whether an agent will be shown the event. The order matters: a message of ours in a group is a group's.
func judge(e conversation.Event) (conversation.MessageState, string) {
	if reason := ignoredBecause(e); reason != "" {
		return conversation.Ignored, reason
	}
	return conversation.Pending, ""
}

func ignoredBecause(e conversation.Event) string {
	switch e.Kind {
	case conversation.KindUnknown:
		return e.Problem
	case conversation.KindStatus:
		return ReasonDeliveryStatus
	case conversation.KindConnection:
		return ReasonConnection
	}
	switch reason := chatReason(e.ChatJID); {
	case e.Instance != "" && e.Instance != e.Channel:
		return ReasonInstanceMismatch
	case reason != "":
		return reason
	case e.FromMe:
		return ReasonFromMe
	case e.Type == "protocol": // a revocation or an edit says nothing by itself
		return ReasonProtocol
	case e.Text == "requestPlaceholder", e.Text == "onDemandHistSync":
		// Debug triggers left in Evolution 2.3: it has acted on them already, no agent should.
		return ReasonDebugTrigger
	}
	return ""
}

// chatReason says why nobody answers in this kind of chat; empty for a person's.
func chatReason(jid string) string {
	user, server, found := strings.Cut(jid, "@")
	switch {
	case jid == "status@broadcast":
		return ReasonStatusBroadcast
	case !found && digits(user): // EVOLUTION channels name a chat by its bare number
		return ""
	case server == "s.whatsapp.net", server == "lid":
		return ""
	case server == "g.us":
		return ReasonGroup
	case server == "broadcast":
		return ReasonBroadcast
	case server == "newsletter":
		return ReasonNewsletter
	}
	return ReasonUnsupportedChat
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
