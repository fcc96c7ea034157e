package ingest

import (
	"strings"

	"plantao/runtime/conversation"
)

// Reasons of ignored events, as they stand in the inbox. The store replaces ReasonFromMe by own_echo when the id is one of
// a part we sent; who else wrote it is found out later.
const (
	ReasonFromMe           = "from_me"
	ReasonGroup            = "group"
	ReasonStatusBroadcast  = "status_broadcast"
	ReasonBroadcast        = "broadcast"
	ReasonNewsletter       = "newsletter"
	ReasonUnsupportedChat  = "unsupported_chat"
	ReasonDebugTrigger     = "debug_trigger"
	ReasonProtocol         = "protocol"
	ReasonRevoked          = "revoked"
	ReasonOwnEdit          = "from_me_edit"
	ReasonChannel          = "channel"
	ReasonPresence         = "presence"
	ReasonDeliveryStatus   = "delivery_status"
	ReasonConnection       = "connection"
	ReasonInstanceMismatch = "instance_mismatch"
)

// judge decides whether an agent will be shown the event, and whether a conversation may begin with it. The order matters: a message
// of ours in a group is a group's.
func judge(e *conversation.Event) {
	e.State, e.Reason = conversation.Pending, ignoredBecause(*e)
	if e.Reason != "" {
		e.State = conversation.Ignored
	}
	// What the phone writes to somebody new is a conversation too. What goes out through the API is known by its id.
	e.Begins = e.Reason == "" || e.Reason == ReasonFromMe && e.Kind == conversation.KindMessage
	if !e.Begins {
		e.Media = nil // nobody will look at it
	}
}

func ignoredBecause(e conversation.Event) string {
	switch e.Kind {
	case conversation.KindUnknown:
		return e.Problem
	case conversation.KindStatus:
		return ReasonDeliveryStatus
	case conversation.KindConnection:
		return ReasonConnection
	case conversation.KindChannel:
		return ReasonChannel
	}
	switch reason := chatReason(e.ChatJID); {
	case e.Instance != "" && e.Instance != e.Channel:
		return ReasonInstanceMismatch
	case reason != "":
		return reason
	case e.Kind == conversation.KindRevoke: // undoes what it can, and says nothing by itself
		return ReasonRevoked
	case e.FromMe && e.Kind == conversation.KindEdit:
		return ReasonOwnEdit
	case e.Type == "protocol": // a revocation or an edit says nothing by itself, whoever made it
		return ReasonProtocol
	case e.FromMe:
		return ReasonFromMe
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

// connectionIn is what an event says of its channel's connection.
func connectionIn(e conversation.Event) (c conversation.Connection, ok bool) {
	if e.Instance != "" && e.Instance != e.Channel {
		return c, false
	}
	switch e.Kind {
	case conversation.KindConnection:
		c = conversation.Connection{State: conversation.ConnectionState(e.Type), Reason: e.Text}
	case conversation.KindChannel:
		switch e.Type {
		case "status.instance", "logout.instance", "remove.instance", "instance.delete":
			c = conversation.Connection{State: conversation.ConnectionClosed}
		}
	}
	switch c.State {
	case conversation.ConnectionOpen, conversation.ConnectionConnecting, conversation.ConnectionClosed, conversation.ConnectionRefused:
		return c, true
	}
	return c, false
}
