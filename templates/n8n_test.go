package templates

import (
	"encoding/json"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What the flows are made of, in the versions that every n8n the stack runs knows. None is from a community package.
const (
	hookType    = "n8n-nodes-base.webhook"
	respondType = "n8n-nodes-base.respondToWebhook"
	noteType    = "n8n-nodes-base.stickyNote"
	setType     = "n8n-nodes-base.set"
	codeType    = "n8n-nodes-base.code"
)

var knownVersions = map[string]float64{
	noteType: 1, hookType: 2.1, setType: 3.4, codeType: 2, respondType: 1.4,
	"n8n-nodes-base.if": 2.2, "n8n-nodes-base.switch": 3.2, "n8n-nodes-base.httpRequest": 4.2,
	"@n8n/n8n-nodes-langchain.chainLlm": 1.7, "@n8n/n8n-nodes-langchain.lmChatOpenAi": 1.2,
}

// knownCredentials are those Install makes.
var knownCredentials = map[string]string{"httpHeaderAuth": "Plantão: token do router", "openAiApi": "Plantão: modelo de IA"}

type flowNode struct {
	ID          string                       `json:"id"`
	Name        string                       `json:"name"`
	Type        string                       `json:"type"`
	TypeVersion float64                      `json:"typeVersion"`
	OnError     string                       `json:"onError"`
	Parameters  map[string]any               `json:"parameters"`
	Credentials map[string]map[string]string `json:"credentials"`
}

type flow struct {
	Name        string                               `json:"name"`
	Nodes       []flowNode                           `json:"nodes"`
	Connections map[string]map[string][][]flowTarget `json:"connections"`
	Settings    map[string]any                       `json:"settings"`
	PinData     map[string]any                       `json:"pinData"`
}

type flowTarget struct {
	Node string `json:"node"`
	Type string `json:"type"`
}

func flows(t *testing.T) map[string]flow {
	t.Helper()
	names, err := fs.Glob(N8N(), "*.json")
	require.NoError(t, err)
	all := map[string]flow{}
	for _, name := range names {
		b, err := fs.ReadFile(N8N(), name)
		require.NoError(t, err)
		var f flow
		require.NoError(t, json.Unmarshal(b, &f), name)
		all[strings.TrimSuffix(name, ".json")] = f
	}
	return all
}

func TestFlowsAreThere(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"atendimento", "transbordo", "horario", "satisfacao"} {
		assert.Contains(t, flows(t), name)
	}
}

func TestFlows(t *testing.T) {
	t.Parallel()
	ids := map[string]string{}
	for file, f := range flows(t) {
		t.Run(file, func(t *testing.T) {
			g := graph{flow: f, nodes: map[string]flowNode{}}
			for _, n := range f.Nodes {
				assert.NotContains(t, g.nodes, n.Name)
				g.nodes[n.Name] = n
				assert.Empty(t, ids[n.ID], "%q has the id of %q", n.Name, ids[n.ID])
				ids[n.ID] = file + "/" + n.Name
				assert.Equal(t, knownVersions[n.Type], n.TypeVersion, "type version of %q, %s", n.Name, n.Type)
			}
			g.trigger(t, file)
			g.operators(t, file)
			g.secrets(t)
			g.paths(t)
			g.references(t)
			assert.NotZero(t, f.Settings["executionTimeout"], "a flow ends")
			assert.Equal(t, "none", f.Settings["callerPolicy"])
			assert.Equal(t, "none", f.Settings["saveDataSuccessExecution"], "what customers write is not kept in n8n")
		})
	}
}

// graph is a flow with its nodes by name.
type graph struct {
	flow
	nodes map[string]flowNode
}

func (g graph) of(kind string) []flowNode {
	var found []flowNode
	for _, n := range g.Nodes {
		if n.Type == kind {
			found = append(found, n)
		}
	}
	return found
}

// trigger: one webhook, named like the file, that asks for the router's token and leaves the answer to the one node that gives it.
func (g graph) trigger(t *testing.T, file string) {
	hooks := g.of(hookType)
	require.Len(t, hooks, 1)
	p := hooks[0].Parameters
	assert.Equal(t, file, p["path"])
	assert.Equal(t, "POST", p["httpMethod"])
	assert.Equal(t, "headerAuth", p["authentication"])
	assert.Equal(t, "responseNode", p["responseMode"])
	responds := g.of(respondType)
	require.Len(t, responds, 1)
	assert.Equal(t, "firstIncomingItem", responds[0].Parameters["respondWith"])
}

