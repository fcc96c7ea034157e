package server

import (
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

var update = flag.Bool("update", false, "write the OpenAPI file anew")

// described is where the API's description stands for those who write clients.
var described = filepath.Join("..", "api", "openapi.json")

func TestOpenAPIFileIsCurrent(t *testing.T) {
	t.Parallel()
	s := newServer(&ingest{})
	served := get(s, "/v1/openapi.json")
	require.Equal(t, http.StatusOK, served.Code)
	var spec map[string]any
	require.NoError(t, json.Unmarshal(served.Body.Bytes(), &spec))
	text, err := json.MarshalIndent(spec, "", "  ")
	require.NoError(t, err)
	text = append(text, '\n')
	if *update {
		require.NoError(t, os.WriteFile(described, text, 0o600))
	}
	want, err := os.ReadFile(described)
	require.NoError(t, err)
	require.Equal(t, string(want), string(text), "runtime/api/openapi.json is not what is served; `make generate` writes it anew")
}

func TestEveryOperationIsDescribedAndGuarded(t *testing.T) {
	t.Parallel()
	spec := newServer(&ingest{}).spec.OpenAPI()
	require.Equal(t, "3.1.0", spec.OpenAPI)
	operations := map[string]bool{}
	for _, item := range spec.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Delete} {
			if op == nil {
				continue
			}
			operations[op.OperationID] = true
			require.NotEmpty(t, op.Summary, op.OperationID)
			require.NotEmpty(t, op.Security, op.OperationID)
			for _, status := range []string{"401", "422", "429", "503"} {
				require.Contains(t, op.Responses, status, op.OperationID)
			}
		}
	}
	for _, v := range conversation.Verbs() {
		require.True(t, operations[string(v)+"-conversation"], "verb %s has no endpoint", v)
	}
	require.Len(t, verbTable, len(conversation.Verbs()))
}
