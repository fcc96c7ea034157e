package postgres_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"plantao/runtime/audit"
	"plantao/runtime/conversation"
	"plantao/runtime/postgres"
	"plantao/runtime/postgres/postgrestest"
)

// recoveries is what Config.Recovered was told.
type recoveries struct {
	mu   sync.Mutex
	told []string
}

func (r *recoveries) note(generation int64, suspended int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, fmt.Sprintf("generation %d, %d suspended", generation, suspended))
}

func (r *recoveries) open(t *testing.T, url string) *postgres.Store {
	t.Helper()
	store, err := postgres.Open(postgres.Config{URL: url, AppName: t.Name(), Recovered: r.note})
	require.NoError(t, err)
	t.Cleanup(store.Close)
	return store
}

// desk is a world whose turns have real tokens.
type desk struct {
	*world
	sign func(conversation.TurnRef) string
}

func newDesk(t *testing.T, db *postgrestest.Database) *desk {
	key, err := conversation.NewTurnKey([]byte(strings.Repeat("k", conversation.MinTurnKeyBytes)))
	require.NoError(t, err)
	return &desk{world: newWorldOn(t, db), sign: key.Token}
}

// talk is a conversation, given to whom; nobody leaves it as it came in.
func (d *desk) talk(to conversation.Owner) conversation.ID {
	d.t.Helper()
	id := d.receive(message(uuid.NewString(), uuid.NewString()+"@lid")).Conversation
	if to != conversation.Nobody {
		d.do(id, conversation.VerbClaim, to)
	}
	return id
}

func (d *desk) find(id conversation.ID) conversation.Conversation {
	d.t.Helper()
	c, err := d.store.Find(d.t.Context(), "default", id)
	require.NoError(d.t, err)
	return c
}

func (d *desk) stands(id conversation.ID, want string) {
	d.t.Helper()
	c := d.find(id)
	require.Equal(d.t, want, fmt.Sprintf("%s %s %d", c.State, c.Owner, c.Epoch))
}

// do is an operator's verb on the conversation as it stands.
func (d *desk) do(id conversation.ID, v conversation.Verb, to conversation.Owner) conversation.Conversation {
	d.t.Helper()
	c := conversation.Command{Verb: v, Tenant: "default", Conversation: id, IfEpoch: d.find(id).Epoch, To: to,
		Actor: conversation.Actor{Kind: conversation.ActorOperator, ID: "op"}}
	r, err := d.store.Do(d.t.Context(), c)
	require.NoError(d.t, err)
	return r.Conversation
}

// turn claims whichever turn is due.
func (d *desk) turn() conversation.Turn {
	d.t.Helper()
	terms := d.terms(d.me)
	terms.Sign = d.sign
	t, err := d.store.ClaimTurn(d.t.Context(), terms)
	require.NoError(d.t, err)
	return t
}

// shutOut expects that nothing can be done with a turn any more.
func (d *desk) shutOut(t conversation.Turn, found error) {
	d.t.Helper()
	_, err := d.store.FindTurn(d.t.Context(), t.Conversation, t.No, t.Token)
	require.ErrorIs(d.t, err, found)
	require.ErrorIs(d.t, d.store.Reply(d.t.Context(), t.TurnRef, t.Token, []conversation.Part{{Text: "late"}}), conversation.ErrStaleEpoch)
	for part := range 3 {
		require.False(d.t, d.pass(t.TurnRef, part))
	}
}

func (d *desk) verify(id conversation.ID) []audit.Entry {
	d.t.Helper()
	trail, err := d.store.AuditTrail(d.t.Context(), id)
	require.NoError(d.t, err)
	require.NoError(d.t, audit.Verify(trail))
	require.EqualValues(d.t, len(trail), d.find(id).Version)
	return trail
}

