package conversation

import (
	"context"
	"time"
)

// Store is everything the router keeps. Every method is one transaction; a method that returns an error has changed
// nothing, unless the connection broke during commit. All methods are safe for concurrent use.
type Store interface {
	Inbox
	Ownership
	Identity
	OwnSide
	Turns
	Outbox
	Speech
	DeadLetters
	Promises
	Attachments
	Lines
	Processes
	Agents
	Rulebooks
	Plans
	People
}

// Rulebooks keeps every text of rules that ever was in force, and what was decided.
type Rulebooks interface {
	// PutRules stores a text under its version and puts it in force; it has been checked. The capacities it names count from
	// then on, also those of humans who become known later. Repeating it changes nothing but capacities that were changed since.
	PutRules(ctx context.Context, r Rulebook) (changed bool, err error)
	// Rules reads the text stored under a version, or with an empty version the one in force; ErrNoRules.
	Rules(ctx context.Context, tenant, version string) (Rulebook, error)
	// Decisions lists whom the router gave conversations that nobody had, in the order it did, with what each was like then.
	Decisions(ctx context.Context, f DecisionFilter) ([]Decided, error)
}

// Promises keeps what customers were promised by SLAs. A claim makes them.
type Promises interface {
	// JudgePromises says of open ones whose time has come whether they were met, and returns what it said: of each once, on
	// whichever replica. Fewer than limit: there are no more.
	JudgePromises(ctx context.Context, limit int) ([]PromiseRecord, error)
	// ListPromises reads them in the order of their ids.
	ListPromises(ctx context.Context, f PromiseFilter) ([]PromiseRecord, error)
}

// Inbox takes webhooks in.
type Inbox interface {
	// Channel finds a channel by name; ErrUnknownChannel if there is none.
	Channel(ctx context.Context, name string) (Channel, error)
	// Receive commits the rows of events, their dedupe marks and their conversations' rows together: all or none. An event
	// seen before changes nothing. A pending event opens or extends its conversation's burst window. Receipts come in the order
	// of events.
	Receive(ctx context.Context, events []Event, w Window) ([]Receipt, error)
	// ContactTyping moves the burst window of a contact who is typing, up to its cap, or has stopped. It is kept nowhere else.
	ContactTyping(ctx context.Context, t Typing, w Window) error
}

// Ownership changes who is on duty.
type Ownership interface {
	// Do carries a verb out: row, audit, and everything that depends on the owner, in one transaction. Errors: those of
	// Decide, ErrNotFound, ErrKeyReused, ErrAtCapacity (as a *RefusedError where the conversation is known).
	Do(ctx context.Context, c Command) (Result, error)
	// Unrouted lists conversations with waiting messages and no owner, oldest first.
	Unrouted(ctx context.Context, limit int) ([]Unrouted, error)
	// Overdue lists verbs whose time has come: offers and requests to expire, silent humans to hand back. Doing one twice
	// is harmless: the second is refused.
	Overdue(ctx context.Context, limit int) ([]Command, error)
	// Find reads one conversation with its open turn; ErrNotFound.
	Find(ctx context.Context, tenant string, id ID) (Conversation, error)
	// List reads conversations in the order of their ids.
	List(ctx context.Context, f Filter) ([]Conversation, error)
	// Trail reads a conversation's audit in order, from the entry after the given one; ErrNotFound.
	Trail(ctx context.Context, tenant string, id ID, after int64, limit int) ([]Recorded, error)
}

// Identity joins conversations that turned out to be one contact's.
type Identity interface {
	// Conflicts lists conversations to be merged, the one that waits longest first. A merged conversation in which a message was
	// filed late comes as a pair with the one it went into.
	Conflicts(ctx context.Context, limit int) ([]Conflict, error)
	// Merge joins two conversations, or those they were merged into, as Merge decides: owner, audit, messages, aliases, in one
	// transaction. Repeating it is harmless. Errors: ErrNotFound, ErrInvalid, ErrOnTheWire: try again later.
	Merge(ctx context.Context, tenant string, a, b ID) (Joined, error)
}

// OwnSide has what was written on the channels' own side, until it is known by whom.
type OwnSide interface {
	// OwnMessages lists what nobody has decided yet, in order of arrival, from the row after the given one, each with the evidence there
	// is now.
	OwnMessages(ctx context.Context, after int64, limit int) ([]OwnMessage, error)
	// JudgeOwn records by whom a message was written; false if that was decided before. A reason of OwnEcho also confirms the part.
	JudgeOwn(ctx context.Context, id int64, reason string) (bool, error)
}

