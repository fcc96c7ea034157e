// Package text is every sentence the operator CLI says, in each language it speaks.
//
// The sentences stand in catalogue.yaml, one key with one line per language. Code names a sentence by
// a [Key] constant and never spells one out: tests hold that every key exists in every language with
// the same placeholders, is used, is given as many values as it has placeholders, and that no
// sentence stands outside the catalogue. What other programs say (a cause from Docker, a system
// error) is quoted as it came.
package text

import (
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"
)

//go:embed catalogue.yaml
var catalogueYAML []byte

// Language is a language of the catalogue, as a BCP 47 tag.
type Language string

// The languages of the catalogue. English is what an unknown locale gets.
const (
	English    Language = "en"
	Portuguese Language = "pt-BR"
)

// Languages are all languages of the catalogue, the default first.
func Languages() []Language { return []Language{English, Portuguese} }

// Key names one sentence of the catalogue; the constants in keys.go are all there are.
type Key string

// Message is a sentence with the values for its placeholders, in no language yet. A value that is
// itself a Message or an error is put into the reader's language with it. The zero Message says nothing.
type Message struct {
	Key  Key
	Args []any
}

// New is the sentence key with values for its placeholders, in their order.
func New(key Key, args ...any) Message { return Message{Key: key, Args: args} }

// IsZero reports whether the message says nothing.
func (m Message) IsZero() bool { return m.Key == "" }

// Error is a failure told to the operator: a sentence of the catalogue and, where there is one, the
// technical cause quoted behind it.
type Error struct {
	Message Message
	// Cause may be nil.
	Cause error
}

// Fail is an [Error] without a cause.
func Fail(key Key, args ...any) *Error { return &Error{Message: New(key, args...)} }

// Because is an [Error] with its cause.
func Because(cause error, key Key, args ...any) *Error {
	return &Error{Message: New(key, args...), Cause: cause}
}

// Error is the failure in English, for logs and tests; [Printer.Error] is for people.
func (e *Error) Error() string { return For(English).Error(e) }

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Printer puts messages into one language. It is safe for concurrent use.
type Printer struct{ language Language }

// For is the printer of a language of [Languages]; any other language prints English.
func For(language Language) *Printer { return &Printer{language: language} }

// Language is the language it prints.
func (p *Printer) Language() Language { return p.language }

// Say is the sentence key in the printer's language.
func (p *Printer) Say(key Key, args ...any) string { return p.Render(New(key, args...)) }

// Render is the message in the printer's language.
func (p *Printer) Render(m Message) string {
	if m.IsZero() {
		return ""
	}
	args := make([]any, len(m.Args))
	for i, arg := range m.Args {
		switch v := arg.(type) {
		case Message:
			args[i] = p.Render(v)
		case error:
			args[i] = p.Error(v)
		default:
			args[i] = arg
		}
	}
	return fmt.Sprintf(p.format(m.Key), args...)
}

// Error is err for people: sentences of the catalogue in the printer's language, anything else as it is.
func (p *Printer) Error(err error) string {
	var told *Error
	if !errors.As(err, &told) {
		return err.Error()
	}
	said := p.Render(told.Message)
	if told.Cause != nil {
		said += ": " + p.Error(told.Cause)
	}
	return said
}

func (p *Printer) format(key Key) string {
	entry, ok := catalogue()[key]
	if !ok {
		panic(fmt.Sprintf("text: key %q is not in catalogue.yaml", key))
	}
	if said := entry[p.language]; said != "" {
		return said
	}
	return entry[English]
}

// catalogue is read once; a file that cannot be read is a programmer's mistake, since it is embedded.
var catalogue = sync.OnceValue(func() map[Key]map[Language]string {
	var entries map[Key]map[Language]string
	if err := yaml.Unmarshal(catalogueYAML, &entries); err != nil {
		panic(fmt.Sprintf("text: read catalogue.yaml: %v", err))
	}
	for _, entry := range entries {
		for language, said := range entry {
			entry[language] = strings.TrimRight(said, "\n")
		}
	}
	return entries
})
