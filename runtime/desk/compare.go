package desk

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"plantao/runtime/conversation"
)

// shows is who has the conversation, as Chatwoot shows it.
func (p *pass) shows() conversation.DeskState {
	return conversation.DeskState{Status: p.there.Status, Assignee: p.there.Assignee()}
}

// compare finds out what people did to status and assignee since the router last wrote or accepted them.
func (p *pass) compare(ctx context.Context) error {
	now, known := p.shows(), p.s.DeskState
	if next := p.s.Next; next != nil {
		// These were about to be written. What is there now is the router's own writing, whole or in part.
		if now.Status == next.Status {
			known.Status = next.Status
		}
		if now.Assignee == next.Assignee {
			known.Assignee = next.Assignee
		}
	}
	if now == known && p.s.Next == nil {
		return nil
	}
	if now != known {
		if err := p.accept(ctx, known, now); err != nil {
			return err
		}
		p.s.Accepted++
	}
	p.s.DeskState, p.s.Next = now, nil
	return p.save(ctx)
}

// accept makes people's doing a verb. One that is refused because the conversation stands elsewhere by now was too late: what Chatwoot
// shows is put right by state.
func (p *pass) accept(ctx context.Context, known, now conversation.DeskState) error {
	for range 3 {
		c, err := p.d.c.Store.Find(ctx, p.s.Tenant, p.s.Conversation)
		if err != nil {
			return p.store(err)
		}
		cmd := meaning(known, now, c)
		if cmd.Verb == "" {
			return nil
		}
		cmd.Key = fmt.Sprintf("chatwoot:%d/%d:%d:%s:%s", p.a.Account, p.s.Display, p.s.Accepted, cmd.Verb, cmd.To)
		if cmd.Verb == conversation.VerbTake {
			err = p.take(ctx, cmd.Actor.ID, cmd.Key, cmd.Reason)
		} else {
			cmd.IfEpoch = c.Epoch
			cmd.Key += fmt.Sprintf(":%d", c.Epoch)
			_, err = p.do(ctx, cmd)
		}
		switch {
		case errors.Is(err, conversation.ErrStaleEpoch):
			continue
		case refused(err), errors.Is(err, conversation.ErrInvalid):
			p.ours = false
			p.log.InfoContext(ctx, "what people did in chatwoot came too late", "verb", cmd.Verb, "err", err)
			return nil
		}
		return err
	}
	return &pauseError{reason: "owner_changes"}
}

// inChatwoot is who acts where no user is named.
var inChatwoot = conversation.Actor{Kind: conversation.ActorOperator, ID: "chatwoot"}

// meaning is the verb a change of status or assignee stands for; the zero value: none. See the table in the package comment.
func meaning(known, now conversation.DeskState, c conversation.Conversation) conversation.Command {
	was, is := awake(known.Status), awake(now.Status)
	user, isUser := strings.CutPrefix(now.Assignee, "user:")
	bot := strings.HasPrefix(now.Assignee, "bot:")
	byHuman := c.Owner.Kind == conversation.OwnedByHuman || c.Owner.Kind == conversation.OwnedByQueue
	queue := conversation.Owner{Kind: conversation.OwnedByQueue}
	switch {
	case is == resolved:
		if was == resolved || c.State == conversation.Closed {
			return conversation.Command{}
		}
		return conversation.Command{Verb: conversation.VerbClose, Actor: inChatwoot, Reason: "resolved_in_chatwoot"}
	case isUser && (now.Assignee != known.Assignee || is == open && was != open):
		if c.State == conversation.HumanActive && c.Owner.ID == user {
			return conversation.Command{}
		}
		return conversation.Command{Verb: conversation.VerbTake, Actor: conversation.Actor{Kind: conversation.ActorHuman, ID: user},
			Reason: "assigned_in_chatwoot"}
	case bot && now.Assignee != known.Assignee, is == pending && was == open:
		if !byHuman {
			return conversation.Command{}
		}
		return conversation.Command{Verb: conversation.VerbHandback, Actor: inChatwoot, Reason: "handed_back_in_chatwoot"}
	case is != open || c.Owner == queue:
		return conversation.Command{}
	case was == resolved && c.State == conversation.Closed:
		return conversation.Command{Verb: conversation.VerbClaim, Actor: inChatwoot, To: queue, Reason: "reopened_in_chatwoot"}
	case was != open && c.Owner.Kind == conversation.OwnedByAI:
		return conversation.Command{Verb: conversation.VerbPass, Actor: inChatwoot, To: queue, Reason: "opened_in_chatwoot"}
	case was != open && (c.State == conversation.Idle || c.State == conversation.Routing):
		return conversation.Command{Verb: conversation.VerbClaim, Actor: inChatwoot, To: queue, Reason: "opened_in_chatwoot"}
	case was == open && strings.HasPrefix(known.Assignee, "user:") && now.Assignee == "" && c.Owner.Kind == conversation.OwnedByHuman:
		return conversation.Command{Verb: conversation.VerbPass, Actor: inChatwoot, To: queue, Reason: "unassigned_in_chatwoot"}
	}
	return conversation.Command{}
}

