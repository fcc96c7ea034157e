package devstack

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"plantao/runtime/api"
)

// CLI runs bin/plantao in the project's folder as an operator would, on this stack. It returns what stood on standard output,
// and fails the test unless the command ends with the exit code.
func (s *Stack) CLI(t *testing.T, code int, args ...string) string {
	t.Helper()
	args = append(args, "--stack", s.Name)
	cmd := exec.CommandContext(t.Context(), filepath.Join(s.Root, "bin", "plantao"), args...)
	cmd.Dir = s.Root
	// Neither a router of the developer's own nor their language.
	cmd.Env = append(append([]string{}, s.env...), "PLANTAO_ROUTER_URL=", "PLANTAO_ROUTER_TOKEN=", "PLANTAO_ROUTER_TOKEN_FILE=", "PLANTAO_LANG=en")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	require.Equal(t, code, cmd.ProcessState.ExitCode(), "plantao %v:\n%s%s", args, out.String(), errs.String())
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(&s.output, "$ plantao %s\n%s%s\n", strings.Join(args, " "), out.String(), errs.String())
	return out.String()
}

// ConversationOf is the customer's conversation, as the operator's CLI shows it.
func (s *Stack) ConversationOf(t *testing.T, c *Customer) api.Conversation {
	t.Helper()
	var list api.Conversations
	require.NoError(t, json.Unmarshal([]byte(s.CLI(t, 0, "conversation", "list", "--limit", "1000", "--json")), &list))
	for _, one := range list.Conversations {
		if strings.HasPrefix(one.Contact.ID, c.Number+"@") {
			return one
		}
	}
	require.Fail(t, "the customer has no conversation", c.Number)
	return api.Conversation{}
}
