package conversation

import (
	"strings"
	"time"
)

// Part is one message of a reply.
type Part struct {
	Text string // with an attachment: its caption
	// Media is what is attached; nil if nothing is.
	Media *PartMedia
	// Content is to be attached and is not kept yet: PutMedia, then Media. The store takes no part that has it.
	Content *Content
	// Delay is how long to wait before it, as if it were typed. The gate is asked afterwards.
	Delay time.Duration
}

// MaxPartDelay bounds Part.Delay.
const MaxPartDelay = 30 * time.Second

// QueuedPart is a part that has not been sent. No counts from 1 in the order of sending.
type QueuedPart struct {
	No    int
	Text  string
	Media *PartMedia
	// MediaBytes is how large the attachment is.
	MediaBytes int64
	Delay      time.Duration
}

// PartMedia is what is attached to a part: content the store has.
type PartMedia struct {
	ID   int64     `json:"id"`
	Kind MediaKind `json:"kind"`
}

// MediaKind says how WhatsApp shows an attachment.
type MediaKind string

// The kinds of attachment.
const (
	MediaImage    MediaKind = "image"
	MediaVideo    MediaKind = "video"
	MediaAudio    MediaKind = "audio" // a voice note
	MediaDocument MediaKind = "document"
)

// MediaKindOf is how an attachment of this MIME type is shown, unless its sender says otherwise.
func MediaKindOf(mimetype string) MediaKind {
	family, _, _ := strings.Cut(mimetype, "/")
	switch kind := MediaKind(strings.ToLower(family)); kind {
	case MediaImage, MediaVideo, MediaAudio:
		return kind
	}
	return MediaDocument
}

// MaxContentBytes bounds what one answer may attach, all parts together.
const MaxContentBytes = 5 << 20

// Content is an attachment's content.
type Content struct {
	ID int64
	// Conversation it belongs to; set by Media.
	Conversation ID
	// Kind is how it shall be shown; set where it is not kept yet.
	Kind     MediaKind
	Mimetype string
	FileName string // may be empty
	Bytes    []byte
}

// Said is what a human, or the router itself, says to the customer.
type Said struct {
	Tenant       string
	Conversation ID
	Kind         TurnKind // SaidByHuman or SaidByRouter
	By           string   // agent, for the record
	// Source is what it was made from: of two with one source the second is not said. Empty: there is no such thing.
	Source string
	// IfEpoch: what the router says is said in this epoch or not at all. What a human wrote is said in any.
	IfEpoch int64
	Parts   []Part
	Within  time.Duration // how long it is tried
}

// PartRef names one part of one holding of a turn.
type PartRef struct {
	TurnRef
	Part int
	// Attempt grows with each try of one sender, so that the undoing of one, when it commits late, does not undo the next.
	Attempt int
}

// AmbiguousPart is a part whose fate is unknown and whose sender certainly writes no more.
type AmbiguousPart struct {
	Tenant       string
	Conversation ID
	No           int
	Part         int
	Channel      string
	ChatJID      string
	Text         string
	Media        *PartMedia
	IntentAt     time.Time     // database clock: when the gate let it pass
	Age          time.Duration // since IntentAt, by the database clock
	Epoch        int64         // of the conversation now; set where the list says so
}

// Is says whether what went out can be this part: of its kind, with its words.
func (p AmbiguousPart) Is(d Delivery) bool {
	kind := "text"
	if p.Media != nil {
		kind = string(p.Media.Kind)
	}
	return d.Type == kind && d.Text == p.Text
}

// Delivery is what Evolution knows about a message that went out.
type Delivery struct {
	MessageID string
	ChatJID   string // can differ from the number sent to: WhatsApp decides
	// Type and Text are set by read-back only: text, image, audio, …, and what is written.
	Type, Text string
	SentAt     time.Time
}