// Filter narrows a list. Zero fields do not narrow.
type Filter struct {
	Tenant  string // required
	State   State
	Owner   Owner // the kind alone is enough
	Channel string
	After   ID // only later ones: the cursor
	Limit   int
}

// Recorded is one audit entry as it is shown.
type Recorded struct {
	Seq         int64
	At          time.Time
	Actor       string
	Verb        Verb
	StateFrom   State
	StateTo     State
	EpochFrom   int64
	EpochTo     int64
	Reason      string
	RuleVersion string
	Detail      map[string]string
}

// Turns hands bursts of messages to this process, one turn at a time for each conversation.
type Turns interface {
	// ClaimTurn takes all waiting messages of one conversation that is due; ErrNothingDue if none is.
	ClaimTurn(ctx context.Context, terms TurnTerms) (Turn, error)
	// RestartTurn breaks off a running turn in whose conversation messages have come meanwhile, where the agent's policy is
	// MidTurnMerge, and claims the next with all of them; ErrNothingDue if there is none. A turn that has passed half its
	// time, or was restarted MaxRestarts times, goes on.
	RestartTurn(ctx context.Context, terms TurnTerms) (Turn, error)
	// TakeMore gives a running turn the messages that have come meanwhile and returns all messages the turn has then, so that
	// it may be called again when its answer was lost. Errors as for FindTurn, ErrNotAppending.
	TakeMore(ctx context.Context, t TurnRef, token string) (messages []Message, more int, err error)
	// Background reads what the agent is told of the time before a turn: the newest n messages of it.
	Background(ctx context.Context, t TurnRef, n int) (Background, error)
	// Followings lists what agents wanted done after turns that are over.
	Followings(ctx context.Context, limit int) ([]Following, error)
	// Followed records that it was done, or that it cannot be.
	Followed(ctx context.Context, t TurnRef) error
	// ReclaimTurn takes over, with the next generation, a turn whose holder let the lease run out or was superseded;
	// ErrNothingDue if there is none. Parts such a holder was sending become ambiguous.
	ReclaimTurn(ctx context.Context, terms TurnTerms) (Turn, error)
	// NextDue is the time until the next conversation could have a turn, or have its turn restarted; false if none waits. Those of
	// the flows named are passed over. Leases that run out are found by polling.
	NextDue(ctx context.Context, busy ...string) (time.Duration, bool, error)
	// Renew extends the leases of turns that are still held as given and says how each of those stands.
	Renew(ctx context.Context, lease time.Duration, held []TurnRef) ([]Holding, error)
	// FindTurn says how the turn stands that the token was made for: ErrBadToken if it was made for none, ErrStaleEpoch (as
	// a *RefusedError) if the conversation has another owner, ErrTurnClosed if the turn is over or past its deadline.
	FindTurn(ctx context.Context, id ID, no int, token string) (Holding, error)
	// Extend moves the deadline of a running turn to at least wait from now, and never further than most from its claim.
	// Errors as for FindTurn.
	Extend(ctx context.Context, t TurnRef, token string, wait, most time.Duration) (Holding, error)
	// HandBack lets a turn's lease end now, so that any replica reclaims it.
	HandBack(ctx context.Context, t TurnRef) error
	// Reply accepts the flow's answer: the parts are queued and the turn is replied, or done if there are no parts.
	// What follows them, none or one, is done when they are sent, in the epoch of the turn or not at all. ErrStaleEpoch if the
	// owner changed, ErrTurnClosed if the turn is no longer running under this token, ErrInvalid for an attachment that is not
	// the conversation's, or something that cannot follow.
	Reply(ctx context.Context, t TurnRef, token string, parts []Part, then ...Then) error
	// Cancel ends a turn that was refused because the epoch moved on. Its messages wait again if no part was sent.
	Cancel(ctx context.Context, t TurnRef, reason string) error
	// Fail gives a turn up. Its plan may have somebody who tries next (Plan.AfterFailure); otherwise it is a dead letter, and the
	// conversation goes to the human queue if the epoch is still the turn's. If the
	// agent did not answer, the customer is told what the agent wants said then, once until a turn of theirs is answered again.
	// ErrTurnClosed if the turn is not held as given. An ambiguous turn may be failed by its sender only, who knows that
	// the part was not sent.
	Fail(ctx context.Context, t TurnRef, f Failure) error
}

