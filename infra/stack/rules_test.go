package stack

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReadRules(t *testing.T) {
	t.Parallel()
	project := t.TempDir()
	write := func(text string) {
		require.NoError(t, os.WriteFile(filepath.Join(project, "rules.yaml"), []byte(text), 0o600))
	}
	text, err := readRules(project, "")
	require.NoError(t, err)
	require.Empty(t, text)
	_, err = readRules(project, "rules.yaml")
	require.ErrorContains(t, err, "plantao:rules names a file that cannot be read")
	write("rules: [{name: a, when: 'true', to: {ai: a}}]\n")
	text, err = readRules(project, "rules.yaml")
	require.NoError(t, err)
	require.Equal(t, "rules: [{name: a, when: 'true', to: {ai: a}}]\n", text)
	write("rules:\n- {name: a, when: message.txt == '', to: {ai: a}}\n")
	_, err = readRules(project, "rules.yaml")
	require.ErrorContains(t, err, "rules.yaml:2: undeclared reference to 'message.txt'")
}
