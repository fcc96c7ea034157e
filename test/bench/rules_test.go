//go:build e2e

package bench

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"
	"github.com/stretchr/testify/require"

	"plantao/runtime/routing/rules"
	"plantao/test/figure"
)

// conditions are such as a shop would write; none holds for the facts of TestRules but the last one.
func conditions(n int) []string {
	list := make([]string, n)
	for i := range list {
		switch i % 4 {
		case 0:
			list[i] = fmt.Sprintf(`"produto%d" in message.words && channel.name == "principal"`, i)
		case 1:
			list[i] = fmt.Sprintf(`channel.name == "canal%d" || contact.phone.startsWith("55%d")`, i, 1000+i)
		case 2:
			list[i] = fmt.Sprintf(`cause == "released" && last.kind == "ai" && last.id == "fluxo%d" && last.since < duration("72h")`, i)
		case 3:
			list[i] = fmt.Sprintf(`message.count > %d && history.messages == 0 && !message.text.contains("pedido %d")`, 10+i, i)
		}
	}
	list[n-1] = `message.text.contains("comprar") && history.since > duration("24h")`
	return list
}

func ruleFile(conditions []string) []byte {
	var text strings.Builder
	text.WriteString("rules:\n")
	for i, c := range conditions {
		fmt.Fprintf(&text, "  - {name: regra-%d, when: '%s', to: {ai: fluxo%d}}\n", i, c, i)
	}
	return []byte(text.String())
}

// TestRules measures a decision over 200 rules beside the evaluation of the same conditions by cel-go alone, over values that are
// there; and how long 1,000 rules take to be read, checked and compiled, which is how long the routers give out no conversation.
func TestRules(t *testing.T) {
	rounds, each := 31, 400
	if os.Getenv("SMOKE") != "" {
		rounds, each = 7, 100
	}
	const many = 200
	list := conditions(many)
	set, err := rules.Read("rules.yaml", ruleFile(list))
	require.NoError(t, err)
	facts := rules.Facts{
		Now: time.Unix(1_790_000_000, 0), Channel: "principal", Contact: rules.Contact{Name: "Maria", Phone: "5511987654321"}, Cause: "message",
		Message: rules.Message{Text: "Bom dia! Queria comprar dois, é possível ainda hoje?", Kinds: []string{"conversation"}, Count: 1},
		History: rules.History{Messages: 12, Since: 48 * time.Hour}, Last: rules.Last{Kind: "ai", ID: "atendimento", Since: 40 * time.Hour},
	}
	require.Equal(t, fmt.Sprintf("regra-%d", many-1), set.Decide(facts).Rule)

	texts := cel.ListType(cel.StringType)
	env, err := cel.NewEnv(ext.Strings(), ext.Sets(), cel.Variable("message.words", texts), cel.Variable("message.text", cel.StringType),
		cel.Variable("message.count", cel.IntType), cel.Variable("channel.name", cel.StringType), cel.Variable("contact.phone", cel.StringType),
		cel.Variable("cause", cel.StringType), cel.Variable("last.kind", cel.StringType), cel.Variable("last.id", cel.StringType),
		cel.Variable("last.since", cel.DurationType), cel.Variable("history.messages", cel.IntType), cel.Variable("history.since", cel.DurationType))
	require.NoError(t, err)
	programs := make([]cel.Program, many)
	for i, c := range list {
		ast, issues := env.Compile(c)
		require.NoError(t, issues.Err())
		programs[i], err = env.Program(ast, cel.EvalOptions(cel.OptOptimize))
		require.NoError(t, err)
	}
	values := map[string]any{
		"message.words": types.NewStringList(types.DefaultTypeAdapter, []string{"bom", "dia", "queria", "comprar", "dois", "e", "possivel", "ainda", "hoje"}),
		"message.text":  facts.Message.Text, "message.count": int64(1), "channel.name": facts.Channel, "contact.phone": facts.Contact.Phone,
		"cause": facts.Cause, "last.kind": facts.Last.Kind, "last.id": facts.Last.ID, "last.since": facts.Last.Since,
		"history.messages": int64(12), "history.since": facts.History.Since,
	}
	bare := func() {
		for i, p := range programs {
			out, _, err := p.Eval(values)
			if err != nil || (out == types.True) != (i == many-1) {
				require.NoError(t, err)
				require.Equal(t, i == many-1, out == types.True)
			}
		}
	}
	took := func(f func()) time.Duration {
		begin := time.Now()
		for range each {
			f()
		}
		return time.Since(begin) / time.Duration(each)
	}
	var share, ours, theirs []float64
	for range rounds { // interleaved: what else the machine does hits both
		o, b := took(func() { set.Decide(facts) }), took(bare)
		ours, theirs, share = append(ours, o.Seconds()*1e6), append(theirs, b.Seconds()*1e6), append(share, float64(o)/float64(b))
	}
	t.Logf("%d rules: a decision %.0f µs, bare %.0f µs; ratios %.2f", many, middle(ours), middle(theirs), share)
	sheet.Add(figure.Figure{Name: "rules-decision-vs-bare", Value: middle(share), Unit: "ratio", Op: "<=", Target: 1.3})

	var reload []float64
	file := ruleFile(conditions(1000))
	for range rounds {
		begin := time.Now()
		_, err := rules.Read("rules.yaml", file)
		require.NoError(t, err)
		reload = append(reload, time.Since(begin).Seconds()*1e3)
	}
	t.Logf("1000 rules read in %.0f ms", reload)
	sheet.Add(figure.Figure{Name: "rules-reload-of-1000", Value: middle(reload), Unit: "ms", Op: "<=", Target: 200})
}
