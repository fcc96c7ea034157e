package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
	"plantao/runtime/postgres"
)

// contact is somebody WhatsApp knows by three ids.
type contact struct {
	ids  [3]string // phone with the ninth digit, phone without, LID
	said atomic.Int64
}

// crowd is what happens to three contacts at two replicas at once.
type crowd struct {
	*world
	stores   []*postgres.Store
	contacts []*contact
	busy     sync.WaitGroup
}

func newCrowd(t *testing.T) *crowd {
	c := &crowd{world: newWorld(t)}
	c.stores = []*postgres.Store{c.store, c.db.Store(t)}
	for i := range 3 {
		c.contacts = append(c.contacts, &contact{ids: [3]string{
			fmt.Sprintf("551198888777%d@s.whatsapp.net", i), fmt.Sprintf("55118888777%d@s.whatsapp.net", i), fmt.Sprintf("%d@lid", i)}})
	}
	return c
}

// write is a message under one of the contact's ids, in which WhatsApp may name others.
func (c *crowd) write(store *postgres.Store, who *contact, jid, alt, form string) error {
	e := message(uuid.NewString(), jid)
	e.AltJID, e.FormJID = alt, form
	e.SentAt = time.Now().Add(-time.Duration(rand.IntN(5)) * time.Second)
	_, err := store.Receive(c.t.Context(), []conversation.Event{e}, conversation.Window{})
	if err == nil {
		who.said.Add(1)
	}
	return err
}

func (c *crowd) ids() (list []conversation.ID) {
	all, err := c.stores[0].List(c.t.Context(), conversation.Filter{Tenant: "default"})
	assert.NoError(c.t, err)
	for _, one := range all {
		list = append(list, one.ID)
	}
	return list
}

// act does one thing that happens to a router, and expects the domain's refusals only.
func (c *crowd) act(r *rand.Rand, store *postgres.Store) {
	ctx := c.t.Context()
	refusable := func(err error) {
		for _, e := range []error{conversation.ErrStaleEpoch, conversation.ErrWrongState, conversation.ErrMerged, conversation.ErrTurnClosed,
			conversation.ErrNothingDue, conversation.ErrOnTheWire, conversation.ErrInvalid, conversation.ErrNoAgent} {
			if errors.Is(err, e) {
				return
			}
		}
		assert.NoError(c.t, err)
	}
	switch r.IntN(8) {
	case 0, 1, 2:
		who := c.contacts[r.IntN(3)]
		jid, alt, form := r.IntN(3), "", ""
		if r.IntN(3) == 0 {
			alt = who.ids[(jid+1+r.IntN(2))%3]
		}
		if jid < 2 && r.IntN(3) == 0 {
			form = who.ids[1-jid]
		}
		assert.NoError(c.t, c.write(store, who, who.ids[jid], alt, form))
	case 3:
		list, err := store.Unrouted(ctx, 10)
		refusable(err)
		for _, u := range list {
			_, err := store.Do(ctx, conversation.Command{Verb: conversation.VerbClaim, Tenant: u.Tenant, Conversation: u.Conversation,
				IfEpoch: u.Epoch, To: conversation.Owner{Kind: conversation.OwnedByAI, ID: "f"}, Actor: conversation.Router})
			refusable(err)
		}
	case 4:
		ids := c.ids()
		if len(ids) == 0 {
			return
		}
		now, err := store.Find(ctx, "default", ids[r.IntN(len(ids))])
		refusable(err)
		verbs := []conversation.Command{
			{Verb: conversation.VerbTake, Actor: ana}, {Verb: conversation.VerbHandback, Actor: operator}, {Verb: conversation.VerbClose, Actor: operator},
			{Verb: conversation.VerbHold, Actor: operator}, {Verb: conversation.VerbResume, Actor: operator}, {Verb: conversation.VerbRelease, Actor: operator},
			{Verb: conversation.VerbOffer, Actor: operator, To: humanAna, Wait: time.Minute},
		}
		v := verbs[r.IntN(len(verbs))]
		v.Tenant, v.Conversation, v.IfEpoch, v.Key = "default", now.ID, now.Epoch, uuid.NewString()
		_, err = store.Do(ctx, v)
		refusable(err)
	case 5, 6:
		refusable(c.answerOne(ctx, r, store))
	case 7:
		_, err := c.mergeSome(ctx, store)
		refusable(err)
	}
}

