-- $1 conversation, $2 turn no, $3 letter, $4 who does it. The conversation is locked and an AI's: what the change of owner does with
-- messages that wait is done already.
with messages as (
    update inbox set state = 'pending', reason = 'redriven', turn_no = null
     where conversation_id = $1 and turn_no = $2 and state = 'dead'
    returning 1
), letter as (
    update dead_letter set state = 'redriven', decided_by = $4, decided_at = now() where id = $3
)
update conversation
   set debounce_until = coalesce(debounce_until, now()), debounce_cap = coalesce(debounce_cap, now()), updated_at = now()
 where id = $1 and exists (select 1 from messages)
