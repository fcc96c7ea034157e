// Package simulate runs the real domain and the real store through random schedules with faults, and looks for a state that
// must not be. It is shipped in the router, so that an operator can run it against the very server that will hold the data.
//
// # What is real and what is not
//
//	real       conversation (Decide, tokens), routing, ingest (rules, duplicates), postgres.Store with its SQL, the schema
//	rewritten  dispatch and gate: the real ones wait and run at once, so task.go has them again as steps that can be
//	           interleaved. A change there must be made here too
//	simulated  customers and WhatsApp (phone), flows (flow), people with the API (people), replicas that die and freeze
//
// Everything happens on one goroutine. A step is one thing one actor does: mostly one transaction. A generator seeded with
// the round's number draws which actor that can do something does it next.
//
// # Time
//
// The same seed must give the same schedule on any machine, so no outcome may hang on how long a step took. Leases, windows
// and deadlines are whole hours, a round takes minutes at most, and time passes only as a step that makes what is kept in the
// database so many hours older (pass_time.sql). The one span of seconds in the product, the wait between two looks at an
// ambiguous part, is stretched to 90 minutes after each look.
//
// # Faults
//
//	kill              a replica loses its memory; what it had on the wire may have arrived, may arrive later or not at all
//	kill at commit    as kill, right after a transaction of its own was committed
//	pause             a replica freezes, for longer than its leases or not, and goes on with what it believed before
//	answer lost       a transaction is committed and its caller is told that the connection broke
//	database down     a transaction is not run and its caller is told that the connection broke
//	late commit       a statement is carried out when its caller has long been told so; all three come in bursts
//	failover          the server's timeline changes, so that commits could have been lost; none are
//	lease lapsed      time passes beyond the lease of a turn somebody holds
//	deadline passed   time passes beyond the deadline of a turn somebody holds
//	duplicate         a webhook is delivered again although it was acknowledged
//	not acknowledged  a webhook is not acknowledged, and delivered again
//	late answer       a flow answers a turn that is no longer running
//	second answer     a flow answers twice
//	flow refused      a flow answers that it will not
//	send refused      WhatsApp says no
//	nothing written   not one byte of a part was written
//	unanswered        a part was written and no answer came
//	late delivery     such a part arrives after its sender gave up on it
//	stale epoch       somebody acts on an epoch that is over
//	key again         an idempotency key is used again, for the same request or another
//
// # What is asserted
//
// The oracle (oracle.go) never reads the database to know what should be there. It keeps what was acknowledged, who owns what
// by the results of verbs, which intents were granted, and what the phones received; it asserts I-OWN, I-FENCE, I-LEAK,
// I-DUP, I-PART, I-ORD, I-ECHO, I-IDEM, I-RYW and I-TEN when something happens, and compares with the rows what was
// acknowledged, answered and received. Every CheckEvery steps, and at the end, the checker of `router check` asserts its part of all invariants on the rows. After the last step the round
// runs out without faults: replicas work off what there is, humans settle what only they can, and then nothing may wait any
// more (I-LIVE).
//
// It is a search and no proof: it runs statements one after the other, so that what only two transactions at the same instant
// can do to each other is not seen here.
package simulate
