-- The gate for what people and the router itself say. Parameters as for pass.sql, $10 the turn's kind. A human's words pass whoever is
-- on duty, unless the conversation is suspended; the router's as long as the epoch lasts in which it said them.
with c as (
    select 1 from conversation
     where id = $1 and state <> 'SUSPENDED' and ($10::text = 'human' or epoch = $2)
       for share
), t as (
    update turn set state = 'sending', lease_until = now() + $6::interval
     where conversation_id = $1 and no = $3 and epoch = $2 and gen = $4 and kind = $10 and state = 'replied' and deadline > now()
       and exists (select 1 from c)
       and exists (select 1 from outbox
                    where conversation_id = $1 and no = $3 and part = $5 and state = 'queued')
       and not exists (select 1 from outbox
                        where conversation_id = $1 and no = $3 and part < $5 and state <> 'sent')
    returning 1
)
update outbox
   set state = 'sending', gen = $4, intent_at = clock_timestamp(), sender_instance = $7, sender_boot = $8::uuid, sender_done = false,
       attempt = $9
 where conversation_id = $1 and no = $3 and part = $5 and state = 'queued' and exists (select 1 from t)
returning 1
