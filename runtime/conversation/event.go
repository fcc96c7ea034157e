package conversation

import "time"

// EventKind is what a webhook reports. Together with the channel and the natural key it identifies an inbox row.
type EventKind string

// The kinds of event.
const (
	KindMessage    EventKind = "message"    // messages.upsert
	KindSent       EventKind = "sent"       // send.message: something went out through Evolution's API
	KindStatus     EventKind = "status"     // messages.update: delivery, read, …
	KindConnection EventKind = "connection" // connection.update
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
	FromMe      bool
	ContactName string
	Type        string    // text, image, audio, …; empty for events that are no message
	Text        string    // only for type text
	SentAt      time.Time // WhatsApp's clock, for sorting only; zero when absent
	Problem     string    // why the data could not be used, when Kind is unknown
	Body        []byte    // the request body as received: valid JSON

	State  MessageState // set by ingest's rules
	Reason string       // why it is ignored; empty when pending
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
}