var (
	toF      = conversation.Owner{Kind: conversation.OwnedByAI, ID: "f"}
	toAna    = conversation.Owner{Kind: conversation.OwnedByHuman, ID: "ana"}
	toNobody = conversation.Owner{}
)

// TestFailoverToAStandbyThatMissedTheEnd: what the world saw and the promoted standby does not know must fit nothing there.
func TestFailoverToAStandbyThatMissedTheEnd(t *testing.T) {
	t.Parallel()
	pair := postgrestest.NewPair(t)
	d := newDesk(t, pair.Primary)
	address := pair.Primary.NewProxy(t) // which leads to whoever is primary
	var told recoveries
	running := told.open(t, address.URL)

	asked := d.talk(toF)
	askedTurn := d.turn()
	wired := d.talk(toF)
	wiredTurn := d.turn()
	require.NoError(t, d.store.Reply(t.Context(), wiredTurn.TurnRef, wiredTurn.Token, []conversation.Part{{Text: "um"}, {Text: "dois"}}))
	require.True(t, d.pass(wiredTurn.TurnRef, 1))
	human := d.talk(toAna)
	fresh := d.talk(conversation.Nobody)
	closed := d.talk(toAna)
	d.do(closed, conversation.VerbClose, toNobody)
	require.NoError(t, running.Ping(t.Context()))
	pair.CatchUp()
	require.ErrorIs(t, pair.Standby.Store(t).Ping(t.Context()), postgres.ErrStandby)

	// The tail that is lost.
	pair.Detach()
	d.do(asked, conversation.VerbTake, toAna)
	d.do(human, conversation.VerbHandback, toF)
	d.receive(message("lost", d.find(human).Contact.JID))
	humanTurn := d.turn()
	require.Equal(t, human, humanTurn.Conversation)
	d.do(fresh, conversation.VerbClaim, toF)
	freshTurn := d.turn()
	require.Equal(t, fresh, freshTurn.Conversation)
	pair.Fail()
	pair.Promote()
	address.Point(pair.Standby)

	// Every router notices at once; one of them recovers.
	stores := []*postgres.Store{running, told.open(t, pair.Standby.URL), told.open(t, pair.Standby.URL)}
	var all sync.WaitGroup
	for _, s := range stores {
		all.Go(func() {
			assert.NoError(t, conversation.Insist(context.Background(), func() error { return s.Ping(context.Background()) }))
		})
	}
	all.Wait()
	require.Equal(t, []string{"generation 2, 2 suspended"}, told.told)
	d.store, d.pg = running, pair.Standby.Conn(t)

	d.stands(asked, "SUSPENDED none 1002")
	c := d.find(asked)
	require.Equal(t, &conversation.Held{State: conversation.AIActive, Owner: toF}, c.Held)
	require.Nil(t, c.Turn, "its turn is cancelled")
	require.True(t, c.Waiting, "its messages wait")
	d.shutOut(askedTurn, conversation.ErrStaleEpoch)
	trail := d.verify(asked)
	last := trail[len(trail)-1]
	require.Equal(t, []string{"recover", "router", "commits_may_be_lost", "2"}, []string{last.Verb, last.Actor, last.Reason, last.Detail["cluster"]})

	d.stands(wired, "SUSPENDED none 1002")
	require.Equal(t, conversation.TurnSending, d.find(wired).Turn.State, "nobody knows yet what became of the part on the wire")
	d.shutOut(wiredTurn, conversation.ErrStaleEpoch)
	ok, err := d.store.Sent(t.Context(), conversation.PartRef{TurnRef: wiredTurn.TurnRef, Part: 1}, conversation.Delivery{MessageID: "X"})
	require.NoError(t, err)
	require.True(t, ok)
	require.Nil(t, d.find(wired).Turn)

	// Who had it may not have been lost: it stays, and the next change of owner leaves the lost epochs behind.
	d.stands(human, "HUMAN_ACTIVE human:ana 1")
	d.shutOut(humanTurn, conversation.ErrBadToken)
	d.receive(message("found", d.find(human).Contact.JID))
	d.do(human, conversation.VerbHandback, toF)
	d.stands(human, "AI_ACTIVE ai:f 1002")
	d.receive(message("next", d.find(human).Contact.JID))
	next := d.turn()
	require.Equal(t, []any{human, humanTurn.No, humanTurn.Gen}, []any{next.Conversation, next.No, next.Gen}, "the lost turn's number and generation, again")
	d.shutOut(humanTurn, conversation.ErrBadToken)
	require.NoError(t, d.store.Reply(t.Context(), next.TurnRef, next.Token, nil))
	d.do(human, conversation.VerbTake, toAna)
	d.stands(human, "HUMAN_ACTIVE human:ana 1003")

	d.stands(fresh, "IDLE none 0")
	d.shutOut(freshTurn, conversation.ErrBadToken)
	d.do(fresh, conversation.VerbClaim, toF)
	d.stands(fresh, "AI_ACTIVE ai:f 1001")
	d.shutOut(freshTurn, conversation.ErrBadToken)
	require.EqualValues(t, 2, d.turn().Cluster)

	d.stands(closed, "CLOSED none 2")
	d.do(closed, conversation.VerbReopen, toNobody)
	d.stands(closed, "ROUTING none 2")
	d.do(closed, conversation.VerbClaim, toF)
	d.stands(closed, "AI_ACTIVE ai:f 1003")

	d.do(asked, conversation.VerbResume, toNobody)
	d.stands(asked, "AI_ACTIVE ai:f 1003")
	require.Equal(t, asked, d.turn().Conversation)
	for _, id := range []conversation.ID{asked, wired, human, fresh, closed} {
		d.verify(id)
	}
	require.NoError(t, told.open(t, pair.Standby.URL).Ping(t.Context()))
	require.Len(t, told.told, 1, "who comes later finds it done")
}

