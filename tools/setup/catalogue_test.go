package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// verbs are the placeholders of a text by the position of their value; %% is none.
func verbs(t *testing.T, text string) []string {
	t.Helper()
	var out []string
	for _, m := range regexp.MustCompile(`%(?:\[(\d+)\])?[-+# 0-9.]*([a-zA-Z%])`).FindAllStringSubmatch(text, -1) {
		if m[2] == "%" {
			continue
		}
		at := len(out)
		if m[1] != "" {
			n, err := strconv.Atoi(m[1])
			require.NoError(t, err)
			at = n - 1
		}
		for len(out) <= at {
			out = append(out, "")
		}
		out[at] = m[2]
	}
	return out
}

func TestEverySentenceInBothLanguages(t *testing.T) {
	all, err := readCatalogue()
	require.NoError(t, err)
	for key, texts := range all {
		require.Len(t, texts, 2, "languages of %s", key)
		require.NotEmpty(t, texts[english], "%s in English", key)
		require.NotEmpty(t, texts[portuguese], "%s in Portuguese", key)
		require.Equal(t, verbs(t, texts[english]), verbs(t, texts[portuguese]), "placeholders of %s", key)
		// What is typed is the same in every language.
		typed := regexp.MustCompile("`[^`]+`|--[a-z-]+|GOPROXY|DOCKER_HOST|XDG_CACHE_HOME|/etc/[a-z./]+")
		require.ElementsMatch(t, typed.FindAllString(texts[english], -1), typed.FindAllString(texts[portuguese], -1), "commands in %s", key)
	}
}

// TestKeysAreThoseOfTheFileAndUsed reads this package's source, so that a sentence cannot be forgotten on either side.
func TestKeysAreThoseOfTheFileAndUsed(t *testing.T) {
	all, err := readCatalogue()
	require.NoError(t, err)
	declared, used := map[string]textKey{}, map[string]int{}
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				if id, ok := n.Type.(*ast.Ident); ok && id.Name == "textKey" {
					value, err := strconv.Unquote(n.Values[0].(*ast.BasicLit).Value)
					require.NoError(t, err)
					declared[n.Names[0].Name] = textKey(value)
				}
			case *ast.Ident:
				used[n.Name]++
			}
			return true
		})
	}
	require.Len(t, declared, len(all), "keys in catalogue.go and catalogue.yaml")
	for name, key := range declared {
		require.Contains(t, all, key)
		require.Equal(t, "key"+string(key), name)
		require.Greater(t, used[name], 1, "%s is never said", name)
	}
}

// TestEverySentenceGetsItsValues counts the arguments of say and userError.
func TestEverySentenceGetsItsValues(t *testing.T) {
	all, err := readCatalogue()
	require.NoError(t, err)
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	calls := 0
	for _, path := range files {
		body, err := os.ReadFile(path)
		require.NoError(t, err)
		file, err := parser.ParseFile(token.NewFileSet(), path, body, 0)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			skip := map[string]int{"say": 1, "userError": 2}[calledName(call)]
			id, ok := call.Args[0].(*ast.Ident)
			if skip == 0 || !ok || !strings.HasPrefix(id.Name, "key") || call.Ellipsis.IsValid() {
				return true
			}
			calls++
			text := all[textKey(strings.TrimPrefix(id.Name, "key"))][english]
			require.Len(t, call.Args[skip:], len(verbs(t, text)), "values for %s in %s", id.Name, path)
			return true
		})
	}
	require.Greater(t, calls, 30, "the test no longer finds the calls")
}

func calledName(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

func TestLanguage(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want string
	}{
		{nil, english},
		{map[string]string{"LANG": "pt_BR.UTF-8"}, portuguese},
		{map[string]string{"LANG": "pt_PT.UTF-8"}, portuguese},
		{map[string]string{"LANG": "C.UTF-8"}, english},
		{map[string]string{"LANG": "pt_BR.UTF-8", "LC_ALL": "C"}, english},
		{map[string]string{"LC_ALL": "C", "PLANTAO_LANG": "pt-BR"}, portuguese},
		{map[string]string{"LANG": "pt_BR.UTF-8", "PLANTAO_LANG": "en"}, english},
		{map[string]string{"LANG": "ptx"}, english},
	} {
		require.Equal(t, c.want, language(func(name string) string { return c.env[name] }), "%v", c.env)
	}
}
