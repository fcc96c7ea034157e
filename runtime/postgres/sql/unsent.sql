-- $1 conversation, $2 no, $3 gen, $4 part, $5 attempt. Only for a part of which not one byte was written. The attempt keeps one
-- whose answer nobody heard, and which commits late, from undoing the intent of the next attempt: that part is on the wire. The sender holds the proof,
-- so it may also settle a part that lost its lease meanwhile: as long as its process lives, nobody else could.
with t as (
    update turn set state = 'replied', reason = ''
     where conversation_id = $1 and no = $2 and gen = $3 and state in ('sending', 'ambiguous')
       and exists (select 1 from outbox
                    where conversation_id = $1 and no = $2 and gen = $3 and part = $4 and attempt <= $5 and state in ('sending', 'ambiguous'))
    returning 1
)
update outbox set state = 'queued', reason = '', intent_at = null
 where conversation_id = $1 and no = $2 and gen = $3 and part = $4 and attempt <= $5 and state in ('sending', 'ambiguous')
   and exists (select 1 from t)
returning 1
