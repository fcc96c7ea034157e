package simulate

import (
	"encoding/json"
	"errors"
	"fmt"

	"plantao/runtime/conversation"
)

// people are the humans, the operator, and agents that use the API: they act on what they saw last, which may be over.
type people struct {
	views map[conversation.ID]conversation.Conversation // what the console last showed
	keyed []conversation.Command                        // commands that carried a key
	retry *conversation.Command                         // one whose answer was lost
	keys  int
}

var (
	ana      = conversation.Actor{Kind: conversation.ActorHuman, ID: "ana"}
	bia      = conversation.Actor{Kind: conversation.ActorHuman, ID: "bia"}
	operator = conversation.Actor{Kind: conversation.ActorOperator, ID: "op"}
	aiF      = conversation.Actor{Kind: conversation.ActorAI, ID: "f"}
	aiG      = conversation.Actor{Kind: conversation.ActorAI, ID: "g"}
	actors   = []conversation.Actor{ana, ana, bia, bia, operator, operator, operator, aiF, aiG}

	// verbs with their weights: those that move conversations between AIs and humans come more often.
	verbs = []conversation.Verb{
		conversation.VerbTake, conversation.VerbTake, conversation.VerbTake, conversation.VerbTake,
		conversation.VerbHandback, conversation.VerbHandback, conversation.VerbHandback, conversation.VerbHandback,
		conversation.VerbPass, conversation.VerbPass, conversation.VerbOffer, conversation.VerbOffer, conversation.VerbAccept,
		conversation.VerbAccept, conversation.VerbDecline, conversation.VerbExpire, conversation.VerbRequest, conversation.VerbRelease,
		conversation.VerbHold, conversation.VerbResume, conversation.VerbResume, conversation.VerbClose, conversation.VerbReopen,
		conversation.VerbClaim,
	}
)

func ownerOf(a conversation.Actor) conversation.Owner {
	return conversation.Owner{Kind: conversation.OwnerKind(a.Kind), ID: a.ID}
}

func actorOf(o conversation.Owner) conversation.Actor {
	return conversation.Actor{Kind: conversation.ActorKind(o.Kind), ID: o.ID}
}

// someone is a human or an AI; sometimes the queue.
func (w *world) someone() conversation.Owner {
	return []conversation.Owner{ownerOf(ana), ownerOf(bia), ownerOf(aiF), ownerOf(aiG), {Kind: conversation.OwnedByQueue}}[w.draw(5)]
}

// act is somebody asking for a verb at some replica.
func (w *world) act() string {
	r := w.awake()
	if r == nil || len(w.oracle.order) == 0 {
		return ""
	}
	c, ok := w.again()
	if !ok {
		if c, ok = w.command(r); !ok {
			return ""
		}
	}
	if truth := w.oracle.owned[c.Conversation]; truth != nil && c.IfEpoch != conversation.AnyEpoch && c.IfEpoch != truth.epoch {
		w.fault(faultStale)
	}
	result, err := r.line.Do(w.ctx, c)
	if c.Key != "" {
		w.people.keyed = append(w.people.keyed, c)
	}
	if errors.Is(err, errBroken) && c.Key != "" {
		w.people.retry = &c
	}
	if err == nil {
		w.people.views[c.Conversation] = result.Conversation
		w.readBackVerb(result)
	}
	what := fmt.Sprintf("%s asks %s to %s conversation %s of epoch %d%s", c.Actor, r.name, c.Verb, c.Conversation, c.IfEpoch, to(c))
	return what + done(result, err)
}

func to(c conversation.Command) string {
	s := ""
	if c.To != (conversation.Owner{}) {
		s += " to " + c.To.String()
	}
	if c.Key != "" {
		s += " under " + c.Key
	}
	return s
}

// again repeats a command whose answer was lost, or for no reason, or its key for another request.
func (w *world) again() (conversation.Command, bool) {
	if c := w.people.retry; c != nil {
		w.people.retry = nil
		w.fault(faultKeyAgain)
		return *c, true
	}
	if len(w.people.keyed) == 0 || w.draw(12) > 0 {
		return conversation.Command{}, false
	}
	w.fault(faultKeyAgain)
	c := w.people.keyed[w.draw(len(w.people.keyed))]
	if w.draw(4) == 0 {
		c.Reason = "another"
	}
	return c, true
}

// command makes a verb up: mostly one that can succeed, by who may and of the epoch that is.
func (w *world) command(r *replica) (conversation.Command, bool) {
	id := w.oracle.order[w.draw(len(w.oracle.order))]
	truth := w.oracle.owned[id]
	view, known := w.people.views[id]
	if !known || w.draw(4) > 0 {
		found, err := r.find(w.ctx, truth.tenant, id)
		if err != nil {
			w.broken(err)
			return conversation.Command{}, false
		}
		view = found
		w.people.views[id] = view
		w.oracle.read(view)
	}
	c := conversation.Command{
		Verb: w.verb(view), Tenant: truth.tenant, Conversation: id, IfEpoch: view.Epoch, Reason: "simulated",
		Actor: actors[w.draw(len(actors))],
	}
	w.fill(&c, view)
	if w.draw(50) == 0 {
		c.Tenant = "nobody"
	}
	if w.draw(5) > 1 {
		w.people.keys++
		c.Key = fmt.Sprintf("key-%d", w.people.keys)
	}
	return c, true
}

