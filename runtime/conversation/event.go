package conversation

import "time"

// EventKind is what a webhook reports. Together with the channel and the natural key it identifies an inbox row.
type EventKind string

// The kinds of event.
const (
	KindMessage    EventKind = "message"    // messages.upsert
	KindSent       EventKind = "sent"       // send.message: something went out through Evolution's API
	KindEdit       EventKind = "edit"       // messages.edited: Text is what Ref says now
	KindRevoke     EventKind = "revoke"     // messages.delete, messages.edited: Ref was taken back
	KindStatus     EventKind = "status"     // messages.update: delivery, read, …; Text is the status of Ref
	KindConnection EventKind = "connection" // connection.update
	KindPresence   EventKind = "presence"   // presence.update: Type says what the contact does; it moves a window and is not stored
	KindChannel    EventKind = "channel"    // what else happens to a channel: pairing code, log-out, restart, removal
	KindChatwoot   EventKind = "chatwoot"   // an event of Chatwoot's; keyed by its delivery id
	KindUnknown    EventKind = "unknown"    // anything else, also known names with unusable data; keyed by body hash
)

// MessageState is the state of an inbox row.
type MessageState string

// The states an event can be stored in; the later ones are the dispatcher's.
const (
	Pending MessageState = "pending"
	Ignored MessageState = "ignored"
)

// Event is one webhook, decoded into the router's words.
type Event struct {
	Tenant  string
	Channel string
	Kind    EventKind
	// WAID is the natural key: WhatsApp's message id, for a status id and status, else "sha256:" and the body's hash.
	WAID        string
	Instance    string // as the envelope names it; may be empty
	ChatJID     string // empty when the event belongs to no chat
	AltJID      string // the chat's other id, if WhatsApp sent it
	FormJID     string // another way to write either: Brazilian numbers are known with and without their ninth digit
	FromMe      bool
	ContactName string
	Type        string    // text, image, audio, …; empty for events that are no message
	Text        string    // what is written: the text, an attachment's caption, the choice made, the reaction
	Ref         string    // WhatsApp's id of the message it is about: answered, edited, taken back, reacted to; empty if none
	Media       *Media    // what is attached; nil if nothing is
	SentAt      time.Time // WhatsApp's clock, for sorting only; zero when absent
	Problem     string    // why the data could not be used, when Kind is unknown
	Body        []byte    // the request body as received: valid JSON

	State  MessageState // set by ingest's rules
	Reason string       // why it is ignored; empty when pending
	// Begins: the chat's conversation begins with it, if it is unknown. Set by ingest's rules.
	Begins bool
	Mirror bool // the channel's conversations are shown in Chatwoot
}

// Media is what WhatsApp says of an attachment. Its content is fetched later.
type Media struct {
	Mimetype string `json:"mimetype,omitempty"`
	FileName string `json:"file_name,omitempty"`
	Bytes    int64  `json:"bytes,omitempty"`
	Seconds  int    `json:"seconds,omitempty"`
	Voice    bool   `json:"voice,omitempty"` // a voice note
	// Inline says that the event's body holds the content, URL that it is to be had there.
	Inline bool   `json:"inline,omitempty"`
	URL    string `json:"url,omitempty"`
}

// Typing is a contact seen typing, or having stopped.
type Typing struct {
	Tenant, Channel  string
	ChatJID, FormJID string
	Now              bool // they are at it
}

// Receipt says what became of a webhook.
type Receipt struct {
	Duplicate    bool
	State        MessageState // zero for a duplicate
	Reason       string
	Conversation ID // zero when the event belongs to none
}

// Message is what an agent is shown of an inbox row.
type Message struct {
	ID   string    `json:"id"`
	TS   time.Time `json:"ts"`
	Type string    `json:"type"`
	Text string    `json:"text"`
	Ref  string    `json:"ref,omitempty"` // the message it answers, corrects or reacts to
	// Media is what is attached; nil if nothing is.
	Media *MessageMedia `json:"media,omitempty"`
}

// MessageMedia is an attachment as an agent is shown it.
type MessageMedia struct {
	Media
	State MediaState `json:"state"`
	// ID names the content for the API; zero while it is not there.
	ID int64 `json:"id,omitempty"`
}

// MediaState says whether an attachment's content is there.
type MediaState string

// The states of an attachment. Failed: it could not be fetched, and is given up.
const (
	MediaWanted MediaState = "wanted"
	MediaReady  MediaState = "ready"
	MediaFailed MediaState = "failed"
)
