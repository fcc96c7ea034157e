package postgres_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
	"plantao/runtime/postgres"
	"plantao/runtime/postgres/postgrestest"
)

// TestAVerbWhoseAnswerIsLostIsDoneOnce breaks the connection at each request a verb makes, before the server gets it and
// before the client gets its answer. The caller cannot tell one from the other; the same key again gets the same result.
func TestAVerbWhoseAnswerIsLostIsDoneOnce(t *testing.T) {
	t.Parallel()
	d := newDesk(t, postgrestest.New(t))
	proxy := d.db.NewLossyProxy(t)
	id := d.talk(toF)
	const warm, cold = "a connection that has done this before", "a new connection"
	seen := map[string]int{}
	for round, way := range []string{cold, warm} {
		for n := 1; ; n++ {
			reached := false
			for _, answered := range []bool{false, true} {
				store, err := postgres.Open(postgres.Config{URL: proxy.URL, AppName: t.Name(), MaxConns: 1})
				require.NoError(t, err)
				before := d.find(id)
				if way == warm {
					c := d.handOver(before, fmt.Sprint("warm", n, answered))
					_, err := store.Do(t.Context(), c)
					require.NoError(t, err)
					before = d.find(id)
				}
				cmd := d.handOver(before, fmt.Sprint("key", round, n, answered))
				proxy.Lose(n, answered)
				first, err := store.Do(t.Context(), cmd)
				lost := !proxy.Spare()
				reached = reached || lost
				require.Equal(t, lost, err != nil, "%v", err)
				done := d.text("select count(*)::text from verb_idem where key = $1", cmd.Key) == "1"
				require.True(t, done || lost)
				switch {
				case done && lost:
					seen["done, and the caller does not know"]++
				case lost:
					seen["not done, and the caller does not know"]++
				}

				var second conversation.Result
				require.NoError(t, conversation.Insist(context.Background(), func() (err error) {
					second, err = store.Do(context.Background(), cmd)
					return err
				}))
				require.Equal(t, done, second.Replayed)
				require.EqualValues(t, before.Version+1, second.Seq)
				require.EqualValues(t, before.Epoch+1, second.Conversation.Epoch)
				require.Equal(t, cmd.To, second.Conversation.Owner)
				if !lost {
					require.Equal(t, first.Seq, second.Seq)
				}
				require.Equal(t, before.Version+1, d.find(id).Version, "one effect")
				require.Equal(t, "1", d.text("select count(*)::text from audit where detail ->> 'key' = $1", cmd.Key), "one audit entry")
				store.Close()
			}
			if !reached {
				require.Greater(t, n, 2, "a verb takes two requests at least")
				break
			}
		}
	}
	d.verify(id)
	t.Log(seen)
	require.Positive(t, seen["done, and the caller does not know"])
	require.Positive(t, seen["not done, and the caller does not know"])
}

// handOver hands a conversation from ana to bia, or back, whoever has it.
func (d *desk) handOver(now conversation.Conversation, key string) conversation.Command {
	to := toAna
	if now.Owner == toAna {
		to.ID = "bia"
	}
	return conversation.Command{Verb: conversation.VerbPass, Tenant: "default", Conversation: now.ID, Key: key, IfEpoch: now.Epoch, To: to,
		Actor: conversation.Actor{Kind: conversation.ActorOperator, ID: "op"}}
}
