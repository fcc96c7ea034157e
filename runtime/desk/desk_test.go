package desk_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

func TestTheThinPath(t *testing.T) {
	l := newLab(t)
	d, seen := l.desk(nil)
	l.writes("M1", "oi")
	l.gives()
	l.settle(d)
	require.Equal(t, []string{"incoming oi"}, l.shown())
	require.Equal(t, "pending", l.status())

	id := l.replies("bom dia")
	l.look(d)
	require.Equal(t, conversation.Owner{Kind: conversation.OwnedByHuman, ID: "1"}, l.now().Owner)
	require.Equal(t, "open user:1", l.status())
	require.Equal(t, []conversation.Outcome{conversation.OutcomeDone}, l.phone.sends())
	require.Equal(t, []string{"bom dia"}, l.phone.texts())

	l.look(d)
	require.Equal(t, []string{"incoming oi", "outgoing bom dia"}, l.shown())
	require.Equal(t, 1, seen.of("heard said"))
	status, _ := l.messageStatus(id)
	require.Equal(t, "sent", status)
}
