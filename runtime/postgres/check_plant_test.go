package postgres_test

import (
	"fmt"

	"plantao/runtime/audit"
	"plantao/runtime/conversation"
	"plantao/runtime/invariant"
)

// plant is a database made wrong in one way.
type plant struct {
	name  string
	want  invariant.ID
	spoil func(w *world, b busy)
	// whole: only a check of everything finds it.
	whole bool
}

func sql(text string, pick func(b busy) conversation.ID) func(w *world, b busy) {
	return func(w *world, b busy) { w.exec(text, pick(b)) }
}

func answered(b busy) conversation.ID { return b.answered }
func taken(b busy) conversation.ID    { return b.taken }
func back(b busy) conversation.ID     { return b.back }

// merging writes the two entries of a merge as a router would, after change has spoilt the one of the conversation that stays.
func merging(change func(e *audit.Entry)) func(w *world, b busy) {
	return func(w *world, b busy) {
		w.exec("update conversation set owner_kind = 'none', owner_id = '', state = 'CLOSED', given = false where id = $1", b.settled)
		w.entry(b.settled, "merge", func(e *audit.Entry) {
			e.StateFrom, e.EpochTo = "AI_ACTIVE", e.EpochTo+1
			e.Detail["into"], e.Detail["moved"] = b.answered.String(), "0"
		})
		w.exec("update conversation set merged_into = $2 where id = $1", b.settled, b.answered)
		w.entry(b.answered, "merge", func(e *audit.Entry) {
			e.EpochTo++
			e.Detail["absorbed"], e.Detail["absorbed_epoch"], e.Detail["moved"] = b.settled.String(), "1", "0"
			e.Detail["absorbed_hash"] = w.text("select encode(last_hash, 'hex') from conversation where id = $1", b.settled)
			change(e)
		})
	}
}