// operators find one note and one place to edit, right behind the webhook, with every text in both languages.
func (g graph) operators(t *testing.T, file string) {
	notes := g.of(noteType)
	require.Len(t, notes, 1)
	assert.Contains(t, notes[0].Parameters["content"], "templates/n8n/"+file+".json")
	assert.Contains(t, notes[0].Parameters["content"], "*Configuração*")
	first := g.Connections[g.of(hookType)[0].Name]["main"]
	require.Equal(t, [][]flowTarget{{{"Configuração", "main"}}}, first)
	node := g.nodes["Configuração"]
	require.Equal(t, setType, node.Type)
	raw, err := json.Marshal(node.Parameters["assignments"])
	require.NoError(t, err)
	var settings struct {
		Assignments []struct {
			Name, Type string
			Value      any
		}
	}
	require.NoError(t, json.Unmarshal(raw, &settings))
	found := map[string]bool{}
	for _, s := range settings.Assignments {
		assert.False(t, found[s.Name], "%s is set twice", s.Name)
		found[s.Name] = true
		text, _ := s.Value.(string)
		assert.False(t, strings.HasPrefix(text, "="), "%s is an expression; operators edit plain values", s.Name)
		if s.Type != "object" && s.Type != "array" {
			continue
		}
		require.True(t, json.Valid([]byte(text)), s.Name)
		if s.Name == "textos" {
			var texts map[string]map[string]any
			require.NoError(t, json.Unmarshal([]byte(text), &texts))
			assert.Equal(t, []string{"en", "pt"}, slices.Sorted(maps.Keys(texts)))
			sameShape(t, texts["pt"], texts["en"])
		}
	}
	assert.True(t, found["textos"] && found["idioma"])
}

// sameShape: both languages have the same texts, none empty, with the same places for values.
func sameShape(t *testing.T, a, b any) {
	t.Helper()
	switch a := a.(type) {
	case map[string]any:
		b, _ := b.(map[string]any)
		assert.Equal(t, slices.Sorted(maps.Keys(a)), slices.Sorted(maps.Keys(b)))
		for k := range a {
			sameShape(t, a[k], b[k])
		}
	case []any:
		assert.Len(t, b, len(a))
	case string:
		b, _ := b.(string)
		assert.NotEmpty(t, a)
		assert.NotEmpty(t, b, a)
		place := regexp.MustCompile(`\{\w+\}`)
		assert.ElementsMatch(t, place.FindAllString(a, -1), place.FindAllString(b, -1), a)
	}
}

// secrets: credentials are named, never held, and nothing looks like a key.
func (g graph) secrets(t *testing.T) {
	assert.Empty(t, g.PinData)
	for _, n := range g.Nodes {
		for kind, ref := range n.Credentials {
			assert.Equal(t, map[string]string{"name": knownCredentials[kind]}, ref, n.Name)
		}
		raw, err := json.Marshal(n.Parameters)
		require.NoError(t, err)
		assert.NotRegexp(t, `sk-[A-Za-z0-9]|Bearer |(?i)api[_-]?key"?\s*[:=]`, string(raw), n.Name)
	}
}

// paths: every node is reached, every way out of a node leads somewhere, there is no circle, and every path ends in the one
// node that answers.
func (g graph) paths(t *testing.T) {
	reached := map[string]bool{}
	var walk func(name string, behind []string)
	walk = func(name string, behind []string) {
		n, ok := g.nodes[name]
		require.True(t, ok, "a connection leads to %q, which is not there", name)
		require.NotContains(t, behind, name, "a circle: %v", append(behind, name))
		reached[name] = true
		outs := g.Connections[name]["main"]
		if n.Type == respondType {
			assert.Empty(t, outs, "something follows the answer")
			return
		}
		assert.Len(t, outs, ways(n), "ways out of %q", name)
		for i, out := range outs {
			require.Len(t, out, 1, "way %d out of %q: two ways would answer twice, none never", i, name)
			walk(out[0].Node, append(slices.Clone(behind), name))
		}
	}
	walk(g.of(hookType)[0].Name, nil)
	for name, kinds := range g.Connections { // what serves another node: a model
		for kind, outs := range kinds {
			if kind != "main" && len(outs) == 1 && len(outs[0]) == 1 && reached[outs[0][0].Node] {
				reached[name] = true
			}
		}
	}
	for name, n := range g.nodes {
		assert.True(t, reached[name] || n.Type == noteType, "%q is not reached", name)
	}
}

// ways is how many ways lead out of a node.
func ways(n flowNode) int {
	ways := 1
	switch n.Type {
	case "n8n-nodes-base.if":
		ways = 2
	case "n8n-nodes-base.switch":
		rules := n.Parameters["rules"].(map[string]any)["values"].([]any)
		ways = len(rules)
		if n.Parameters["options"].(map[string]any)["fallbackOutput"] == "extra" {
			ways++
		}
	}
	if n.OnError == "continueErrorOutput" {
		ways++
	}
	return ways
}

// references: the nodes an expression or a code names are there, and code has neither chance nor a way out of n8n.
func (g graph) references(t *testing.T) {
	named := regexp.MustCompile(`\$\('([^']+)'\)`)
	for _, n := range g.Nodes {
		raw, err := json.Marshal(n.Parameters)
		require.NoError(t, err)
		for _, m := range named.FindAllStringSubmatch(string(raw), -1) {
			assert.Contains(t, g.nodes, m[1], "named in %q", n.Name)
		}
		for _, forbidden := range []string{"$env", "$vars", "$getWorkflowStaticData", "Math.random", "Date.now", "new Date", "$now", "$today", "require(", "fetch(", "eval("} {
			assert.NotContains(t, string(raw), forbidden, n.Name)
		}
		if code, ok := n.Parameters["jsCode"].(string); ok {
			assert.Equal(t, codeType, n.Type)
			assert.Less(t, strings.Count(code, "\n"), 75, "the code of %q is not small", n.Name)
			assert.True(t, strings.HasPrefix(code, "// "), "the code of %q begins with what it does", n.Name)
		}
	}
}
