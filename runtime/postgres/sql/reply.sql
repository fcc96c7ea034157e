-- $1 conversation, $2 epoch, $3 no, $4 gen, $5 sha256 of the token, $6 what the parts say as JSON, $7 delays, $8 what
-- follows (null: nothing). Who passes the conversation on without a word has answered nothing: its messages wait for whoever gets it, and
-- due_conversation.sql gives them to nobody before. "for share" waits for a take, or a restart of the turn, that has not committed, and then sees its epoch,
-- or the turn cancelled.
with c as (
    select id, tenant, channel, mirror from conversation where id = $1 and epoch = $2 and owner_kind = 'ai' for share
), t as (
    update turn
       set state = case when cardinality($6::text[]) = 0 then 'done' else 'replied' end,
           ended_at = case when cardinality($6::text[]) = 0 then now() end,
           follow = $8::jsonb
     where conversation_id = $1 and no = $3 and epoch = $2 and gen = $4 and token_hash = $5
       and state = 'running' and deadline > now() and exists (select 1 from c)
    returning state
), parts as (
    insert into outbox (conversation_id, no, part, tenant, channel, state, gen, body, delay, mirror)
    select c.id, $3, p.part, c.tenant, c.channel, 'queued', $4, p.body::jsonb, p.delay, case when c.mirror then 'wanted' else 'no' end
      from c, unnest($6::text[], $7::interval[]) with ordinality as p (body, delay, part)
     where exists (select 1 from t)
), messages as (
    update inbox
       set state = case when silent.pass then 'pending' else 'done' end, turn_no = case when silent.pass then null else turn_no end
      from (select coalesce($8::jsonb ->> 'verb', '') = 'pass' as pass) silent
     where conversation_id = $1 and turn_no = $3 and state = 'taken' and exists (select 1 from t where state = 'done')
    returning inbox.state
), waiting as (
    update conversation
       set debounce_until = coalesce(debounce_until, now()), debounce_cap = coalesce(debounce_cap, now())
     where id = $1 and exists (select 1 from messages where state = 'pending')
)
select (select count(*) from c), (select count(*) from t)
