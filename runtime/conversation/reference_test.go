package conversation

import (
	"slices"
	"time"
)

// reference is what the package comment says of owner, epoch, offer and state, and nothing else. It shares no code with
// Decide, and says of a command only whether it is refused, not why.
type reference struct {
	state    State
	owner    Owner
	epoch    int64
	cluster  int64
	offer    *Offer
	request  *Request
	held     *Held
	last     Owner
	lastAI   string
	wait     time.Duration // silence after which the human hands back; zero: never
	silence  time.Time     // when that is
	givings  []time.Time   // from AI to AI, in the window that runs
	recorded int64
}

func (m *reference) refuses(c Command, now time.Time, flow string) bool {
	var (
		trusted = c.Actor.Kind == ActorOperator || c.Actor.Kind == ActorRouter
		owns    = c.Actor.String() == m.owner.String()
		owned   = m.owner.Kind != OwnedByNone
		named   = c.IfEpoch == m.epoch
	)
	switch c.Verb {
	case VerbClaim:
		return !named || !trusted || !slices.Contains([]State{Idle, Routing, Closed}, m.state)
	case VerbPass, VerbOffer:
		return !named || !owned || !trusted && !owns || c.To == m.owner
	case VerbQueue:
		return !named || !trusted || m.owner.Kind != OwnedByAI
	case VerbAccept, VerbDecline:
		return !named || m.offer == nil || m.offer.ID != c.Offer || !now.Before(m.offer.Until) ||
			!trusted && c.Actor.String() != m.offer.To.String()
	case VerbExpire:
		return !named || !trusted || !m.offerDue(now) && !m.requestDue(now)
	case VerbRequest:
		return !named || !owned || owns
	case VerbTake:
		return !named && c.IfEpoch != AnyEpoch || !trusted && c.Actor.Kind != ActorHuman
	case VerbRelease:
		return !named || !owned || !trusted && !owns
	case VerbHandback:
		human := m.owner.Kind == OwnedByHuman || m.owner.Kind == OwnedByQueue
		byTimer := c.Actor == Router
		early := m.silence.IsZero() || now.Before(m.silence)
		return !named || !human || !trusted && !owns || byTimer && early ||
			!byTimer && c.To == Owner{} && m.lastAI == "" && flow == ""
	case VerbHold, VerbRecover:
		return !named || !trusted || m.state == Suspended
	case VerbResume:
		return !named || !trusted || m.state != Suspended
	case VerbClose:
		return !named || m.state == Closed || !trusted && !owns
	case VerbReopen:
		return !named || !trusted || m.state != Closed
	}
	return true
}

func (m *reference) offerDue(now time.Time) bool { return m.offer != nil && !now.Before(m.offer.Until) }

func (m *reference) requestDue(now time.Time) bool {
	return m.request != nil && !now.Before(m.request.Until)
}

