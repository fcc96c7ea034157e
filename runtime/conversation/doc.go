// Package conversation is the domain of the router: who is on duty in a conversation, and what may be said in it.
// It knows no database, no HTTP and no neighbour; the interfaces it needs from them stand in store.go and neighbour.go.
//
// # Authority
//
// PostgreSQL is the one authority. The conversation row holds the owner and the epoch; the epoch grows by one at every
// change of owner, is minted nowhere else (Decide) and never goes down. Redis holds a lock and wakes sleepers up: with Redis
// flushed or gone, everything stays correct and gets up to one poll interval (1 s) slower. Deadlines and leases are times
// of the database's clock; inside a process only the monotonic clock is compared with them.
//
// # States
//
//	                 ┌──────── AI_ACTIVE ◀──handback, accept──┐
//	IDLE ─inbound─▶ ROUTING ─claim─▶ │ ▲                      │
//	  ▲              │  ▲ ▲          │ │ decline, expire      │
//	  │        claim │  │ └─release──┤ │                      │
//	  │              ▼  │            ▼ │ offer                │
//	  │     HUMAN_QUEUED ◀─pass,queue─ OFFERED ─accept─▶ HUMAN_ACTIVE
//	  │              │                (the owner stays on duty)   ▲
//	  └ (new)        └──────────────accept, take──────────────────┘
//
//	any ──take (human)──▶ HUMAN_ACTIVE          any ──hold──▶ SUSPENDED ──resume──▶ what it was
//	any ──close──▶ CLOSED ──reopen, inbound──▶ ROUTING
//
// AI_ACTIVE has an owner of kind ai, HUMAN_ACTIVE human, HUMAN_QUEUED queue, OFFERED any of these; IDLE, ROUTING, SUSPENDED
// and CLOSED have none. ROUTING is usually passed inside the claim's transaction.
//
// # Verbs
//
// Each is one transaction: conversation row, one audit entry a step, and whatever depends on the owner (open turn, waiting
// messages, human stretch, offer, deadlines). Each names the epoch it is meant for, except take; a key makes it safe to
// repeat. "Operator" includes the router, which acts by rule and by timer.
//
//	verb      who                 from                        effect
//	claim     operator            IDLE, ROUTING, CLOSED       owner by rule, epoch+1
//	pass      owner, operator     any with an owner           owner, epoch+1; what the AI has queued is dropped
//	offer     owner, operator     any with an owner           OFFERED, epoch same; a newer offer voids the older
//	accept    offeree, operator   OFFERED with that offer     owner, epoch+1
//	decline   offeree, operator   OFFERED with that offer     back to the owner, or the queue
//	expire    operator            a deadline has passed       as decline; a request is forgotten, or the queue
//	request   anybody else        any with an owner           noted for the owner until its deadline
//	take      human, operator     any                         that human, epoch+1, no epoch needed: a human always wins
//	release   owner, operator     any with an owner           nobody, epoch+1, ROUTING
//	handback  owner, operator     HUMAN_ACTIVE, HUMAN_QUEUED  the AI named, or the last, or the channel's; epoch+1
//	hold      operator            any but SUSPENDED           nobody, SUSPENDED; nothing is sent
//	resume    operator            SUSPENDED                   what it was, under a new epoch
//	close     owner, operator     any but CLOSED              nobody, CLOSED; what waits is not answered
//	reopen    operator            CLOSED                      ROUTING
//
// A change of owner takes the conversation from an AI completely: its running turn is cancelled, what it has queued is
// dropped, its token is refused. Its messages wait for the new owner unless part of the answer went out.
//
// Two conversations that turn out to be one contact's are merged by the router (Merge): the one whose owner matters more goes on
// under an epoch beyond both, with what waits in either; the other is closed for good, and every verb on it is refused and says
// which one goes on. Both have an audit entry that names the other.
//
// Whoever writes on the channel's own phone is the human "phone" and takes the conversation, unless it is a part of ours, or a greeting
// WhatsApp sends by itself.
//
// AIs may pass a conversation among themselves HandoverBudget times in HandoverWindow; the next pass goes to the queue.
//
// From the moment a human has it until an AI or nobody does, the conversation is in a human stretch: messages of that time
// end in state human and are nobody else's to answer. The stretch is kept, so that the next AI can be told.
//
// A message (inbox row):
//
//	pending ──turn claimed──▶ taken ──answer sent──▶ done          ignored (reason): never offered to an agent,
//	   │▲────turn cancelled, nothing sent──┘└──turn failed──▶ dead    or the conversation was closed on it
//	   ├──human stretch ends──▶ human                    (dead_letter row)
//	   └◀── redriven ── dead
//
// A dead letter is open until an operator redrives it (its messages wait again, and the AI has the conversation) or drops it (they
// stay dead). What a human has is not redriven.
//
// A turn (one run of an agent over one burst) and the parts of its answer (outbox rows):
//
//	running ──answer accepted──▶ replied ⇄ sending ──last part sent──▶ done
//	   │                            │         └──outcome unknown──▶ ambiguous ──proof, or a human's word──▶ replied | done
//	   └────────────────────────────┴──▶ failed (dead letter, HUMAN_QUEUED) | cancelled (the epoch moved on)
//	queued ──gate──▶ sending ──▶ sent | failed | ambiguous          queued ──turn over──▶ dropped
//
// A burst is over when nobody has written for a while (quiet), at the latest so long after its first message (cap). A contact who is
// seen typing extends it up to the cap; one who stops shortens it again. Attachments hold the turn up until their content is there,
// or their own time is over. What comes while a turn runs is the agent's policy (MidTurn):
//
//	queue   it waits for the next turn
//	merge   the turn, if it is running, is cancelled and the next claimed with all messages; MaxRestarts times in a row, and not
//	        once half of the turn's time has passed
//	append  the flow may fetch it into the running turn (TakeMore); what it does not fetch waits
//
// All three lock the conversation's row, as an answer and a change of owner do: of an answer and a restart one comes first, and the
// other is refused.
//
// An answer may say what follows it: a pass or a close (Then). It is kept with the turn and done when the turn is done, as the AI, under
// the turn's epoch and a key made from the turn: once, wherever a router was killed, and not at all after a change of owner. Until
// then the conversation has no next turn.
//
// running, replied, sending and ambiguous are the open states: a partial unique index admits one open turn for each
// conversation. gen grows by one each time a turn changes hands, so whoever lost a turn is refused from then on.
//
// What a customer was promised when the conversation began (Promise), by the rules' SLA, is judged once, by any replica, when it is due:
//
//	open ──answered, or closed, by then──▶ met     ──neither──▶ broken     ──closed unanswered, or merged, by then──▶ void
//
// # What a turn token is
//
//	token = base64url(HMAC-SHA256(key, tenant ∥ conversation ∥ epoch ∥ no ∥ gen ∥ deadline ∥ cluster))
//
// each field preceded by its length. The store keeps the token's SHA-256 beside the turn and accepts an answer only
// for the same token, epoch and generation, in state running, before the deadline.
//
// # Failures
//
//	webhook delivered twice            one row: the dedupe mark is in the same commit
//	database down at the hook          503, nothing half-made; Evolution repeats
//	router killed, promise judged      the log line and the count may be missing; the store and Chatwoot have it
//	Redis down                         poll finds the work; one log line when it goes and one when it comes back
//	router killed, turn running        lease runs out or its slot boots anew: reclaimed with gen+1, flow asked again
//	router killed, answer stored       reclaimed with gen+1, parts go on from the first that was not sent
//	router killed, part on the wire    ambiguous; sent only by proof: sender superseded and read-back shows the text
//	n8n 404, 408, 425, 429, 5xx,       repeated with back-off, not before Retry-After, until the turn's deadline, then dead letter,
//	no answer                          HUMAN_QUEUED, and the agent's holding message, once until a turn is answered again
//	a turn fails without an answer,    its messages go on waiting: for the same agent after a pause while it has attempts left, then for
//	and a rule names who tries next    the next target; a dead letter only after the last
//	a human who is offered it is       the offer ends by its deadline and the next one is asked; the queue has it all the while
//	away, or a router is killed then
//	a flow fails again and again       it is left alone for a while: its turns wait, until their deadline; others are not concerned
//	a flow hangs                       it takes no more than its share of a replica's turns; its other conversations wait
//	router killed, answer sent,        what was to follow is found with the turn and done; the turn's key makes it once
//	before what follows
//	n8n any other refusal, bad answer  dead letter at once, HUMAN_QUEUED
//	Evolution refuses a part (4xx)     part failed, dead letter, HUMAN_QUEUED
//	Evolution unreachable              nothing was written: repeated until the deadline
//	channel not connected to WhatsApp  its parts wait before the gate until it is, at most until the deadline; an error tells the operator
//	webhooks lost, Evolution down      swept from Evolution's database when the channel is connected again, at start, and every so often
//	attachment not to be had           tried again under a lease, then given up; the turn waits for it no longer than for a while
//	Evolution silent or 5xx            ambiguous: never re-sent; the AI is silent in this conversation until proof
//	database down, part on the wire    its fate is told again until it is taken, also after the lease ran out
//	owner changed under a turn         cancelled with it; refused at answer and at gate; its messages wait for the new owner
//	no proof of an ambiguous part      after a while HUMAN_QUEUED; it stays ambiguous until a human settles it
//	contact under two ids              two conversations, merged when a message names both; waits while the one that goes has
//	                                   something on the wire; a message filed late in it follows
//	echo before Evolution's answer     held until the part's fate is known; then an echo, or somebody on the phone
//	router killed, phone's take done   repeated under its key, changes nothing; then the message is filed
//	commits lost (failover, restore)   other timeline or system: the cluster's generation grows, AI conversations are SUSPENDED under
//	                                   epoch+1000, all others jump at their next change of owner; no old token fits again
//	process paused past its lease      refused by gen; a part it may have put on the wire is ambiguous
package conversation
