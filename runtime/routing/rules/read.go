package rules

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"gopkg.in/yaml.v3"
)

// maxFileBytes bounds a rule file.
const maxFileBytes = 1 << 20

// Problem is one thing that is wrong with a file.
type Problem struct {
	File string
	Line int // zero: the whole file
	Text string
}

// Error is file:line: text, as editors and compilers have it.
func (p Problem) Error() string {
	if p.Line == 0 {
		return fmt.Sprintf("%s: %s", p.File, p.Text)
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
}

// Problems is all that is wrong with a file, in its order.
type Problems []Problem

// Error has a line for each.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].Error()
	}
	return strings.Join(lines, "\n")
}

// Set is a rule file that was checked. It never changes.
type Set struct {
	version   string
	calendars map[string]*calendar
	teams     map[string]Team
	agents    map[string]Agent // by ai:FLOW or e-mail address, in small letters
	rules     []rule
	slas      []sla
}

type rule struct {
	Rule
	condition *condition
}

// Version names the set: the first 12 hex digits of the SHA-256 of its file.
func (s *Set) Version() string { return s.version }

// Len is how many rules there are.
func (s *Set) Len() int { return len(s.rules) }

// VersionOf is the version a file's text has.
func VersionOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:6])
}

// Read checks a file as a whole. name is what problems call it. The error is a Problems with everything that is wrong.
func Read(name string, text []byte) (*Set, error) {
	r := &reader{name: name}
	file, ok := r.decode(text)
	if !ok {
		return nil, r.sorted()
	}
	s := &Set{version: VersionOf(text), calendars: map[string]*calendar{}, teams: file.Teams, agents: map[string]Agent{}}
	for _, name := range sortedKeys(file.Calendars) {
		at := "calendars." + name
		if !isName.MatchString(name) {
			r.problem(at, "%q: a calendar's name has small letters, digits and _, and begins with a letter, so that conditions can say open.NAME", name)
			continue
		}
		s.calendars[name] = newCalendar(file.Calendars[name], func(within, format string, args ...any) { r.problem(at+"."+within, format, args...) })
	}
	r.crew(s, file)
	env, err := language(s.calendars)
	if err != nil {
		return nil, fmt.Errorf("rule language: %w", err)
	}
	names := map[string]int{}
	for i, declared := range file.Rules {
		at := fmt.Sprintf("rules[%d]", i)
		if before, twice := names[declared.Name]; twice {
			r.problem(at+".name", "the rule on line %d is called %s already", r.line(fmt.Sprintf("rules[%d].name", before)), declared.Name)
		}
		names[declared.Name] = i
		for j, to := range declared.To {
			r.target(fmt.Sprintf("%s.to[%d]", at, j), to, j == len(declared.To)-1)
		}
		c, err := compile(env, declared.When)
		if err != nil {
			r.problem(at+".when", "%s", err)
			continue
		}
		s.rules = append(s.rules, rule{declared, c})
	}
	r.slas(s, file, env)
	if len(r.problems) > 0 {
		return nil, r.sorted()
	}
	return s, nil
}

// crew checks teams and agents.
func (r *reader) crew(s *Set, file File) {
	hours := func(at, name string) {
		if _, known := file.Calendars[name]; name != "" && !known {
			r.problem(at+".hours", "there is no calendar %q; there are: %s", name, strings.Join(sortedKeys(file.Calendars), ", "))
		}
	}
	for _, name := range sortedKeys(file.Teams) {
		at := "teams." + name
		if name != strings.ToLower(name) {
			r.problem(at, "%q: Chatwoot writes teams' names in small letters", name)
		}
		hours(at, file.Teams[name].Hours)
		r.short(at+".reserve", file.Teams[name].Reserve)
	}
	for _, name := range sortedKeys(file.Agents) {
		at := "agents." + name
		key := strings.ToLower(name)
		if flow, ai := strings.CutPrefix(name, "ai:"); ai && flow != "" {
			key = name
		} else if !isEmail.MatchString(name) {
			r.problem(at, "%q: name a human by their e-mail address in Chatwoot, an AI by ai: and its flow's path", name)
		}
		if _, twice := s.agents[key]; twice {
			r.problem(at, "%q is there twice", key)
		}
		s.agents[key] = file.Agents[name]
		hours(at, file.Agents[name].Hours)
	}
}

