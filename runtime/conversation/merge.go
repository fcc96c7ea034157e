package conversation

import (
	"fmt"
)

// Conflict is two conversations of one contact.
type Conflict struct {
	Tenant string
	A, B   ID
}

// Joined is what a merge did.
type Joined struct {
	Stays, Goes ID
	Epoch       int64 // of the one that stays, afterwards
	Moved       int   // messages that wait in the one that stays now
	// Already says that they were one before; Moved are the messages that came to the old one since.
	Already bool
}

// Joining is a conversation about to be merged.
type Joining struct {
	Conversation
	// OnTheWire: a part is on its way out, or of unknown fate and keeps the AI silent, or a human's words wait to be sent. What is
	// true of the one that goes would not keep the other's AI silent, so the merge waits.
	OnTheWire bool
}

// Merging is what a merge does to each of the two.
type Merging struct {
	Stays, Goes Change
}

// Merge joins two conversations of one contact: pure, as Decide. The one whose owner matters more stays: a human before the
// human queue, that before an AI, anybody before nobody, an open one before a closed one; else the one of the higher epoch, else
// the older. It goes on under the higher epoch + 1, so that nothing meant for either passes; its own open turn ends, and its
// messages wait for the same owner under the new epoch. A suspended one leaves the result suspended. The other is closed for good.
// Errors: ErrInvalid, or a *RefusedError around ErrMerged or ErrOnTheWire.
func Merge(a, b Joining, t Terms) (Merging, error) {
	if a.ID == b.ID || a.Tenant != b.Tenant || a.Channel != b.Channel {
		return Merging{}, fmt.Errorf("merge: %s and %s are not two conversations of one channel: %w", a.ID, b.ID, ErrInvalid)
	}
	for _, c := range []Joining{a, b} {
		if c.MergedInto != 0 {
			return Merging{}, (&decision{before: c.Conversation}).merged()
		}
	}
	stays, goes := a, b
	if outranks(b.Conversation, a.Conversation) {
		stays, goes = b, a
	}
	if goes.OnTheWire {
		return Merging{}, &RefusedError{Err: ErrOnTheWire, Now: goes.Conversation}
	}
	return Merging{
		Stays: absorb(stays.Conversation, goes.Conversation, t),
		Goes:  dissolve(goes.Conversation, stays.ID, t),
	}, nil
}

// merged is the refusal of everything a merged conversation is asked for. Now is where its contact is.
func (d *decision) merged() error {
	return &RefusedError{Err: ErrMerged, Now: d.before, Extra: fmt.Sprintf("conversation %s goes on for it", d.before.MergedInto)}
}

// outranks says which of two conversations stays.
func outranks(c, other Conversation) bool {
	rank, others := weight(c), weight(other)
	switch {
	case rank != others:
		return rank > others
	case c.Epoch != other.Epoch:
		return c.Epoch > other.Epoch
	}
	return c.ID < other.ID
}

// weight orders conversations by who has them, or will have them back.
func weight(c Conversation) int {
	state, owner := c.State, c.Owner
	if c.Held != nil {
		state, owner = c.Held.State, c.Held.Owner
	}
	switch owner.Kind {
	case OwnedByHuman:
		return 4
	case OwnedByQueue:
		return 3
	case OwnedByAI:
		return 2
	}
	if state == Closed {
		return 0
	}
	return 1
}

const reasonOneContact = "one_contact"

// absorb is the part of the one that stays. Its owner does not change, but its epoch does: what was under way did not know of the
// other's messages.
func absorb(c, goes Conversation, t Terms) Change {
	d := &decision{before: c, terms: t, change: Change{After: c}}
	a := &d.change.After
	detail := map[string]string{"absorbed": goes.ID.String(), "absorbed_epoch": fmt.Sprint(goes.Epoch)}
	s := Step{Verb: VerbMerge, Actor: Router, StateFrom: c.State, StateTo: c.State, EpochFrom: c.Epoch, Owner: c.Owner,
		Reason: reasonOneContact, Detail: detail}
	a.Epoch = max(c.Epoch, goes.Epoch)
	s.EpochTo = d.mint(detail)
	if goes.State == Suspended && c.State != Suspended {
		held := Held{State: c.State, Owner: c.Owner}
		if held.State == Offered {
			held.State = stateOf(held.Owner)
		}
		s.StateTo, s.Owner = Suspended, Nobody
		detail["held"] = held.Owner.String()
		if c.Owner != Nobody {
			d.replace(Nobody)
		}
		a.Offer, a.Held = nil, &held
	}
	a.State, a.Owner, a.Epoch = s.StateTo, s.Owner, s.EpochTo
	if a.LastAI == "" {
		a.LastAI = goes.LastAI
	}
	if goes.Handovers > a.Handovers {
		a.Handovers, a.HandoversSince = goes.Handovers, goes.HandoversSince
	}
	// What a human has read or will read of the other's messages is read here.
	if goes.InStretch && !a.InStretch {
		a.InStretch, d.change.StretchBegins = true, true
	}
	d.change.Steps, d.change.Revoke, d.change.Moved = []Step{s}, true, true
	return d.change
}

// dissolve is the part of the one that goes.
func dissolve(c Conversation, into ID, t Terms) Change {
	d := &decision{before: c, terms: t, change: Change{After: c}}
	d.step(VerbMerge, Router, Nobody, Closed, reasonOneContact, map[string]string{"into": into.String()})
	d.change.After.MergedInto = into
	d.change.Revoke, d.change.Moved = true, true
	return d.change
}

// Follow takes along what was filed in a merged conversation afterwards: an entry in both, and nobody's epoch.
func Follow(goes, into Conversation) Merging {
	change := func(c Conversation, key string, other ID) Change {
		return Change{After: c, Moved: true, Steps: []Step{{
			Verb: VerbFollow, Actor: Router, StateFrom: c.State, StateTo: c.State, EpochFrom: c.Epoch, EpochTo: c.Epoch, Owner: c.Owner,
			Reason: "late_messages", Detail: map[string]string{key: other.String()},
		}}}
	}
	return Merging{Stays: change(into, "from", goes.ID), Goes: change(goes, "into", into.ID)}
}
