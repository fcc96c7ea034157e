// Package conversation is the domain of the router: who is on duty in a conversation, and what may be said in it.
// It knows no database, no HTTP and no neighbour; the interfaces it needs from them stand in store.go and neighbour.go.
//
// # Authority
//
// PostgreSQL is the one authority. The conversation row holds the owner and the epoch; the epoch grows by one at every
// change of owner, is minted nowhere else and never goes down. Redis only wakes sleepers up: with Redis flushed or
// gone, everything stays correct and gets up to one poll interval (1 s) slower. Deadlines and leases are times of the
// database's clock; inside a process only the monotonic clock is compared with them.
//
// # States that exist today
//
//	IDLE ──inbound──▶ ROUTING ──claim──▶ AI_ACTIVE ──queue──▶ HUMAN_QUEUED
//	                     └──────────claim (no agent)─────────────▲
//
// ROUTING is passed inside the claim's transaction: one audit row for the inbound, one for the claim. OFFERED,
// HUMAN_ACTIVE, SUSPENDED and CLOSED are names the table accepts; nothing leads there yet.
//
// A message (inbox row):
//
//	pending ──turn claimed──▶ taken ──answer sent──▶ done          ignored (reason): never offered to an agent
//	   ▲────turn cancelled, nothing sent──┘└──turn failed──▶ dead (dead_letter row)
//
// A turn (one run of an agent over one burst) and the parts of its answer (outbox rows):
//
//	running ──answer accepted──▶ replied ⇄ sending ──last part sent──▶ done
//	   │                            │         └──outcome unknown──▶ ambiguous ──proof──▶ replied | done
//	   └────────────────────────────┴──▶ failed (dead letter, HUMAN_QUEUED) | cancelled (the epoch moved on)
//	queued ──gate──▶ sending ──▶ sent | failed | ambiguous          queued ──turn over──▶ dropped
//
// running, replied, sending and ambiguous are the open states: a partial unique index admits one open turn for each
// conversation. gen grows by one each time a turn changes hands, so whoever lost a turn is refused from then on.
//
// # What a turn token is
//
//	token = base64url(HMAC-SHA256(key, tenant ∥ conversation ∥ epoch ∥ no ∥ gen ∥ deadline))
//
// each field preceded by its length. The store keeps the token's SHA-256 beside the turn and accepts an answer only
// for the same token, epoch and generation, in state running, before the deadline.
//
// # Failures
//
//	webhook delivered twice            one row: the dedupe mark is in the same commit
//	database down at the hook          503, nothing half-made; Evolution repeats
//	Redis down                         poll finds the work; one log line when it goes and one when it comes back
//	router killed, turn running        lease runs out or its slot boots anew: reclaimed with gen+1, flow asked again
//	router killed, answer stored       reclaimed with gen+1, parts go on from the first that was not sent
//	router killed, part on the wire    ambiguous; sent only by proof: sender superseded and read-back shows the text
//	n8n 404, 408, 429, 5xx, no answer  repeated with back-off until the turn's deadline, then dead letter, HUMAN_QUEUED
//	n8n any other refusal, bad answer  dead letter at once, HUMAN_QUEUED
//	Evolution refuses a part (4xx)     part failed, dead letter, HUMAN_QUEUED
//	Evolution unreachable              nothing was written: repeated until the deadline
//	Evolution silent or 5xx            ambiguous: never re-sent; the AI is silent in this conversation until proof
//	database down, part on the wire    its fate is told again until it is taken, also after the lease ran out
//	owner changed under a turn         refused at answer and at gate; its messages wait for the new owner
//	process paused past its lease      refused by gen; a part it may have put on the wire is ambiguous
package conversation
