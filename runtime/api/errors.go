// Package api is the wire of the router's own HTTP interface: bodies, and the one table between errors and statuses.
package api

import (
	"errors"
	"net/http"

	"plantao/runtime/conversation"
)

// Error is the body of every answer that is not a success.
type Error struct {
	Code    string `json:"code"`    // stable, for programs
	Message string `json:"message"` // what to do, for people
}

type entry struct {
	err     error
	status  int
	code    string
	message string
}

// table is read in both directions. The first entry that fits an error counts.
var table = []entry{
	{conversation.ErrUnknownChannel, http.StatusNotFound, "unknown_channel", "no channel has this name; run `router wire` for it"},
	{conversation.ErrWrongSecret, http.StatusUnauthorized, "wrong_secret", "header X-Plantao-Secret is missing or wrong"},
	{conversation.ErrTooLarge, http.StatusRequestEntityTooLarge, "too_large", "the body is over the limit"},
	{conversation.ErrNotJSON, http.StatusUnsupportedMediaType, "not_json", "send Content-Type: application/json"},
	{conversation.ErrMalformed, http.StatusBadRequest, "malformed", "the body must be a JSON object that names an event"},
	{conversation.ErrStaleEpoch, http.StatusConflict, "stale_epoch", "the conversation has changed owner"},
	{conversation.ErrTurnClosed, http.StatusConflict, "turn_closed", "the turn is not open in this generation"},
	{conversation.ErrUnavailable, http.StatusServiceUnavailable, "unavailable", "nothing was stored; send it again"},
}

// FromError maps an error to its status and body. An error the table does not know is 500 with a generic message: its
// text belongs in the log.
func FromError(err error) (status int, body Error) {
	for _, e := range table {
		if errors.Is(err, e.err) {
			return e.status, Error{Code: e.code, Message: e.message}
		}
	}
	return http.StatusInternalServerError, Error{Code: "internal", Message: "the router failed; its log says why"}
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
