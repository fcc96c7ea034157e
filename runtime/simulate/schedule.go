package simulate

import (
	"fmt"
	"slices"
)

// action is something somebody can do. It returns what was done, empty if there was nothing to do.
type action struct {
	name   string
	weight int
	do     func(*world) string
}

// byReplica is an action of some replica that is awake.
func byReplica(do func(*replica) string) func(*world) string {
	return func(w *world) string {
		if r := w.awake(); r != nil {
			return do(r)
		}
		return ""
	}
}

var actions = []action{
	{"message", 8, func(w *world) string { return w.hook(w.phone.write) }},
	{"webhook again", 3, (*world).redeliver},
	{"echo", 4, (*world).echo},
	{"late delivery", 2, (*world).lateDelivery},
	{"late commit", 12, (*world).lateCommit},

	{"route", 14, byReplica((*replica).route)},
	{"timers", 5, byReplica((*replica).timers)},
	{"claim", 16, byReplica((*replica).claim)},
	{"reclaim", 6, byReplica((*replica).reclaim)},
	{"turn", 60, (*world).proceed},
	{"heartbeat", 6, byReplica((*replica).heartbeat)},
	{"read-back", 5, byReplica((*replica).readBack)},
	{"undecided", 2, byReplica((*replica).undecided)},
	{"hand back", 1, byReplica((*replica).letGo)},

	{"flow answers", 4, (*world).answerByAPI},
	{"flow extends", 1, (*world).extend},

	{"verb", 9, (*world).act},
	{"settle", 4, (*world).settle},
	{"capacity", 1, (*world).employ},

	{"kill", 1, (*world).kill},
	{"boot", 6, (*world).boot},
	{"pause", 2, (*world).pause},
	{"stall", 2, (*world).stall},
	{"resume", 2, (*world).resume},
	{"time", 5, (*world).passTime},
	{"failover", 1, (*world).failover},
}

// tilted are the actions with some of their weights changed, and the sum of all.
func tilted(weights map[string]int) (list []action, sum int) {
	for _, a := range actions {
		if weight, changed := weights[a.name]; changed {
			a.weight = weight
		}
		list = append(list, a)
		sum += a.weight
	}
	return list, sum
}

// tries is how often an action is drawn before the world is taken for dead. Messages can always come.
const tries = 1000

// next does one step.
func (w *world) next() {
	w.step++
	// What found nothing to do would find nothing again, and asking costs as much as a step.
	idle := map[string]bool{}
	for range tries {
		n := w.draw(w.weight)
		for _, a := range w.actions {
			if n -= a.weight; n >= 0 {
				continue
			}
			if idle[a.name] {
				break
			}
			what := a.do(w)
			idle[a.name] = what == ""
			if what != "" {
				w.did[a.name]++
				w.note(what)
				w.bury()
				return
			}
			break
		}
		if w.ended() {
			return
		}
	}
	w.broken(fmt.Errorf("nothing was possible in %d tries", tries))
}

// bury ends the replicas that died of what they did.
func (w *world) bury() {
	for _, r := range w.replicas {
		if r.doomed {
			r.die()
			w.note(r.name + " died of it")
		}
	}
}

// proceed does the next thing with one of the turns a replica holds.
func (w *world) proceed() string {
	first := w.draw(len(w.replicas))
	for i := range w.replicas {
		r := w.replicas[(first+i)%len(w.replicas)]
		if r.up && r.frozen <= w.step && len(r.tasks) > 0 {
			return r.advance(r.tasks[w.draw(len(r.tasks))])
		}
	}
	return ""
}

// hook is a webhook that is made and delivered at once.
func (w *world) hook(write func(*world) *hook) string {
	r := w.awake()
	if r == nil {
		return ""
	}
	return w.deliver(r, write(w))
}

func (w *world) echo() string {
	if len(w.phone.echoes) == 0 {
		return ""
	}
	return w.hook(w.phone.echo)
}

// redeliver repeats a webhook: one that was not acknowledged, or any of the newest.
func (w *world) redeliver() string {
	r := w.awake()
	n := len(w.phone.hooks)
	if r == nil || n == 0 {
		return ""
	}
	for i := range w.phone.hooks {
		if !w.phone.hooks[i].acked {
			return w.deliver(r, &w.phone.hooks[i])
		}
	}
	return w.deliver(r, &w.phone.hooks[n-1-w.draw(min(n, 20))])
}

