// Package model searches every interleaving of the ownership protocol: one conversation, two replicas, the database, Redis,
// Evolution, the flow and a human, within bounds. It is a model of the design, small enough to be searched to the end, and
// written after the SQL of runtime/postgres and the loops of runtime/dispatch and runtime/gate. It is no proof of that code:
// where the model and the code differ, the model is wrong, or has found something.
//
// # A search
//
// A State is the rows of the conversation and the memory of both replicas. A step is one database transaction, or one send
// or receive on the wire; a process can pause or die between any two. Starting from an AI on duty and nothing said, a
// breadth-first search takes every step out of every state, checks the invariants of check.go at each, and so finds the
// shortest way to a violation if there is one. At the end it goes backwards from the states that are as they should be and
// counts those from which the router never gets there by itself: stranded.
//
//	go test ./test/model              the bounds below once or less, some seconds
//	MODEL=full go test -v ./test/model  wide bounds, and the figures; "make fault" runs it
//
// Guards are what the design relies on. TestGuards removes each and wants the violation it prevents, with the shortest
// example, or that the design stays safe without it. That is the control of every check: with all guards there is nothing
// to be found.
//
// # What is modelled
//
//	step                              statement or function
//	a message is committed            receive.sql
//	a turn is claimed, with its lock  due_conversation.sql, claim_turn.sql; conversation.LockRequest
//	the flow answers: to the holder,  reply.sql; dispatch's accept and ask. An answer may come by the API at either
//	or by the API, at any time        replica, again, or with the token of an older generation
//	the gate, for each part           pass.sql
//	the socket: written and heard,    conversation.SendOutcome; gate's deliver
//	not heard, not written, refused
//	its fate is recorded              sent.sql, unknown.sql, unsent.sql
//	a lease runs out, or is renewed   renew.sql and the database's clock
//	a sender is found to be lost      expire_sending.sql
//	a turn is taken over              reclaim_turn.sql
//	proof, or no proof                check_ambiguous.sql, prove.sql; ReadBack's queue
//	a human's word on a part          ambiguous_part.sql, settle.sql
//	take, handback, queue             by_id_locked.sql, revoke_turn.sql, end_stretch.sql, write_verb.sql
//	a turn is cancelled, or given up  revoke_turn.sql, fail_turn.sql
//	a process boots                   boot.sql
//
// Bounded, by Bounds: messages and parts; processes killed; leases that run out under a live process, which is a pause or a
// clock that jumps; losses of the Redis lock; webhooks delivered again; sends whose response never comes; refusals by flow
// or Evolution, and deadlines that pass; commits whose answer is never heard, or comes after the caller has given up and
// asked again; takes; handbacks. Everything else may happen any number of times. Local trust in a lease is not modelled at
// all: the worst is assumed, that a process past the gate writes whenever it likes.
//
// # What is not
//
// A statement is atomic here. What two of them see of each other inside PostgreSQL (for share, snapshots, waiting for a row)
// is for the tests of runtime/postgres. There are no other conversations, no offers, requests, holds, closings and no lost
// commits of the database, no empty answers, no order of messages. Evolution either has a part when it is written or never:
// one that it delivers long after a time-out, when a human has said that it was not sent, is beyond any protocol here. Two
// assumptions of the design are among the guards: a process enters a slot only when the one before is dead (SlotEmpty), and
// a slot whose process died is entered again (SlotReboots).
//
// # What it found
//
// Two guards were missing in runtime/gate when the model was first searched with a database whose answers are not heard and
// whose statements commit after the caller has gone on:
//
//	UndoAtEnd     a gate that leaves between attempts puts back what an earlier attempt may have done. Otherwise nothing was
//	              written and nobody may conclude so: the AI is silent until the process restarts.
//	AttemptNamed  unsent.sql names the attempt. Otherwise one that commits late undoes the intent of the next attempt, whose
//	              part is on the wire: it is sent again, by whoever reclaims the turn.
//
// # Reduction
//
// States that differ in nothing that matters are searched once: see reduce.go. TestReduction searches small bounds without
// it and wants the same states and the same violations.
package model
