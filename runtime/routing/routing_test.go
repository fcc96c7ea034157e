package routing

import (
	"testing"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

func TestChannelFlow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		flow string
		to   conversation.Owner
	}{
		{"atendimento", conversation.Owner{Kind: conversation.OwnedByAI, ID: "atendimento"}},
		{"", conversation.Owner{Kind: conversation.OwnedByQueue}},
	} {
		u := conversation.Unrouted{Conversation: 7, Flow: c.flow, State: conversation.Idle, Epoch: 3}
		d := ChannelFlow{}.Decide(u)
		require.Equal(t, c.to, d.To)
		require.NotEmpty(t, d.Reason, "the audit records why")
		require.NotEmpty(t, d.RuleVersion)
		require.Equal(t, d, ChannelFlow{}.Decide(u), "equal facts, equal decisions")
	}
}
