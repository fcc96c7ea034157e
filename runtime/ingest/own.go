package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"

	"plantao/runtime/conversation"
	"plantao/runtime/failpoint"
)

// OwnPolicy says what evidence means.
type OwnPolicy struct {
	// Flight is how long a part of ours can be on the wire: the longest call to Evolution and a lease. A message that may be its echo
	// is not judged before.
	Flight time.Duration
	// Silence is how long whoever writes on the phone has the conversation after their last message. Zero: until somebody else takes it.
	Silence time.Duration
	// Greetings are texts WhatsApp Business sends by itself.
	Greetings []string
	// GreetingWindow: what is written so soon after a contact began to write, nobody typed. Zero: there is no such time.
	GreetingWindow time.Duration
	// ForeignIsHuman: what another client of Evolution's API sends counts as a human's.
	ForeignIsHuman bool
}

// ownVerdict is what became of a message. The zero value: it cannot be said yet.
type ownVerdict struct {
	reason string
	take   bool
	wait   time.Duration // how long the human's silence may last
}

// lateAfter is by how much a message may be late before its human's silence is counted from when it was written.
const lateAfter = time.Minute

// judgeOwn decides by whom a message on our own side was written, in the order of the evidence table: an id is certain, then what
// may still turn out to be an echo waits, then what no human typed. A message that cannot be placed is a human's: an AI that is silent
// for nothing does less harm than one that speaks over a human.
func judgeOwn(m conversation.OwnMessage, p OwnPolicy, greetings map[string]bool) ownVerdict {
	if m.Ours {
		return ownVerdict{reason: conversation.OwnEcho}
	}
	if m.Resembles || m.Flying && m.Age < p.Flight {
		return ownVerdict{}
	}
	if m.Kind == conversation.KindSent {
		if m.Conversation == 0 {
			return ownVerdict{reason: conversation.ForeignNoTalk}
		}
		return ownVerdict{reason: conversation.ForeignSender, take: p.ForeignIsHuman, wait: p.Silence}
	}
	if greetings[fingerprint(m.Text)] {
		return ownVerdict{reason: conversation.AutoGreeting}
	}
	if p.GreetingWindow > 0 {
		// WhatsApp's clock has seconds, so that the answer to a message can seem to be a second older.
		if m.Since != nil && *m.Since >= -time.Second && *m.Since <= p.GreetingWindow {
			return ownVerdict{reason: conversation.AutoGreeting}
		}
		// The contact's message may be on its way. Nobody is on duty meanwhile, so waiting costs nothing.
		if m.Begins && m.Age < p.GreetingWindow {
			return ownVerdict{}
		}
	}
	v := ownVerdict{reason: conversation.HumanOnPhone, take: m.Conversation != 0, wait: p.Silence}
	// What a sweep finds may be hours old, and the human silent since. The key of the take is remembered with what it asked for, so
	// that the wait must follow from the row alone.
	if late := m.ReceivedAt.Sub(m.SentAt); late > lateAfter && p.Silence > 0 {
		if v.wait = p.Silence - late.Truncate(time.Second); v.wait <= 0 {
			return ownVerdict{reason: conversation.HumanBefore}
		}
	}
	return v
}

// fingerprint is a text without what differs between two copies of one greeting: case, spaces, how accents are composed.
func fingerprint(text string) string {
	return strings.Join(strings.Fields(strings.ToLower(norm.NFKC.String(text))), " ")
}

// ownBatch is how many messages one query lists.
const ownBatch = 200

// OwnStore is what an Own needs kept.
type OwnStore interface {
	conversation.OwnSide
	Do(ctx context.Context, c conversation.Command) (conversation.Result, error)
}

// OwnObserver counts verdicts.
type OwnObserver interface {
	// OwnJudged is called once for each message, with the reason it is filed under.
	OwnJudged(verdict string)
}

// OwnConfig holds what an Own needs; every field is required.
type OwnConfig struct {
	Store    OwnStore
	Policy   OwnPolicy
	Every    time.Duration // how often what could not be decided is looked at again
	Changed  func()        // called after a human got a conversation
	Observer OwnObserver
	Logger   *slog.Logger
}

