package main

import (
	"fmt"
	"log/slog"
)

const redacted = "[redacted]"

// Secret is a value that shows in no log, error or dump. Only Reveal gives it out, right where it is used. The zero value
// is no secret.
type Secret struct{ value string }

// NewSecret wraps a value.
func NewSecret(value string) Secret { return Secret{value: value} }

// Reveal returns the value.
func (s Secret) Reveal() string { return s.value }

// Set says whether there is a value.
func (s Secret) Set() bool { return s.value != "" }

// String implements fmt.Stringer.
func (Secret) String() string { return redacted }

// Format covers every verb: %v, %+v, %#v, %q, %x and the rest.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText covers JSON, YAML and everything else that asks for text.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// UnmarshalText takes a value from the environment.
func (s *Secret) UnmarshalText(text []byte) error {
	s.value = string(text)
	return nil
}