// answerOne runs one turn, and leaves now and then a part of unknown fate behind.
func (c *crowd) answerOne(ctx context.Context, r *rand.Rand, store *postgres.Store) error {
	t, err := store.ClaimTurn(ctx, c.terms(c.me))
	if err != nil {
		return err
	}
	if err := store.Reply(ctx, t.TurnRef, t.Token, []conversation.Part{{Text: "um"}, {Text: "dois"}}); err != nil {
		return c.cancelled(ctx, store, t, err)
	}
	for part := range 2 {
		ref := conversation.PartRef{TurnRef: t.TurnRef, Part: part + 1, Attempt: 1}
		passed, err := store.Pass(ctx, ref, c.me, lease)
		if err != nil {
			return err
		}
		if !passed {
			return c.cancelled(ctx, store, t, conversation.ErrStaleEpoch)
		}
		if r.IntN(5) == 0 {
			_, err := store.Unknown(ctx, ref, "timeout")
			return err
		}
		if _, err := store.Sent(ctx, ref, conversation.Delivery{MessageID: uuid.NewString()}); err != nil {
			return err
		}
	}
	return nil
}

func (c *crowd) cancelled(ctx context.Context, store *postgres.Store, t conversation.Turn, err error) error {
	if !errors.Is(err, conversation.ErrStaleEpoch) {
		return err
	}
	return store.Cancel(ctx, t.TurnRef, conversation.ReasonOwnerChanged)
}

func (c *crowd) mergeSome(ctx context.Context, store *postgres.Store) (n int, err error) {
	list, err := store.Conflicts(ctx, 10)
	for _, p := range list {
		_, merr := store.Merge(ctx, p.Tenant, p.A, p.B)
		err = errors.Join(err, merr)
	}
	return len(list), err
}

// Whatever happens meanwhile: when everybody is known by all ids and nothing is on the wire, each contact has one conversation that goes
// on, with every message in it or in its history, once.
func TestEveryContactEndsWithOneConversation(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for i := range 4 {
		c.busy.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			for range 60 {
				c.act(r, c.stores[i%2])
			}
		})
	}
	c.busy.Wait()
	require.Empty(t, c.check(postgres.CheckOptions{}).Violated(), "in the middle of it")

	for _, who := range c.contacts {
		require.NoError(t, c.write(c.store, who, who.ids[0], who.ids[2], who.ids[1]))
	}
	for range 50 {
		for _, part := range c.undecided() {
			require.NoError(t, c.store.Settle(t.Context(), part))
		}
		c.exec("update alias_conflict set look_at = now()")
		n, err := c.mergeSome(t.Context(), c.stores[rand.IntN(2)])
		if n == 0 && err == nil {
			break
		}
	}
	require.Empty(t, c.check(postgres.CheckOptions{}).Violated())
	require.Equal(t, "0", c.text("select count(*)::text from alias_conflict"))
	merges := 0
	for _, who := range c.contacts {
		home := c.text("select string_agg(distinct merged_target(conversation_id)::text, ' ') from alias where jid = any($1)", who.ids[:])
		now := c.find(conversation.ID(number(t, home)))
		require.Zero(t, now.MergedInto)
		require.Equal(t, fmt.Sprint(who.said.Load()), c.text(
			"select count(*)::text from inbox where kind = 'message' and merged_target(conversation_id) = $1::text::bigint", home))
		require.Equal(t, "0", c.text(
			"select count(*)::text from inbox where state = 'pending' and conversation_id <> $1::text::bigint and merged_target(conversation_id) = $1::text::bigint", home))
		merges += number(t, c.text("select count(*)::text from conversation where merged_into is not null and merged_target(id) = $1::text::bigint", home))
	}
	require.Equal(t, fmt.Sprint(3+merges), c.text("select count(*)::text from conversation"))
	t.Logf("%d merges", merges)
}

func number(t *testing.T, s string) int {
	t.Helper()
	var n int
	_, err := fmt.Sscanf(s, "%d", &n)
	require.NoError(t, err)
	require.Equal(t, fmt.Sprint(n), s, "one conversation")
	return n
}

func (c *crowd) undecided() (list []conversation.Settlement) {
	rows, err := c.pg.Query(c.t.Context(), "select conversation_id, no, part from outbox where state = 'ambiguous'")
	require.NoError(c.t, err)
	defer rows.Close()
	for rows.Next() {
		s := conversation.Settlement{Tenant: "default", Actor: operator}
		require.NoError(c.t, rows.Scan(&s.Conversation, &s.No, &s.Part))
		list = append(list, s)
	}
	require.NoError(c.t, rows.Err())
	return list
}