// awake takes a snoozed conversation for an open one: it is some human's, who wants to see it later.
func awake(status string) string {
	if status == snoozed {
		return open
	}
	return status
}

// wanted is what Chatwoot should show of an owner.
func wanted(c conversation.Conversation) conversation.DeskState {
	owner := c.Owner
	switch c.State {
	case conversation.Closed:
		if c.Waiting { // a message reopens it: soon by the dispatcher, there at once
			return conversation.DeskState{Status: pending}
		}
		return conversation.DeskState{Status: resolved}
	case conversation.HumanQueued, conversation.Suspended:
		return conversation.DeskState{Status: open}
	case conversation.HumanActive:
		return conversation.DeskState{Status: open, Assignee: userOf(owner)}
	case conversation.Offered:
		if owner.Kind == conversation.OwnedByHuman {
			return conversation.DeskState{Status: open, Assignee: userOf(owner)}
		}
		if owner.Kind == conversation.OwnedByQueue {
			return conversation.DeskState{Status: open}
		}
	}
	return conversation.DeskState{Status: pending}
}

// userOf is the user a human is; empty for one who is none of Chatwoot's.
func userOf(o conversation.Owner) string {
	if id, err := strconv.ParseInt(o.ID, 10, 64); err != nil || id <= 0 || strconv.FormatInt(id, 10) != o.ID {
		return ""
	}
	return "user:" + o.ID
}

// state writes who has the conversation, where Chatwoot shows somebody else.
func (p *pass) state(ctx context.Context) error {
	c, err := p.d.c.Store.Find(ctx, p.s.Tenant, p.s.Conversation)
	if err != nil {
		return p.store(err)
	}
	want, has := wanted(c), p.s.DeskState
	if awake(has.Status) == want.Status {
		want.Status = has.Status // snoozed stays so
	}
	if want == has {
		return nil
	}
	p.s.Next = &want
	if err := p.save(ctx); err != nil {
		return err
	}
	ctx, cancel := p.within(ctx)
	defer cancel()
	if want.Status != has.Status {
		if err := p.d.c.Client.SetStatus(ctx, p.a, p.s.Display, want.Status); err != nil {
			return fmt.Errorf("write status: %w", err)
		}
	}
	if want.Assignee != has.Assignee {
		user, _ := strconv.ParseInt(strings.TrimPrefix(want.Assignee, "user:"), 10, 64)
		given, err := p.d.c.Client.Assign(ctx, p.a, p.s.Display, user)
		if err != nil {
			return fmt.Errorf("write assignee: %w", err)
		}
		if !given {
			want.Assignee = ""
		}
	}
	p.s.DeskState, p.s.Next = want, nil
	return p.save(ctx)
}
