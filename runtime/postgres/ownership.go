package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"plantao/runtime/audit"
	"plantao/runtime/conversation"
)

var (
	lockConversationSQL = query("conversation", "by_id_locked")
	findIdemSQL         = query("find_idem")
	writeVerbSQL        = query("write_verb")
	insertAuditSQL      = query("insert_audit")
	insertHandoverSQL   = query("insert_handover")
	lockTurnSQL         = query("lock_turn")
	lockOpenTurnSQL     = query("lock_open_turn")
	revokeTurnSQL       = query("revoke_turn")
	endStretchSQL       = query("end_stretch")
	dropWaitingSQL      = query("drop_waiting")
	checkCapacitySQL    = query("check_capacity")
	placeSQL            = query("place")
)

// codeAtCapacity is what check_capacity raises.
const codeAtCapacity = "PTCAP"

// Do implements conversation.Ownership. Two round trips: everything that is read, then everything that is written together
// with the commit.
func (s *Store) Do(ctx context.Context, c conversation.Command) (conversation.Result, error) {
	if err := c.Check(); err != nil {
		return conversation.Result{}, err
	}
	var (
		result conversation.Result
		row    *lockedConversation
	)
	err := s.transact(ctx, func(tx *pipe) (err error) {
		var idem *remembered
		row, idem, err = tx.lockFor(ctx, c)
		if err != nil {
			return err
		}
		if idem != nil {
			result, err = idem.replay(c, row.Contact)
			return err
		}
		change, err := conversation.Decide(row.Conversation, c, conversation.Terms{Now: row.now, Cluster: s.cluster.Load()})
		if err != nil {
			return err
		}
		result, err = tx.carryOut(ctx, row, change, c)
		return err
	})
	switch {
	case err == nil:
		return result, nil
	case sqlState(err) == codeAtCapacity && row != nil:
		err = &conversation.RefusedError{Err: conversation.ErrAtCapacity, Now: row.Conversation}
	case unstorable(err):
		err = fmt.Errorf("%w: %w", conversation.ErrInvalid, err)
	case violates(err, "verb_idem_pkey"):
		// Used at the same moment, in a conversation whose lock is another: no command that is the same.
		err = fmt.Errorf("key %q: %w", c.Key, conversation.ErrKeyReused)
	}
	return conversation.Result{}, fmt.Errorf("%s conversation %s: %w", c.Verb, c.Conversation, err)
}

// lockedConversation is a conversation row under "for update".
type lockedConversation struct {
	conversation.Conversation
	lastHash []byte
	now      time.Time // database clock, after the lock was had
	// bounded: the agent the command names has a capacity. False says nothing where the command names none.
	bounded bool
}

// remembered is what a key was used for.
type remembered struct {
	sum      []byte
	response []byte
	seq      int64
}

// replay is the answer of then. Who the customer is stands in the conversation only.
func (r remembered) replay(c conversation.Command, contact conversation.Contact) (conversation.Result, error) {
	if sum := c.Sum(); string(sum[:]) != string(r.sum) {
		return conversation.Result{}, fmt.Errorf("key %q: %w", c.Key, conversation.ErrKeyReused)
	}
	result := conversation.Result{Seq: r.seq, Replayed: true}
	if err := json.Unmarshal(r.response, &result.Conversation); err != nil {
		return conversation.Result{}, fmt.Errorf("read remembered result of key %q: %w", c.Key, err)
	}
	result.Conversation.Contact = contact
	return result, nil
}

