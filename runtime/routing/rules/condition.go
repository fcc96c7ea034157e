package rules

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"
	"golang.org/x/text/unicode/norm"
)

// Bounds of the facts a condition sees; what is beyond is cut off before it is asked. They are what makes its cost predictable.
const (
	MaxTextBytes = 4096 // of a text
	MaxItems     = 64   // of a list
	maxNameBytes = 256  // of a name, a number
)

// maxCost is what a condition may cost at most by cel-go's static estimate, in its units: about one comparison each. It lets through what
// looks at each word of the longest text, and keeps out loops over words within loops over words.
const maxCost = 100_000

// Facts are what conditions may ask about.
type Facts struct {
	Now     time.Time
	Channel string
	Contact Contact
	Message Message
	History History
	Last    Last
	// Attempts are turns that failed since an AI answered last; Labels people gave the conversation.
	Attempts int
	Labels   []string
	Cause    string // why somebody is looked for: message, or released
}

// Contact is who writes.
type Contact struct{ Name, Phone string }

// Message is what waits for an answer, taken together.
type Message struct {
	Text  string   // all texts, a line each
	Kinds []string // conversation, imageMessage, …: as WhatsApp calls them
	Count int
}

// History is what was before.
type History struct {
	Messages  int           // all the contact wrote before these
	Since     time.Duration // since the last of them; zero if there was none
	Stretches int           // how often a human had the conversation
}

// Last is who had the conversation before.
type Last struct {
	Kind, ID string        // ai, human, queue or none; the agent's id
	Since    time.Duration // since it has not had it any more
}

// variable is a fact as conditions name it.
type variable struct {
	kind *cel.Type
	most int // its length is at most so much; zero: it has none
	get  func(*activation) any
}

// list is a fact that is a list of texts, cut to what is bounded.
func list(values []string) any {
	cut := make([]string, 0, min(len(values), MaxItems))
	for _, v := range values[:min(len(values), MaxItems)] {
		cut = append(cut, clip(v, maxNameBytes))
	}
	return types.NewStringList(types.DefaultTypeAdapter, cut)
}

// clip cuts a text at a character's boundary.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}

var textList = cel.ListType(cel.StringType)

// variables are all a condition may use, apart from open.NAME for each calendar; docs/rules.md says what each is.
var variables = map[string]variable{
	"channel.name":      {cel.StringType, maxNameBytes, func(a *activation) any { return clip(a.f.Channel, maxNameBytes) }},
	"contact.name":      {cel.StringType, maxNameBytes, func(a *activation) any { return clip(a.f.Contact.Name, maxNameBytes) }},
	"contact.phone":     {cel.StringType, maxNameBytes, func(a *activation) any { return clip(a.f.Contact.Phone, maxNameBytes) }},
	"message.text":      {cel.StringType, MaxTextBytes, func(a *activation) any { return clip(a.f.Message.Text, MaxTextBytes) }},
	"message.words":     {textList, MaxTextBytes / 2, func(a *activation) any { return a.words() }},
	"message.kinds":     {textList, MaxItems, func(a *activation) any { return list(a.f.Message.Kinds) }},
	"message.count":     {cel.IntType, 0, func(a *activation) any { return int64(a.f.Message.Count) }},
	"history.messages":  {cel.IntType, 0, func(a *activation) any { return int64(a.f.History.Messages) }},
	"history.since":     {cel.DurationType, 0, func(a *activation) any { return a.f.History.Since }},
	"history.stretches": {cel.IntType, 0, func(a *activation) any { return int64(a.f.History.Stretches) }},
	"last.kind":         {cel.StringType, maxNameBytes, func(a *activation) any { return a.f.Last.Kind }},
	"last.id":           {cel.StringType, maxNameBytes, func(a *activation) any { return clip(a.f.Last.ID, maxNameBytes) }},
	"last.since":        {cel.DurationType, 0, func(a *activation) any { return a.f.Last.Since }},
	"attempts":          {cel.IntType, 0, func(a *activation) any { return int64(a.f.Attempts) }},
	"labels":            {textList, MaxItems, func(a *activation) any { return list(a.f.Labels) }},
	"cause":             {cel.StringType, maxNameBytes, func(a *activation) any { return a.f.Cause }},
	"now":               {cel.TimestampType, 0, func(a *activation) any { return a.f.Now }},
}

// activation lets conditions ask for facts, each made at most once.
type activation struct {
	f         *Facts
	calendars map[string]*calendar
	known     map[string]ref.Val
}

func (s *Set) activation(f *Facts) *activation {
	return &activation{f: f, calendars: s.calendars, known: make(map[string]ref.Val, len(variables))}
}

// ResolveName implements cel.Activation.
func (a *activation) ResolveName(name string) (any, bool) {
	if v, ok := a.known[name]; ok {
		return v, true
	}
	var value any
	if v, ok := variables[name]; ok {
		value = v.get(a)
	} else if c, ok := a.calendars[strings.TrimPrefix(name, openPrefix)]; ok && strings.HasPrefix(name, openPrefix) {
		value = c.open(a.f.Now)
	} else {
		return nil, false
	}
	v := types.DefaultTypeAdapter.NativeToValue(value)
	a.known[name] = v
	return v, true
}

// Parent implements cel.Activation.
func (*activation) Parent() cel.Activation { return nil }

