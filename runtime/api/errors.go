// Package api is the wire of the router's own HTTP interface: bodies, and the one table between errors and statuses.
package api

import (
	"errors"
	"net/http"

	"plantao/runtime/conversation"
)

// Error is the body of every answer that is not a success.
type Error struct {
	Code    string    `json:"code" doc:"Stable, for programs"`
	Message string    `json:"message" doc:"What happened and what to do, for people"`
	Now     *Standing `json:"now,omitempty" doc:"Where the conversation stands, when that is the reason"`
	Held    *Held     `json:"held,omitempty" doc:"The lock in the way, when that is the reason"`
	Details []string  `json:"details,omitempty" doc:"What is wrong with the request, one line each"`
}

// Standing is where a conversation stands.
type Standing struct {
	Conversation string `json:"conversation"`
	State        string `json:"state,omitempty"`
	Owner        string `json:"owner"`
	Epoch        int64  `json:"epoch"`
	MergedInto   string `json:"merged_into,omitempty" doc:"The conversation that goes on for it"`
}

// Held is a lock somebody else has.
type Held struct {
	Fence  int64 `json:"fence"`
	FreeMS int64 `json:"free_ms" doc:"Until it runs out, unless it is renewed"`
}

type entry struct {
	err     error
	status  int
	code    string
	message string
}

// Codes that have no error in the domain: they are about the request as HTTP.
const (
	CodeNotFound     = "not_found"
	CodeMethod       = "method"
	CodeInvalid      = "invalid"
	CodeNoCondition  = "no_condition"
	CodeBadCondition = "bad_condition"
	CodeInternal     = "internal"
)

// table is read in both directions. The first entry that fits an error counts.
var table = []entry{
	{conversation.ErrUnknownChannel, http.StatusNotFound, "unknown_channel", "no channel has this name; run `router wire` for it"},
	{conversation.ErrWrongSecret, http.StatusUnauthorized, "wrong_secret", "header X-Plantao-Secret is missing or wrong, and there is no good token either"},
	{conversation.ErrBadSignature, http.StatusUnauthorized, "bad_signature", "the signature is missing or wrong; run `router wire` after a reset of secrets"},
	{conversation.ErrStale, http.StatusUnauthorized, "stale", "the timestamp is more than five minutes off; look at both clocks"},
	{conversation.ErrTooLarge, http.StatusRequestEntityTooLarge, "too_large", "the body is over the limit"},
	{conversation.ErrNotJSON, http.StatusUnsupportedMediaType, "not_json", "send Content-Type: application/json"},
	{conversation.ErrEncoded, http.StatusUnsupportedMediaType, "encoded", "send the body as it is, without Content-Encoding"},
	{conversation.ErrNoLength, http.StatusLengthRequired, "no_length", "send the body with a Content-Length, and not in chunks"},
	{conversation.ErrAmbiguousHeader, http.StatusBadRequest, "ambiguous_header", "a header that may be there once is there more than once"},
	{conversation.ErrMalformed, http.StatusBadRequest, "malformed", "the body must be a JSON object that names an event"},
	{conversation.ErrMerged, http.StatusConflict, "merged", "the contact's conversations were joined; go on with the one that \"now\" says it was merged into"},
	{conversation.ErrStaleEpoch, http.StatusConflict, "stale_epoch", "the conversation has changed owner; read it again before you decide"},
	{conversation.ErrTurnClosed, http.StatusConflict, "turn_closed", "the turn is over, past its deadline, or held by another; do nothing more for it"},
	{conversation.ErrNotOwner, http.StatusForbidden, "not_owner", "the agent of this token is not on duty here; an operator's token may act for others"},
	{conversation.ErrWrongState, http.StatusConflict, "wrong_state", "the conversation is not in a state that allows this"},
	{conversation.ErrOfferGone, http.StatusConflict, "offer_gone", "the offer was answered, replaced or has run out; read the conversation again"},
	{conversation.ErrNotYet, http.StatusConflict, "not_yet", "no deadline of this conversation has passed yet"},
	{conversation.ErrNoAgent, http.StatusConflict, "no_agent", "no AI has had this conversation and its channel names none; say in \"to\" which one gets it"},
	{conversation.ErrAtCapacity, http.StatusConflict, "at_capacity", "the agent has as many conversations as it may be given; choose another, or queue"},
	{conversation.ErrHumanOnDuty, http.StatusConflict, "human_on_duty", "a human has the conversation; it is theirs to answer, or to hand back first"},
	{conversation.ErrDecided, http.StatusConflict, "decided", "the dead letter was decided the other way already"},
	{conversation.ErrNotAppending, http.StatusConflict, "not_appending", "the agent's policy for messages in mid-turn is not append; they wait for its next turn"},
	{conversation.ErrNoLetter, http.StatusNotFound, "no_letter", "there is no dead letter with this id"},
	{conversation.ErrSenderAlive, http.StatusConflict, "sender_alive", "the router that had this part may still write it; restart that router, then settle it"},
	{conversation.ErrKeyReused, http.StatusUnprocessableEntity, "key_reused", "this Idempotency-Key was used for another request; draw a new one"},
	{conversation.ErrInvalid, http.StatusUnprocessableEntity, CodeInvalid, "the request makes no sense as it is"},
	{conversation.ErrNotFound, http.StatusNotFound, "no_conversation", "there is no conversation with this id"},
	{conversation.ErrBadRules, http.StatusUnprocessableEntity, "bad_rules", "the rules cannot be put in force, and those that were still are; mend what \"details\" names"},
	{conversation.ErrNoRules, http.StatusNotFound, "no_rules", "there are no such rules; without any, a channel's flow gets its conversations"},
	{conversation.ErrBadToken, http.StatusUnauthorized, "bad_token", "the token is missing, wrong, expired or revoked; `router token create` makes one"},
	{conversation.ErrScope, http.StatusForbidden, "scope", "this token does not allow that; make one with the scope named"},
	{conversation.ErrTooMany, http.StatusTooManyRequests, "too_many", "too many requests; wait as long as Retry-After says"},
	{conversation.ErrLockHeld, http.StatusConflict, "lock_held", "another client holds the lock; try again when it is free"},
	{conversation.ErrLockLost, http.StatusConflict, "lock_lost", "the lock is not held with this token; stop, and acquire it anew"},
	{conversation.ErrUnavailable, http.StatusServiceUnavailable, "unavailable", "nothing was stored; send it again"},
}

