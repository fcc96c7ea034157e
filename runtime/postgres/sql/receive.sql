-- One webhook, one statement, one commit: dedupe mark, alias, conversation and inbox row stand or fall together.
-- $1 tenant, $2 channel, $3 kind, $4 wa id, $5 chat jid, $6 other jid, $7 from me, $8 contact name, $9 type, $10 text,
-- $11 wa time, $12 body, $13 state, $14 reason, $15 quiet, $16 cap.
-- No row comes back for an event seen before: a concurrent insert of the same key is waited for, so twenty copies at
-- once give one row. Only a pending event makes a conversation; an ignored one is filed under it if it exists.
with key as (
    insert into inbox_key (tenant, channel, wa_id, kind, inbox_id)
    values ($1, $2, $4, $3, nextval('inbox_id_seq'))
    on conflict do nothing
    returning inbox_id
), known as (
    select conversation_id, jid from alias
     where tenant = $1 and channel = $2 and jid in ($5, $6) and jid <> ''
     order by jid = $5 desc limit 1
), named as (
    -- "do update" and not "do nothing": it waits for a concurrent first message and returns that one's conversation,
    -- which the snapshot of this statement cannot see.
    insert into alias (tenant, channel, jid, conversation_id)
    select $1, $2, $5, coalesce((select conversation_id from known), nextval('conversation_id_seq'))
      from key
     where $13 = 'pending' and not exists (select 1 from known where jid = $5)
    on conflict (tenant, channel, jid) do update set conversation_id = alias.conversation_id
    returning conversation_id
), target as (
    select coalesce((select conversation_id from named), (select conversation_id from known)) as id from key
), other as (
    insert into alias (tenant, channel, jid, conversation_id)
    select $1, $2, $6, id from target where $13 = 'pending' and $6 <> '' and $6 <> $5
    on conflict do nothing
), talk as (
    insert into conversation (id, tenant, channel, chat_jid, contact_name, last_seq, debounce_until, debounce_cap)
    select id, $1, $2, $5, $8, 1, now() + least($15::interval, $16::interval), now() + $16::interval
      from target where $13 = 'pending'
    on conflict (id) do update
       set last_seq = conversation.last_seq + 1,
           contact_name = coalesce(nullif(excluded.contact_name, ''), conversation.contact_name),
           debounce_cap = coalesce(conversation.debounce_cap, excluded.debounce_cap),
           debounce_until = least(now() + $15::interval, coalesce(conversation.debounce_cap, excluded.debounce_cap)),
           updated_at = now()
    returning id, last_seq
), echo as (
    -- Evolution repeats what we sent: that confirms the part. It never wakes an agent.
    update outbox set confirmed_at = now()
     where $7 and tenant = $1 and channel = $2 and wa_msg_id = $4 and exists (select 1 from key)
    returning conversation_id
)
insert into inbox (id, tenant, channel, kind, wa_id, conversation_id, seq, type, text, wa_ts, state, reason, body)
select key.inbox_id, $1, $2, $3, $4,
       coalesce((select id from talk), (select conversation_id from echo limit 1), (select id from target)),
       (select last_seq from talk),
       $9, $10, $11::timestamptz, $13,
       case when exists (select 1 from echo) then 'own_echo' else $14 end,
       $12::jsonb
  from key
returning state, reason, coalesce(conversation_id, 0)
