package schema_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"plantao/test/lab/evolution/schema"
)

var message = schema.Schema{
	Type: "object",
	Properties: []schema.Property{
		{Name: "number", Schema: schema.Schema{Type: "string", Description: "Invalid format"}},
		{Name: "text", Schema: schema.Schema{Type: "string"}},
		{Name: "delay", Schema: schema.Schema{Type: "integer", Description: "Enter a value in milliseconds"}},
		{Name: "kind", Schema: schema.Schema{Type: "string", Enum: []string{"a", "b"}}},
		{Name: "mentioned", Schema: schema.Schema{Type: "array", MinItems: 1, UniqueItems: true, Items: &schema.Schema{Type: "string", Pattern: regexp.MustCompile(`^\d+`)}}},
		{Name: "hook", Schema: schema.Schema{Type: "object", Required: []string{"url"}, NotEmpty: []string{"enabled", "url"}}},
	},
	Required: []string{"number", "text"},
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, body string
		want       []string
	}{
		{"valid", `{"number":"55","text":"a","delay":1e3,"other":null}`, nil},
		{"missing properties keep the root's name", `{}`, []string{`instance requires property "number"`, `instance requires property "text"`}},
		{"a description replaces the message", `{"number":55,"text":"a"}`, []string{"Invalid format"}},
		{"null is a value of no type", `{"number":"55","text":null}`, []string{"text is not of a type(s) string"}},
		{"a fraction is no integer", `{"number":"55","text":"a","delay":1.5}`, []string{"Enter a value in milliseconds"}},
		{"a quoted number is no integer", `{"number":"55","text":"a","delay":"1"}`, []string{"Enter a value in milliseconds"}},
		{"enum", `{"number":"55","text":"a","kind":"c"}`, []string{"kind is not one of enum values: a,b"}},
		{"array bounds", `{"number":"55","text":"a","mentioned":[]}`, []string{"mentioned does not meet minimum length of 1"}},
		{"array items", `{"number":"55","text":"a","mentioned":["1","1","x"]}`, []string{`mentioned[2] does not match pattern "^\\d+"`, "mentioned contains duplicate item"}},
		{"nested required", `{"number":"55","text":"a","hook":{"enabled":true}}`, []string{`hook requires property "url"`}},
		{"empty string alone", `{"number":"55","text":"a","hook":{"enabled":true,"url":""}}`, []string{`The "url" cannot be empty`}},
		{"empty string beside a free property passes", `{"number":"55","text":"a","hook":{"url":"","events":[]}}`, nil},
		{"not an object", `[1]`, []string{"instance is not of a type(s) object"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := json.NewDecoder(strings.NewReader(tt.body))
			d.UseNumber()
			var v any
			require.NoError(t, d.Decode(&v))
			assert.Equal(t, tt.want, message.Check(v))
		})
	}
}
