package server

import (
	"errors"
	"fmt"
	"net/http"
)

// refusal is an answer of upstream's error form: {"status":…,"error":"…","response":{"message":…}}.
type refusal struct {
	Status int
	// Title defaults to the words of the status. Upstream's body parser errors carry another one.
	Title string
	// Message is usually a list; validation errors are a list inside a list, and 401 is a bare string.
	Message any
	// Flat writes the fields without "response", as POST /chat/whatsappNumbers does.
	Flat bool
}

func (r *refusal) Error() string { return fmt.Sprintf("%d: %v", r.Status, r.Message) }

func badRequest(messages ...any) error {
	return &refusal{Status: http.StatusBadRequest, Message: messages}
}

func notFound(message string) error {
	return &refusal{Status: http.StatusNotFound, Message: []any{message}}
}

func forbidden(message string) error {
	return &refusal{Status: http.StatusForbidden, Message: []any{message}}
}

func unauthorized() error {
	return &refusal{Status: http.StatusUnauthorized, Message: "Unauthorized"}
}

// internal is upstream's answer to an error nobody caught: its text.
func internal(message string) error {
	return &refusal{Status: http.StatusInternalServerError, Message: message}
}

// unimitated is never an answer of upstream: it says that the stand-in lacks a route, so that a test cannot take it for a result.
func unimitated(what string) error {
	return &refusal{Status: http.StatusNotImplemented, Title: "Stand-in", Message: []any{"the lab's stand-in for Evolution API does not imitate " + what}}
}

// errCloseConnection ends a request without an answer.
var errCloseConnection = errors.New("close connection without an answer")

// body gives the JSON form of an error.
func errorBody(err error) (status int, body any) {
	r := asRefusal(err)
	if r.Title == "" {
		r.Title = http.StatusText(r.Status)
	}
	if r.Flat {
		return r.Status, map[string]any{"status": r.Status, "error": r.Title, "message": r.Message}
	}
	return r.Status, map[string]any{"status": r.Status, "error": r.Title, "response": map[string]any{"message": r.Message}}
}

func asRefusal(err error) refusal {
	var r *refusal
	if errors.As(err, &r) {
		return *r
	}
	return refusal{Status: http.StatusInternalServerError, Message: err.Error()}
}
