-- $1 conversation, $2 gen, $3 turn, $4 what Chatwoot was told, $5 nothing more is expected for now, $6 parts, $7 their states, $8 their
-- statuses when that was found out. A part of which more has become known since is found again.
with m as (
    select 1 from chatwoot_conversation where conversation_id = $1 and gen = $2 for update
)
update outbox o
   set shown = $4, mirror = case when $5 then 'done' else o.mirror end
  from unnest($6::integer[], $7::text[], $8::text[]) as p (part, state, status)
 where o.conversation_id = $1 and o.no = $3 and o.part = p.part and o.state = p.state and o.status = p.status and o.mirror <> 'no'
   and exists (select 1 from m)