// A message and the merge of its conversation at the same moment, from many sides: where it was filed first does not matter.
func TestMessagesThatArriveDuringAMerge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.db.Store(t)
	for i := range 20 {
		phone, lid := fmt.Sprintf("%d@s.whatsapp.net", i), fmt.Sprintf("%d@lid", i)
		a, b := w.receive(message(uuid.NewString(), phone)).Conversation, w.receive(message(uuid.NewString(), lid)).Conversation
		both := message(uuid.NewString(), phone)
		both.AltJID = lid
		w.receive(both)
		var all sync.WaitGroup
		for n := range 6 {
			store, jid := []*postgres.Store{w.store, other}[n%2], []string{phone, lid}[n/2%2]
			all.Go(func() {
				_, err := store.Receive(t.Context(), []conversation.Event{message(uuid.NewString(), jid)}, conversation.Window{})
				assert.NoError(t, err)
			})
			if n%2 == 0 {
				all.Go(func() {
					_, err := store.Merge(t.Context(), "default", a, b)
					assert.NoError(t, err)
				})
			}
		}
		all.Wait()
		list, err := w.store.Conflicts(t.Context(), 10)
		require.NoError(t, err)
		for _, p := range list {
			_, err := w.store.Merge(t.Context(), p.Tenant, p.A, p.B)
			require.NoError(t, err)
		}
		require.Equal(t, "9", w.text("select count(*)::text from inbox where conversation_id = $1 and state = 'pending'", a))
		require.Equal(t, a, w.find(b).MergedInto)
	}
	require.Empty(t, w.check(postgres.CheckOptions{}).Violated())
}

// What moves is numbered in the order it was written, waits as long as either conversation wants and no longer than either may, and takes
// along what is attached.
func TestWhatMovesAndHowLongItWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	noon := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	write := func(id, jid string, at int, quiet, most time.Duration) conversation.ID {
		e := message(id, jid)
		e.SentAt = noon.Add(time.Duration(at) * time.Second)
		r, err := w.store.Receive(t.Context(), []conversation.Event{e}, conversation.Window{Quiet: quiet, Cap: most})
		require.NoError(t, err)
		return r[0].Conversation
	}
	stays := write("a", "1@s.whatsapp.net", 9, time.Minute, 3*time.Hour)
	w.do(conversation.Command{Verb: conversation.VerbTake, Conversation: stays, Actor: ana, IfEpoch: conversation.AnyEpoch})
	var goes conversation.ID
	for id, at := range map[string]int{"c": 3, "b": 1, "d": 3} {
		goes = write(id, "1@lid", at, time.Hour, 2*time.Hour)
	}
	media, err := w.store.PutMedia(t.Context(), "default", goes, conversation.Content{Mimetype: "image/png", Bytes: []byte{1}})
	require.NoError(t, err)
	w.exec("update inbox set media_id = $1 where wa_id = 'b'", media)
	joined, err := w.store.Merge(t.Context(), "default", goes, stays)
	require.NoError(t, err)
	require.Equal(t, conversation.Joined{Stays: stays, Goes: goes, Epoch: 2, Moved: 3}, joined)
	require.Equal(t, "a1 b2", w.text("select string_agg(wa_id || seq, ' ' order by seq) from inbox where seq < 3 and conversation_id = $1", stays))
	require.Equal(t, "t", w.text("select (max(seq) = 4 and count(*) = 4)::text::char from inbox where conversation_id = $1", stays))
	require.Equal(t, "60 120", w.text(`select concat(round(extract(epoch from debounce_until - now()) / 60), ' ',
		round(extract(epoch from debounce_cap - now()) / 60)) from conversation where id = $1`, stays))
	require.Equal(t, stays.String(), w.text("select conversation_id::text from media where id = $1", media))
	require.Equal(t, "", w.text("select concat(debounce_until, debounce_cap) from conversation where id = $1", goes))
	require.Empty(t, w.check(postgres.CheckOptions{}).Violated())
}

// The name a contact gave under one id is known under the other.
func TestAMergeKeepsTheName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	named := message("a", "1@lid")
	named.ContactName = "Maria"
	goes := w.receive(named).Conversation
	stays := w.receive(message("b", "1@s.whatsapp.net")).Conversation
	w.do(conversation.Command{Verb: conversation.VerbTake, Conversation: stays, Actor: ana, IfEpoch: conversation.AnyEpoch})
	_, err := w.store.Merge(t.Context(), "default", stays, goes)
	require.NoError(t, err)
	require.Equal(t, conversation.Contact{JID: "1@s.whatsapp.net", Name: "Maria"}, w.find(stays).Contact)
}