// lockFor begins the transaction and reads what a verb needs, in one round trip. The order matters: see the files.
func (p *pipe) lockFor(ctx context.Context, c conversation.Command) (*lockedConversation, *remembered, error) {
	row := &lockedConversation{}
	var idem *remembered
	p.queue(lockConversationSQL, c.Conversation, c.Tenant).QueryRow(func(r pgx.Row) error { return row.scan(r) })
	p.queue(findIdemSQL, c.Tenant, c.Key, c.To.Kind, c.To.ID).QueryRow(func(r pgx.Row) error {
		var (
			found    remembered
			response *string
			seq      *int64
		)
		err := r.Scan(&row.now, &found.sum, &response, &seq, &row.bounded)
		if response != nil {
			found.response, found.seq = []byte(*response), value(seq)
			idem = &found
		}
		return err
	})
	if err := p.flush(ctx); err != nil {
		if errors.Is(err, pgx.ErrNoRows) {
			err = conversation.ErrNotFound
		}
		return nil, nil, err
	}
	return row, idem, nil
}

func (r *lockedConversation) scan(row pgx.Row) error {
	c, err := scanConversation(row, &r.lastHash)
	r.Conversation = c
	return err
}

// scanConversation reads the columns of conversation.sql.
func scanConversation(row pgx.Row, lastHash *[]byte) (conversation.Conversation, error) {
	var (
		c                                 conversation.Conversation
		flow, offerKind, offerAgent       *string
		offerElse, requestBy, requestElse *string
		heldState, heldKind, heldID       *string
		offerID                           *int64
		since, offerUntil, requestUntil   *time.Time
		silenceUntil                      *time.Time
		merged                            *conversation.ID
		silence                           *time.Duration
	)
	err := row.Scan(&c.ID, &c.Tenant, &c.Channel, &c.Contact.JID, &c.Contact.Name, &c.State, &c.Owner.Kind, &c.Owner.ID,
		&c.Epoch, &c.Version, &c.LastSeq, &c.Waiting, &c.LastOwner.Kind, &c.LastOwner.ID, &c.LastAI, &flow, &c.Given, &c.OwnerSince,
		&c.InStretch, &c.Handovers, &since, &offerID, &offerKind, &offerAgent, &offerElse, &offerUntil, &requestBy,
		&requestElse, &requestUntil, &silence, &silenceUntil, &heldState, &heldKind, &heldID, &c.Cluster, &merged, lastHash)
	if err != nil {
		return c, err
	}
	c.MergedInto = value(merged)
	c.Flow, c.HandoversSince, c.SilenceUntil, c.Silence = value(flow), value(since), value(silenceUntil), value(silence)
	if offerID != nil {
		c.Offer = &conversation.Offer{ID: *offerID, Else: conversation.Otherwise(value(offerElse)), Until: value(offerUntil),
			To: conversation.Owner{Kind: conversation.OwnerKind(value(offerKind)), ID: value(offerAgent)}}
	}
	if requestUntil != nil {
		c.Request = &conversation.Request{By: value(requestBy), Else: conversation.Otherwise(value(requestElse)), Until: *requestUntil}
	}
	if heldState != nil {
		c.Held = &conversation.Held{State: conversation.State(*heldState),
			Owner: conversation.Owner{Kind: conversation.OwnerKind(value(heldKind)), ID: value(heldID)}}
	}
	return c, nil
}

