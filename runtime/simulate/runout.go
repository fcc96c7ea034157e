package simulate

import (
	"errors"

	"github.com/jackc/pgx/v5"

	"plantao/runtime/conversation"
	"plantao/runtime/invariant"
)

const (
	// runOutRounds bounds how long a round may take to run out.
	runOutRounds = 30
	// lookBound bounds what one look of a replica may find while it does.
	lookBound = 500
)

// runOut lets everything come to its end: replicas live, flows and WhatsApp answer, humans do what only they can.
func (w *world) runOut() {
	w.calm = true
	w.employAll()
	for range runOutRounds {
		w.step++
		w.wakeAll()
		w.deliverAll()
		for what := w.lateCommit(); what != ""; what = w.lateCommit() {
			w.note(what)
		}
		for _, r := range w.replicas {
			r.work()
		}
		w.humansWork()
		w.note(w.age(deadlineHours+1, false))
		if w.ended() || w.left() == nil {
			return
		}
	}
	if left := w.left(); left != nil && !w.ended() {
		w.violate(invariant.Live, conversation.ID(left.Conversation), "after everything ran out, %s", left.What)
	}
}

// employAll takes the bounds away: what is stranded for want of an agent is no fault of the router's.
func (w *world) employAll() {
	for _, tenant := range tenants {
		for _, who := range []conversation.Actor{bia, aiG} {
			w.exec("update agent set capacity = null where tenant = $1 and kind = $2 and id = $3", tenant, who.Kind, who.ID)
		}
	}
}

func (w *world) wakeAll() {
	for _, r := range w.replicas {
		r.frozen = 0
		if !r.up {
			w.broken(r.start())
			w.note(r.name + " boots")
		}
	}
}

// deliverAll brings in what is not acknowledged, and ends what is on its way.
func (w *world) deliverAll() {
	for i := range w.phone.hooks {
		if h := &w.phone.hooks[i]; !h.acked && !w.ended() {
			w.note(w.deliver(w.replicas[0], h))
		}
	}
	for len(w.phone.wire) > 0 {
		w.note(w.lateDelivery())
	}
}

// work is one look of a replica at everything there is.
func (r *replica) work() {
	for _, look := range []func() string{r.route, r.timers, r.reclaim, r.claim, r.readBack, r.undecided, r.finish} {
		for range lookBound {
			what := look()
			if what == "" || r.w.ended() {
				break
			}
			r.w.note(what)
		}
	}
}

// finish does the next thing with the oldest turn.
func (r *replica) finish() string {
	if len(r.tasks) == 0 {
		return ""
	}
	return r.advance(r.tasks[0])
}

// humansWork is the humans settling, taking and handing back what waits for them, and the operator resuming.
func (w *world) humansWork() {
	r := w.replicas[0]
	for _, id := range w.oracle.order {
		if w.ended() {
			return
		}
		c, err := r.find(w.ctx, w.oracle.owned[id].tenant, id)
		if err != nil {
			w.broken(err)
			return
		}
		w.oracle.read(c)
		if c.Turn != nil && c.Turn.Ambiguous != nil {
			w.makeSure(c.Turn.Ambiguous)
			if what := w.settleIn(w.replicas[0], id); what != "" {
				w.note(what)
			}
		}
		w.moveOn(c)
	}
}

// makeSure replaces the process that had a part, so that it certainly writes no more.
func (w *world) makeSure(a *conversation.Ambiguity) {
	for _, r := range w.replicas {
		if r.name == a.Sender && !a.Finished {
			r.die()
			w.broken(r.start())
			w.note(r.name + " is started anew")
		}
	}
}

// moveOn does with a conversation what only people can.
func (w *world) moveOn(c conversation.Conversation) {
	do := func(v conversation.Verb, to conversation.Owner) error {
		r, err := w.replicas[0].line.Do(w.ctx, conversation.Command{
			Verb: v, Tenant: c.Tenant, Conversation: c.ID, IfEpoch: c.Epoch, Actor: operator, To: to,
		})
		if err == nil {
			c = r.Conversation
		}
		w.note("op has " + c.ID.String() + " " + string(v) + done(r, err))
		return err
	}
	switch c.State {
	case conversation.Suspended:
		w.broken(do(conversation.VerbResume, conversation.Owner{}))
	case conversation.HumanQueued, conversation.HumanActive:
		err := do(conversation.VerbHandback, conversation.Owner{})
		if errors.Is(err, conversation.ErrNoAgent) {
			err = do(conversation.VerbClose, conversation.Owner{})
		}
		w.broken(err)
	}
}

// left is something that still waits; nil for nothing.
func (w *world) left() *invariant.Violation {
	rows, err := w.sql.Query(w.ctx, unsettledSQL)
	if err != nil {
		w.broken(err)
		return nil
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[invariant.Violation])
	if err != nil || len(list) == 0 {
		w.broken(err)
		return nil
	}
	return &list[0]
}