// FromError maps an error to its status and body. An error the table does not know is 500 with a generic message: its
// text belongs in the log.
func FromError(err error) (status int, body Error) {
	for _, e := range table {
		if errors.Is(err, e.err) {
			body = Error{Code: e.code, Message: e.message}
			explain(err, &body)
			return e.status, body
		}
	}
	return http.StatusInternalServerError, Error{Code: CodeInternal, Message: "the router failed; its log says why"}
}

// explain adds what the caller needs to go on.
func explain(err error, body *Error) {
	var (
		refused *conversation.RefusedError
		held    *conversation.HeldError
		rules   *conversation.BadRulesError
	)
	switch {
	case errors.As(err, &refused):
		body.Now = &Standing{Conversation: refused.Now.ID.String(), State: string(refused.Now.State),
			Owner: refused.Now.Owner.String(), Epoch: refused.Now.Epoch}
		if refused.Now.MergedInto != 0 {
			body.Now.MergedInto = refused.Now.MergedInto.String()
		}
		if refused.Extra != "" {
			body.Details = []string{refused.Extra}
		}
	case errors.As(err, &rules):
		body.Details = rules.Problems
	case errors.As(err, &held):
		body.Held = &Held{Fence: held.Fence, FreeMS: held.Free.Milliseconds()}
	case errors.Is(err, conversation.ErrInvalid), errors.Is(err, conversation.ErrScope):
		body.Details = []string{err.Error()} // about the request, made by the domain
	}
}

// ToError maps the code of an answer back to the error it was made from; nil if the code is not in the table.
func ToError(code string) error {
	for _, e := range table {
		if e.code == code {
			return e.err
		}
	}
	return nil
}