// TestAnotherSystemIsARestore: a database that is not the one the router last stood on was restored from somewhere.
func TestAnotherSystemIsARestore(t *testing.T) {
	t.Parallel()
	d := newDesk(t, postgrestest.New(t))
	var ids []conversation.ID
	for range 30 {
		ids = append(ids, d.talk(toF))
	}
	_, err := d.store.Do(t.Context(), conversation.Command{Verb: conversation.VerbOffer, Tenant: "default", Conversation: ids[1], IfEpoch: 1,
		Actor: conversation.Actor{Kind: conversation.ActorAI, ID: "f"}, To: toAna, Wait: time.Hour})
	require.NoError(t, err)
	for generation, change := range []string{"system_id = 'another'", "timeline = timeline + 1", "timeline = timeline - 1"} {
		if generation == 2 { // one of them is an AI's again
			d.do(ids[0], conversation.VerbResume, toNobody)
		}
		d.exec("update cluster set " + change)
		var told recoveries
		var all sync.WaitGroup
		for range 3 {
			store := told.open(t, d.db.URL)
			for range 3 { // a router's connections look too, each for itself
				all.Go(func() { assert.NoError(t, store.Ping(context.Background())) })
			}
		}
		all.Wait()
		require.Equal(t, []string{fmt.Sprintf("generation %d, %d suspended", generation+2, []int{30, 0, 1}[generation])}, told.told)
		d.store = told.open(t, d.db.URL)
	}
	d.stands(ids[0], "SUSPENDED none 3004")
	d.stands(ids[1], "SUSPENDED none 1002")
	require.Equal(t, &conversation.Held{State: conversation.AIActive, Owner: toF}, d.find(ids[1]).Held, "what was offered meanwhile is not")
	d.do(ids[1], conversation.VerbResume, toNobody)
	d.stands(ids[1], "AI_ACTIVE ai:f 2003") // two losses since, one jump: it was nobody's meanwhile
	for _, id := range ids {
		d.verify(id)
	}
}
