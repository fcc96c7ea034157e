//go:build e2e

package main

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// knownSchemaDifferences is everything of the SDK that the built plugin does not serve as the SDK has it, by
// "<type>.<property>". Programs of this project use none of them.
var knownSchemaDifferences = map[string]string{
	// Gone upstream: Docker itself has refused networks of the same name since API 1.44, whatever this said.
	"Network.checkDuplicate":     "missing",
	"NetworkArgs.checkDuplicate": "missing",
	// The native image resource and its types; RemoteImage with its build block builds images.
	"CacheFrom":   "type missing",
	"DockerBuild": "type missing",
	"Registry":    "type missing",
}

type typeSpec struct {
	Type                 string
	Ref                  string `json:"$ref"`
	Items                *typeSpec
	AdditionalProperties *typeSpec
}

// shape is a type as both sides can tell it: scalar kind, "object", or those in [] and map[].
func (s *typeSpec) shape() string {
	switch {
	case s.Ref != "":
		return "object"
	case s.Items != nil:
		return "[]" + s.Items.shape()
	case s.AdditionalProperties != nil:
		return "map[]" + s.AdditionalProperties.shape()
	default:
		return map[string]string{"boolean": "bool", "integer": "int", "number": "float64", "string": "string"}[s.Type]
	}
}

type objectSpec struct {
	Properties      map[string]*typeSpec
	InputProperties map[string]*typeSpec
}

// TestSchemaServesTheSDK compares the built plugin's schema with the Go SDK's structs: every resource, every nested
// type, every property, and whether it is a scalar, a list, a map or an object.
func TestSchemaServesTheSDK(t *testing.T) {
	var schema struct {
		Resources map[string]objectSpec
		Types     map[string]objectSpec
	}
	home, err := os.UserHomeDir()
	require.NoError(t, err)
	plugin := filepath.Join(home, ".pulumi", "plugins", "resource-docker-"+dockerPluginVersion)
	if _, err := os.Stat(filepath.Join(plugin, ourMark)); err != nil {
		t.Skip("the official Docker plugin is installed; it needs no check")
	}
	get := exec.Command("pulumi", "package", "get-schema", filepath.Join(plugin, dockerPluginName))
	get.Dir = t.TempDir() // below the project, its Pulumi.yaml would be read for other plugins
	get.Stderr = os.Stderr
	out, err := get.Output()
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(out, &schema))

	structs := sdkStructs(t)
	found := map[string]string{}
	compare := func(name string, served map[string]*typeSpec, withShape bool) {
		for property, shape := range structs[name] {
			key := strings.ToUpper(name[:1]) + name[1:] + "." + property
			switch spec := served[property]; {
			case spec == nil:
				found[key] = "missing"
			case withShape && spec.shape() != shape:
				found[key] = spec.shape() + " instead of " + shape
			}
		}
	}
	for _, resource := range []string{"Container", "Network", "Volume", "RemoteImage", "RegistryImage", "Plugin", "Secret", "Service", "ServiceConfig", "Tag", "BuildxBuilder"} {
		lower := strings.ToLower(resource[:1]) + resource[1:]
		served, ok := schema.Resources["docker:index/"+lower+":"+resource]
		require.True(t, ok, "resource %s", resource)
		require.NotEmpty(t, structs[lower+"Args"], "the SDK's struct of %s", resource)
		compare(lower+"Args", served.InputProperties, true)
		compare(resource, served.Properties, false)
	}
	types := 0
	for name, sdk := range structs {
		// A plain struct of a nested type; its Args, Output and so on are made from it.
		if _, nested := structs[name+"Output"]; !nested || len(sdk) == 0 || schema.Resources["docker:index/"+strings.ToLower(name[:1])+name[1:]+":"+name].Properties != nil {
			continue
		}
		types++
		served, ok := schema.Types["docker:index/"+name+":"+name]
		if !ok { // types of functions begin with a small letter
			function := strings.ToLower(name[:1]) + name[1:]
			served, ok = schema.Types["docker:index/"+function+":"+function]
		}
		if ok {
			compare(name, served.Properties, true)
		} else if name != "Image" && name != "Provider" && !strings.HasSuffix(name, "Result") {
			found[name] = "type missing"
		}
	}
	require.Greater(t, types, 50, "the test no longer finds the SDK's types")
	for key, why := range found {
		t.Logf("%s: %s", key, why)
	}
	require.Equal(t, knownSchemaDifferences, found)
}

// sdkStructs reads the SDK's Go source: struct name → property → shape. Output wrappers have the shape "".
func sdkStructs(t *testing.T) map[string]map[string]string {
	t.Helper()
	cmd := exec.Command("go", "mod", "download", "-json", "github.com/pulumi/pulumi-docker/sdk/v4@"+dockerPluginVersion)
	cmd.Dir = t.TempDir()
	out, err := cmd.Output()
	require.NoError(t, err)
	var module struct{ Dir string }
	require.NoError(t, json.Unmarshal(out, &module))
	structs := map[string]map[string]string{}
	files, err := filepath.Glob(filepath.Join(module.Dir, "go", "docker", "*.go"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	sort.Strings(files)
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if s, ok := spec.Type.(*ast.StructType); ok {
				structs[spec.Name.Name] = properties(t, s)
			}
			return false
		})
	}
	return structs
}

func properties(t *testing.T, s *ast.StructType) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, field := range s.Fields.List {
		if field.Tag == nil {
			continue
		}
		tag, err := strconv.Unquote(field.Tag.Value)
		require.NoError(t, err)
		if name := strings.TrimSuffix(reflect.StructTag(tag).Get("pulumi"), ",optional"); name != "" {
			out[name] = goShape(field.Type)
		}
	}
	return out
}

func goShape(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return goShape(e.X)
	case *ast.ArrayType:
		return "[]" + goShape(e.Elt)
	case *ast.MapType:
		return "map[]" + goShape(e.Value)
	case *ast.Ident:
		switch e.Name {
		case "bool", "int", "float64", "string":
			return e.Name
		}
		return "object"
	default:
		return ""
	}
}

// TestWholeToolchain runs the program as `make up` does, twice: afterwards everything is there, and the second run has
// nothing to do. On a cold cache it takes as long as a first `make setup`.
func TestWholeToolchain(t *testing.T) {
	tools, err := filepath.Abs("..")
	require.NoError(t, err)
	for range 2 {
		var said syncBuffer
		require.NoError(t, run(t.Context(), []string{"--tools", tools, "--for", "up,test,lab", "--print-env"}, &said, &said), said.String())
		require.Contains(t, said.String(), "export PATH=")
	}
	_, err = os.Stat(filepath.Join(tools, dockerPluginName, "upstream"))
	require.ErrorIs(t, err, fs.ErrNotExist, "nothing is built inside the clone")
}
