package devstack

import (
	"testing"

	"github.com/stretchr/testify/require"

	"plantao/runtime/client"
)

// Router is the first replica's API, with the operator's token.
func (s *Stack) Router(t *testing.T) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{
		URL: "http://" + s.IP(t, "router-1", "app") + ":8080", Token: s.MustSecrets(t)["secret-router-operator-token.value"],
	})
	require.NoError(t, err)
	return c
}