// Own finds out who wrote what comes from the channels' own side, and gives conversations to humans who write on the phone. Every
// replica runs one: the take has a key, and of two verdicts the first counts.
type Own struct {
	c         OwnConfig
	wakes     chan struct{} // room for one
	greetings map[string]bool
	told      map[conversation.ID]bool // conversations whose foreign sender was logged; touched by Run's goroutine only
}

// NewOwn makes an Own.
func NewOwn(c OwnConfig) *Own {
	o := &Own{c: c, wakes: make(chan struct{}, 1), greetings: map[string]bool{}, told: map[conversation.ID]bool{}}
	for _, g := range c.Policy.Greetings {
		if f := fingerprint(g); f != "" {
			o.greetings[f] = true
		}
	}
	return o
}

// Wake makes it look soon. It never blocks.
func (o *Own) Wake() {
	select {
	case o.wakes <- struct{}{}:
	default:
	}
}

// Run works until ctx ends.
func (o *Own) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-o.wakes:
		case <-timer.C:
		}
		o.look(ctx)
		timer.Reset(o.c.Every)
	}
}

// look judges what can be judged now. One message that cannot be dealt with holds up no other.
func (o *Own) look(ctx context.Context) {
	after := int64(0)
	for ctx.Err() == nil {
		list, err := o.c.Store.OwnMessages(ctx, after, ownBatch)
		if err != nil {
			return // the dispatcher's poll reports a database that is down
		}
		for _, m := range list {
			after = m.ID
			if err := o.judge(ctx, m); err != nil && ctx.Err() == nil {
				o.c.Logger.WarnContext(ctx, "message of our own side not dealt with; tried again", "row", m.ID, "conversation", m.Conversation, "err", err)
			}
		}
		if len(list) < ownBatch {
			return
		}
	}
}

// judge takes the conversation first and files the message afterwards: after a kill in between the take is repeated under its key and
// changes nothing.
func (o *Own) judge(ctx context.Context, m conversation.OwnMessage) error {
	v := judgeOwn(m, o.c.Policy, o.greetings)
	if v.reason == "" {
		return nil
	}
	log := o.c.Logger.With("channel", m.Channel, "conversation", m.Conversation, "row", m.ID)
	if v.take {
		result, err := o.c.Store.Do(ctx, conversation.Command{
			Verb: conversation.VerbTake, Tenant: m.Tenant, Conversation: m.Conversation, IfEpoch: conversation.AnyEpoch,
			Actor: conversation.Actor{Kind: conversation.ActorHuman, ID: conversation.PhoneAgent}, Wait: v.wait, Reason: v.reason,
			Key: fmt.Sprintf("own:%d", m.ID),
		})
		switch {
		case errors.Is(err, conversation.ErrKeyReused):
			// Taken by this message before, when the policy was another, or before the conversation was merged.
		case errors.Is(err, conversation.ErrMerged):
			return nil // the next look knows where to
		case err != nil:
			return err
		case !result.Replayed:
			log.InfoContext(ctx, "somebody writes on the phone: the conversation is theirs", "reason", v.reason,
				"epoch", result.Conversation.Epoch, "silence", v.wait)
			o.c.Changed()
		}
		failpoint.Hit("own.taken")
	}
	first, err := o.c.Store.JudgeOwn(ctx, m.ID, v.reason)
	if err != nil || !first {
		return err
	}
	o.c.Observer.OwnJudged(v.reason)
	if v.reason == conversation.ForeignSender || v.reason == conversation.ForeignNoTalk {
		o.tell(ctx, log, m.Conversation)
	}
	return nil
}

// maxTold bounds the conversations remembered as told about.
const maxTold = 10_000

// tell says once for each conversation that somebody else sends through this Evolution.
func (o *Own) tell(ctx context.Context, log *slog.Logger, id conversation.ID) {
	if o.told[id] {
		return
	}
	if len(o.told) >= maxTold {
		clear(o.told)
	}
	o.told[id] = true
	log.ErrorContext(ctx, "another client sends through this channel: the router did not send this message. Give Evolution's API key to "+
		"nobody else, and switch its chat bots and its Chatwoot bridge off")
}
