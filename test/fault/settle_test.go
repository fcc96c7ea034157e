//go:build e2e

package fault

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"plantao/runtime/api"
	"plantao/runtime/conversation"
)

// ambiguous is a part of which the router does not know whether it reached the customer.
type ambiguous struct {
	ID, Sender, Text, JID string
	No, Part              int
	Finished              bool
}

func (a ambiguous) key() string { return fmt.Sprintf("%s/%d/%d", a.ID, a.No, a.Part) }

// settler is the operator who looks at the phone and says what became of such parts.
type settler struct {
	r       *round
	who     *agent
	seen    map[string]time.Time // when a part was first found unread for certain
	waiting map[string]time.Time // since when a sender has not spoken
	settled int
	killed  int // senders restarted so that they certainly write no more
}

// look settles what can be settled now. Not before two looks agree, a moment apart: between the kernel and the phone's own
// book a request is nowhere to be seen.
func (s *settler) look(ctx context.Context) error {
	rows, err := s.r.c.pool.Query(ctx, `
		select o.conversation_id::text, o.sender_instance, o.body ->> 'text', c.chat_jid, o.no, o.part,
		       coalesce(o.sender_done or p.boot_id <> o.sender_boot, false)
		  from outbox o
		  join conversation c on c.id = o.conversation_id
		  left join router_process p on p.instance_name = o.sender_instance
		 where o.state = 'ambiguous' and c.chat_jid = any($1)`, s.r.jids())
	if err != nil {
		return err
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[ambiguous])
	if err != nil {
		return err
	}
	for _, a := range list {
		if !a.Finished {
			s.restart(a)
			continue
		}
		read, certain := s.r.c.phone.fate(a.JID, a.Text)
		if first, ok := s.seen[a.key()]; certain && !read && !ok {
			s.seen[a.key()] = time.Now()
			continue
		} else if !certain || !read && time.Since(first) < 150*time.Millisecond {
			continue
		}
		s.settle(ctx, a, read)
	}
	return nil
}

// restart ends a sender that says nothing for longer than any send takes.
func (s *settler) restart(a ambiguous) {
	since, ok := s.waiting[a.key()]
	if !ok {
		s.waiting[a.key()] = time.Now()
		return
	}
	if time.Since(since) < 4*s.r.c.s.evolutionTimeout {
		return
	}
	delete(s.waiting, a.key())
	for _, r := range s.r.c.replicas {
		if r.name == a.Sender {
			r.kill()
			s.killed++
		}
	}
}

func (s *settler) settle(ctx context.Context, a ambiguous, read bool) {
	_, err := s.who.any().Settle(ctx, a.ID, a.No, api.SettleRequest{Part: a.Part, Sent: read})
	if err == nil {
		s.settled++
	}
	delete(s.seen, a.key()) // refused or unknown: looked at anew
}

// open is what is not at its end yet.
type open struct {
	ID      string
	State   string
	Owner   string
	Waiting int // messages pending or taken
	Turns   int // open turns
}

// unfinished lists the round's conversations that have something open.
func (r *round) unfinished(ctx context.Context) ([]open, error) {
	rows, err := r.c.pool.Query(ctx, `
		select id::text, state, owner_kind,
		       (select count(*) from inbox i where i.conversation_id = c.id and i.state in ('pending', 'taken')),
		       (select count(*) from turn t where t.conversation_id = c.id and t.state in ('running', 'replied', 'sending', 'ambiguous'))
		  from conversation c where chat_jid = any($1)`, r.jids())
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[open])
	if err != nil {
		return nil, err
	}
	var rest []open
	for _, o := range list {
		if o.Waiting+o.Turns > 0 || o.State == string(conversation.Suspended) {
			rest = append(rest, o)
		}
	}
	return rest, nil
}

// quiesce brings everything to its end, as an operator would: ambiguous parts are settled, and what waits for a human or is
// suspended is given back to the AI. What stays open nobody can bring to an end: it is stranded.
func (r *round) quiesce(ctx context.Context) ([]open, error) {
	ctx, cancel := context.WithTimeout(ctx, r.c.s.quiesce)
	defer cancel()
	var (
		rest []open
		err  error
	)
	for conversation.Pause(ctx, 20*time.Millisecond) {
		if err = r.settler.look(ctx); err != nil {
			continue
		}
		if rest, err = r.unfinished(ctx); err == nil && len(rest) == 0 {
			return nil, nil
		}
		for _, o := range rest {
			if o.Turns == 0 && (o.Owner == "human" || o.Owner == "queue" || o.State == "SUSPENDED") {
				_ = r.operator.insist(ctx, o.ID, giveBack) // looked at again
			}
		}
	}
	if len(rest) > 0 {
		err = nil // that is the finding
	}
	return rest, err
}

// giveBack is the next step on the way back to the AI.
func giveBack(now api.Conversation) wish {
	kind, _, _ := strings.Cut(now.Owner, ":")
	switch {
	case now.State == "SUSPENDED":
		return wish{verb: conversation.VerbResume}
	case kind == "human" || kind == "queue":
		return wish{verb: conversation.VerbHandback}
	}
	return wish{}
}