// value is what p points to, or the zero value.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// carryOut writes a change and commits, in one round trip.
func (p *pipe) carryOut(ctx context.Context, row *lockedConversation, ch conversation.Change, c conversation.Command) (conversation.Result, error) {
	say := c.Say
	if strings.Contains(say, conversation.PlaceInQueue) {
		place := 1
		if _, err := p.ask(ctx, func(r pgx.Row) error { return r.Scan(&place) }, placeSQL, row.Tenant, ch.After.Owner.ID, row.ID); err != nil {
			return conversation.Result{}, err
		}
		say = strings.ReplaceAll(say, conversation.PlaceInQueue, strconv.Itoa(place))
	}
	after, err := p.write(row, ch, &c)
	if err != nil {
		return conversation.Result{}, err
	}
	switch {
	case ch.Gives && (row.bounded || after.Owner != c.To):
		p.queue(checkCapacitySQL, after.Tenant, after.Owner.Kind, after.Owner.ID, false)
	case c.Verb == conversation.VerbOffer && c.Actor == conversation.Router && row.bounded:
		p.queue(checkCapacitySQL, after.Tenant, c.To.Kind, c.To.ID, true)
	}
	switch {
	case c.Plan != nil:
		if err := p.plan(after, *c.Plan); err != nil {
			return conversation.Result{}, err
		}
	case c.Verb == conversation.VerbDecline:
		p.queue(planNowSQL, after.ID)
	}
	if c.Verb == conversation.VerbOffer && c.To.Kind == conversation.OwnedByHuman {
		p.queue(offeredSQL, after.Tenant, c.To.ID)
	}
	if len(ch.Promises) > 0 {
		p.promise(after, ch.Promises, c.RuleVersion)
	}
	if len(c.Context) > 0 && len(ch.Steps) > 0 {
		p.queue(insertHandoverSQL, after.ID, after.Version, after.Tenant, c.Context)
	}
	if say != "" { // a claim has minted an epoch, in the cluster's present generation
		if err := p.say(conversation.Said{
			Tenant: after.Tenant, Conversation: after.ID, Kind: conversation.SaidByRouter, By: "router", IfEpoch: after.Epoch,
			Source: fmt.Sprintf("rule/%s/%d", after.ID, after.Version), Parts: []conversation.Part{{Text: say}}, Within: holdingWithin,
		}, after.Cluster); err != nil {
			return conversation.Result{}, err
		}
	}
	return conversation.Result{Conversation: after, Seq: after.Version}, p.commit(ctx)
}

// write queues the change: what depends on the owner first, since the row's new values are computed from it. The command may
// be nil: there is no key to remember.
func (p *pipe) write(row *lockedConversation, ch conversation.Change, c *conversation.Command) (conversation.Conversation, error) {
	after := ch.After
	if ch.Revoke {
		p.queue(lockOpenTurnSQL, after.ID)
		p.queue(revokeTurnSQL, after.ID, conversation.ReasonOwnerChanged, nil, nil)
	}
	if ch.StretchEnds {
		had := row.Owner
		if had.Kind == conversation.OwnedByNone && row.Held != nil {
			had = row.Held.Owner
		}
		p.queue(endStretchSQL, after.ID, ch.Through, had.String(), row.now, after.Epoch)
	}
	if ch.Drop {
		p.queue(dropWaitingSQL, after.ID)
	}
	after.Version += int64(len(ch.Steps))
	if after.Offer != nil && after.Offer.ID == 0 {
		offer := *after.Offer
		offer.ID = after.Version
		after.Offer = &offer
	}
	key := ""
	if c != nil {
		key = c.Key
	}
	entries := chain(row, ch.Steps, key)
	for i := 0; i < len(entries)-1; i++ { // the last travels with the row
		e := entries[i]
		p.queue(insertAuditSQL, e.Conversation, e.Seq, e.Tenant, e.At, e.Actor, e.Verb, e.StateFrom, e.StateTo,
			e.EpochFrom, e.EpochTo, e.Reason, e.RuleVersion, e.Detail, e.Prev, e.Hash)
	}
	hash := row.lastHash
	if len(entries) > 0 {
		hash = entries[len(entries)-1].Hash
	}
	args := append(rowArgs(after, hash, ch), entryArgs(row, entries)...)
	idem, err := idemArgs(after, c)
	if err != nil {
		return after, err
	}
	p.queue(writeVerbSQL, append(args, idem...)...)
	return after, nil
}