func (a *activation) words() any {
	return types.NewStringList(types.DefaultTypeAdapter, strings.FieldsFunc(fold(clip(a.f.Message.Text, MaxTextBytes)), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}))
}

// plain is a fact as it can be shown.
func (a *activation) plain(name string) any {
	value, _ := a.ResolveName(name)
	if v, ok := value.(ref.Val); ok {
		if list, err := v.ConvertToNative(reflect.TypeFor[[]string]()); err == nil {
			return list
		}
		return v.Value()
	}
	return nil
}

// fold makes small letters without accents.
func fold(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) < 0 {
		return strings.ToLower(s)
	}
	var plain strings.Builder
	for _, r := range norm.NFD.String(s) {
		if !unicode.Is(unicode.Mn, r) {
			plain.WriteRune(unicode.ToLower(r))
		}
	}
	return norm.NFC.String(plain.String())
}

const openPrefix = "open."

// language is the environment conditions are compiled in.
func language(calendars map[string]*calendar) (*cel.Env, error) {
	options := []cel.EnvOption{
		ext.Strings(), ext.Sets(),
		cel.ParserRecursionLimit(64), cel.ParserExpressionSizeLimit(4000),
		cel.Function("fold", cel.Overload("fold_string", []*cel.Type{cel.StringType}, cel.StringType, cel.UnaryBinding(func(v ref.Val) ref.Val {
			return types.String(fold(string(v.(types.String))))
		}))),
	}
	for name, v := range variables {
		options = append(options, cel.Variable(name, v.kind))
	}
	for name := range calendars {
		options = append(options, cel.Variable(openPrefix+name, cel.BoolType))
	}
	return cel.NewEnv(options...)
}

// condition is a compiled one.
type condition struct {
	program cel.Program
	uses    []string // the variables it names, sorted
}

// compile checks a condition. The error says what is allowed.
func compile(env *cel.Env, text string) (*condition, error) {
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		var problems []string
		for _, e := range issues.Errors() {
			problems = append(problems, fmt.Sprintf("%s (character %d)%s", e.Message, e.Location.Column()+1, hint(env, e.Message)))
		}
		return nil, fmt.Errorf("%s", strings.Join(problems, "; "))
	}
	if ast.OutputType() != cel.BoolType {
		return nil, fmt.Errorf("the condition is a %s, and must be true or false", ast.OutputType())
	}
	estimate, err := env.EstimateCost(ast, sizes{})
	if err != nil {
		return nil, fmt.Errorf("estimate cost: %w", err)
	}
	if estimate.Max > maxCost {
		return nil, fmt.Errorf("the condition may cost %d, and at most %d is allowed: avoid loops over words within loops", estimate.Max, maxCost)
	}
	program, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, err
	}
	c := &condition{program: program}
	uses := map[string]bool{}
	for _, r := range ast.NativeRep().ReferenceMap() {
		if r.Name != "" {
			uses[r.Name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(uses)) {
		if _, known := variables[name]; known || strings.HasPrefix(name, openPrefix) {
			c.uses = append(c.uses, name)
		}
	}
	return c, nil
}

// hint lists what there is, if a condition names what there is not.
func hint(env *cel.Env, message string) string {
	if !strings.Contains(message, "undeclared reference") {
		return ""
	}
	var names []string
	for _, v := range env.Variables() {
		if _, known := variables[v.Name()]; known || strings.HasPrefix(v.Name(), openPrefix) {
			names = append(names, v.Name())
		}
	}
	slices.Sort(names)
	return "; there are " + strings.Join(slices.Compact(names), ", ")
}

// holds asks the condition.
func (c *condition) holds(a *activation) (bool, error) {
	out, _, err := c.program.Eval(a)
	if err != nil {
		return false, err
	}
	return out == types.True, nil
}

// sizes tells cel-go how long facts may be.
type sizes struct{}

// EstimateSize implements cost.Estimator.
func (sizes) EstimateSize(n cost.AstNode) *cost.SizeEstimate {
	path := n.Path()
	if len(path) == 0 {
		if e := n.Expr(); e != nil && e.Kind() == celast.IdentKind {
			path = []string{e.AsIdent()}
		} else {
			return nil
		}
	}
	items := path[len(path)-1] == "@items"
	name := strings.Join(slices.DeleteFunc(slices.Clone(path), func(s string) bool { return s == "@items" }), ".")
	v, ok := variables[name]
	switch {
	case !ok:
		return nil
	case items:
		return &cost.SizeEstimate{Max: maxNameBytes}
	case v.most > 0:
		return &cost.SizeEstimate{Max: uint64(v.most)}
	}
	return nil
}

// EstimateCallCost implements cost.Estimator.
func (sizes) EstimateCallCost(function, _ string, _ *cost.AstNode, args []cost.AstNode) *cost.CallEstimate {
	if function != "fold" || len(args) != 1 {
		return nil
	}
	size := cost.SizeEstimate{Max: MaxTextBytes}
	if known := args[0].ComputedSize(); known != nil {
		size = *known
	} else if known := (sizes{}).EstimateSize(args[0]); known != nil {
		size = *known
	}
	return &cost.CallEstimate{CostEstimate: size.MultiplyByCostFactor(1), ResultSize: &size}
}
