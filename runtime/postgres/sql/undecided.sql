-- $1 patience, $2 limit. Ambiguous for longer than that, in a conversation an AI has: it is silent. Whether the sender may still
-- write does not matter: this leads to nothing but a human.
select c.tenant, o.conversation_id, o.no, o.part, extract(epoch from now() - o.intent_at)::float8, c.epoch
  from outbox o
  join conversation c on c.id = o.conversation_id
  join turn t on t.conversation_id = o.conversation_id and t.no = o.no and t.kind = 'ai'
 where o.state = 'ambiguous' and o.intent_at <= now() - $1::interval and c.owner_kind = 'ai'
 order by o.intent_at
 limit $2
