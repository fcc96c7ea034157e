package api

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

// TestADecisionComesBackAsItWas: what rules are asked about is the same on either side of the wire.
func TestADecisionComesBackAsItWas(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	for _, facts := range []conversation.Facts{
		{Now: noon, LastOwner: conversation.Nobody, LastOwnerAt: noon, Texts: []string{}, Kinds: []string{}, Labels: []string{}},
		{Now: noon, Contact: conversation.Contact{JID: "5511987654321@s.whatsapp.net", Name: "Maria"}, Attempts: 2, Labels: []string{"vip"}, Texts: []string{"a", "b"}, Kinds: []string{"x", "y"}, Waiting: 2,
			Since: noon.Add(-time.Minute), Before: 7, BeforeAt: noon.Add(-time.Hour), Stretches: 3,
			LastOwner: conversation.Owner{Kind: conversation.OwnedByQueue, ID: "noite"}, LastOwnerAt: noon.Add(-time.Hour)},
	} {
		u := conversation.Unrouted{Tenant: conversation.DefaultTenant, Channel: "principal", Flow: "vendas", State: conversation.Routing, Facts: facts}
		sent := u
		sent.Conversation = 42
		back, err := FromDecided(conversation.Decided{Unrouted: sent, Owner: conversation.Nobody}, 100).Unrouted()
		require.NoError(t, err)
		require.Equal(t, u, back)
	}
	_, err := Decision{Facts: Facts{LastOwner: "x:y"}}.Unrouted()
	require.ErrorIs(t, err, conversation.ErrInvalid)
}

func TestTextsAreCutWhereACharacterEnds(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"abc", strings.Repeat("ã", 3), ""}, within([]string{"abc", "ãããã", "x"}, 10))
	require.Equal(t, []string{"abc", "d"}, within([]string{"abc", "d"}, 10))
}
