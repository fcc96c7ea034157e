package n8n

import (
	"encoding/json"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"plantao/templates"
)

const hookNode = `{"name":"In","type":"n8n-nodes-base.webhook","parameters":{"httpMethod":"POST","path":"x","authentication":"headerAuth"},
	"credentials":{"httpHeaderAuth":{"name":"Plantão: token do router"}}}`

func TestReadWorkflowsShipped(t *testing.T) {
	t.Parallel()
	files, err := readWorkflows(templates.N8N())
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, f := range files {
		assert.NotEmpty(t, f.webhooks, f.file)
	}
	assert.Equal(t, []webhook{{"POST", "atendimento"}}, files[0].webhooks)
}

func TestReadWorkflowsRefuses(t *testing.T) {
	t.Parallel()
	wrap := func(nodes string) string { return `{"name":"a","nodes":[` + nodes + `],"connections":{}}` }
	for name, c := range map[string]struct{ file, want string }{
		"broken JSON":      {"{\"name\":\n\n1,}", "broken JSON at line 3"},
		"another shape":    {`{"name":1}`, "not an n8n export"},
		"a list":           {`[]`, "not an n8n export"},
		"no nodes":         {`{"name":"a","nodes":[],"connections":{}}`, `needs "name", "nodes" and "connections"`},
		"nameless node":    {wrap(`{"type":"x"}`), "node 1 needs a name and a type"},
		"two of one name":  {wrap(hookNode + "," + hookNode), `two nodes are named "In"`},
		"no path":          {wrap(`{"name":"In","type":"n8n-nodes-base.webhook","parameters":{}}`), "needs a fixed path"},
		"dynamic path":     {wrap(`{"name":"In","type":"n8n-nodes-base.webhook","parameters":{"path":"a/:id"}}`), "needs a fixed path"},
		"open webhook":     {wrap(`{"name":"In","type":"n8n-nodes-base.webhook","parameters":{"path":"x"}}`), "must use header authentication"},
		"other credential": {wrap(`{"name":"In","type":"n8n-nodes-base.webhook","parameters":{"path":"x","authentication":"headerAuth"},"credentials":{"httpHeaderAuth":{"name":"y"}}}`), "must use header authentication"},
		"no credential name": {wrap(`{"name":"In","type":"x","credentials":{"openAiApi":{"id":"1"}}}`),
			"the credential of type openAiApi has no name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := readWorkflows(fstest.MapFS{"a.json": {Data: []byte(c.file)}})
			require.ErrorContains(t, err, "workflow file a.json")
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestReadWorkflowsAcrossFiles(t *testing.T) {
	t.Parallel()
	file := &fstest.MapFile{Data: []byte(`{"name":"a","nodes":[` + hookNode + `],"connections":{}}`)}
	_, err := readWorkflows(fstest.MapFS{"1.json": file, "2.json": file})
	require.ErrorContains(t, err, `2.json: the name "a" is also used by 1.json`)
	require.ErrorContains(t, err, `2.json: the webhook POST x is also opened by 1.json`)
	_, err = readWorkflows(fstest.MapFS{"readme.md": file})
	require.ErrorContains(t, err, "no .json file")
}

func TestDifference(t *testing.T) {
	t.Parallel()
	const base = `{"name":"a","nodes":[{"name":"N","type":"t","position":[0,0],"parameters":{"a":1,"options":{}}}],
		"connections":{"N":{"main":[[{"node":"N","type":"main","index":0}]]}},"settings":{"executionOrder":"v1"}}`
	for name, c := range map[string]struct{ have, want string }{
		"equal": {base, ""},
		"what n8n adds": {`{"name":"a","nodes":[{"name":"N","type":"t","position":[0,0],"parameters":{"a":1},"id":"1","webhookId":"2","disabled":false,"notesInFlow":true}],
			"connections":{"N":{"main":[[{"node":"N","type":"main","index":0}]]}},"settings":{"executionOrder":"v1","callerPolicy":"any"}}`, ""},
		"renamed": {`{"name":"b"}`, "name"},
		"setting": {`{"name":"a","settings":{"executionOrder":"v0"}}`, "settings.executionOrder"},
		"connection cut": {`{"name":"a","nodes":[],"connections":{"N":{"main":[[]]}},"settings":{"executionOrder":"v1"}}`,
			"connections"},
		"node added": {`{"name":"a","nodes":[{"name":"N"},{"name":"M"}],"connections":{"N":{"main":[[{"node":"N","type":"main","index":0}]]}},
			"settings":{"executionOrder":"v1"}}`, "nodes"},
		"switched off": {`{"name":"a","nodes":[{"name":"N","type":"t","position":[0,0],"parameters":{"a":1},"disabled":true}],
			"connections":{"N":{"main":[[{"node":"N","type":"main","index":0}]]}},"settings":{"executionOrder":"v1"}}`, "nodes.N.disabled"},
		"parameter added": {`{"name":"a","nodes":[{"name":"N","type":"t","position":[0,0],"parameters":{"a":1,"b":false}}],
			"connections":{"N":{"main":[[{"node":"N","type":"main","index":0}]]}},"settings":{"executionOrder":"v1"}}`, "nodes.N.parameters"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var want, have workflow
			require.NoError(t, json.Unmarshal([]byte(base), &want))
			require.NoError(t, json.Unmarshal([]byte(c.have), &have))
			assert.Equal(t, c.want, want.difference(have))
		})
	}
}
