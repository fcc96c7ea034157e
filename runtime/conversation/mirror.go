package conversation

import (
	"context"
	"encoding/json"
	"time"
)

// Mirror keeps what the router shows in Chatwoot, and what it has been told from there. Nobody's words or ownership depend on it:
// what people do in Chatwoot becomes verbs and speech.
type Mirror interface {
	// Desk reads what was set up for a channel; ErrUnknownChannel if nothing was.
	Desk(ctx context.Context, channel string) (Desk, error)
	// PutDesk writes it and has the channel's conversations mirrored from now on. It says what it did: "created", "updated" or
	// "unchanged".
	PutDesk(ctx context.Context, d Desk) (string, error)
	// HearDesk commits an event of Chatwoot's, its dedupe mark, and that its conversation is to be looked at. Duplicate: it was
	// heard before.
	HearDesk(ctx context.Context, e DeskEvent) (duplicate bool, err error)
	// GatherShown marks conversations as due of whose parts something is known that Chatwoot does not show: a piece of those after
	// the one given. It returns where to go on; zero: at the beginning.
	GatherShown(ctx context.Context, after ID) (ID, error)
	// NextShown takes a conversation in hand that Chatwoot may not show as it is, or in which something happened there;
	// ErrNothingDue if there is none. It is this caller's for lease, which each SaveShown begins anew.
	NextShown(ctx context.Context, lease time.Duration) (Shown, error)
	// SaveShown writes the fields of s that a step changes. ErrSuperseded if s is another's by now; so do all that follow.
	SaveShown(ctx context.Context, s Shown, lease time.Duration) error
	// ToShow lists, in the order it happened, what Chatwoot is to show up to the audit entry through, and how much later it makes
	// sense to look again for what is not ready; zero: not at all.
	ToShow(ctx context.Context, s Shown, through int64, terms ShowTerms) ([]ToShow, time.Duration, error)
	// Posted records what became of one of them: Chatwoot's id for it, or that it will never be shown. The intent in s ends with it.
	Posted(ctx context.Context, s Shown, source string, id int64) error
	// Echoed records messages of ours that were found in Chatwoot, by source_id.
	Echoed(ctx context.Context, s Shown, ids map[string]int64) error
	// Heard says which of the sources were said already.
	Heard(ctx context.Context, tenant string, sources []string) (map[string]bool, error)
	// Spoken lists turns of this conversation of which Chatwoot has the message and may show another status.
	Spoken(ctx context.Context, s Shown) ([]Spoken, error)
	// ShowSpoken records what Chatwoot was told, for those parts that still stand as they did. Not final: more is expected.
	ShowSpoken(ctx context.Context, s Shown, t Spoken, shown string, final bool) error
	// EndShown gives the conversation back.
	EndShown(ctx context.Context, s Shown, e ShowEnd) error
	// DueDeskSweep takes one channel in hand whose sweep is due; ErrNothingDue. swept is Chatwoot's time up to which it was done.
	DueDeskSweep(ctx context.Context, every time.Duration) (d Desk, swept time.Time, err error)
	// Swept marks those for a look in which something happened that is not known, and moves the mark to Chatwoot's time to.
	DeskSwept(ctx context.Context, d Desk, seen []Glimpse, to time.Time) (missed int, err error)
}

// Desk is what was set up in Chatwoot for a channel. The secrets are sealed: see runtime/seal.
type Desk struct {
	Channel, Tenant     string
	Account, Inbox, Bot int64
	HookSecret          []byte // signs the inbox's events
	BotSecret           []byte // signs the bot's
	BotToken            []byte
	UserToken           []byte
}

// DeskEvent is one webhook of Chatwoot's. What it says is not believed: it only says where to look.
type DeskEvent struct {
	Tenant, Channel string
	Delivery        string // Chatwoot's id of the delivery: the natural key
	Name            string // of the event
	Account         int64
	Display         int64 // the conversation's number there; zero if it is about none
	Look            bool  // something may have happened that is not the router's own doing
	Body            []byte
}

// Shown is a conversation as Chatwoot has it, in the hands of one worker.
type Shown struct {
	Conversation ID
	Gen          int
	Tenant       string
	Channel      string
	Contact      Contact
	Phones       []string // phone numbers the contact is known by, digits only
	Attempts     int      // in a row that failed

	ContactID int64  // zero: not known yet
	SourceID  string // the contact's in the inbox
	Display   int64  // zero: not made yet
	Labels    []string
	// Status and Assignee are what the router last wrote or accepted; Next is what it was about to write, nil: nothing.
	DeskState
	Next        *DeskState
	Accepted    int
	LastMessage int64 // Chatwoot's messages up to here are dealt with
	Noted       int64 // handovers up to this audit entry are shown
	Posting     string
	// PostingAge is how long ago that was about to be posted, when the conversation was taken in hand.
	PostingAge time.Duration
}

// DeskState is who has a conversation, in Chatwoot's words.
type DeskState struct {
	Status   string // open, pending, resolved, snoozed
	Assignee string // user:ID, bot:ID; empty: nobody
}

// ShowTerms say what is not waited for any longer.
type ShowTerms struct {
	Limit   int
	Media   time.Duration // an attachment's content
	FromMe  time.Duration // whether a message on the channel's own side is an echo
	Between time.Duration // how soon to look again meanwhile
}

// ToShow is one thing Chatwoot is to show.
type ToShow struct {
	Source string // the source_id it gets
	At     time.Time
	// Message of the customer's, or of the phone's own user (FromMe). Kind is message, edit or revoke.
	Kind   EventKind
	FromMe bool
	Type   string
	Text   string
	SentAt time.Time
	// Media is what is attached. MediaID is zero when its content is not there.
	Media   *Media
	MediaID int64
	// Part of the router's side; Unsent says that the customer does not have it.
	Part     bool
	Unsent   bool
	PartKind MediaKind
	// Note of a handover.
	Note *HandoverNote
	// Broken is a promise that was.
	Broken *Promise
}

// HandoverNote is what people are told of a handover.
type HandoverNote struct {
	Verb    Verb
	Actor   string
	Owner   string
	Reason  string
	Context json.RawMessage // what the one before wanted the next to know; may be nil
}

// Spoken is a turn whose message Chatwoot has.
type Spoken struct {
	No      int
	Source  string // empty: an AI's or the router's own part
	Part    int    // of those; zero for a whole turn
	Message int64  // Chatwoot's
	Shown   string // what it was told
	Result  string // what it should be told: sent, delivered, read, failed, ambiguous; empty: not known yet
	Reason  string
	Unsent  []Part // what the customer does not have
	By      string // who said it
	Parts   []SpokenPart
}

// SpokenPart is how a part stood when its turn was read.
type SpokenPart struct {
	Part          int
	State, Status string
}

// ShowEnd says how a look at a conversation ended.
type ShowEnd struct {
	Failed bool          // it is tried again, whatever happens meanwhile
	Waits  bool          // Failed, but through nobody's fault: it does not count
	After  time.Duration // Failed: until the next try; else look again then, zero: when something happens
	Reason string        // short, without names, numbers or texts
}

// Glimpse is a conversation as a list of Chatwoot's shows it.
type Glimpse struct {
	Display int64
	DeskState
	LastMessage int64
}