// verb is any, and mostly one that soon gives a conversation back to an AI: else all of them would end with humans.
func (w *world) verb(view conversation.Conversation) conversation.Verb {
	if w.draw(2) == 0 {
		switch view.State {
		case conversation.HumanActive, conversation.HumanQueued:
			return conversation.VerbHandback
		case conversation.Suspended:
			return conversation.VerbResume
		}
	}
	return verbs[w.draw(len(verbs))]
}

// fill gives the command what its verb needs.
func (w *world) fill(c *conversation.Command, view conversation.Conversation) {
	proper := w.draw(10) > 1
	wait := hours(12 * (1 + w.draw(3)))
	switch c.Verb {
	case conversation.VerbTake:
		if w.draw(2) == 0 {
			c.IfEpoch = conversation.AnyEpoch
		}
		if c.Actor.Kind != conversation.ActorHuman {
			c.To = ownerOf([]conversation.Actor{ana, bia}[w.draw(2)])
		}
		if w.draw(3) == 0 {
			c.Wait = wait
		}
	case conversation.VerbClaim, conversation.VerbPass:
		c.To = w.someone()
	case conversation.VerbOffer:
		c.To, c.Wait = w.someone(), wait
		c.Else = []conversation.Otherwise{conversation.ElseReturn, conversation.ElseQueue}[w.draw(2)]
	case conversation.VerbRequest:
		c.Wait, c.Else = wait, []conversation.Otherwise{conversation.ElseIgnore, conversation.ElseQueue}[w.draw(2)]
	case conversation.VerbHandback:
		if w.draw(3) == 0 {
			c.Through = max(0, view.LastSeq-int64(w.draw(2)))
		}
		if w.draw(3) == 0 {
			c.To = ownerOf(aiG)
		}
		c.Context = json.RawMessage(`{"about": "simulated"}`)
	case conversation.VerbAccept, conversation.VerbDecline:
		if view.Offer != nil {
			c.Offer = view.Offer.ID
			if proper {
				c.Actor = actorOf(view.Offer.To)
			}
		}
		return
	}
	if proper && c.Verb != conversation.VerbTake && c.Verb != conversation.VerbRequest {
		c.Actor = operator
		if view.Owner.Kind == conversation.OwnedByHuman || view.Owner.Kind == conversation.OwnedByAI {
			c.Actor = []conversation.Actor{operator, actorOf(view.Owner)}[w.draw(2)]
		}
	}
}

// readBackVerb reads what was just confirmed at another replica.
func (w *world) readBackVerb(r conversation.Result) {
	other := w.replicas[w.draw(len(w.replicas))]
	if r.Replayed || other.store == nil || w.draw(4) > 0 {
		return
	}
	found, err := other.find(w.ctx, r.Conversation.Tenant, r.Conversation.ID)
	if err != nil {
		w.broken(err)
		return
	}
	w.oracle.read(found)
}

// settle is a human who has found out what became of a part.
func (w *world) settle() string {
	r := w.awake()
	if r == nil {
		return ""
	}
	var (
		id   conversation.ID
		list []conversation.ID
	)
	w.each(doubtfulSQL, []any{&id}, func() { list = append(list, id) })
	if len(list) == 0 {
		return ""
	}
	return w.settleIn(r, list[w.draw(len(list))])
}

func (w *world) settleIn(r *replica, id conversation.ID) string {
	tenant := w.oracle.owned[id].tenant
	c, err := r.find(w.ctx, tenant, id)
	if err != nil {
		w.broken(err)
		return ""
	}
	if c.Turn == nil || c.Turn.Ambiguous == nil {
		return ""
	}
	key := partKey{turnKey{id, c.Turn.No}, c.Turn.Ambiguous.Part}
	what := fmt.Sprintf("ana settles part %d of turn %s at %s", key.part, key.turnKey, r.name)
	if !c.Turn.Ambiguous.Finished && !w.calm && w.draw(3) > 0 {
		return "" // a human mostly believes the console
	}
	sent := w.phone.resolve(w, key)
	err = r.line.Settle(w.ctx, conversation.Settlement{
		Tenant: tenant, Conversation: id, No: key.no, Part: key.part, Sent: sent, Actor: ana,
	})
	return fmt.Sprintf("%s: sent %t", what, sent) + outcome(err)
}

// employ changes what an agent can take.
func (w *world) employ() string {
	r := w.awake()
	if r == nil {
		return ""
	}
	who := ownerOf([]conversation.Actor{bia, aiG}[w.draw(2)])
	capacity := w.draw(4)
	a := conversation.Agent{Tenant: tenants[w.draw(len(tenants))], Owner: who, Name: who.ID, Capacity: &capacity}
	if capacity == 3 {
		a.Capacity = nil
	}
	err := r.line.PutAgent(w.ctx, a)
	return fmt.Sprintf("%s takes at most %d of %s (3: any)", who, capacity, a.Tenant) + outcome(err)
}
