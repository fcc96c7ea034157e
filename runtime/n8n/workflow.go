package n8n

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"strings"
)

const webhookNode = "n8n-nodes-base.webhook"

// workflow is what Install writes: the part of n8n's export form that decides what a workflow does.
type workflow struct {
	Name string `json:"name"`
	// Nodes are objects with at least name, type and parameters.
	Nodes []map[string]any `json:"nodes"`
	// Connections are keyed by the name of the node they start from.
	Connections map[string]any `json:"connections"`
	Settings    map[string]any `json:"settings"`
}

// workflowFile is one file of InstallConfig.Workflows.
type workflowFile struct {
	workflow
	// file is the file's name.
	file string
	// webhooks are the production webhooks the file's enabled trigger nodes open.
	webhooks []webhook
	// credentials are those the nodes refer to by name, except the router's own.
	credentials []credentialRef
}

// webhook is a production webhook; path has no leading slash.
type webhook struct{ method, path string }

// credentialRef is how a file names a credential: its n8n type and its display name.
type credentialRef struct{ kind, name string }

// readWorkflows reads and checks all files, reporting every problem at once.
func readWorkflows(folder fs.FS) ([]workflowFile, error) {
	names, err := fs.Glob(folder, "*.json")
	if err != nil {
		return nil, fmt.Errorf("list workflow files: %w", err)
	}
	if len(names) == 0 {
		return nil, errors.New("the folder of workflow files holds no .json file")
	}
	slices.Sort(names)
	var (
		files    []workflowFile
		problems []error
		by       = map[string]string{}
		paths    = map[webhook]string{}
	)
	for _, name := range names {
		f, err := readWorkflow(folder, name)
		if err != nil {
			problems = append(problems, fmt.Errorf("workflow file %s: %w", name, err))
			continue
		}
		if other, taken := by[f.Name]; taken {
			problems = append(problems, fmt.Errorf("workflow file %s: the name %q is also used by %s", name, f.Name, other))
		}
		by[f.Name] = name
		for _, hook := range f.webhooks {
			if other, taken := paths[hook]; taken {
				problems = append(problems, fmt.Errorf("workflow file %s: the webhook %s %s is also opened by %s", name, hook.method, hook.path, other))
			}
			paths[hook] = name
		}
		files = append(files, f)
	}
	return files, errors.Join(problems...)
}

func readWorkflow(folder fs.FS, name string) (workflowFile, error) {
	f := workflowFile{file: name}
	b, err := fs.ReadFile(folder, name)
	if err != nil {
		return f, fmt.Errorf("read it: %w", err)
	}
	if err := json.Unmarshal(b, &f.workflow); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			line := 1 + strings.Count(string(b[:syntax.Offset]), "\n")
			return f, fmt.Errorf("broken JSON at line %d: %w; export the workflow from n8n again", line, err)
		}
		return f, fmt.Errorf("not an n8n export: %w", err)
	}
	if f.Name == "" || len(f.Nodes) == 0 || f.Connections == nil {
		return f, errors.New(`not an n8n export: it needs "name", "nodes" and "connections"`)
	}
	if f.Settings == nil {
		f.Settings = map[string]any{}
	}
	// n8n derives it and ignores what it is sent.
	delete(f.Settings, "binaryMode")
	return f, f.readNodes()
}

// readNodes collects what the nodes refer to and refuses what would leave a webhook open.
func (f *workflowFile) readNodes() error {
	var problems []error
	seen := map[string]bool{}
	for i, node := range f.Nodes {
		name, _ := node["name"].(string)
		kind, _ := node["type"].(string)
		switch {
		case name == "" || kind == "":
			problems = append(problems, fmt.Errorf("node %d needs a name and a type", i+1))
			continue
		case seen[name]:
			problems = append(problems, fmt.Errorf("two nodes are named %q", name))
		}
		seen[name] = true
		refs, err := credentialRefs(node)
		if err != nil {
			problems = append(problems, fmt.Errorf("node %q: %w", name, err))
			continue
		}
		for _, ref := range refs {
			if ref != (credentialRef{credentialType, CredentialName}) {
				f.credentials = append(f.credentials, ref)
			}
		}
		if disabled, _ := node["disabled"].(bool); kind != webhookNode || disabled {
			continue
		}
		hook, err := readWebhook(node, refs)
		if err != nil {
			problems = append(problems, fmt.Errorf("node %q: %w", name, err))
			continue
		}
		f.webhooks = append(f.webhooks, hook)
	}
	return errors.Join(problems...)
}

