package desk

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"plantao/runtime/chatwoot"
	"plantao/runtime/conversation"
)

// What Chatwoot is told of a message, and what stands in outbox.shown.
const (
	failed    = "failed"
	ambiguous = "ambiguous" // failed there: its fate is unknown
	retried   = "retried"   // said again in another turn
)

// tell writes a message's status.
func (p *pass) tell(ctx context.Context, message int64, status, problem string) error {
	ctx, cancel := p.within(ctx)
	defer cancel()
	err := p.d.c.Client.SetMessageStatus(ctx, p.a, p.s.Display, message, status, problem)
	if chatwoot.Status(err) == http.StatusNotFound {
		return nil // the message is gone, or all of the conversation, which the next look finds out
	}
	if err != nil {
		return fmt.Errorf("write message status: %w", err)
	}
	return nil
}

// retry says again what agents wish to be sent again. Chatwoot tells of that by a message's status alone: failed before, not now.
func (p *pass) retry(ctx context.Context) error {
	list, err := p.d.c.Store.Spoken(ctx, p.s)
	if err != nil {
		return p.store(err)
	}
	for _, t := range list {
		if t.Source == "" || t.Shown != failed || t.Result != failed {
			continue
		}
		calling, cancel := p.within(ctx)
		m, there, err := p.d.c.Client.Message(calling, p.a, p.s.Display, t.Message)
		cancel()
		if err != nil {
			return fmt.Errorf("read message: %w", err)
		}
		if there && m.Status == failed && !m.Deleted() {
			continue
		}
		if there && !m.Deleted() {
			if err := p.again(ctx, t); err != nil {
				return err
			}
		}
		if err := p.d.c.Store.ShowSpoken(ctx, p.s, t, retried, true); err != nil {
			return p.store(err)
		}
	}
	return nil
}

func (p *pass) again(ctx context.Context, t conversation.Spoken) error {
	source := nextTry(t.Source)
	user := strings.TrimPrefix(t.By, "human:")
	if err := p.take(ctx, user, source, "retried_in_chatwoot"); err != nil {
		return err
	}
	p.d.c.Observer.DeskHeard("retry")
	return p.say(ctx, t.By, source, t.Unsent)
}

// nextTry is the source of what is said again: …:r1, then :r2.
func nextTry(source string) string {
	fields := strings.Split(source, ":")
	n := 0
	if len(fields) == 4 {
		n, _ = strconv.Atoi(strings.TrimPrefix(fields[3], "r"))
	}
	return fmt.Sprintf("%s:r%d", strings.Join(fields[:3], ":"), n+1)
}

// fates shows what became of what was said. Chatwoot takes statuses in nearly any order: what is told here never goes backwards,
// because the store keeps the furthest.
func (p *pass) fates(ctx context.Context) error {
	list, err := p.d.c.Store.Spoken(ctx, p.s)
	if err != nil {
		return p.store(err)
	}
	for _, t := range list {
		shown := t.Shown
		switch {
		case t.Result == "":
			// What is still to be sent brings the rest of its message back when it ends.
			t.Parts = slices.DeleteFunc(t.Parts, func(part conversation.SpokenPart) bool { return part.State != "sent" })
		case t.Result == t.Shown:
		case t.Result == failed || t.Result == ambiguous:
			if err := p.tell(ctx, t.Message, failed, p.d.words.problem(t)); err != nil {
				return err
			}
			shown = t.Result
		case t.Result == "sent" && t.Shown == "": // what Chatwoot shows of a message by itself
			shown = t.Result
		default:
			if err := p.tell(ctx, t.Message, t.Result, ""); err != nil {
				return err
			}
			shown = t.Result
		}
		if err := p.d.c.Store.ShowSpoken(ctx, p.s, t, shown, t.Result != ambiguous); err != nil {
			return p.store(err)
		}
	}
	return nil
}
