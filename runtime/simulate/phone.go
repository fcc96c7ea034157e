package simulate

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"plantao/runtime/conversation"
)

// phone is WhatsApp with its customers, as Evolution shows it: what customers write becomes webhooks, what is sent to them is
// kept, and may be asked for.
type phone struct {
	contacts []contact
	hooks    []hook    // every webhook there ever was, in order
	received []message // what customers have
	wire     []message // on its way: it may still arrive
	echoes   []message // received, and not yet repeated to us
	ids      int
}

// contact is a customer, under two ids.
type contact struct {
	channel, tenant string
	jids            [2]string
}

// hook is one webhook and whether it was acknowledged.
type hook struct {
	event conversation.Event
	acked bool
}

// message is something we sent.
type message struct {
	part    conversation.PartRef
	channel string
	jid     string
	text    string
	id      string
	step    int // in which it arrived
}

func newPhone() *phone {
	p := &phone{}
	for i := range 8 {
		c := channels[i%len(channels)]
		p.contacts = append(p.contacts, contact{channel: c.Name, tenant: c.Tenant,
			jids: [2]string{fmt.Sprintf("55119%08d@s.whatsapp.net", i), fmt.Sprintf("9%08d@lid", i)}})
	}
	return p
}

// write is a customer writing something. Some webhooks know both ids of the contact, some only one.
func (p *phone) write(w *world) *hook {
	c := p.contacts[w.draw(len(p.contacts))]
	which := w.draw(2)
	p.ids++
	e := conversation.Event{
		Channel: c.channel, Kind: conversation.KindMessage, WAID: fmt.Sprintf("IN%d", p.ids), ChatJID: c.jids[which], Type: "text",
		ContactName: "Maria", Text: fmt.Sprintf("text %d", p.ids),
	}
	if w.draw(2) == 0 {
		e.AltJID = c.jids[1-which]
	}
	p.hooks = append(p.hooks, hook{event: e})
	return &p.hooks[len(p.hooks)-1]
}

// echo is Evolution repeating what we sent: as the request it was, or as a message of ours.
func (p *phone) echo(w *world) *hook {
	m := p.echoes[0]
	p.echoes = p.echoes[1:]
	e := conversation.Event{
		Channel: m.channel, Kind: conversation.KindSent, WAID: m.id, ChatJID: m.jid, FromMe: true, Type: "text", Text: m.text,
	}
	if w.draw(2) == 0 {
		e.Kind = conversation.KindMessage
	}
	p.hooks = append(p.hooks, hook{event: e})
	return &p.hooks[len(p.hooks)-1]
}

// arrive is a message reaching the customer.
func (p *phone) arrive(w *world, m message) {
	m.step = w.step
	p.received = append(p.received, m)
	p.echoes = append(p.echoes, m)
	w.oracle.reached(m.part)
}

// send makes a message of a part.
func (p *phone) send(t *task) message {
	p.ids++
	return message{part: t.part(), channel: t.Channel, jid: t.Contact.JID, text: t.parts[0].Text, id: fmt.Sprintf("OUT%d", p.ids)}
}

// since lists what this chat was sent from a step on, oldest first: Evolution's memory.
func (p *phone) since(channel, jid string, step int) []conversation.Delivery {
	var list []conversation.Delivery
	for _, m := range p.received {
		if m.channel == channel && m.jid == jid && m.step >= step {
			list = append(list, conversation.Delivery{MessageID: m.id, ChatJID: m.jid, Text: m.text})
		}
	}
	return list
}

// resolve ends what is on its way of a turn, and says whether the customer has the part: what a human finds out who waits
// before saying anything.
func (p *phone) resolve(w *world, key partKey) bool {
	var still []message
	for _, m := range p.wire {
		switch {
		case partOf(m.part).turnKey != key.turnKey:
			still = append(still, m)
		case w.draw(2) == 0:
			w.fault(faultLateDelivery)
			p.arrive(w, m)
		}
	}
	p.wire = still
	return slices.ContainsFunc(p.received, func(m message) bool { return partOf(m.part) == key })
}

// deliver hands a webhook to a replica. What the hook does not confirm stays to be delivered again.
func (w *world) deliver(r *replica, h *hook) string {
	body, err := json.Marshal(h.event)
	if err != nil {
		w.broken(fmt.Errorf("write webhook: %w", err))
		return "write webhook"
	}
	again := h.acked
	receipt, err := r.ingest.Receive(w.ctx, r.channels[h.event.Channel], body)
	what := fmt.Sprintf("%s takes %s %s", r.name, h.event.Kind, h.event.WAID)
	switch {
	case errors.Is(err, errBroken):
		w.fault(faultNotAcked)
		return what + ": not acknowledged"
	case err != nil:
		w.broken(err)
		return what + ": " + err.Error()
	}
	if again {
		w.fault(faultDuplicate)
	}
	h.acked = true
	w.oracle.acknowledged(h.event)
	if receipt.Duplicate {
		return what + ": duplicate"
	}
	return fmt.Sprintf("%s: %s in conversation %s", what, receipt.State, receipt.Conversation)
}
