package conversation

import (
	"context"
	"time"
)

// Attachments fetches what was attached to messages that came in.
type Attachments interface {
	// WantedMedia leases attachments whose time has come, oldest first: until lease has passed nobody else is given them. Each
	// lease counts as a try.
	WantedMedia(ctx context.Context, limit int, lease time.Duration) ([]WantedMedia, error)
	// KeepInline keeps the content that stands in the message's own webhook and takes it out there; false if there is none of at most
	// maxBytes, or the lease is lost.
	KeepInline(ctx context.Context, w WantedMedia, maxBytes int64) (bool, error)
	// KeepMedia keeps content that was fetched, and takes what the webhook has of it out there; false if the lease is lost.
	KeepMedia(ctx context.Context, w WantedMedia, c Content) (bool, error)
	// MissMedia ends a try in vain: the next one is due after wait, and zero gives up.
	MissMedia(ctx context.Context, w WantedMedia, wait time.Duration) error
}

// WantedMedia is an attachment in the hands of this process.
type WantedMedia struct {
	Inbox        int64 // the row it belongs to
	Tenant       string
	Channel      string
	Conversation ID
	MessageID    string // WhatsApp's
	Media        Media
	Try          int // counts from 1; names the lease
}

// Fetcher gets attachments from where they are.
type Fetcher interface {
	// FetchMedia fetches the content. The error is a *FetchError if it can be told whether trying again helps.
	FetchMedia(ctx context.Context, channel, messageID string, m Media) (Content, error)
}

// FetchError is an attachment that could not be fetched.
type FetchError struct {
	Final  bool // trying again cannot help
	Status int  // HTTP status; zero if there was no answer
	Err    error
}

func (e *FetchError) Error() string { return e.Err.Error() }

func (e *FetchError) Unwrap() error { return e.Err }
