package model

// The sizes of the arrays in State. A run may use less (Bounds), never more: a step that would need more is cut off and
// counted, and a run of the whole design must have cut off none.
const (
	maxMessages = 3
	maxRows     = maxMessages + 1 // one more for the copy that a missing unique key lets in
	maxParts    = 2
	maxTurns    = 3 // that still matter at once; see reduce
	maxHoldings = 4
	maxGen      = 3
	maxEpoch    = 7
)

// Owner is who is on duty in the conversation.
type Owner uint8

// The owners. The conversation starts with the AI on duty, at epoch 1.
const (
	AI Owner = iota
	Human
	Queue
)

// Process is one run of one replica: 0 is nobody, 1 and 2 are A and B, 3 and 4 are their next boots.
type Process uint8

func process(slot int, boot uint8) Process { return Process(1 + uint8(slot) + 2*boot) }

func (p Process) slot() int   { return int(p-1) & 1 }
func (p Process) boot() uint8 { return uint8(p-1) >> 1 }

// mirrored is the same process with the replicas' names exchanged.
func (p Process) mirrored() Process {
	if p == 0 {
		return 0
	}
	return (p - 1) ^ 1 + 1
}

// RowState is the state of an inbox row.
type RowState uint8

// The states of an inbox row; Absent is no row.
const (
	Absent RowState = iota
	Pending
	Taken
	Answered // done
	ByHuman  // part of a human stretch
	Dead
)

// Row is a row of the inbox. Turn is set while the row is taken.
type Row struct {
	State RowState
	Turn  uint8
}

// Message is what Evolution and the ingest know of one message. Row i of the inbox is message i's.
type Message struct {
	Acked  bool
	Marked bool    // its row in inbox_key is committed
	Ingest Process // has it in memory only; never in the design, where nothing is between the mark, the row and the ack
}

// TurnState is the state of a turn.
type TurnState uint8

// The states of a turn; NoTurn is no row.
const (
	NoTurn TurnState = iota
	Running
	Replied
	Sending
	Ambiguous
	Done
	Failed
	Cancelled
)

func (s TurnState) open() bool { return s >= Running && s <= Ambiguous }

// PartState is the state of an outbox row.
type PartState uint8

// The states of an outbox row; NoPart is no row.
const (
	NoPart PartState = iota
	PartQueued
	PartSending
	PartSent
	PartFailed
	PartAmbiguous
	PartDropped
)

func (s PartState) onWire() bool { return s == PartSending || s == PartAmbiguous }

// Part is a row of the outbox. Gen, Sender and SenderDone are set while it is on the wire: nothing reads them elsewhere.
type Part struct {
	State      PartState
	Gen        uint8
	Sender     Process
	SenderDone bool
	Written    bool // the customer has it; known to the checks and to the read-back, not to the store
}

// Turn is a row of turn, with its parts.
type Turn struct {
	State  TurnState
	Epoch  uint8
	Gen    uint8
	Holder Process
	Lapsed bool  // lease_until is past
	Covers uint8 // bit i: it answers message i
	Parts  [maxParts]Part
}

// Phase is how far a process has come with a turn it holds: what it does next.
type Phase uint8

// The phases of a holding. Each is left by one transaction or one exchange on the wire.
const (
	Idle        Phase = iota // no holding
	Asking                   // the flow has been asked
	HasAnswer                // the flow's response is in memory, not stored
	Passing                  // about to ask the gate
	Retrying                 // as Passing, not the first attempt for this part
	OnWire                   // past the gate, about to write to the socket
	MarkSent                 // written, and Evolution said so
	MarkUnknown              // the request went out and no answer came
	PutBack                  // not a byte was written
	Undo                     // refused at a further attempt: an earlier one may have left an intent
	Cancelling               // the owner has changed
	GivingUp                 // flow or Evolution refused, or the deadline passed
	Releasing                // through with the turn, about to release the Redis lock
)

// Holding is a turn in the hands of a process: dispatch's goroutine for it.
type Holding struct {
	Phase Phase
	By    Process
	Turn  uint8 // from 1
	Gen   uint8
	Part  uint8 // from 0
	Lock  bool  // the conversation's Redis lock carries its token
}

// Replica is a slot of router_process. Boot is the last one entered, also after that process has died.
type Replica struct {
	Alive bool
	Boot  uint8
	Woken bool // a wake-up is in memory; only without Guards.PendingCheck, in the design it decides nothing
}

// Lock is the conversation's lock in Redis.
type Lock struct {
	Held  bool
	Fence uint8
}

// Budget is how much may still go wrong, and how often humans may still act.
type Budget struct {
	Kills      uint8 // of a process; it comes back
	Pauses     uint8 // a lease runs out under a process that lives: a long pause, a clock that jumps
	Losses     uint8 // Redis forgets the lock
	Duplicates uint8 // webhooks delivered again
	Unknowns   uint8 // sends whose response never comes
	Refusals   uint8 // turns the flow refuses, or parts Evolution refuses; a deadline that passes does the same
	Severed    uint8 // connections to the database that break during a commit, whose answer is never heard
	Takes      uint8
	Handbacks  uint8
}

// State is everything there is: the rows of one conversation, Redis, and the memory of both replicas.
type State struct {
	Owner    Owner
	Epoch    uint8
	Waiting  bool // debounce_until is not null
	Leaked   uint8
	Left     Budget
	Messages [maxMessages]Message
	Rows     [maxRows]Row
	CopyOf   uint8 // the message, from 1, whose copy is the last row
	Told     uint8 // bit i: the customer got part of a forgotten turn's answer to message i; for the checks
	Turns    [maxTurns]Turn
	Holdings [maxHoldings]Holding
	Late     Holding // its statement, the gate's or the one that puts back, is still under way; the holder has given up on it
	Replicas [2]Replica
	Lock     Lock
}

// message is which message a row is of.
func (s *State) message(row int) int {
	if row < maxMessages {
		return row
	}
	return int(s.CopyOf) - 1
}

func (s *State) turn(h Holding) *Turn { return &s.Turns[h.Turn-1] }

// superseded says that the process's slot has been entered by another since.
func (s *State) superseded(p Process) bool { return s.Replicas[p.slot()].Boot != p.boot() }

func (s *State) alive(slot int) bool { return s.Replicas[slot].Alive }

func (s *State) anyAlive() bool { return s.Replicas[0].Alive || s.Replicas[1].Alive }

// firstAlive stands for whichever replica, where it makes no difference.
func (s *State) firstAlive() int {
	if s.Replicas[0].Alive {
		return 0
	}
	return 1
}

// pending says that a message waits for an agent.
func (s *State) pending() bool {
	for _, r := range s.Rows {
		if r.State == Pending {
			return true
		}
	}
	return false
}

// firstQueued is the first part that was not sent; false if there is none.
func (t *Turn) firstQueued() (uint8, bool) {
	for p, part := range t.Parts {
		if part.State == PartQueued {
			return uint8(p), true
		}
	}
	return 0, false
}

func (t *Turn) anyPart(is func(Part) bool) bool {
	for _, p := range t.Parts {
		if is(p) {
			return true
		}
	}
	return false
}

func isSent(p Part) bool    { return p.State == PartSent }
func isWritten(p Part) bool { return p.Written }
