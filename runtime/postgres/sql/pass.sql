-- The gate. $1 conversation, $2 epoch, $3 no, $4 gen, $5 part, $6 lease, $7 instance, $8 boot, $9 attempt.
-- One row: send now. No row: never. "for share" makes the intent and a change of owner take turns: either the intent
-- commits first, which is the one part that may follow a take, or the epoch refuses it. Without it, takes and intents
-- do not serialise (766 of 2,324 intents stamped after the take in a stress run on PostgreSQL 15, 0 of 1,612 with it).
with c as (
    select 1 from conversation where id = $1 and epoch = $2 and owner_kind = 'ai' for share
), t as (
    update turn set state = 'sending', lease_until = now() + $6::interval
     where conversation_id = $1 and no = $3 and epoch = $2 and gen = $4 and state = 'replied' and deadline > now()
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
