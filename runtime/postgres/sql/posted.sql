-- $1 conversation, $2 gen, $3 inbox id, $4 turn, $5 part, $6 Chatwoot's id (zero: it will never be shown), $7 source_id. The intent to
-- post it ends with it.
with m as (
    update chatwoot_conversation set posting = nullif(posting, $7), posting_at = case when posting <> $7 then posting_at end
     where conversation_id = $1 and gen = $2
    returning 1
), i as (
    update inbox set mirror = case when $6::bigint > 0 then 'done' else 'failed' end, chatwoot_id = nullif($6::bigint, 0)
     where conversation_id = $1 and id = $3 and mirror = 'wanted' and exists (select 1 from m)
), o as (
    update outbox set mirror = case when $6::bigint = 0 then 'failed' when status in ('DELIVERY_ACK', 'READ', 'PLAYED', 'ERROR') then 'wanted' else 'done' end, chatwoot_id = nullif($6::bigint, 0),
           shown = case when state = 'sent' then 'sent' else shown end
     where conversation_id = $1 and no = $4 and part = $5 and mirror = 'wanted' and chatwoot_id is null
       and exists (select 1 from m)
), s as (
    update promise set mirror = case when $6::bigint > 0 then 'done' else 'failed' end, chatwoot_id = nullif($6::bigint, 0)
     where conversation_id = $1 and mirror = 'wanted' and 'plantao:sla:' || conversation_id || '/' || kind || '/' || seq = $7
       and exists (select 1 from m)
)
select count(*) from m