var isEmail = regexp.MustCompile(`^[^@\s]+@[^@\s]+$`)

// short checks a time that matches the schema's pattern.
func (r *reader) short(at, text string) {
	if Duration(text) > maxTime {
		r.problem(at, "%s is longer than 7d", text)
	}
}

// target checks one target of a rule.
func (r *reader) target(at string, to Target, last bool) {
	kinds := 0
	for _, named := range []bool{to.AI != "", to.Team != "", to.Queue != nil, to.Last != ""} {
		if named {
			kinds++
		}
	}
	switch {
	case kinds > 1:
		r.problem(at, "name one who gets the conversation: ai, team, queue or last")
	case kinds == 0 && to.Say == "":
		r.problem(at, "name one who gets the conversation (ai, team, queue or last), or what the customer is told (say)")
	}
	for _, one := range []struct {
		field     string
		there, ok bool
		of        string
	}{
		{"attempts", to.Attempts != 0, to.AI != "", "ai"},
		{"skills", len(to.Skills) > 0, to.Team != "", "team"},
		{"languages", len(to.Languages) > 0, to.Team != "", "team"},
		{"for", to.For != "", to.Team != "" || to.Last != "" || to.Queue != nil, "team, last and queue"},
	} {
		if one.there && !one.ok {
			r.problem(at+"."+one.field, "%s belongs to %s", one.field, one.of)
		}
	}
	if to.Queue != nil && to.For == "" && !last {
		r.problem(at, "targets follow, so say how long the conversation waits in the queue: for")
	}
	if to.Team != strings.ToLower(to.Team) {
		r.problem(at+".team", "%q: Chatwoot writes teams' names in small letters", to.Team)
	}
	r.short(at+".for", to.For)
	r.short(at+".last", to.Last)
}

var isName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// reader knows where in the file things stand.
type reader struct {
	name     string
	root     *yaml.Node
	problems Problems
}

func (r *reader) problem(at, format string, args ...any) {
	r.problems = append(r.problems, Problem{File: r.name, Line: r.line(at), Text: fmt.Sprintf(format, args...)})
}

func (r *reader) sorted() error {
	slices.SortStableFunc(r.problems, func(a, b Problem) int { return a.Line - b.Line })
	return r.problems
}

var yamlLine = regexp.MustCompile(`^yaml: (?:unmarshal errors:\n\s*)?line (\d+): `)

// decode reads the file's text by its schema.
func (r *reader) decode(text []byte) (File, bool) {
	var file File
	if len(text) > maxFileBytes {
		r.problem("", "the file has %d bytes, and at most %d are read", len(text), maxFileBytes)
		return file, false
	}
	var root yaml.Node
	var plain any
	err := yaml.Unmarshal(text, &root)
	if err == nil {
		r.root = &root
		daysAreText(&root)
		targetsAreLists(&root)
		err = root.Decode(&plain)
	}
	if err != nil {
		p := Problem{File: r.name, Text: strings.TrimPrefix(err.Error(), "yaml: ")}
		if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
			_, _ = fmt.Sscan(m[1], &p.Line)
			p.Text = strings.TrimPrefix(err.Error(), m[0])
		}
		r.problems = append(r.problems, p)
		return file, false
	}
	schema := theSchema()
	var found huma.ValidateResult
	huma.Validate(schema.registry, schema.root, huma.NewPathBuffer(nil, 0), huma.ModeWriteToServer, plain, &found)
	for _, err := range found.Errors {
		at, what := "", err.Error()
		if d := (*huma.ErrorDetail)(nil); errors.As(err, &d) {
			at, what = d.Location, d.Message
		}
		r.problem(at, "%s%s", what, schema.allowed(at, what))
	}
	if len(r.problems) > 0 {
		return file, false
	}
	// What matches the schema has a JSON form that fits the type.
	form, err := json.Marshal(plain)
	if err == nil {
		err = json.Unmarshal(form, &file)
	}
	if err != nil {
		r.problem("", "%v", err)
		return file, false
	}
	return file, true
}

// daysAreText keeps a day as it is written. YAML makes a time of it.
func daysAreText(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!timestamp" {
		n.Tag = "!!str"
	}
	for _, c := range n.Content {
		daysAreText(c)
	}
}

