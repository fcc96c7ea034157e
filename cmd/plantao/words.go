package main

import (
	"strings"
	"time"
	"unicode"

	"plantao/cmd/plantao/text"
	"plantao/runtime/api"
	"plantao/runtime/conversation"
	"plantao/runtime/routing"
)

// conversationStates are the router's states in the catalogue.
var conversationStates = map[conversation.State]text.Key{
	conversation.Idle: text.ConversationIdle, conversation.Routing: text.ConversationRouting,
	conversation.AIActive: text.ConversationAI, conversation.Offered: text.ConversationOffered,
	conversation.HumanQueued: text.ConversationQueued, conversation.HumanActive: text.ConversationHuman,
	conversation.Suspended: text.ConversationSuspended, conversation.Closed: text.ConversationClosed,
}

// verbWords are the verbs of the audit as things done, in the catalogue.
var verbWords = map[conversation.Verb]text.Key{
	conversation.VerbClaim: text.VerbClaim, conversation.VerbPass: text.VerbPass, conversation.VerbOffer: text.VerbOffer,
	conversation.VerbAccept: text.VerbAccept, conversation.VerbDecline: text.VerbDecline, conversation.VerbExpire: text.VerbExpire,
	conversation.VerbRequest: text.VerbRequest, conversation.VerbTake: text.VerbTake, conversation.VerbRelease: text.VerbRelease,
	conversation.VerbHandback: text.VerbHandback, conversation.VerbHold: text.VerbHold, conversation.VerbResume: text.VerbResume,
	conversation.VerbClose: text.VerbClose, conversation.VerbReopen: text.VerbReopen, conversation.VerbQueue: text.VerbQueue,
	conversation.VerbInbound: text.VerbInbound, conversation.VerbRecover: text.VerbRecover, verbSettle: text.VerbSettle,
	conversation.VerbMerge: text.VerbMerge, conversation.VerbFollow: text.VerbFollow,
	conversation.VerbRedrive: text.VerbRedrive, conversation.VerbDrop: text.VerbDrop,
}

// verbSettle is how the audit names a human's word on an ambiguous part.
const verbSettle conversation.Verb = "settle"

// reasonWords are the reasons the router itself gives, in the catalogue. Any other is somebody's own words.
var reasonWords = map[string]text.Key{
	"message_waits": text.ReasonMessage, "channel_flow": text.ReasonChannel, "channel_has_no_flow": text.ReasonNoFlow,
	routing.ReasonUnreadable: text.ReasonUnreadable, conversation.ReasonAtCapacity: text.ReasonCapacity,
	"offer_not_answered": text.ReasonOffer, "request_not_answered": text.ReasonRequest, conversation.ReasonHandoverBudget: text.ReasonBudget,
	"human_silent": text.ReasonSilent, "commits_may_be_lost": text.ReasonLost,
	"dead_letter_redriven": text.ReasonRedriven,
	"outcome_unknown":      text.ReasonNoAnswer, "sender_lost": text.ReasonSender,
	conversation.ReasonDeadline: text.ReasonDeadline, conversation.ReasonFlowRefused: text.ReasonFlow,
	conversation.ReasonSendRefused: text.ReasonSend, conversation.ReasonAmbiguous: text.ReasonUnknown,
	"one_contact": text.ReasonContact, "late_messages": text.ReasonLate,
	conversation.HumanOnPhone: text.ReasonPhone, conversation.ForeignSender: text.ReasonForeign,
}

func (p *program) stateWord(state string) string {
	if key, ok := conversationStates[conversation.State(state)]; ok {
		return p.text.Say(key)
	}
	return printable(state)
}

func (p *program) verbWord(verb string) string {
	if key, ok := verbWords[conversation.Verb(verb)]; ok {
		return p.text.Say(key)
	}
	return printable(verb)
}

func (p *program) reasonWord(reason string) string {
	if key, ok := reasonWords[reason]; ok {
		return p.text.Say(key)
	}
	if rule, ok := strings.CutPrefix(reason, routing.ReasonRule); ok {
		return p.text.Say(text.ReasonRule, printable(rule))
	}
	return printable(reason)
}

// ownerWord is an agent as it is typed, kind:id; only nobody has a word of each language.
func (p *program) ownerWord(owner string) string {
	if owner == string(conversation.OwnedByNone) {
		return p.text.Say(text.OwnerNobody)
	}
	return printable(owner)
}

// duty is the sentence that says who is on duty.
func (p *program) duty(c api.Conversation) text.Message {
	kind, _, _ := strings.Cut(c.Owner, ":")
	switch conversation.OwnerKind(kind) {
	case conversation.OwnedByNone:
		return text.New(text.DutyNobody, c.ID, p.stateWord(c.State), c.Epoch)
	case conversation.OwnedByQueue:
		return text.New(text.DutyQueue, c.ID, printable(c.Owner), c.Epoch)
	}
	return text.New(text.DutyAgent, printable(c.Owner), c.ID, c.Epoch)
}

// at is an instant in this machine's time zone.
func at(t time.Time) string { return t.Local().Format(time.DateTime) }

// since is how long ago something was, never negative: the router's clock is not ours.
func (p *program) since(t time.Time) string { return span(max(0, p.now().Sub(t))) }

// printable drops what could steer a terminal: names and reasons are written by others, customers among them.
func printable(said string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsPrint(r):
			return r
		}
		return -1
	}, said)
}

// short cuts a text to so many characters.
func short(said string, most int) string {
	runes := []rune(said)
	if len(runes) <= most {
		return said
	}
	return string(runes[:most-1]) + "…"
}
