// Package desk keeps Chatwoot in step with the conversations the router has, and takes in what people do there. Nothing of Chatwoot's
// is authority: its webhooks only say where to look, what happened is read from its API, and it becomes a verb or a speech that
// the store may refuse. With Chatwoot gone, WhatsApp's side goes on; the mirror catches up afterwards.
//
// # One look
//
// A conversation is due when the store says that Chatwoot may not show what is here (messages, verbs, fates of parts), when a webhook
// or the sweep says that something happened there, or when the replica that had it in hand is gone. One worker has it at a time, by a
// lease and a generation in chatwoot_conversation, and goes through these steps. Each commits before and after it calls, so that it can
// be broken off anywhere and begun anew:
//
//	1 find      contact and conversation, by identifier, phone and mark; made once if they are not there
//	2 read      messages after the last known; words of people: take, then say; messages of ours: noted as shown
//	3 compare   status and assignee with what was last written or accepted; what differs was people's doing: verb, then accepted
//	4 retry     failed messages that agents wish to be sent again
//	5 show      messages, parts, handovers, broken SLAs, one after the other in the order they happened
//	6 state     status and assignee as the owner wants them, written only if Chatwoot shows others
//	7 fates     of what was said: delivered, read, failed
//
// # What means what
//
//	in Chatwoot                                    here
//	public message of a user                       take by human:ID for Silence (begun anew with each), then said through the gate
//	private note, template, bot's message          nothing
//	message of ours (source_id plantao:…)          an echo: noted, nothing else
//	assigned to a user, or opened with one         take by human:ID
//	any of these by whom it is offered to          accept
//	opened, nobody assigned, an AI has it          pass to the queue
//	user taken off an open conversation            pass to the queue
//	open or snoozed becomes pending, bot assigned  handback
//	becomes resolved                               close
//	resolved becomes open, nobody assigned         to the queue
//	resolved becomes pending                       nothing: a message of the customer's does that
//	labels, team, priority                         nothing, and they are left alone
//	Retry on a failed message                      what the customer does not have is said again, once for each Retry
//
//	here                                           in Chatwoot
//	AI_ACTIVE, ROUTING, IDLE                       pending, nobody assigned
//	OFFERED                                        as the owner, who stays on duty, wants it
//	HUMAN_QUEUED, SUSPENDED                        open, nobody assigned
//	HUMAN_ACTIVE                                   open, assigned to the user; to nobody if the human is none of Chatwoot's
//	CLOSED                                         resolved
//	SLA broken                                     private note
//	customer's message; the phone's own            incoming; outgoing, with its time
//	part sent; part of an AI that was not          outgoing by the bot; private note
//	edit, revocation, handover                     private note
//	offered to a human                             private note that mentions the user
//	human's part failed, of unknown fate           message failed, with the reason in plain words
//	delivered, read                                the same, never backwards
//
// Who is in which team, and there, is read with each sweep: no webhook tells it.
//
// # Nothing twice
//
// Chatwoot takes the same source_id twice. So a post is intended (committed), made, and noted; one whose answer was lost is looked for by
// step 2, after Chatwoot cannot be at it any longer, before it is made again. Words of people have a source, chatwoot:ACCOUNT:MESSAGE,
// and are said once; a retry of them is the source with :r and a number.
//
// # Failures
//
//	webhook lost                      the sweep finds it, within one interval
//	webhook forged, old, repeated     401, 401, known by its delivery id
//	Chatwoot down or slow             breaker and back-off; the backlog is in the store; nothing else waits for it
//	one message it refuses            failed with a log line; the rest goes on
//	over 200 messages a minute        a pause
//	conversation deleted there        made anew; what was shown is not shown again
//	attachment not to be had          the message is failed there, so that whoever wrote it knows
//	replica gone at any step          the lease runs out, the next one begins at step 1
//	people and router write at once   Chatwoot has no condition on a write: the later one stands, and is seen by the other's next look
package desk
