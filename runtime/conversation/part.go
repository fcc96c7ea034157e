package conversation

import "time"

// Part is one message of a reply.
type Part struct {
	Text string
	// Delay is how long to wait before it, as if it were typed. The gate is asked afterwards.
	Delay time.Duration
}

// MaxPartDelay bounds Part.Delay.
const MaxPartDelay = 30 * time.Second

// QueuedPart is a part that has not been sent. No counts from 1 in the order of sending.
type QueuedPart struct {
	No    int
	Text  string
	Delay time.Duration
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
	IntentAt     time.Time     // database clock: when the gate let it pass
	Age          time.Duration // since IntentAt, by the database clock
	Epoch        int64         // of the conversation now; set where the list says so
}

// Delivery is what Evolution knows about a message that went out.
type Delivery struct {
	MessageID string
	ChatJID   string // can differ from the number sent to: WhatsApp decides
	Text      string // set by read-back only
	SentAt    time.Time
}
