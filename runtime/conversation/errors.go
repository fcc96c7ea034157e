package conversation

import (
	"errors"
	"fmt"
)

// Errors a caller tells apart with errors.Is. runtime/api maps those that reach HTTP to a status.
var (
	ErrUnknownChannel = errors.New("unknown channel")
	ErrWrongSecret    = errors.New("missing or wrong hook secret")
	ErrTooLarge       = errors.New("body over the limit")
	ErrNotJSON        = errors.New("content type is not application/json")
	ErrMalformed      = errors.New("malformed body")
	ErrUnavailable    = errors.New("store unavailable")
	ErrStaleEpoch     = errors.New("conversation has changed owner")
	ErrTurnClosed     = errors.New("turn is not open in this generation")
	ErrNothingDue     = errors.New("nothing is due")
	ErrSuperseded     = errors.New("another process runs under this instance name")
	ErrLockHeld       = errors.New("lock is held by another")
	ErrLockLost       = errors.New("lock is not held with this token")
)

// FlowError is an answer of a flow that could not be used. Retry says whether asking again can help.
type FlowError struct {
	Retry  bool
	Status int // HTTP status; zero if there was no answer
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