func (w *world) lateDelivery() string {
	if len(w.phone.wire) == 0 {
		return ""
	}
	m := w.phone.wire[0]
	w.phone.wire = w.phone.wire[1:]
	if w.draw(3) == 0 {
		return fmt.Sprintf("%s never arrives", m.id)
	}
	w.fault(faultLateDelivery)
	w.phone.arrive(w, m)
	return fmt.Sprintf("%s, part %d of turn %s, arrives late", m.id, m.part.Part, partOf(m.part).turnKey)
}

// lateCommit is the database going on with a statement whose connection is gone.
func (w *world) lateCommit() string {
	if len(w.pending) == 0 {
		return ""
	}
	i := w.draw(len(w.pending))
	commit := w.pending[i]
	w.pending = slices.Delete(w.pending, i, i+1)
	commit()
	return "a statement nobody waits for is carried out"
}

func (w *world) kill() string {
	r := w.replicas[w.draw(len(w.replicas))]
	if !r.up {
		return ""
	}
	w.fault(faultKill)
	held := len(r.tasks)
	r.die()
	return fmt.Sprintf("%s is killed with %d turns", r.name, held)
}

func (w *world) boot() string {
	for _, r := range w.replicas {
		if r.up {
			continue
		}
		w.broken(r.start())
		return r.name + " boots"
	}
	return ""
}

func (w *world) pause() string {
	r := w.awake()
	if r == nil || len(r.tasks) == 0 {
		return "" // nobody would notice
	}
	w.fault(faultPause)
	r.frozen = w.step + 20 + w.draw(150)
	return fmt.Sprintf("%s freezes until %d with %d turns", r.name, r.frozen, len(r.tasks))
}

// stall is a process that stands still for longer than its leases: others take its turns over, and then it goes on.
func (w *world) stall() string {
	r := w.awake()
	if r == nil || len(r.tasks) == 0 {
		return ""
	}
	w.fault(faultPause)
	r.frozen = w.step + 5 + w.draw(40)
	return fmt.Sprintf("%s stalls until %d with %d turns, ", r.name, r.frozen, len(r.tasks)) + w.age(leaseHours+1, true)
}

func (w *world) resume() string {
	for _, r := range w.replicas {
		if r.up && r.frozen > w.step {
			r.frozen = 0
			return r.name + " goes on"
		}
	}
	return ""
}

// passTime makes everything some hours older: mostly while routers renew their leases, and sometimes so long without that they
// lose them.
func (w *world) passTime() string {
	switch w.draw(6) {
	case 0:
		return w.age([]int{leaseHours + 1, leaseHours + 1, deadlineHours + 1}[w.draw(3)], false)
	case 1:
		return w.age(quietHours+1, false)
	}
	return w.age([]int{3, quietHours + 1, quietHours + 1, capHours + 1}[w.draw(4)], true)
}

func (w *world) age(n int, renewed bool) string {
	awake := slices.DeleteFunc(slices.Clone(w.replicas), func(r *replica) bool { return !renewed || !r.up || r.frozen > w.step })
	for _, r := range awake {
		_ = r.heartbeat()
	}
	w.exec(passTimeSQL, hours(n))
	w.hour += n
	for _, r := range awake { // as they did all the while
		_ = r.heartbeat()
	}
	for _, r := range w.replicas {
		if len(r.tasks) > 0 && n >= leaseHours && (!renewed || r.frozen > w.step) {
			w.fault(faultLapsed)
		}
	}
	return fmt.Sprintf("%d hours pass", n)
}

// failover moves the database to another timeline: every connection breaks, and who comes back finds that commits may be lost.
func (w *world) failover() string {
	if w.draw(8) > 0 || w.awake() == nil { // who is awake finds out
		return ""
	}
	w.fault(faultFailover)
	w.exec(failoverSQL)
	w.pending = nil // the server that had them is gone
	w.oracle.recovered()
	for _, r := range w.replicas {
		w.broken(r.reconnect())
	}
	return fmt.Sprintf("failover: conversations of AIs are suspended, generation %d", w.oracle.cluster)
}
