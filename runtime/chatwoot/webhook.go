package chatwoot

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"plantao/runtime/conversation"
)

// Headers of a webhook. The delivery id is drawn when the job is enqueued, so it is the same in a bot's retries.
const (
	HeaderSignature = "X-Chatwoot-Signature"
	HeaderTimestamp = "X-Chatwoot-Timestamp"
	HeaderDelivery  = "X-Chatwoot-Delivery"
)

// Freshness is how far a webhook's timestamp may be from now, either way: replays are known by their delivery id, this only
// bounds for how long that has to be kept.
const Freshness = 5 * time.Minute

// maxDeliveryBytes bounds a delivery id. Chatwoot sends a UUID.
const maxDeliveryBytes = 64

// Signed is what a webhook's head says of it.
type Signed struct {
	Delivery, Timestamp, Signature string
}

// CheckHead refuses what needs no look at the body. Errors: conversation.ErrBadSignature, ErrStale.
func (s Signed) CheckHead(now time.Time) error {
	if s.Delivery == "" || len(s.Delivery) > maxDeliveryBytes || strings.ContainsFunc(s.Delivery, notPrintable) {
		return fmt.Errorf("header %s: %w", HeaderDelivery, conversation.ErrBadSignature)
	}
	if _, err := s.sum(); err != nil {
		return err
	}
	seconds, err := strconv.ParseInt(s.Timestamp, 10, 64)
	if err != nil || s.Timestamp != strconv.FormatInt(seconds, 10) {
		return fmt.Errorf("header %s: %w", HeaderTimestamp, conversation.ErrBadSignature)
	}
	if age := now.Sub(time.Unix(seconds, 0)); age > Freshness || age < -Freshness {
		return fmt.Errorf("header %s is %s off: %w", HeaderTimestamp, age.Round(time.Second), conversation.ErrStale)
	}
	return nil
}

func notPrintable(r rune) bool { return r < '!' || r > '~' }

func (s Signed) sum() ([]byte, error) {
	text, found := strings.CutPrefix(s.Signature, "sha256=")
	sum, err := hex.DecodeString(text)
	if !found || err != nil || len(sum) != sha256.Size {
		return nil, fmt.Errorf("header %s: %w", HeaderSignature, conversation.ErrBadSignature)
	}
	return sum, nil
}

// Check compares the signature in constant time: HMAC-SHA256 over timestamp, a dot, and the body as it came.
func (s Signed) Check(secret string, body []byte) error {
	given, err := s.sum()
	if err != nil {
		return err
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(s.Timestamp))
	mac.Write([]byte{'.'})
	mac.Write(body)
	if secret == "" || !hmac.Equal(given, mac.Sum(nil)) {
		return fmt.Errorf("header %s: %w", HeaderSignature, conversation.ErrBadSignature)
	}
	return nil
}

// maxEventBytes bounds the name of an event. The longest of Chatwoot's has 27.
const maxEventBytes = 64

// Event is what a webhook is about. What happened is read from the API.
type Event struct {
	Name    string
	Account int64
	Inbox   int64 // zero if it names none
	Display int64 // the conversation's number; zero if it is about none
	// Look: people may have done something. False for what can only be an echo of the router's own calls, or means nothing to it.
	Look bool
}

// Decode reads a webhook's body. Errors: conversation.ErrMalformed.
func Decode(body []byte) (Event, error) {
	var w struct {
		Event        string          `json:"event"`
		ID           json.RawMessage `json:"id"`
		InboxID      int64           `json:"inbox_id"`
		SourceID     *string         `json:"source_id"`
		Account      reference       `json:"account"`
		Inbox        reference       `json:"inbox"`
		Conversation struct {
			ID      int64     `json:"id"`
			InboxID int64     `json:"inbox_id"`
			Account reference `json:"account"`
		} `json:"conversation"`
	}
	if err := json.Unmarshal(body, &w); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return Event{}, fmt.Errorf("read webhook: %w at byte %d", conversation.ErrMalformed, syntax.Offset)
		}
		return Event{}, fmt.Errorf("read webhook: %w", conversation.ErrMalformed) // the cause may quote the body
	}
	if w.Event == "" || len(w.Event) > maxEventBytes || strings.ContainsFunc(w.Event, notPrintable) {
		return Event{}, fmt.Errorf("read webhook: no event: %w", conversation.ErrMalformed)
	}
	e := Event{Name: w.Event, Account: w.Account.ID}
	switch {
	case strings.HasPrefix(e.Name, "message_"):
		e.Inbox, e.Display = w.Inbox.ID, w.Conversation.ID
		e.Look = w.SourceID == nil || !strings.HasPrefix(*w.SourceID, SourcePrefix)
	case strings.HasPrefix(e.Name, "conversation_typing_"):
		e.Account, e.Inbox, e.Display = w.Conversation.Account.ID, w.Conversation.InboxID, w.Conversation.ID
	case strings.HasPrefix(e.Name, "conversation_"):
		if json.Unmarshal(w.ID, &e.Display) != nil {
			return Event{}, fmt.Errorf("read webhook: no conversation: %w", conversation.ErrMalformed)
		}
		e.Inbox, e.Look = w.InboxID, true
	}
	return e, nil
}

type reference struct {
	ID int64 `json:"id"`
}
