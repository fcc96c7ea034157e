package conversation

import "time"

// Why what was written on the channel's own side is nobody's to answer: who wrote it, as it stands in the inbox.
const (
	OwnEcho       = "own_echo"              // a part of ours
	HumanOnPhone  = "human_on_phone"        // on the phone, or a device linked to it
	HumanBefore   = "human_on_phone_before" // as above, but so long ago that it would be over by now
	AutoGreeting  = "auto_greeting"         // by WhatsApp Business itself
	ForeignSender = "foreign_sender"        // another client of Evolution's API
	ForeignNoTalk = "foreign_sender_alone"  // as above, to somebody who has no conversation
	PhoneAgent    = "phone"                 // the human whoever writes on the phone counts as
)

// OwnMessage is something written on the channel's own side, and what is known about it.
type OwnMessage struct {
	ID           int64
	Tenant       string
	Channel      string
	Kind         EventKind
	Type         string
	Text         string
	Conversation ID        // the one that goes on for it; zero: there is none
	SentAt       time.Time // WhatsApp's clock
	ReceivedAt   time.Time // database clock
	Age          time.Duration

	// Ours: a part of ours has its id, or says the same and has none, because a human settled it.
	Ours bool
	// Flying: when it came, a part was on its way out that it may be, and still is or nobody knows what became of it.
	Flying bool
	// Resembles: such a part says the same and is ambiguous. Until that is settled the AI is silent anyway.
	Resembles bool
	// Begins: the contact has not written yet, or not since the conversation was closed, and nobody is on duty.
	Begins bool
	// Since the contact began to write, by WhatsApp's clock; nil: they have not.
	Since *time.Duration
}
