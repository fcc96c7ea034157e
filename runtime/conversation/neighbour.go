package conversation

import (
	"context"
	"time"
)

// Flow runs an AI agent over a turn.
type Flow interface {
	// Ask posts the turn and returns the answer's parts; none means that the agent chose silence. The error is a
	// *FlowError, or ErrAnswersLater when the flow said that the answer will come by the API, unless ctx ended. The same turn can be asked again: agents tell by conversation and turn number.
	Ask(ctx context.Context, t Turn) ([]Part, error)
}

// Sender writes to WhatsApp.
type Sender interface {
	// SendText sends one text. notAfter is checked against the monotonic clock right before the first byte is written.
	// The error is a *SendError.
	SendText(ctx context.Context, channel, chatJID, text string, notAfter time.Time) (Delivery, error)
	// SentSince lists texts this channel sent to the chat since t, as far as the neighbour can say, newest first.
	SentSince(ctx context.Context, channel, chatJID string, t time.Time) ([]Delivery, error)
}

// Waker tells other replicas that there may be work. It returns at once, and it may lose a call: the store is polled too.
type Waker interface {
	Wake()
}
