-- $1 conversation, $2 no, $3 gen, $4 reason. The conversation is locked. If nothing of the answer went out, the
-- messages wait again for whoever is on duty now; if something did, they were answered.
with t as (
    update turn set state = 'cancelled', reason = $4, ended_at = now()
     where conversation_id = $1 and no = $2 and gen = $3 and state in ('running', 'replied')
    returning 1
), answered as (
    select exists (select 1 from outbox where conversation_id = $1 and no = $2 and state = 'sent') as yes
), parts as (
    update outbox set state = 'dropped', reason = $4
     where conversation_id = $1 and no = $2 and state = 'queued' and exists (select 1 from t)
), messages as (
    update inbox
       set state = case when answered.yes then 'done' else 'pending' end,
           turn_no = case when answered.yes then turn_no end
      from answered
     where conversation_id = $1 and turn_no = $2 and state = 'taken' and exists (select 1 from t)
    returning inbox.state
), waiting as (
    update conversation
       set debounce_until = coalesce(debounce_until, now()), debounce_cap = coalesce(debounce_cap, now())
     where id = $1 and exists (select 1 from messages where state = 'pending')
)
select count(*) from t
