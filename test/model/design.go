package model

// Guards are what the design relies on. All of them are on in the design; a test takes one away to show what it is for.
type Guards struct {
	// RedisLock: a replica claims a turn only with the conversation's lock, if Redis has it for somebody at the same epoch.
	RedisLock bool
	// LockToken: the lock is released only by whose token it carries. Without, the end of a turn deletes whatever is there.
	LockToken bool
	// CommitBeforeAck: Evolution is told 200 after the commit.
	CommitBeforeAck bool
	// DedupeInCommit: the mark that a message was seen is committed together with its row.
	DedupeInCommit bool
	// UniqueKey: inbox_key admits one row for each message.
	UniqueKey bool
	// OneTurn: the index one_turn, and due_conversation.sql's look for an open turn.
	OneTurn bool
	// AmbiguousBlocks: an ambiguous turn counts as open in both.
	AmbiguousBlocks bool
	// Generation: statements about a holding name its generation.
	Generation bool
	// ReplyEpoch: reply.sql wants the conversation at the turn's epoch, with an AI on duty.
	ReplyEpoch bool
	// ReplyState: reply.sql wants the turn running.
	ReplyState bool
	// RevokeOnTake: what takes the conversation from an AI cancels its turn in the same transaction.
	RevokeOnTake bool
	// Gate: a part is written only after pass.sql let it.
	Gate bool
	// GateEpoch: pass.sql wants the conversation at the turn's epoch. Without, an AI on duty is enough.
	GateEpoch bool
	// GatePerPart: pass.sql is asked for each part, not once for a turn.
	GatePerPart bool
	// NoWriteBack: the end of a turn does not write the conversation's row as it was read at its begin.
	NoWriteBack bool
	// AmbiguousNotResent: a part whose fate is unknown is not queued again.
	AmbiguousNotResent bool
	// UndoAtEnd: a holder that stops after a gate whose answer it did not hear puts back what that may have done.
	UndoAtEnd bool
	// AttemptNamed: the statement that puts a part back names the attempt, so that it does not undo a later one.
	AttemptNamed bool
	// SenderGone: nothing is concluded about an ambiguous part while its sender may still write.
	SenderGone bool
	// SlotEmpty: a process enters a slot only when the one before has died.
	SlotEmpty bool
	// SlotReboots: a slot whose process has died is entered again.
	SlotReboots bool
	// PendingCheck: replicas find waiting messages by looking at the database. Without, by wake-ups in memory only.
	PendingCheck bool
}

// AllGuards is the design.
func AllGuards() Guards {
	return Guards{
		RedisLock: true, LockToken: true, CommitBeforeAck: true, DedupeInCommit: true, UniqueKey: true, OneTurn: true,
		AmbiguousBlocks: true, Generation: true, ReplyEpoch: true, ReplyState: true, RevokeOnTake: true, Gate: true,
		GateEpoch: true, GatePerPart: true, NoWriteBack: true, AmbiguousNotResent: true, UndoAtEnd: true, AttemptNamed: true, SenderGone: true,
		SlotEmpty: true, SlotReboots: true, PendingCheck: true,
	}
}

// Bounds are how much happens at most in one run. What is not bounded here may happen any number of times.
type Bounds struct {
	Messages int
	Parts    int // of each answer
	Budget
}

// Design is what is searched.
type Design struct {
	Guards Guards
	Bounds Bounds

	plain bool // without reduction; for its test
}

// start is an AI on duty, two replicas up, and nothing said yet.
func (d Design) start() State {
	s := State{Owner: AI, Epoch: 1, Left: d.Bounds.Budget}
	s.Replicas[0].Alive, s.Replicas[1].Alive = true, true
	return s
}

// counts says that a turn in this state keeps another from being opened.
func (g Guards) counts(t TurnState) bool {
	return t.open() && (g.AmbiguousBlocks || t != Ambiguous)
}

func (d Design) openTurns(s *State) int {
	n := 0
	for i := range s.Turns {
		if d.Guards.counts(s.Turns[i].State) {
			n++
		}
	}
	return n
}
