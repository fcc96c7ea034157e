// Package schema checks request bodies the way upstream does: the subset of JSON Schema its routes use, with the same messages.
package schema

import (
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Schema says what a JSON value must be. The zero value accepts everything. Values are what encoding/json decodes into any, with
// numbers as json.Number.
type Schema struct {
	// Type is string, boolean, integer, number, array or object; empty accepts every type.
	Type string
	// Description replaces the message when the value itself fails (not when a property of it is missing).
	Description string
	// Enum lists the accepted strings; empty accepts all.
	Enum []string
	// Pattern must match somewhere in a string; nil accepts all.
	Pattern *regexp.Regexp
	// MinItems and UniqueItems bind arrays.
	MinItems    int
	UniqueItems bool
	// Items binds every element of an array; nil accepts all.
	Items *Schema
	// Properties binds those properties of an object that are present; others are free.
	Properties []Property
	// Required names properties that must be present.
	Required []string
	// NotEmpty names string properties that must not be "". Upstream checks them only when the object has no other property than
	// these, which is why an empty webhook URL passes as soon as events are given.
	NotEmpty []string
}

// Property is one named property of an object. A slice of them keeps the order of messages fixed.
type Property struct {
	Name string
	Schema
}

// Check returns upstream's message for every violation, in order; none means valid.
func (s Schema) Check(value any) []string {
	var messages []string
	for _, m := range s.check(value, "instance") {
		messages = append(messages, strings.Replace(m, "instance.", "", 1))
	}
	return messages
}

func (s Schema) check(value any, path string) []string {
	if s.Type != "" && !isType(value, s.Type) {
		return []string{s.say(path, "is not of a type(s) "+s.Type)}
	}
	var out []string
	switch v := value.(type) {
	case string:
		out = s.checkString(v, path)
	case []any:
		out = s.checkArray(v, path)
	case map[string]any:
		out = s.checkObject(v, path)
	}
	return out
}

func (s Schema) say(path, problem string) string {
	if s.Description != "" {
		return s.Description
	}
	return path + " " + problem
}

func (s Schema) checkString(v, path string) []string {
	var out []string
	if s.Pattern != nil && !s.Pattern.MatchString(v) {
		out = append(out, s.say(path, fmt.Sprintf("does not match pattern %q", s.Pattern)))
	}
	if len(s.Enum) > 0 && !slices.Contains(s.Enum, v) {
		out = append(out, s.say(path, "is not one of enum values: "+strings.Join(s.Enum, ",")))
	}
	return out
}

func (s Schema) checkArray(v []any, path string) []string {
	var out []string
	if s.Items != nil {
		for i, item := range v {
			out = append(out, s.Items.check(item, fmt.Sprintf("%s[%d]", path, i))...)
		}
	}
	if len(v) < s.MinItems {
		out = append(out, s.say(path, fmt.Sprintf("does not meet minimum length of %d", s.MinItems)))
	}
	if s.UniqueItems && hasDuplicate(v) {
		out = append(out, s.say(path, "contains duplicate item"))
	}
	return out
}

func (s Schema) checkObject(v map[string]any, path string) []string {
	var out []string
	for _, p := range s.Properties {
		if value, ok := v[p.Name]; ok {
			out = append(out, p.check(value, path+"."+p.Name)...)
		}
	}
	for _, name := range s.Required {
		if _, ok := v[name]; !ok {
			out = append(out, s.say(path, fmt.Sprintf("requires property %q", name)))
		}
	}
	if s.hasOnlyNotEmpty(v) {
		for _, name := range s.NotEmpty {
			if v[name] == "" {
				out = append(out, fmt.Sprintf("The %q cannot be empty", name))
			}
		}
	}
	return out
}

func (s Schema) hasOnlyNotEmpty(v map[string]any) bool {
	for name := range v {
		if !slices.Contains(s.NotEmpty, name) {
			return false
		}
	}
	return true
}

func isType(value any, name string) bool {
	switch v := value.(type) {
	case string:
		return name == "string"
	case bool:
		return name == "boolean"
	case json.Number:
		return name == "number" || (name == "integer" && isInteger(v))
	case []any:
		return name == "array"
	case map[string]any:
		return name == "object"
	}
	return false
}

// isInteger takes 5.0 and 1e3 for integers, as JavaScript does.
func isInteger(n json.Number) bool {
	r, ok := new(big.Rat).SetString(n.String())
	return ok && r.IsInt()
}

func hasDuplicate(items []any) bool {
	for i := range items {
		for j := range items[:i] {
			if reflect.DeepEqual(items[i], items[j]) {
				return true
			}
		}
	}
	return false
}
