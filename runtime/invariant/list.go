package invariant

// all is the list. "Online" is a promise: the statement in runtime/postgres/sql/check asserts exactly that.
var all = []Invariant{
	{
		ID: Own,
		Sentence: "a conversation has one owner in each epoch, and the epoch grows with each change of owner and with " +
			"nothing else",
		Online: "audit entries that name their owner: the owner changes if and only if the epoch does, by 1, or by 1001 in " +
			"a new cluster generation, also from one entry to the next; an AI gets a conversation only by claim, pass, " +
			"accept, handback or resume, and by take only a human does; owner, state and epoch of the row are those of its " +
			"newest entry; who absorbed another conversation keeps its owner, or has none, under the higher epoch of both + 1; " +
			"a merged conversation is closed. Entries older than migration 2 name no owner and are not judged",
		Remedy: "find who wrote the row beside the router (the audit names the last change it knows), then take the " +
			"conversation",
	},
	{
		ID:       Mono,
		Sentence: "the epoch of a conversation never goes down",
		Online: "no audit entry begins or ends with a lower epoch than the one it follows, or than that of a conversation it " +
			"absorbed; no turn and no human stretch is of a later epoch than its conversation, turns are in the order of their epochs, no conversation is of a later " +
			"cluster generation than the cluster; the trigger that refuses a lower epoch is on",
		Remedy: "the database may have lost commits or was restored: stop the routers, compare with the newest backup, " +
			"then run `router recover`",
	},
	{
		ID:       One,
		Sentence: "a conversation has at most one open turn",
		Online: "at most one turn running, replied, sending or ambiguous; the unique index one_turn that guards it is " +
			"there and valid",
		Remedy: "hold the conversation, rebuild the index one_turn, and look which of the turns has parts that were sent",
	},
	{
		ID:       Fence,
		Sentence: "a part is let out only while its turn's epoch is the conversation's and an AI is on duty",
		Online: "no intent to send stands outside the time between the audit entry that began the turn's epoch, for an AI, " +
			"and the one that ended it; what was sent has an intent; a turn that runs is of the conversation's epoch. Both " +
			"times are read by the database's clock under the conversation's lock: setting that clock back makes false " +
			"reports",
		Remedy: "an answer may have gone out while a human had the conversation: tell that human; look for a router of " +
			"another version",
	},
	{
		ID:       Leak,
		Sentence: "after a take at most one part reaches the customer, and its intent was committed before",
		Online: "for each epoch an AI lost, at most one part that was let out before became sent afterwards, or is still " +
			"of unknown fate. When the customer's phone showed it is not known here",
		Remedy: "tell the human who took the conversation that the AI said more than one thing into it",
	},
	{
		ID:       Dup,
		Sentence: "a part is sent at most once, and one of unknown fate is never sent again by itself",
		Online: "no message id of WhatsApp belongs to two parts; nothing waits in the queue that was sent before, or that " +
			"its sender gave up as unknown; what counts as sent has a message id or a human's word. Only the phone shows a " +
			"second copy",
		Remedy: "look at the phone; a customer may have read the same thing twice",
	},
	{
		ID:       Ack,
		Sentence: "what the hook answered with 2xx is in the database",
		Online: "every dedupe mark has its inbox row and every inbox row its mark, with the same tenant, channel, kind and " +
			"id; a conversation has as many messages as it counted, less those that a merge took along. A row lost together " +
			"with its mark and its conversation is seen only from outside. With --since only the rows that arrived since are looked at, and not whether a mark lost " +
			"its row",
		Remedy: "messages may be lost: compare the channel with Evolution's findMessages and the newest backup",
	},
	{
		ID: Part,
		Sentence: "each message is in exactly one of: waiting, an open turn, a turn that answered it, a human stretch, " +
			"ignored with a reason, a dead letter",
		Online: "the state of each message of a conversation fits the turn, the stretch or the dead letter it names. With " +
			"--since only messages that arrived since are looked at",
		Remedy: "read the conversation on the phone: this message may have no answer, or two",
	},
	{
		ID:       Ord,
		Sentence: "turns cover messages in the order of arrival, and parts go out in order",
		Online: "no turn has a message older than one of an earlier turn; messages are numbered once each; parts are " +
			"numbered from 1, and none was let out before the one before it was sent. With --since message numbers are " +
			"compared only among messages that arrived since",
		Remedy: "the customer may have been answered in the wrong order; look for a router of another version",
	},
	{
		ID:       Aud,
		Sentence: "every change of a conversation is one audit entry, and the entries form an unbroken chain of hashes",
		Online: "each conversation's entries count from 1 to its version, each carries the hash of the one before, each " +
			"hash is that of its contents, and the row holds the newest; the triggers that make the table append only are on; the " +
			"entries of a merge name each other, and the one of the conversation that stays carries the other's hash. " +
			"Who rewrote a whole chain and its row is found only against a copy kept elsewhere",
		Remedy: "somebody changed the audit: keep the database as it is and compare with a backup before anything else",
	},
	{
		ID:       Live,
		Sentence: "no message waits for ever: it gets a turn, or a human or an operator has its conversation",
		Online: "no conversation of an AI's or of nobody's whose burst window ended longer ago than the grace has messages " +
			"and no open turn; messages that wait have a window; no turn outlives its lease or deadline, and no offer, " +
			"request or silence its time, by more than the grace; no promise of an SLA is open so long after it was due. All conversations " +
			"are looked at, also with --since",
		Remedy: "is a router running, and does it reach n8n and Evolution? Its log says why it does not get on",
	},
	{
		ID:       Cap,
		Sentence: "an agent is given no more conversations than its capacity",
		Online: "no agent with a bound has more conversations that others gave it than the bound, unless the bound was " +
			"lowered after the last one was given; only humans and AIs are given conversations. All agents are looked at, " +
			"also with --since",
		Remedy: "pass some of the agent's conversations on, or raise its capacity",
	},
	{
		ID:       Erase,
		Sentence: "after an erasure nothing the customer said is left, and the audit chain is whole",
		Online: "conversations with an audit entry `erase`: no text and no body of a message that arrived before, no text " +
			"of a part made before, no contact name, no context of a handover, no name in a remembered answer. Logs, backups " +
			"and neighbours are not looked at",
		Remedy: "erase the conversation again",
	},
	{
		ID:       Ten,
		Sentence: "nothing crosses tenants",
		Online: "everything that belongs to a conversation has its tenant, and its channel where it names one; a " +
			"conversation has its channel's tenant. With --since messages are compared only if they arrived since",
		Remedy: "stop the routers: one customer's data may be shown to another. Find out who wrote the row",
	},
	{
		ID:       Echo,
		Sentence: "an event about a message the router sent causes neither a turn nor a take",
		Online:   "no event with the id of a part that was sent was given to an agent, or waits to be",
		Remedy:   "the AI may be answering itself: hold the conversation",
	},
	{
		ID:       Idem,
		Sentence: "one idempotency key is one response and one change",
		Online: "for each key that is remembered: the entries that carry it are of one moment and of one conversation, and " +
			"the response says what the audit says; an entry of the last hour that carries a key has its response",
		Remedy: "a client's command was carried out twice, or its answer lost: look what the audit shows under this key",
	},
	{
		ID:       Ryw,
		Sentence: "what a verb's 200 said, every replica reads from then on, also after a crash of the database",
		Online: "the server is a primary, fsync is on, synchronous_commit is not off for the router's role. That every " +
			"replica reads this server is a matter of configuration",
		Remedy: "point the routers at the primary; set fsync = on and synchronous_commit = on",
	},
}
