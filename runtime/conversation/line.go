package conversation

import (
	"context"
	"time"
)

// ConnectionState says how a channel stands with WhatsApp, in Evolution's words.
type ConnectionState string

// The states. Refused: WhatsApp showed as many codes as it may and nobody scanned one.
const (
	ConnectionUnknown    ConnectionState = "unknown"
	ConnectionOpen       ConnectionState = "open"
	ConnectionConnecting ConnectionState = "connecting"
	ConnectionClosed     ConnectionState = "close"
	ConnectionRefused    ConnectionState = "refused"
)

// ReasonNoInstance is the reason of a closed connection whose instance does not exist.
const ReasonNoInstance = "no_such_instance"

// Connection is how a channel stood when it was looked at.
type Connection struct {
	State  ConnectionState
	Reason string // WhatsApp's number for it, or a word of ours; may be empty
}

// Line is a channel and its connection.
type Line struct {
	Channel
	Integration string // EVOLUTION or WHATSAPP-BAILEYS
	Number      string // may be empty
	Connection
	Since   time.Time // when it changed last; zero if it never did
	SweptTo time.Time // up to when nothing is missing
}

// Sweep is a look for messages whose webhooks were lost, in the hands of this process.
type Sweep struct {
	Channel
	From time.Time     // WhatsApp's time up to which nothing is missing
	Now  time.Time     // the database's clock when it began
	Due  time.Time     // names the lease
	Open time.Duration // for how long the channel has been connected
}

// Lines keeps what is known of the channels' connections.
type Lines interface {
	// Lines lists the channels of a tenant, of all if it is empty, by name.
	Lines(ctx context.Context, tenant string) ([]Line, error)
	// SetConnection records how a channel stood some time ago, unless something newer is known, and returns what it had been before.
	// An opened one is swept. False: nothing changed.
	SetConnection(ctx context.Context, channel string, c Connection, ago time.Duration) (before Connection, changed bool, err error)
	// SweepSoon makes a channel due for a sweep, all if it is empty.
	SweepSoon(ctx context.Context, channel string) error
	// DueSweep leases a connected channel that is due for a sweep; ErrNothingDue. Nobody else is given it until lease has passed.
	DueSweep(ctx context.Context, lease time.Duration) (Sweep, error)
	// Swept records that nothing is missing up to a time. The sweep goes on for another lease, or ends if next is not zero: the
	// next one is due then, or at once if one was asked for meanwhile. False: the lease is lost.
	Swept(ctx context.Context, s *Sweep, to time.Time, lease, next time.Duration) (bool, error)
	// Unseen returns those of the message ids, or of ids of their statuses, of which no webhook was stored.
	Unseen(ctx context.Context, tenant, channel string, kinds []EventKind, ids []string) ([]string, error)
	// Replicas counts the processes that have shown a sign of life within a time.
	Replicas(ctx context.Context, within time.Duration) (int, error)
}

// Phone is a channel as Evolution has it, beside the sending.
type Phone interface {
	// Connection asks how the channel stands. An instance that does not exist is closed, for ReasonNoInstance.
	Connection(ctx context.Context, channel string) (Connection, error)
	// History returns the oldest messages of a channel from a time on, at most limit, oldest first, and whether there are newer ones.
	History(ctx context.Context, channel string, from time.Time, limit int) (list []Record, more bool, err error)
	// Connect begins to connect a channel; number is the phone's for a pairing code, empty for a QR code only.
	Connect(ctx context.Context, channel, number string) (Pairing, error)
}

// Record is a message in Evolution's database.
type Record struct {
	ID     string
	FromMe bool
	SentAt time.Time
	Body   []byte // as the webhook that may have been lost, marked as swept
	// Status is the furthest of a message of ours, StatusBody its webhook; empty if none is known.
	Status     string
	StatusBody []byte
}

// Pairing is what a person needs to connect a phone. It is as good as the phone while it lasts, and belongs in no log.
type Pairing struct {
	State ConnectionState // open: there is nothing to do
	QR    string          // the text of the QR code; empty if there is none
	Code  string          // to be typed on the phone; empty if it was not asked for
}

// Manners is what a person at a phone does beside writing. All of it is best effort.
type Manners interface {
	// ShowTyping shows the contact that something is typed, or recorded, for a while. The call lasts as long.
	ShowTyping(ctx context.Context, channel, chatJID string, recording bool, d time.Duration) error
	// MarkRead shows the contact that messages of theirs were read.
	MarkRead(ctx context.Context, channel, chatJID string, ids []string) error
}
