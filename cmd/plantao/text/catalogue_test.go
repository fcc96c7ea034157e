package text

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// placeholder is one verb of fmt; %% is none.
var placeholder = regexp.MustCompile(`%(?:\[(\d+)\])?[-+# 0-9.]*([a-zA-Z%])`)

// placeholders are the verbs of a sentence by the position of their value.
func placeholders(t *testing.T, said string) []string {
	t.Helper()
	var verbs []string
	for _, m := range placeholder.FindAllStringSubmatch(said, -1) {
		if m[2] == "%" {
			continue
		}
		at := len(verbs)
		if m[1] != "" {
			n, err := strconv.Atoi(m[1])
			require.NoError(t, err)
			at = n - 1
		}
		for len(verbs) <= at {
			verbs = append(verbs, "")
		}
		verbs[at] = m[2]
	}
	return verbs
}

func TestEverySentenceInEveryLanguage(t *testing.T) {
	for key, entry := range catalogue() {
		require.Len(t, entry, len(Languages()), "languages of %s", key)
		for _, language := range Languages() {
			require.NotEmpty(t, entry[language], "%s in %s", key, language)
			require.Equal(t, placeholders(t, entry[English]), placeholders(t, entry[language]), "placeholders of %s in %s", key, language)
			for line := range strings.Lines(entry[language]) {
				line = strings.TrimRight(line, "\n")
				require.Equal(t, strings.TrimRight(line, " \t"), line, "%s in %s ends a line with a blank", key, language)
			}
		}
	}
}

// TestCommandsAreNotTranslated holds that what is to be typed is the same in every language.
func TestCommandsAreNotTranslated(t *testing.T) {
	typed := regexp.MustCompile(`(?:\b(?:make (?:up|setup|env|test)|plantao (?:doctor|status|logs|images lock|passphrase init|help|conversation [a-z]+|channel [a-z]+|deadletter [a-z]+)|docker (?:stop|system|version|login|restart)|PULUMI_[A-Z_]+|DOCKER_[A-Z_]+|PLANTAO_[A-Z_]+|(?:AI|HUMAN)_[A-Z]+|[a-z_]+\.ya?ml|(?:ai|human):[a-zA-Z]+)|--[a-z-]+)\b`)
	commands := func(said string) []string {
		found := typed.FindAllString(said, -1)
		sort.Strings(found)
		return found
	}
	for key, entry := range catalogue() {
		require.Equal(t, commands(entry[English]), commands(entry[Portuguese]), "commands in %s", key)
	}
}

// source is one Go file of the program.
type source struct {
	path string
	file *ast.File
}

func sources(t *testing.T) []source {
	t.Helper()
	var out []source
	require.NoError(t, filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == "testdata" || entry.Name() == "enginetest") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		out = append(out, source{path, file})
		return err
	}))
	require.NotEmpty(t, out)
	return out
}

func TestKeysAreThoseOfTheCatalogueAndAllUsed(t *testing.T) {
	declared := map[string]bool{}
	used := map[string]bool{}
	for _, s := range sources(t) {
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				if filepath.Base(s.path) == "keys.go" {
					value, err := strconv.Unquote(n.Values[0].(*ast.BasicLit).Value)
					require.NoError(t, err)
					require.Equal(t, n.Names[0].Name, value, "a key is named as it is spelled")
					declared[value] = true
					return false
				}
			case *ast.Ident:
				used[n.Name] = true
			}
			return true
		})
	}
	for key := range catalogue() {
		require.True(t, declared[string(key)], "%s is in catalogue.yaml but not in keys.go", key)
		require.True(t, used[string(key)], "%s is never said", key)
	}
	require.Len(t, declared, len(catalogue()), "keys.go names sentences that are not in catalogue.yaml")
}

// sayers take a key followed by the values for its placeholders.
var sayers = map[string]bool{
	"New": true, "Fail": true, "Because": true, "Say": true, "say": true, "note": true, "usage": true, "notFound": true,
}

func TestEverySentenceGetsItsValues(t *testing.T) {
	calls := 0
	for _, s := range sources(t) {
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || !sayers[nameOf(call.Fun)] {
				return true
			}
			for i, arg := range call.Args {
				entry, known := catalogue()[Key(nameOf(arg))]
				if !known || call.Ellipsis.IsValid() {
					continue
				}
				calls++
				require.Len(t, call.Args[i+1:], len(placeholders(t, entry[English])), "values for %s in %s", nameOf(arg), s.path)
				break
			}
			return true
		})
	}
	require.Greater(t, calls, 100, "the test no longer finds the calls")
}

func nameOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// technical calls take words that engineers read: causes of errors, and panics.
var technical = map[string]bool{"fmt.Errorf": true, "errors.New": true, "panic": true, "e.wrap": true, "engine.wrap": true, "fmt.Sscan": true}

// typed are literals that are typed or parsed, not said; a literal that begins like one passes.
var typed = []string{
	"pulumi stack output ",                // a command to type
	"docker exec ",                        // likewise
	"doctor [", "preflight [", "status [", // usage lines: names of commands and flags
	"take ID", "handback ID", "pass ID", "close ID", "hold ID", "resume ID", "settle ID", "why ID", "show ID", "list [",
	"…] [-f] [",
	"redrive ID", "drop ID",
	"env ", "label ", // where an image says its release
	"{{with",          // a template
	"# Written by ",   // the head of the lock file
	"reach Docker at", // the cause in an UnreachableError, which the program replaces
}

// TestNoSentenceOutsideTheCatalogue looks for literals with two words in a row.
func TestNoSentenceOutsideTheCatalogue(t *testing.T) {
	sentence := regexp.MustCompile(`\p{L}{2,},? \p{L}{2,}`)
	for _, s := range sources(t) {
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ImportSpec:
				return false
			case *ast.Field:
				return n.Tag == nil
			case *ast.CallExpr:
				return !technical[qualified(n.Fun)]
			case *ast.BasicLit:
				if n.Kind != token.STRING {
					return true
				}
				value, err := strconv.Unquote(n.Value)
				require.NoError(t, err)
				for _, prefix := range typed {
					if strings.HasPrefix(value, prefix) {
						return true
					}
				}
				require.False(t, sentence.MatchString(value), "%q in %s belongs into catalogue.yaml", value, s.path)
			}
			return true
		})
	}
}

func qualified(e ast.Expr) string {
	if selector, ok := e.(*ast.SelectorExpr); ok {
		return nameOf(selector.X) + "." + selector.Sel.Name
	}
	return nameOf(e)
}

func TestCatalogueHasNoDuplicateKey(t *testing.T) {
	body, err := os.ReadFile("catalogue.yaml")
	require.NoError(t, err)
	seen := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^(\w+):`).FindAllStringSubmatch(string(body), -1) {
		require.False(t, seen[m[1]], "%s stands twice", m[1])
		seen[m[1]] = true
	}
}
