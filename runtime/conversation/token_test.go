package conversation

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTokenDependsOnEveryField(t *testing.T) {
	t.Parallel()
	key, err := NewTurnKey([]byte(strings.Repeat("k", MinTurnKeyBytes)))
	require.NoError(t, err)
	other, err := NewTurnKey([]byte(strings.Repeat("l", MinTurnKeyBytes)))
	require.NoError(t, err)
	base := TurnRef{Tenant: "t", Conversation: 1, No: 2, Epoch: 3, Gen: 4, Deadline: time.UnixMicro(5)}
	seen := map[string]bool{other.Token(base): true}
	for _, change := range []func(*TurnRef){
		func(*TurnRef) {},
		func(r *TurnRef) { r.Tenant = "u" },
		func(r *TurnRef) { r.Conversation++ },
		func(r *TurnRef) { r.No++ },
		func(r *TurnRef) { r.Epoch++ },
		func(r *TurnRef) { r.Gen++ },
		func(r *TurnRef) { r.Deadline = r.Deadline.Add(time.Microsecond) },
		func(r *TurnRef) { r.Cluster++ },
	} {
		r := base
		change(&r)
		token := key.Token(r)
		require.False(t, seen[token])
		require.Equal(t, token, key.Token(r))
		seen[token] = true
	}
	_, err = NewTurnKey([]byte("short"))
	require.Error(t, err)
}

func TestTurnKeyNeverPrints(t *testing.T) {
	t.Parallel()
	secret := strings.Repeat("k", MinTurnKeyBytes)
	key, err := NewTurnKey([]byte(secret))
	require.NoError(t, err)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		require.NotContains(t, fmt.Sprintf(verb, key), "kkk", verb)
		require.NotContains(t, fmt.Sprintf(verb, struct{ K TurnKey }{key}), "107 107", verb)
	}
	data, err := json.Marshal(key) //nolint:staticcheck // that nothing is marshalled is what is tested
	require.NoError(t, err)
	require.Equal(t, "{}", string(data))
}
