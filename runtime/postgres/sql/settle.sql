-- $1 conversation, $2 no, $3 part, $4 sent, $5 who says so. The conversation is locked and the sender writes no more. What was
-- to follow the part is dropped: who knows how long ago that was. If nothing of the answer went out, the messages wait again.
with o as (
    update outbox
       set state = case when $4 then 'sent' else 'failed' end, reason = 'decided_by_human', decided_by = $5,
           sent_at = case when $4 then now() end
     where conversation_id = $1 and no = $2 and part = $3
), answered as (
    select $4 or exists (select 1 from outbox where conversation_id = $1 and no = $2 and part <> $3 and state = 'sent') as yes
), t as (
    update turn set state = case when answered.yes then 'done' else 'cancelled' end, reason = 'decided_by_human', ended_at = now(),
           follow = case when answered.yes then follow end
      from answered
     where conversation_id = $1 and no = $2 and state = 'ambiguous'
), rest as (
    update outbox set state = 'dropped', reason = 'decided_by_human'
     where conversation_id = $1 and no = $2 and part <> $3 and state = 'queued'
), messages as (
    update inbox
       set state = case when answered.yes then 'done' else 'pending' end, turn_no = case when answered.yes then turn_no end
      from answered
     where conversation_id = $1 and turn_no = $2 and state = 'taken'
    returning inbox.state
)
update conversation
   set debounce_until = coalesce(debounce_until, now()), debounce_cap = coalesce(debounce_cap, now())
 where id = $1 and exists (select 1 from messages where state = 'pending')
