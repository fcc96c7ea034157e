// Package fault runs the real router, as the binary that is shipped plus its failpoints, under real faults, and judges what came
// of it from outside: by what customers read on their phones, by what clients were answered, and by the database.
//
// # What runs
//
// Three replicas on loopback, each started again whenever it dies; a PostgreSQL with fsync on and a Redis that keeps nothing,
// both reached through a proxy of each replica's own; n8n and Evolution as fakes that misbehave by chance. Leases, polls and
// windows are short, everything else is as in production.
//
// # Rounds (make fault)
//
// A round is two seconds of traffic with conversations of its own. Customers write through any replica, and Evolution repeats what
// was not answered with 200. Humans take, hand back, pass, offer, accept, close; one of them takes just after a customer has
// read something, when the next part is about to go out. An operator holds, resumes, and settles ambiguous parts by looking at
// the phone. All of them repeat what nobody answered, with the same key, at another replica. Every fourth round is a night, in
// which nobody but the AI is at work: a human who takes a conversation also covers up what the AI would have done wrong.
//
// Meanwhile four faults strike: kill -9, SIGSTOP or a delay at a named failpoint, either of the two at any moment, a wall clock
// that jumps by an hour, Redis flushed, restarted, slow, stalled, cut off, PostgreSQL crashed, slow, stalled, cut off, or a
// statement of a router's that PostgreSQL carries out late, after the router has given it up and said it again. Then the faults
// are taken away,
// everything is brought to its end, and this must hold:
//
//	acked-messages-lost   every message answered with 200 is in the inbox and has come to an end: answered by a turn, read by a
//	                      human, ignored, or a dead letter
//	answered-twice        no part was read twice, no turn got two answers, no message was answered by two turns
//	parts-after-a-take    after a take was acknowledged the customer reads one part more of the AI's at most, let out before
//	intents-after-take    no part was let out after its turn's epoch had ended
//	double-turns          no conversation had two open turns, sampled while the faults strike
//	stranded              nothing waits for ever
//	router-check          the router's own `router check` finds nothing
//	router-died-by-itself no replica ended but by our kill
//
// Faults are dealt from a shuffled deck, so that each comes up; one counts only when it was seen to happen (the failpoint said so,
// the process was found stopped, the probe was slow, the clock of the process showed it), and comes again until it is. Every
// kind must have been seen.
//
// # Histories (make test, make fault)
//
// Eight clients at three replicas do verbs, read, and ask whether turns may act, on three conversations, with a kill, a flush or a
// cut. What they were told, and when, is checked by porcupine against a model of one conversation: owner, epoch, state, offer
// and number of changes. A part that reached a customer is an operation as well: at some moment between the request to the flow
// and its arrival the turn's epoch was the conversation's. What nobody answered may have happened or not, at any time later. A
// history that fails is drawn as a page for the browser; the failure names the file.
//
// # Controls
//
// A check that cannot fail proves nothing. The same clients and the same check find out services that guard their book by an
// unfenced lock in Redis, answer before they commit, or take the epoch from a counter in Redis; and TestFaultFindsWhatIsBroken
// builds routers without one of their guards each, which the same rounds must find out.
//
// # Reading a failure
//
// Each broken invariant names the round, the kind and the conversation, and says what is wrong. Below stand the conversation's rows
// of every table, what its customer read and when its takes were acknowledged, then the ends of all logs. Times of the database
// and of the phone are of one machine, so they can be compared. The line that begins with "replay" is the command that plays the
// round again with the same plan and the same choices; what the scheduler does with them is not replayed, so play it a few times:
//
//	SEED=42 FIRST=17 AGAIN=1 ROUNDS=20 make fault
//
// Times of a router whose clock was moved are an hour off in its log.
package fault
