-- $1 conversation, $2 no, $3 gen, $4 part. Only for a part of which not one byte was written.
with t as (
    update turn set state = 'replied'
     where conversation_id = $1 and no = $2 and gen = $3 and state = 'sending'
    returning 1
)
update outbox set state = 'queued', intent_at = null
 where conversation_id = $1 and no = $2 and gen = $3 and part = $4 and state = 'sending' and exists (select 1 from t)
returning 1
