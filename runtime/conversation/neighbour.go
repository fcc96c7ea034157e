package conversation

import (
	"context"
	"time"
)

// Flow runs an AI agent over a turn.
type Flow interface {
	// Ask posts the turn and returns the answer. The error is a *FlowError, or ErrAnswersLater when the flow said that the
	// answer will come by the API, unless ctx ended. The same turn can be asked again: agents tell by conversation and turn
	// number.
	Ask(ctx context.Context, t Turn) (Answer, error)
}

// Answer is what a flow says to a turn.
type Answer struct {
	Parts []Part // none means that the agent chose silence
	// Then is what follows once the parts are sent; nil: nothing does.
	Then *Then
}

// Sender writes to WhatsApp.
type Sender interface {
	// SendText sends one text. notAfter is checked against the monotonic clock right before the first byte is written.
	// The error is a *SendError.
	SendText(ctx context.Context, channel, chatJID, text string, notAfter time.Time) (Delivery, error)
	// SendMedia sends one attachment, with the same guarantees. A voice note has no caption.
	SendMedia(ctx context.Context, channel, chatJID string, m Content, kind MediaKind, caption string, notAfter time.Time) (Delivery, error)
	// SentSince lists messages this channel sent to the chat since t, as far as the neighbour can say, newest first.
	SentSince(ctx context.Context, channel, chatJID string, t time.Time) ([]Delivery, error)
}

// Waker tells other replicas that there may be work. It returns at once, and it may lose a call: the store is polled too.
type Waker interface {
	Wake()
}
