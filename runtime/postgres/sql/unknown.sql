-- $1 conversation, $2 no, $3 gen, $4 part, $5 reason. The sender says itself that it writes no more.
with t as (
    update turn set state = 'ambiguous', reason = $5
     where conversation_id = $1 and no = $2 and gen = $3 and state in ('sending', 'ambiguous')
    returning 1
)
update outbox set state = 'ambiguous', reason = $5, sender_done = true, check_after = now()
 where conversation_id = $1 and no = $2 and gen = $3 and part = $4 and state in ('sending', 'ambiguous')
   and exists (select 1 from t)
returning 1