// readWebhook refuses a webhook that would answer callers without the router's token: it could be called
// by everything that reaches n8n.
func readWebhook(node map[string]any, refs []credentialRef) (webhook, error) {
	parameters, _ := node["parameters"].(map[string]any)
	text := func(key string) string { s, _ := parameters[key].(string); return s }
	hook := webhook{method: text("httpMethod"), path: strings.Trim(text("path"), "/")}
	if hook.method == "" {
		hook.method = "GET" // n8n's default, which its export leaves out
	}
	switch {
	case hook.path == "" || strings.ContainsAny(hook.path, ":={} "):
		return hook, fmt.Errorf("the webhook needs a fixed path, not %q", text("path"))
	case text("authentication") != "headerAuth" || !slices.Contains(refs, credentialRef{credentialType, CredentialName}):
		return hook, fmt.Errorf("the webhook must use header authentication with the credential %q", CredentialName)
	}
	return hook, nil
}

func credentialRefs(node map[string]any) ([]credentialRef, error) {
	var refs []credentialRef
	all, _ := node["credentials"].(map[string]any)
	for _, kind := range slices.Sorted(maps.Keys(all)) {
		one, _ := all[kind].(map[string]any)
		name, _ := one["name"].(string)
		if name == "" {
			return nil, fmt.Errorf("the credential of type %s has no name", kind)
		}
		refs = append(refs, credentialRef{kind, name})
	}
	return refs, nil
}

// resolve is the file's workflow with the ids n8n gave its credentials.
func (f *workflowFile) resolve(ids map[credentialRef]string) workflow {
	w := f.workflow
	w.Nodes = make([]map[string]any, len(f.Nodes))
	for i, node := range f.Nodes {
		w.Nodes[i] = maps.Clone(node)
		all, _ := node["credentials"].(map[string]any)
		if len(all) == 0 {
			continue
		}
		resolved := map[string]any{}
		for kind, one := range all {
			name, _ := one.(map[string]any)["name"].(string)
			resolved[kind] = map[string]any{"id": ids[credentialRef{kind, name}], "name": name}
		}
		w.Nodes[i]["credentials"] = resolved
	}
	return w
}

// behaviour are the fields of a node that change what it does and that n8n leaves out at their defaults: one
// that n8n has and the file has not is a difference. Anything else n8n adds to a node is not.
var behaviour = []string{
	"alwaysOutputData", "continueOnFail", "credentials", "disabled", "executeOnce", "maxTries", "onError", "parameters",
	"retryOnFail", "waitBetweenTries",
}

// difference names the first field in which have does not do what w says; empty: none.
func (w workflow) difference(have workflow) string {
	if w.Name != have.Name {
		return "name"
	}
	for _, key := range slices.Sorted(maps.Keys(w.Settings)) {
		if !same(w.Settings[key], have.Settings[key]) {
			return "settings." + key
		}
	}
	if !same(w.Connections, have.Connections) {
		return "connections"
	}
	stored := map[string]map[string]any{}
	for _, node := range have.Nodes {
		name, _ := node["name"].(string)
		stored[name] = node
	}
	if len(stored) != len(w.Nodes) {
		return "nodes"
	}
	for _, node := range w.Nodes {
		name, _ := node["name"].(string)
		other, ok := stored[name]
		if !ok {
			return "nodes." + name
		}
		keys := append(slices.Sorted(maps.Keys(node)), behaviour...)
		for _, key := range keys {
			if !same(switched(node[key]), switched(other[key])) {
				return "nodes." + name + "." + key
			}
		}
	}
	return ""
}

// switched makes a node's own switch that is off equal to one that is absent.
func switched(v any) any {
	if v == false {
		return nil
	}
	return v
}

// same compares JSON values; absent, null and an empty object mean the same to n8n. A false inside
// parameters or settings does not: the default there may be true.
func same(a, b any) bool { return reflect.DeepEqual(canonical(a), canonical(b)) }

func canonical(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, value := range v {
			if c := canonical(value); c != nil {
				out[key] = c
			}
		}
		if len(out) == 0 {
			return nil
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, value := range v {
			out[i] = canonical(value)
		}
		return out
	}
	return v
}
