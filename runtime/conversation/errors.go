package conversation

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Errors a caller tells apart with errors.Is. runtime/api maps those that reach HTTP to a status.
var (
	ErrUnknownChannel  = errors.New("unknown channel")
	ErrWrongSecret     = errors.New("missing or wrong hook secret")
	ErrTooLarge        = errors.New("body over the limit")
	ErrNotJSON         = errors.New("content type is not application/json")
	ErrEncoded         = errors.New("body has a content encoding")
	ErrAmbiguousHeader = errors.New("header is there more than once")
	ErrNoLength        = errors.New("body has no announced length")
	ErrMalformed       = errors.New("malformed body")
	ErrBadSignature    = errors.New("missing or wrong signature")
	ErrStale           = errors.New("signed too long ago, or in the future")
	ErrUnavailable     = errors.New("store unavailable")
	ErrStaleEpoch      = errors.New("conversation has changed owner")
	ErrTurnClosed      = errors.New("turn is not open in this generation")
	ErrNothingDue      = errors.New("nothing is due")
	ErrSuperseded      = errors.New("another process runs under this instance name")
	ErrInvalid         = errors.New("the request makes no sense")
	ErrNotFound        = errors.New("no such conversation")
	ErrWrongState      = errors.New("the conversation is not in a state that allows this")
	ErrNotOwner        = errors.New("the agent is not on duty in this conversation")
	ErrOfferGone       = errors.New("the offer is no longer open")
	ErrNotYet          = errors.New("the deadline has not passed yet")
	ErrNoAgent         = errors.New("no AI agent is known for this conversation")
	ErrAtCapacity      = errors.New("the agent is at its capacity")
	ErrKeyReused       = errors.New("idempotency key was used for another request")
	ErrSenderAlive     = errors.New("the part's sender may still write")
	ErrBadToken        = errors.New("token is missing, wrong, expired or revoked")
	ErrScope           = errors.New("token does not allow this")
	ErrTooMany         = errors.New("too many requests")
	ErrAnswersLater    = errors.New("the flow answers by the API")
	ErrLockHeld        = errors.New("lock is held by another")
	ErrLockLost        = errors.New("lock is not held with this token")
	ErrMerged          = errors.New("the conversation was merged into another one of the same contact")
	ErrOnTheWire       = errors.New("something is on its way to the customer")
	ErrHumanOnDuty     = errors.New("a human has the conversation")
	ErrDecided         = errors.New("the dead letter is decided already")
	ErrNoLetter        = errors.New("no such dead letter")
	ErrNotAppending    = errors.New("this agent takes no messages while it has a turn")
	ErrBadRules        = errors.New("the rules cannot be put in force")
	ErrNoRules         = errors.New("no such rules")
	ErrNotConnected    = errors.New("the channel is not connected to WhatsApp; pair it with `plantao channel qr`")
)

// BadRulesError is a text of rules that was refused. It wraps ErrBadRules.
type BadRulesError struct {
	Problems []string // everything that is wrong with it, each with its line
}

func (e *BadRulesError) Error() string {
	return ErrBadRules.Error() + ":\n" + strings.Join(e.Problems, "\n")
}

// Unwrap implements errors.Unwrap.
func (e *BadRulesError) Unwrap() error { return ErrBadRules }

// RefusedError is a verb that was refused although it made sense: the conversation stands elsewhere than the caller thought.
// It wraps the sentinel that says why, and carries where the conversation stands.
type RefusedError struct {
	Err   error
	Now   Conversation
	Extra string // what else the caller should know; may be empty
}

func (e *RefusedError) Error() string {
	s := fmt.Sprintf("%v: %s has conversation %s, in state %s, at epoch %d", e.Err, e.Now.Owner, e.Now.ID, e.Now.State, e.Now.Epoch)
	if e.Extra != "" {
		s += "; " + e.Extra
	}
	return s
}

func (e *RefusedError) Unwrap() error { return e.Err }

// FlowError is an answer of a flow that could not be used. Retry says whether asking again can help.
type FlowError struct {
	Retry  bool
	Status int           // HTTP status; zero if there was no answer
	After  time.Duration // how long the flow wants not to be asked; zero: it does not say
	Err    error
}

func (e *FlowError) Error() string {
	if e.Status == 0 {
		return fmt.Sprintf("ask flow: %v", e.Err)
	}
	return fmt.Sprintf("ask flow: status %d: %v", e.Status, e.Err)
}

func (e *FlowError) Unwrap() error { return e.Err }

// SendOutcome is what is known about a send that did not succeed.
type SendOutcome int

// The outcomes. The zero value is the cautious one.
const (
	SendUnknown SendOutcome = iota // something was written and no usable answer came
	SendRefused                    // the neighbour said no: repeating cannot help
	SendNothing                    // not one byte was written, or the neighbour asked to come back later
)

// SendError is a send that did not succeed.
type SendError struct {
	Outcome SendOutcome
	Status  int // HTTP status; zero if there was no answer
	Err     error
}

func (e *SendError) Error() string {
	if e.Status == 0 {
		return fmt.Sprintf("send part: %v", e.Err)
	}
	return fmt.Sprintf("send part: status %d: %v", e.Status, e.Err)
}

func (e *SendError) Unwrap() error { return e.Err }