// rowArgs are $1 to $31 of write_verb.sql.
func rowArgs(c conversation.Conversation, hash []byte, ch conversation.Change) []any {
	var (
		offer   conversation.Offer
		request conversation.Request
		held    conversation.Held
	)
	if c.Offer != nil {
		offer = *c.Offer
	}
	if c.Request != nil {
		request = *c.Request
	}
	if c.Held != nil {
		held = *c.Held
	}
	return []any{
		c.ID, c.State, c.Owner.Kind, c.Owner.ID, c.Epoch, c.Version, hash,
		c.LastOwner.Kind, c.LastOwner.ID, c.LastAI, c.Given, c.OwnerSince, c.Handovers, orNull(c.HandoversSince),
		orNull(offer.ID), orNull(offer.To.Kind), orNull(offer.To.ID), orNull(offer.Else), orNull(offer.Until),
		orNull(request.By), orNull(request.Else), orNull(request.Until), orNull(c.Silence), orNull(c.SilenceUntil),
		orNull(held.State), orNull(held.Owner.Kind), whole(c.Held, held.Owner.ID), c.Cluster,
		ch.StretchBegins, ch.StretchEnds, ch.StretchEnds || ch.Drop || ch.Moved,
	}
}

// orNull is null for a zero value.
func orNull[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// whole is null where there is nothing the value belongs to.
func whole[T, V any](of *T, v V) *V {
	if of == nil {
		return nil
	}
	return &v
}

// chain makes the audit entries of the steps, each with the hash of the one before. The owner and the key stand in the
// detail, where the chain covers them.
func chain(row *lockedConversation, steps []conversation.Step, key string) []audit.Entry {
	entries := make([]audit.Entry, len(steps))
	prev := row.lastHash
	for i, st := range steps {
		detail := map[string]string{"owner": st.Owner.String()}
		maps.Copy(detail, st.Detail)
		if key != "" {
			detail["key"] = key
		}
		e := audit.Entry{
			Tenant: row.Tenant, Conversation: int64(row.ID), Seq: row.Version + int64(i) + 1, At: row.now.UTC(),
			Actor: st.Actor.String(), Verb: string(st.Verb), StateFrom: string(st.StateFrom), StateTo: string(st.StateTo),
			EpochFrom: st.EpochFrom, EpochTo: st.EpochTo, Reason: st.Reason, RuleVersion: st.RuleVersion, Detail: detail,
			Prev: prev,
		}
		e.Hash = e.Sum()
		entries[i], prev = e, e.Hash
	}
	return entries
}

// entryArgs are $32 to $41 of write_verb.sql, about the last entry; nulls where a verb changed nothing.
func entryArgs(row *lockedConversation, entries []audit.Entry) []any {
	if len(entries) == 0 {
		return []any{row.Tenant, row.now, nil, nil, nil, nil, nil, nil, nil, nil}
	}
	e := entries[len(entries)-1]
	return []any{e.Tenant, e.At, e.Actor, e.Verb, e.StateFrom, e.EpochFrom, e.Reason, e.RuleVersion, e.Detail, e.Prev}
}

// idemArgs are $42 to $44 of write_verb.sql.
func idemArgs(after conversation.Conversation, c *conversation.Command) ([]any, error) {
	if c == nil || c.Key == "" {
		return []any{nil, nil, ""}, nil
	}
	after.Contact = conversation.Contact{} // no customer's name in a table nobody thinks of
	response, err := json.Marshal(after)
	if err != nil {
		return nil, fmt.Errorf("remember result: %w", err)
	}
	sum := c.Sum()
	return []any{c.Key, sum[:], string(response)}, nil
}

// ForgetKeys removes the keys that are older, a piece at a time, and says how many.
func (s *Store) ForgetKeys(ctx context.Context, age time.Duration) (int64, error) {
	tag, err := s.pool.Exec(ctx, oldIdemSQL, age)
	if err != nil {
		return 0, fmt.Errorf("forget idempotency keys: %w", err)
	}
	return tag.RowsAffected(), nil
}

var oldIdemSQL = query("old_idem")

func tokenHash(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

// domainError keeps the sentinels of the domain visible and adds which verb failed.
func domainError(verb string, t conversation.TurnRef, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, pgx.ErrNoRows) {
		err = conversation.ErrTurnClosed
	}
	return fmt.Errorf("%s turn %s/%d: %w", verb, t.Conversation, t.No, err)
}
