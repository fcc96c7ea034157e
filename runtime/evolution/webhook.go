// Package evolution speaks to Evolution API 2.3: decoding its webhooks, sending through it and setting its instances up.
package evolution

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"plantao/runtime/conversation"
)

// Bounds of what is used as a key. Longer ids are no ids of WhatsApp's, and no index row could hold them.
const (
	maxIDBytes   = 256
	maxNameRunes = 256
)

// Problems of events that are stored as unknown.
const (
	problemUnknown    = "unknown_event"
	problemUnused     = "unused_event" // known, and nothing the router acts on
	problemHistory    = "history_sync" // what it holds, the sweep asks for
	problemUnreadable = "unreadable_data"
	problemKey        = "unusable_key"
	problemProtocol   = "protocol" // WhatsApp's housekeeping
)

// reader reads an event's data into e, whose Kind is set, and returns what makes it unusable, if anything.
type reader func(e *conversation.Event, data jsontext.Value) string

// events are the events of Evolution 2.3.7 by the names they are sent under. A name that is not here is unknown.
var events = map[string]struct {
	kind conversation.EventKind
	read reader
}{
	"messages.upsert":   {conversation.KindMessage, message},
	"send.message":      {conversation.KindSent, message},
	"messages.edited":   {conversation.KindEdit, edit},
	"messages.delete":   {conversation.KindRevoke, revoke},
	"messages.update":   {conversation.KindStatus, status},
	"presence.update":   {conversation.KindPresence, presence},
	"connection.update": {conversation.KindConnection, connection},

	"application.startup": {conversation.KindChannel, happened},
	"qrcode.updated":      {conversation.KindChannel, happened},
	"status.instance":     {conversation.KindChannel, happened},
	"instance.create":     {conversation.KindChannel, happened},
	"instance.delete":     {conversation.KindChannel, happened},
	"logout.instance":     {conversation.KindChannel, happened},
	"remove.instance":     {conversation.KindChannel, happened},

	"messages.set":              {conversation.KindUnknown, unused(problemHistory)},
	"send.message.update":       {conversation.KindUnknown, unused(problemUnused)},
	"contacts.set":              {conversation.KindUnknown, unused(problemUnused)},
	"contacts.upsert":           {conversation.KindUnknown, unused(problemUnused)},
	"contacts.update":           {conversation.KindUnknown, unused(problemUnused)},
	"chats.set":                 {conversation.KindUnknown, unused(problemUnused)},
	"chats.upsert":              {conversation.KindUnknown, unused(problemUnused)},
	"chats.update":              {conversation.KindUnknown, unused(problemUnused)},
	"chats.delete":              {conversation.KindUnknown, unused(problemUnused)},
	"groups.upsert":             {conversation.KindUnknown, unused(problemUnused)},
	"groups.update":             {conversation.KindUnknown, unused(problemUnused)},
	"group.update":              {conversation.KindUnknown, unused(problemUnused)},
	"group.participants.update": {conversation.KindUnknown, unused(problemUnused)},
	"labels.edit":               {conversation.KindUnknown, unused(problemUnused)},
	"labels.association":        {conversation.KindUnknown, unused(problemUnused)},
	"call":                      {conversation.KindUnknown, unused(problemUnused)},
	"typebot.start":             {conversation.KindUnknown, unused(problemUnused)},
	"typebot.change.status":     {conversation.KindUnknown, unused(problemUnused)},
}

type envelope struct {
	Event    *string        `json:"event"`
	Instance string         `json:"instance"`
	Data     jsontext.Value `json:"data"`
}

type messageKey struct {
	RemoteJID    string `json:"remoteJid"`
	RemoteJIDAlt string `json:"remoteJidAlt"`
	FromMe       bool   `json:"fromMe"`
	ID           string `json:"id"`
}

func (k messageKey) usable() bool {
	return usableID(k.ID) && usableID(k.RemoteJID) && len(k.RemoteJIDAlt) <= maxIDBytes
}

// place fills in which chat the event belongs to.
func (k messageKey) place(e *conversation.Event) {
	e.ChatJID, e.AltJID = clean(k.RemoteJID), clean(k.RemoteJIDAlt)
	e.FormJID = otherForm(e.ChatJID)
	if e.FormJID == "" {
		e.FormJID = otherForm(e.AltJID)
	}
}

type upsert struct {
	Key              messageKey                `json:"key"`
	PushName         string                    `json:"pushName"`
	Message          map[string]jsontext.Value `json:"message"`
	MessageTimestamp jsontext.Value            `json:"messageTimestamp"`
	ContextInfo      contextInfo               `json:"contextInfo"`
	MessageType      string                    `json:"messageType"`
	Source           string                    `json:"source"`
	PollUpdates      jsontext.Value            `json:"pollUpdates"` // a poll's options with who chose them, as Evolution decrypted it
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
	// Subscriptions are written MESSAGES_UPSERT, events messages.upsert; both mean the same.
	name := strings.ReplaceAll(strings.ToLower(*env.Event), "_", ".")
	how, known := events[name]
	if !known {
		how.kind, how.read = conversation.KindUnknown, unused(problemUnknown)
	}
	e := conversation.Event{Kind: how.kind, Instance: clean(env.Instance), Type: name, Body: body}
	problem := how.read(&e, env.Data)
	if problem != "" {
		e = conversation.Event{Kind: conversation.KindUnknown, Instance: e.Instance, Body: body, Problem: problem}
	}
	if e.WAID == "" {
		e.WAID = bodyHash(body)
	}
	return e, nil
}