// apply does a command that is not refused.
func (m *reference) apply(c Command, now time.Time, cluster int64, flow string) {
	m.recorded++
	switch c.Verb {
	case VerbClaim:
		if m.state != Routing {
			m.recorded++
			m.give(c.To, now, cluster)
		} else {
			m.handOver(m.last, c.To, now, cluster)
		}
	case VerbPass:
		m.handOver(m.owner, c.To, now, cluster)
	case VerbQueue:
		m.give(Owner{Kind: OwnedByQueue}, now, cluster)
	case VerbOffer:
		m.state = Offered
		m.offer = &Offer{ID: m.recorded, To: c.To, Else: c.Else, Until: now.Add(c.Wait)}
	case VerbAccept:
		m.handOver(m.owner, m.offer.To, now, cluster)
		if m.owner.Kind == OwnedByHuman {
			m.listen(c.Wait, now)
		}
	case VerbDecline:
		m.endOffer(now, cluster)
	case VerbExpire:
		m.expire(now, cluster)
	case VerbRequest:
		m.request = &Request{By: c.Actor.String(), Else: c.Else, Until: now.Add(c.Wait)}
	case VerbTake:
		to := c.To
		if to == (Owner{}) {
			to = Owner{Kind: OwnedByHuman, ID: c.Actor.ID}
		}
		if m.owner == to && m.state == HumanActive {
			m.recorded--
		}
		m.give(to, now, cluster)
		m.listen(c.Wait, now)
	case VerbRelease:
		m.leave(Routing, now, cluster)
	case VerbHandback:
		to := c.To
		for _, id := range []string{m.lastAI, flow} {
			if to == (Owner{}) && id != "" {
				to = Owner{Kind: OwnedByAI, ID: id}
			}
		}
		if to == (Owner{}) { // a timer has nobody to ask
			to = Owner{Kind: OwnedByQueue}
		}
		m.give(to, now, cluster)
	case VerbHold, VerbRecover:
		held := &Held{State: m.state, Owner: m.owner}
		if m.state == Offered {
			held.State = map[OwnerKind]State{OwnedByAI: AIActive, OwnedByHuman: HumanActive, OwnedByQueue: HumanQueued}[m.owner.Kind]
		}
		m.leave(Suspended, now, cluster)
		m.held = held
	case VerbResume:
		held := *m.held
		m.give(held.Owner, now, cluster)
		m.state = held.State
	case VerbClose:
		m.leave(Closed, now, cluster)
	case VerbReopen:
		m.leave(Routing, now, cluster)
	}
}

func (m *reference) expire(now time.Time, cluster int64) {
	request := m.requestDue(now)
	if m.offerDue(now) {
		m.endOffer(now, cluster)
		request = m.request != nil && request
		if request {
			m.recorded++
		}
	}
	if request {
		otherwise := m.request.Else
		m.request = nil
		if otherwise == ElseQueue && m.owner.Kind != OwnedByQueue {
			m.give(Owner{Kind: OwnedByQueue}, now, cluster)
		}
	}
}

func (m *reference) endOffer(now time.Time, cluster int64) {
	to := m.owner
	if m.offer.Else == ElseQueue && to.Kind != OwnedByQueue {
		to = Owner{Kind: OwnedByQueue}
	}
	m.give(to, now, cluster)
}

func (m *reference) handOver(from, to Owner, now time.Time, cluster int64) {
	if from.Kind == OwnedByAI && to.Kind == OwnedByAI {
		if len(m.givings) > 0 && now.Sub(m.givings[0]) >= 10*time.Minute {
			m.givings = nil
		}
		if len(m.givings) == 3 {
			to = Owner{Kind: OwnedByQueue}
		} else {
			m.givings = append(slices.Clone(m.givings), now)
		}
	}
	m.give(to, now, cluster)
}

func (m *reference) give(to Owner, now time.Time, cluster int64) {
	m.replace(to, now, cluster)
	m.state = map[OwnerKind]State{OwnedByAI: AIActive, OwnedByHuman: HumanActive, OwnedByQueue: HumanQueued}[to.Kind]
	m.offer, m.held = nil, nil
}

func (m *reference) leave(s State, now time.Time, cluster int64) {
	m.replace(Nobody, now, cluster)
	m.state, m.offer, m.held = s, nil, nil
}

func (m *reference) replace(to Owner, now time.Time, cluster int64) {
	if to == m.owner {
		return
	}
	m.epoch++
	if m.cluster < cluster {
		m.epoch, m.cluster = m.epoch+1000, cluster
	}
	if m.owner != Nobody {
		m.last = m.owner
	}
	switch to.Kind {
	case OwnedByAI:
		m.lastAI = to.ID
	case OwnedByHuman, OwnedByQueue:
		m.givings = nil
	}
	m.request = nil
	if to.Kind != OwnedByHuman {
		m.wait = 0
	}
	m.listen(m.wait, now)
	m.owner = to
}

func (m *reference) listen(wait time.Duration, now time.Time) {
	m.wait, m.silence = wait, time.Time{}
	if wait > 0 {
		m.silence = now.Add(wait)
	}
}