// targetsAreLists makes a list of a rule's only target.
func targetsAreLists(root *yaml.Node) {
	under := func(n *yaml.Node, key string) *yaml.Node {
		for i := 0; n != nil && n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				return n.Content[i+1]
			}
		}
		return nil
	}
	if len(root.Content) == 0 {
		return
	}
	rules := under(root.Content[0], "rules")
	if rules == nil || rules.Kind != yaml.SequenceNode {
		return
	}
	for _, rule := range rules.Content {
		if to := under(rule, "to"); to != nil && to.Kind == yaml.MappingNode {
			one := *to
			*to = yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Line: one.Line, Column: one.Column, Content: []*yaml.Node{&one}}
		}
	}
}

// line is where in the file a path such as rules[3].to.ai stands, or as much of it as there is.
func (r *reader) line(path string) int {
	if r.root == nil || len(r.root.Content) == 0 {
		return 0
	}
	node := r.root.Content[0]
	line := node.Line
	for left := steps(path); len(left) > 0; {
		for node.Kind == yaml.AliasNode {
			node = node.Alias
		}
		var next *yaml.Node
		took := 1
		switch node.Kind {
		case yaml.SequenceNode:
			var i int
			if _, err := fmt.Sscan(left[0], &i); err == nil && i >= 0 && i < len(node.Content) {
				next = node.Content[i]
				line = next.Line
			}
		case yaml.MappingNode:
			for i := 0; i+1 < len(node.Content); i += 2 {
				// A key may have dots itself, as an e-mail address does.
				words := len(steps(node.Content[i].Value))
				if words > 0 && words <= len(left) && strings.Join(left[:words], ".") == node.Content[i].Value {
					next, line, took = node.Content[i+1], node.Content[i].Line, words
				}
			}
		}
		if next == nil {
			break
		}
		node, left = next, left[took:]
	}
	return line
}

func steps(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' })
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// schema is the JSON Schema of File.
type schema struct {
	registry huma.Registry
	root     *huma.Schema
}

var theSchema = sync.OnceValue(func() schema {
	registry := huma.NewMapRegistry("#/$defs/", huma.DefaultSchemaNamer)
	return schema{registry: registry, root: registry.Schema(reflect.TypeFor[File](), false, "File")}
})

// Schema is the JSON Schema of a rule file, for editors.
func Schema() []byte {
	s := theSchema()
	form, err := json.Marshal(s.root)
	whole := map[string]any{}
	if err == nil {
		err = json.Unmarshal(form, &whole)
	}
	definitions, err2 := json.Marshal(s.registry.Map())
	defs := map[string]any{}
	if err = errors.Join(err, err2); err == nil {
		err = json.Unmarshal(definitions, &defs)
	}
	if rule, ok := defs["Rule"].(map[string]any); ok {
		fields, _ := rule["properties"].(map[string]any)
		list, _ := fields["to"].(map[string]any)
		fields["to"] = map[string]any{"description": list["description"], "anyOf": []any{map[string]any{"$ref": "#/$defs/Target"}, list}}
	}
	whole["$schema"], whole["title"], whole["$defs"] = "https://json-schema.org/draft/2020-12/schema", "Plantão rules", defs
	var text []byte
	if err == nil {
		text, err = json.MarshalIndent(whole, "", "  ")
	}
	if err != nil {
		panic(err) // of constants
	}
	return append(text, '\n')
}

// allowed lists what may stand where something else does.
func (s schema) allowed(at, what string) string {
	path := steps(at)
	if !strings.HasPrefix(what, "unexpected property") || len(path) == 0 {
		return ""
	}
	now := s.resolve(s.root)
	for _, step := range path[:len(path)-1] {
		switch {
		case now == nil:
			return ""
		case now.Items != nil:
			now = s.resolve(now.Items)
		case now.Properties[step] != nil:
			now = s.resolve(now.Properties[step])
		default:
			more, _ := now.AdditionalProperties.(*huma.Schema)
			now = s.resolve(more)
		}
	}
	if now == nil || len(now.Properties) == 0 {
		return ""
	}
	return fmt.Sprintf(" %q; there are %s", path[len(path)-1], strings.Join(sortedKeys(now.Properties), ", "))
}

func (s schema) resolve(of *huma.Schema) *huma.Schema {
	for of != nil && of.Ref != "" {
		of = s.registry.SchemaFromRef(of.Ref)
	}
	return of
}