// Outbox is what the gate works on.
type Outbox interface {
	// QueuedParts lists the parts of the turn still to be sent, in order.
	QueuedParts(ctx context.Context, t TurnRef) ([]QueuedPart, error)
	// Pass is the gate: true means the part may be written to the wire now, within the lease that was given.
	Pass(ctx context.Context, p PartRef, sender Process, lease time.Duration) (bool, error)
	// Sent records proof of delivery and frees the turn for its next part; false if the part was not ours to mark.
	Sent(ctx context.Context, p PartRef, d Delivery) (bool, error)
	// Unsent puts a part back that was certainly not written, also one that lost its lease, unless a later attempt has let it
	// pass; false if the part was not ours to mark.
	Unsent(ctx context.Context, p PartRef) (bool, error)
	// Unknown makes part and turn ambiguous, on the word of the sender; false if the part was not ours to mark.
	Unknown(ctx context.Context, p PartRef, reason string) (bool, error)
	// CheckAmbiguous lists parts due for a read-back whose sender writes no more, and plans the next check of each.
	CheckAmbiguous(ctx context.Context, limit int) ([]AmbiguousPart, error)
	// Undecided lists parts that have been ambiguous for longer than patience in a conversation an AI has, whether or not their
	// sender may still write. Of these only what names them, their Age and the conversation's Epoch are set.
	Undecided(ctx context.Context, patience time.Duration, limit int) ([]AmbiguousPart, error)
	// Settle ends a turn whose part's fate a human has found out: sent, or not. ErrSenderAlive while the sender may still write,
	// ErrTurnClosed if no part of this turn is ambiguous.
	Settle(ctx context.Context, s Settlement) error
	// Prove marks an ambiguous part sent by read-back. False if it no longer is ambiguous or the message is another part's.
	Prove(ctx context.Context, p AmbiguousPart, d Delivery) (bool, error)
}

// Speech takes in what is said to a customer beside an AI's answers.
type Speech interface {
	// Say queues it as a turn of its own, which any replica's gate sends; false if it was said before. Errors: ErrNotFound,
	// ErrStaleEpoch, ErrMerged.
	Say(ctx context.Context, s Said) (no int, first bool, err error)
	// PutMedia keeps an attachment's content and returns its id.
	PutMedia(ctx context.Context, tenant string, id ID, c Content) (int64, error)
	// Media reads an attachment's content; ErrNotFound.
	Media(ctx context.Context, tenant string, id int64) (Content, error)
}

// DeadLetters are turns that were given up.
type DeadLetters interface {
	// ListDeadLetters reads them in the order of their ids.
	ListDeadLetters(ctx context.Context, f LetterFilter) ([]DeadLetter, error)
	// FindDeadLetter reads one; ErrNoLetter.
	FindDeadLetter(ctx context.Context, tenant string, id int64) (DeadLetter, error)
	// DecideDeadLetter redrives one, or drops it. Redriven, its messages wait again and the conversation is the AI's; that a
	// human has it is an ErrHumanOnDuty, and a suspended one an ErrWrongState (both as a *RefusedError). Dropped, they stay
	// unanswered. Deciding the same again changes nothing; the other way is an ErrDecided. ErrNoLetter.
	DecideDeadLetter(ctx context.Context, d LetterDecision) (DeadLetter, error)
}

// Processes keeps the list of replicas, by slot.
type Processes interface {
	// Boot enters this process into its slot and so supersedes the process that had it before.
	Boot(ctx context.Context, p Process) error
	// Seen records a sign of life; ErrSuperseded if another process has the slot.
	Seen(ctx context.Context, p Process) error
}

// Agents keeps what is known of agents beside their names, and who may use the API.
type Agents interface {
	// Agents lists them by kind and id.
	Agents(ctx context.Context, tenant string) ([]Agent, error)
	// PutAgent writes name, capacity, and an AI's policies.
	PutAgent(ctx context.Context, a Agent) error
	// Present records how an agent says it is, for as long as it says.
	Present(ctx context.Context, tenant string, o Owner, p Presence, wait time.Duration) error
	// Authenticate finds the token with this SHA-256; ErrBadToken if there is none, or it expired or was revoked.
	Authenticate(ctx context.Context, secretSHA256 [32]byte) (Principal, error)
}