func unused(problem string) reader {
	return func(*conversation.Event, jsontext.Value) string { return problem }
}

// message fills in a messages.upsert or send.message.
func message(e *conversation.Event, data jsontext.Value) string {
	var u upsert
	if err := json.Unmarshal(data, &u); err != nil {
		return problemUnreadable
	}
	if !u.Key.usable() {
		return problemKey
	}
	e.WAID = clean(u.Key.ID)
	u.Key.place(e)
	e.FromMe = u.Key.FromMe || e.Kind == conversation.KindSent
	if !e.FromMe { // on own messages it is our name, or "Você"
		e.ContactName = firstRunes(clean(u.PushName), maxNameRunes)
	}
	e.SentAt = timestamp(u.MessageTimestamp)
	c := readTyped(u.Message, u.MessageType)
	e.Type, e.Text, e.Ref, e.Media = c.kind, c.text, c.ref, c.media
	if e.Ref == "" {
		e.Ref = u.ContextInfo.ref()
	}
	if e.Type == "poll_vote" && e.Text == "" {
		e.Text = chosen(u.PollUpdates)
	}
	return ""
}

// protocolMessage is what a messages.edited holds: an edit, a revocation, or one of WhatsApp's many other affairs.
type protocolMessage struct {
	Key         messageKey                `json:"key"`
	Type        jsontext.Value            `json:"type"`
	Edited      map[string]jsontext.Value `json:"editedMessage"`
	TimestampMS jsontext.Value            `json:"timestampMs"`
}

func edit(e *conversation.Event, data jsontext.Value) string {
	var p protocolMessage
	if err := json.Unmarshal(data, &p); err != nil {
		return problemUnreadable
	}
	kind := strings.Trim(string(p.Type), `"`)
	switch {
	case len(p.Edited) == 0 && (kind == "0" || kind == "REVOKE"):
		e.Kind = conversation.KindRevoke
	case len(p.Edited) == 0:
		return problemProtocol
	}
	if !p.Key.usable() {
		return problemKey
	}
	p.Key.place(e)
	e.Ref, e.FromMe = clean(p.Key.ID), p.Key.FromMe
	if e.Kind == conversation.KindRevoke {
		e.WAID, e.Type = e.Ref, "revoke"
		return ""
	}
	stamp := strings.Trim(string(p.TimestampMS), `"`)
	e.SentAt = timestamp(p.TimestampMS)
	if len(stamp) > 20 || stamp == "" || stamp == "null" {
		stamp = bodyHash(data)
	}
	// A message can be edited again: each edit is an event of its own.
	e.WAID, e.Type = e.Ref+"/"+clean(stamp), "edit"
	e.Text = read(p.Edited).text
	return ""
}

func revoke(e *conversation.Event, data jsontext.Value) string {
	var key messageKey // flattened into the data
	if err := json.Unmarshal(data, &key); err != nil {
		return problemUnreadable
	}
	if !key.usable() {
		return problemKey
	}
	key.place(e)
	e.WAID, e.Ref, e.FromMe, e.Type = clean(key.ID), clean(key.ID), key.FromMe, "revoke"
	return ""
}

// status fills in a messages.update. Its key is the message and the status: each status of a message is one event.
func status(e *conversation.Event, data jsontext.Value) string {
	var u struct {
		KeyID     string `json:"keyId"`
		RemoteJID string `json:"remoteJid"`
		Status    string `json:"status"`
	}
	if err := json.Unmarshal(data, &u); err != nil {
		return problemUnreadable
	}
	if !usableID(u.KeyID) || len(u.Status) > maxIDBytes || len(u.RemoteJID) > maxIDBytes {
		return problemKey
	}
	e.Type = ""
	e.Ref, e.Text, e.ChatJID = clean(u.KeyID), clean(u.Status), clean(u.RemoteJID)
	e.WAID = e.Ref + "/" + e.Text
	return ""
}

func presence(e *conversation.Event, data jsontext.Value) string {
	var p struct {
		ID        string `json:"id"`
		Presences map[string]struct {
			Last string `json:"lastKnownPresence"`
		} `json:"presences"`
	}
	if err := json.Unmarshal(data, &p); err != nil {
		return problemUnreadable
	}
	if !usableID(p.ID) {
		return problemKey
	}
	e.ChatJID, e.FormJID, e.Type = clean(p.ID), otherForm(clean(p.ID)), ""
	for _, of := range p.Presences { // one, in a person's chat
		e.Type = of.Last
	}
	return ""
}

func connection(e *conversation.Event, data jsontext.Value) string {
	var c struct {
		State  string         `json:"state"`
		Reason jsontext.Value `json:"statusReason"`
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return problemUnreadable
	}
	if len(c.State) > maxIDBytes || len(c.Reason) > maxIDBytes {
		return problemKey
	}
	e.Type, e.Text, e.Ref = clean(c.State), strings.Trim(clean(string(c.Reason)), `"`), ""
	return ""
}

// happened is an event of a channel's of which the name says all.
func happened(*conversation.Event, jsontext.Value) string { return "" }

// timestamp reads seconds or milliseconds since 1970, written as a number or as a string. Zero if it is neither or out of any
// sense.
func timestamp(raw jsontext.Value) time.Time {
	n, err := strconv.ParseInt(strings.Trim(string(raw), `"`), 10, 64)
	const year2242 = 1 << 33
	switch {
	case err != nil || n <= 0:
		return time.Time{}
	case n <= year2242:
		return time.Unix(n, 0).UTC()
	case n <= year2242*1000:
		return time.UnixMilli(n).UTC()
	}
	return time.Time{}
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
