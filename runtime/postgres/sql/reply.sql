-- $1 conversation, $2 epoch, $3 no, $4 gen, $5 sha256 of the token, $6 texts, $7 delays. "for share" waits for a take that has not
-- committed, and then sees its epoch.
with c as (
    select id, tenant, channel from conversation where id = $1 and epoch = $2 and owner_kind = 'ai' for share
), t as (
    update turn
       set state = case when cardinality($6::text[]) = 0 then 'done' else 'replied' end,
           ended_at = case when cardinality($6::text[]) = 0 then now() end
     where conversation_id = $1 and no = $3 and epoch = $2 and gen = $4 and token_hash = $5
       and state = 'running' and deadline > now() and exists (select 1 from c)
    returning state
), parts as (
    insert into outbox (conversation_id, no, part, tenant, channel, state, gen, body, delay)
    select c.id, $3, p.part, c.tenant, c.channel, 'queued', $4, jsonb_build_object('text', p.text), p.delay
      from c, unnest($6::text[], $7::interval[]) with ordinality as p (text, delay, part)
     where exists (select 1 from t)
), messages as (
    update inbox set state = 'done'
     where conversation_id = $1 and turn_no = $3 and state = 'taken' and exists (select 1 from t where state = 'done')
)
select (select count(*) from c), (select count(*) from t)