var plants = []plant{
	{name: "a merge that skips epochs", want: invariant.Own, spoil: merging(func(e *audit.Entry) { e.EpochTo += 7 })},
	{name: "a merge that keeps the epoch", want: invariant.Mono, spoil: merging(func(e *audit.Entry) { e.EpochTo-- })},
	{name: "a merge that gives it to another", want: invariant.Own, spoil: func(w *world, b busy) {
		w.exec("update conversation set owner_id = 'g' where id = $1", b.answered)
		merging(func(e *audit.Entry) { e.Detail["owner"] = "ai:g" })(w, b)
	}},
	{name: "a merge whose chains are not linked", want: invariant.Aud,
		spoil: merging(func(e *audit.Entry) { e.Detail["absorbed_hash"] = "00" })},
	{name: "a merge that counts too much", want: invariant.Ack, whole: true, spoil: func(w *world, b busy) {
		w.exec("update conversation set last_seq = last_seq + 1 where id = $1", b.into)
	}},
	{name: "a message that moved and was not counted", want: invariant.Ack, whole: true, spoil: func(w *world, b busy) {
		w.exec("update inbox set conversation_id = $2, seq = (select last_seq + 1 from conversation where id = $2) where conversation_id = $1", b.waiting, b.into)
		w.exec("update conversation set last_seq = last_seq + 1 where id = $1", b.into)
	}},
	{name: "a message that was lost on the way", want: invariant.Ack, whole: true, spoil: func(w *world, b busy) {
		w.exec("with lost as (delete from inbox where wa_id = 'k3' returning id) delete from inbox_key where inbox_id in (select id from lost)")
	}},
	{name: "merged into another than the audit says", want: invariant.Aud,
		spoil: func(w *world, b busy) {
			w.exec("update conversation set merged_into = $2 where id = $1", b.gone, b.answered)
		}},
	{name: "merged, and nobody knows", want: invariant.Aud,
		spoil: func(w *world, b busy) {
			merging(func(*audit.Entry) {})(w, b)
			w.exec("update conversation set merged_into = null where id = $1", b.settled)
		}},
	{name: "a merged conversation that goes on", want: invariant.Own, spoil: func(w *world, b busy) {
		w.exec("alter table conversation drop constraint conversation_merged")
		w.entry(b.gone, "reopen", func(e *audit.Entry) { e.StateTo = "ROUTING" })
	}},
	{name: "a message that was left behind", want: invariant.Live, spoil: func(w *world, b busy) {
		w.exec("update inbox set state = 'pending', turn_no = null where conversation_id = $1 and seq = 1", b.gone)
		w.exec("update conversation set debounce_until = now() - interval '1 hour' where id = $1", b.gone)
	}},

	{name: "a take under the old epoch", want: invariant.Own, spoil: func(w *world, b busy) {
		w.exec("update conversation set owner_kind = 'human', owner_id = 'ana', state = 'HUMAN_ACTIVE' where id = $1", b.answered)
		w.entry(b.answered, "take", func(e *audit.Entry) { e.StateFrom = "AI_ACTIVE" })
	}},
	{name: "an epoch for nothing", want: invariant.Own, spoil: func(w *world, b busy) {
		w.entry(b.answered, "request", func(e *audit.Entry) { e.EpochTo++ })
	}},
	{name: "an epoch that jumps without a new cluster", want: invariant.Own, spoil: func(w *world, b busy) {
		w.exec("update conversation set owner_kind = 'human', owner_id = 'ana', state = 'HUMAN_ACTIVE' where id = $1", b.answered)
		w.entry(b.answered, "take", func(e *audit.Entry) { e.EpochTo += 7 })
	}},
	{name: "an AI that takes", want: invariant.Own, spoil: func(w *world, b busy) {
		w.exec("update conversation set owner_id = 'g' where id = $1", b.answered)
		w.entry(b.answered, "take", func(e *audit.Entry) { e.EpochTo++ })
	}},
	{name: "an owner the audit does not know", want: invariant.Own,
		spoil: sql("update conversation set owner_id = 'eve' where id = $1", taken)},
	{name: "an epoch the audit does not know", want: invariant.Own,
		spoil: sql("update conversation set epoch = epoch + 1 where id = $1", taken)},

	{name: "an epoch that went back", want: invariant.Mono, spoil: func(w *world, b busy) {
		w.unguarded("conversation", "update conversation set epoch = epoch - 1 where id = $1", b.taken)
	}},
	{name: "an entry that goes back", want: invariant.Mono, spoil: func(w *world, b busy) {
		w.entry(b.taken, "settle", func(e *audit.Entry) { e.EpochTo-- })
		w.unguarded("conversation", "update conversation set epoch = epoch - 1 where id = $1", b.taken)
	}},
	{name: "turns that go back", want: invariant.Mono,
		spoil: sql("update turn set epoch = epoch + 5 where conversation_id = $1 and no = 1", func(b busy) conversation.ID { return b.failed })},
	{name: "a stretch of the future", want: invariant.Mono,
		spoil: sql("update human_stretch set epoch = epoch + 5 where conversation_id = $1", back)},
	{name: "a cluster that went back", want: invariant.Mono,
		spoil: sql("update conversation set cluster = 2 where id = $1", back)},
	{name: "no guard of the epoch", want: invariant.Mono, spoil: func(w *world, _ busy) {
		w.exec("alter table conversation disable trigger conversation_epoch_guard")
	}},

	{name: "two open turns", want: invariant.One, spoil: func(w *world, b busy) {
		w.exec("drop index one_turn")
		w.exec("update turn set state = 'replied' where conversation_id = $1 and no = 2", b.answered)
		w.exec("update inbox set state = 'taken' where conversation_id = $1 and turn_no = 2", b.answered)
		w.exec(`insert into turn (conversation_id, no, epoch, agent, state, holder_instance, holder_boot, lease_until, deadline)
			select conversation_id, 3, epoch, agent, 'replied', holder_instance, holder_boot, lease_until, deadline
			  from turn where conversation_id = $1 and no = 2`, b.answered)
	}},
	{name: "no guard of the one turn", want: invariant.One, spoil: func(w *world, _ busy) { w.exec("drop index one_turn") }},

	{name: "an intent after the take", want: invariant.Fence,
		spoil: sql("update outbox set intent_at = clock_timestamp() where conversation_id = $1 and part = 2", taken)},
	{name: "an intent before the claim", want: invariant.Fence,
		spoil: sql("update outbox set intent_at = intent_at - interval '1 day' where conversation_id = $1 and no = 1 and part = 1", taken)},
	{name: "an intent of another agent", want: invariant.Fence,
		spoil: sql("update turn set agent = 'g' where conversation_id = $1 and no = 1", taken)},
	{name: "sent without an intent", want: invariant.Fence,
		spoil: sql("update outbox set intent_at = null where conversation_id = $1 and part = 2", taken)},
	{name: "a turn that runs on", want: invariant.Fence, spoil: func(w *world, b busy) {
		w.exec("update turn set state = 'running' where conversation_id = $1", b.taken)
		w.exec("update inbox set state = 'taken' where conversation_id = $1 and turn_no = 1", b.taken)
	}},

	{name: "two parts after the take", want: invariant.Leak,
		spoil: sql("update outbox set sent_at = clock_timestamp() where conversation_id = $1", taken)},

	{name: "one message for two parts", want: invariant.Dup,
		spoil: sql("update outbox set wa_msg_id = 'same' where conversation_id = $1 and no = 1", answered)},
	{name: "an ambiguous part queued again", want: invariant.Dup, spoil: func(w *world, b busy) {
		w.exec("update outbox set state = 'queued' where conversation_id = $1 and part = 1", b.unknown)
		w.exec("update turn set state = 'replied' where conversation_id = $1", b.unknown)
	}},
	{name: "sent by nobody's word", want: invariant.Dup,
		spoil: sql("update outbox set wa_msg_id = null where conversation_id = $1 and no = 2", answered)},

	{name: "a lost message", want: invariant.Ack, whole: true,
		spoil: sql("delete from inbox where conversation_id = $1 and wa_id = 'a1'", answered)},
	{name: "a lost message and its mark", want: invariant.Ack, whole: true,
		spoil: sql("with gone as (delete from inbox where conversation_id = $1 and wa_id = 'a1' returning id) delete from inbox_key where inbox_id in (select id from gone)", answered)},
	{name: "a lost mark", want: invariant.Ack, spoil: func(w *world, _ busy) { w.exec("delete from inbox_key where wa_id = 'a1'") }},
	{name: "another's mark", want: invariant.Ack, spoil: func(w *world, _ busy) { w.exec("update inbox_key set kind = 'sent' where wa_id = 'a1'") }},

	{name: "taken by no open turn", want: invariant.Part,
		spoil: sql("update inbox set state = 'taken' where conversation_id = $1 and turn_no = 1", answered)},
	{name: "answered by a failed turn", want: invariant.Part,
		spoil: sql("update inbox set state = 'done' where conversation_id = $1", func(b busy) conversation.ID { return b.failed })},
	{name: "a dead letter that is lost", want: invariant.Part,
		spoil: sql("delete from dead_letter where conversation_id = $1", func(b busy) conversation.ID { return b.failed })},
	{name: "a human who was not there", want: invariant.Part,
		spoil: sql("update human_stretch set to_seq = 1, from_seq = 1 where conversation_id = $1", back)},
	{name: "waiting and in a turn", want: invariant.Part,
		spoil: sql("update inbox set turn_no = 1 where conversation_id = $1 and state = 'pending'", taken)},
	{name: "without a number", want: invariant.Part, spoil: func(w *world, b busy) {
		w.exec("update inbox set seq = null where conversation_id = $1 and wa_id = 'b2'", b.taken)
		w.exec("update conversation set last_seq = last_seq - 1 where id = $1", b.taken)
	}},

	{name: "turns in the wrong order", want: invariant.Ord,
		spoil: sql("update inbox set seq = 3 - seq where conversation_id = $1 and seq is not null", answered)},
	{name: "one number twice", want: invariant.Ord,
		spoil: sql("update inbox set seq = 1 where conversation_id = $1 and wa_id = 'b2'", taken)},
	{name: "a part that is missing", want: invariant.Ord,
		spoil: sql("delete from outbox where conversation_id = $1 and no = 1 and part = 1", taken)},
	{name: "a part before its turn", want: invariant.Ord,
		spoil: sql("update outbox set intent_at = (select max(intent_at) from outbox where conversation_id = $1) + interval '1 microsecond' where conversation_id = $1 and part = 1", taken)},
	{name: "a part after one that was dropped", want: invariant.Ord,
		spoil: sql("update outbox set state = 'dropped' where conversation_id = $1 and part = 1", taken)},

	{name: "a changed entry", want: invariant.Aud, spoil: func(w *world, b busy) {
		w.unguarded("audit", "update audit set reason = 'x' where conversation_id = $1 and seq = 2", b.taken)
	}},
	{name: "a lost entry", want: invariant.Aud, spoil: func(w *world, b busy) {
		w.unguarded("audit", "delete from audit where conversation_id = $1 and seq = 2 and verb <> 'claim' or conversation_id = $1 and verb = 'inbound'", b.offered)
	}},
	{name: "an entry no router wrote", want: invariant.Aud, spoil: func(w *world, b busy) {
		w.unguarded("audit", `update audit set detail = detail || '{"x": {}}' where conversation_id = $1 and seq = 2`, b.taken)
	}},
	{name: "a chain that ends elsewhere", want: invariant.Aud,
		spoil: sql("update conversation set last_hash = '\\x00' where id = $1", taken)},
	{name: "a chain that is too short", want: invariant.Aud,
		spoil: sql("update conversation set version = version + 1 where id = $1", taken)},
	{name: "an audit that can be changed", want: invariant.Aud, spoil: func(w *world, _ busy) {
		w.exec("drop trigger audit_no_truncate on audit")
	}},

	{name: "messages nobody takes up", want: invariant.Live,
		spoil: sql("update conversation set debounce_until = now() - interval '1 hour' where id = $1", func(b busy) conversation.ID { return b.waiting })},
	{name: "messages nobody will look for", want: invariant.Live,
		spoil: sql("update conversation set debounce_until = null where id = $1", func(b busy) conversation.ID { return b.waiting })},
	{name: "messages nobody routes", want: invariant.Live, spoil: func(w *world, _ busy) {
		id := w.say("13@lid", "m1")
		w.exec("update conversation set debounce_until = now() - interval '1 hour' where id = $1", id)
	}},
	{name: "a turn nobody took over", want: invariant.Live,
		spoil: sql("update turn set lease_until = now() - interval '1 hour' where conversation_id = $1", func(b busy) conversation.ID { return b.running })},
	{name: "an offer that stands for ever", want: invariant.Live,
		spoil: sql("update conversation set offer_until = now() - interval '1 hour' where id = $1", func(b busy) conversation.ID { return b.offered })},

	{name: "a promise nobody judges", want: invariant.Live,
		spoil: sql("update promise set due = now() - interval '10 minutes' where conversation_id = $1", func(b busy) conversation.ID { return b.promised })},

	{name: "more than the agent's capacity", want: invariant.Cap, spoil: func(w *world, _ busy) {
		w.exec("insert into agent (tenant, kind, id, capacity, capacity_since) values ('default', 'ai', 'f', 1, now() - interval '1 hour')")
	}},
	{name: "given to the queue", want: invariant.Cap,
		spoil: sql("update conversation set given = true where id = $1", func(b busy) conversation.ID { return b.failed })},

	{name: "an erasure that left it all", want: invariant.Erase, spoil: func(w *world, b busy) {
		w.entry(b.back, "erase", func(*audit.Entry) {})
	}},

	{name: "a turn of another tenant", want: invariant.Ten,
		spoil: sql("update turn set tenant = 'other' where conversation_id = $1", taken)},
	{name: "an alias of another tenant", want: invariant.Ten,
		spoil: sql("update alias set tenant = 'other' where conversation_id = $1", taken)},
	{name: "an answer of another tenant", want: invariant.Ten, spoil: func(w *world, b busy) {
		w.exec("update outbox set tenant = 'other' where conversation_id = $1", b.answered)
	}},
	{name: "a promise of another tenant", want: invariant.Ten,
		spoil: sql("update promise set tenant = 'other' where conversation_id = $1", func(b busy) conversation.ID { return b.promised })},
	{name: "a channel of another tenant", want: invariant.Ten, spoil: func(w *world, _ busy) {
		w.exec("update channel set tenant = 'other'")
	}},

	{name: "an echo that is answered", want: invariant.Echo, spoil: func(w *world, b busy) {
		w.exec("update inbox set state = 'pending', reason = '', seq = 3 where wa_id = $1", fmt.Sprintf("OUT-%s-2-1", b.answered))
		w.exec("update conversation set last_seq = 3, debounce_until = now(), debounce_cap = now() where id = $1", b.answered)
	}},

	{name: "a key used twice", want: invariant.Idem, spoil: func(w *world, b busy) {
		key := w.text("select detail ->> 'key' from audit where conversation_id = $1 and detail ? 'key'", b.taken)
		w.entry(b.taken, "request", func(e *audit.Entry) { e.Detail["key"] = key })
	}},
	{name: "a key used in two conversations", want: invariant.Idem, spoil: func(w *world, b busy) {
		key := w.text("select detail ->> 'key' from audit where conversation_id = $1 and detail ? 'key'", b.taken)
		w.entry(b.answered, "request", func(e *audit.Entry) { e.Detail["key"] = key })
	}},
	{name: "an answer that is not remembered", want: invariant.Idem,
		spoil: sql("delete from verb_idem where conversation_id = $1", taken)},
	{name: "an answer that says something else", want: invariant.Idem,
		spoil: sql(`update verb_idem set response = regexp_replace(response::text, '"Epoch": *\d+', '"Epoch": 77') where conversation_id = $1`, taken)},
}
