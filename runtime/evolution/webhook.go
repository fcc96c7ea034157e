// Package evolution speaks to Evolution API 2.3: decoding its webhooks, sending through it and setting its instances up.
package evolution

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"plantao/runtime/conversation"
)

// Bounds of what is used as a key. Longer ids are no ids of WhatsApp's, and no index row could hold them.
const (
	maxIDBytes   = 256
	maxNameRunes = 256
	// maxWrappers is how deep a message may be wrapped (ephemeral in view-once in …) before it counts as unknown.
	maxWrappers = 8
)

type envelope struct {
	Event    *string         `json:"event"`
	Instance string          `json:"instance"`
	Data     json.RawMessage `json:"data"`
}

type messageKey struct {
	RemoteJID    string `json:"remoteJid"`
	RemoteJIDAlt string `json:"remoteJidAlt"`
	FromMe       bool   `json:"fromMe"`
	ID           string `json:"id"`
}

type upsert struct {
	Key              messageKey                 `json:"key"`
	PushName         string                     `json:"pushName"`
	Message          map[string]json.RawMessage `json:"message"`
	MessageTimestamp json.RawMessage            `json:"messageTimestamp"`
}

type update struct {
	KeyID     string `json:"keyId"`
	RemoteJID string `json:"remoteJid"`
	Status    string `json:"status"`
}

// Decode reads one webhook. The error is conversation.ErrMalformed if the body is not JSON or no event is named; events
// nobody knows and known ones with unusable data come back as KindUnknown with a Problem.
func Decode(body []byte) (conversation.Event, error) {
	var env envelope
	if !utf8.Valid(body) {
		return conversation.Event{}, fmt.Errorf("read webhook: body is not UTF-8: %w", conversation.ErrMalformed)
	}
	if err := json.Unmarshal(body, &env); err != nil {
		return conversation.Event{}, fmt.Errorf("read webhook: %w: %w", err, conversation.ErrMalformed)
	}
	if env.Event == nil || *env.Event == "" {
		return conversation.Event{}, fmt.Errorf("read webhook: no event is named: %w", conversation.ErrMalformed)
	}
	e := conversation.Event{Instance: clean(env.Instance), Body: body}
	var problem string
	// Subscriptions are written MESSAGES_UPSERT, events messages.upsert; both mean the same.
	switch strings.ReplaceAll(strings.ToLower(*env.Event), "_", ".") {
	case "messages.upsert":
		e.Kind = conversation.KindMessage
		problem = message(&e, env.Data)
	case "send.message":
		e.Kind = conversation.KindSent
		problem = message(&e, env.Data)
	case "messages.update":
		e.Kind = conversation.KindStatus
		problem = status(&e, env.Data)
	case "connection.update":
		e.Kind = conversation.KindConnection
		e.WAID = bodyHash(body)
	default:
		problem = "unknown_event"
	}
	if problem != "" {
		return conversation.Event{
			Kind: conversation.KindUnknown, WAID: bodyHash(body), Instance: e.Instance, Body: body, Problem: problem,
		}, nil
	}
	return e, nil
}

// message fills in a messages.upsert or send.message and returns what makes it unusable, if anything.
func message(e *conversation.Event, data json.RawMessage) string {
	var u upsert
	if err := json.Unmarshal(data, &u); err != nil {
		return "unreadable_data"
	}
	if !usableID(u.Key.ID) || !usableID(u.Key.RemoteJID) || len(u.Key.RemoteJIDAlt) > maxIDBytes {
		return "unusable_key"
	}
	e.WAID, e.ChatJID, e.AltJID = clean(u.Key.ID), clean(u.Key.RemoteJID), clean(u.Key.RemoteJIDAlt)
	e.FromMe = u.Key.FromMe || e.Kind == conversation.KindSent
	if !e.FromMe { // on own messages it is our name, or "Você"
		e.ContactName = firstRunes(clean(u.PushName), maxNameRunes)
	}
	e.SentAt = timestamp(u.MessageTimestamp)
	e.Type, e.Text = content(u.Message, 0)
	return ""
}

// status fills in a messages.update. Its key is the message and the status: each status of a message is one event.
func status(e *conversation.Event, data json.RawMessage) string {
	var u update
	if err := json.Unmarshal(data, &u); err != nil {
		return "unreadable_data"
	}
	if !usableID(u.KeyID) || len(u.Status) > maxIDBytes || len(u.RemoteJID) > maxIDBytes {
		return "unusable_key"
	}
	e.WAID, e.ChatJID = clean(u.KeyID)+"/"+clean(u.Status), clean(u.RemoteJID)
	return ""
}

// contentTypes are the router's words for WhatsApp's content fields, in the order they are looked for: a message has one
// of them, and side fields (messageContextInfo, senderKeyDistributionMessage) count for nothing.
var contentTypes = []struct{ field, name string }{
	{"imageMessage", "image"},
	{"videoMessage", "video"},
	{"ptvMessage", "video"},
	{"audioMessage", "audio"},
	{"documentMessage", "document"},
	{"stickerMessage", "sticker"},
	{"locationMessage", "location"},
	{"liveLocationMessage", "location"},
	{"contactMessage", "contact"},
	{"contactsArrayMessage", "contact"},
	{"reactionMessage", "reaction"},
	{"pollCreationMessageV3", "poll"},
	{"pollCreationMessage", "poll"},
	{"pollUpdateMessage", "poll_vote"},
	{"listResponseMessage", "choice"},
	{"buttonsResponseMessage", "choice"},
	{"templateButtonReplyMessage", "choice"},
	{"interactiveResponseMessage", "choice"},
	{"protocolMessage", "protocol"},
}

var wrappers = []string{
	"ephemeralMessage", "viewOnceMessage", "viewOnceMessageV2", "viewOnceMessageV2Extension", "documentWithCaptionMessage",
}

// content names the type of a message and, for text, its text.
func content(m map[string]json.RawMessage, depth int) (kind, text string) {
	if raw, ok := m["conversation"]; ok && json.Unmarshal(raw, &text) == nil {
		return "text", clean(text)
	}
	if raw, ok := m["extendedTextMessage"]; ok {
		var x struct {
			Text string `json:"text"`
		}
		if json.Unmarshal(raw, &x) == nil {
			return "text", clean(x.Text)
		}
	}
	for _, w := range wrappers {
		var inner struct {
			Message map[string]json.RawMessage `json:"message"`
		}
		if raw, ok := m[w]; ok && depth < maxWrappers && json.Unmarshal(raw, &inner) == nil {
			return content(inner.Message, depth+1)
		}
	}
	for _, t := range contentTypes {
		if raw, ok := m[t.field]; ok && string(raw) != "null" {
			return t.name, ""
		}
	}
	return "unknown", ""
}

// timestamp reads seconds since 1970, written as a number or as a string. Zero if it is neither or out of any sense.
func timestamp(raw json.RawMessage) time.Time {
	seconds, err := strconv.ParseInt(strings.Trim(string(raw), `"`), 10, 64)
	if err != nil || seconds <= 0 || seconds > 1<<33 { // year 2242
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}

func usableID(s string) bool { return s != "" && len(s) <= maxIDBytes && clean(s) != "" }

// clean drops NUL characters, which PostgreSQL's text cannot hold.
func clean(s string) string { return strings.ReplaceAll(s, "\x00", "") }

func firstRunes(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}

func bodyHash(body []byte) string {
	sum := sha256.Sum256(body)
	return "sha256:" + hex.EncodeToString(sum[:])
}
