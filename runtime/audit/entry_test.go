package audit

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func chain() []Entry {
	var entries []Entry
	var prev []byte
	for i := range 3 {
		e := Entry{
			Tenant: "default", Conversation: 7, Seq: int64(i + 1), At: time.UnixMicro(int64(i)), Actor: "router", Verb: "claim",
			StateFrom: "A", StateTo: "B", EpochFrom: int64(i), EpochTo: int64(i + 1), Reason: "r",
			Detail: map[string]string{"a": "1", "b": "2"}, Prev: prev,
		}
		e.Hash = e.Sum()
		prev = e.Hash
		entries = append(entries, e)
	}
	return entries
}

func TestVerify(t *testing.T) {
	t.Parallel()
	require.NoError(t, Verify(nil))
	require.NoError(t, Verify(chain()))
	for name, spoil := range map[string]func([]Entry) []Entry{
		"changed":   func(c []Entry) []Entry { c[1].Reason = "x"; return c },
		"detail":    func(c []Entry) []Entry { c[1].Detail["a"] = "x"; return c },
		"boundary":  func(c []Entry) []Entry { c[1].Actor, c[1].Verb = "routerc", "laim"; return c },
		"missing":   func(c []Entry) []Entry { return append(c[:1], c[2]) },
		"cut front": func(c []Entry) []Entry { return c[1:] },
		"rehashed":  func(c []Entry) []Entry { c[0].Reason = "x"; c[0].Hash = c[0].Sum(); return c },
	} {
		require.ErrorIs(t, Verify(spoil(chain())), ErrBroken, name)
	}
}
