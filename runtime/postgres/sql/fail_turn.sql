-- $1 conversation, $2 no, $3 gen, $4 reason, $5 detail, $6 somebody is to try again, $7 and not before. The conversation is locked. ambiguous is here for a
-- sender whose part was refused after its lease had run out: it knows the outcome, and nobody else may conclude it.
-- A turn whose conversation has another owner by now is nobody's failure: it is cancelled, and its messages, unless part of
-- the answer went out, wait for that owner. A turn that was not answered at all leaves its messages to whoever tries again: there is
-- no dead letter then. A message that was redriven stays known as such: ord.sql.
with t as (
    update turn
       set state = case when c.epoch = turn.epoch or turn.kind = 'human' then 'failed' else 'cancelled' end,
           reason = case when c.epoch = turn.epoch or turn.kind = 'human' then $4 else 'owner_changed' end, ended_at = now(),
           follow = null
      from conversation c
     where c.id = $1 and conversation_id = $1 and no = $2 and gen = $3
       and turn.state in ('running', 'replied', 'sending', 'ambiguous')
    returning turn.tenant, turn.epoch, turn.gen, turn.state, turn.kind
), parts as (
    update outbox
       set state = case when state = 'queued' then 'dropped' else 'failed' end, reason = $4
     where conversation_id = $1 and no = $2 and state in ('queued', 'sending', 'ambiguous') and exists (select 1 from t)
), answered as (
    select exists (select 1 from outbox where conversation_id = $1 and no = $2 and state = 'sent') as yes,
           $6 and not exists (select 1 from outbox where conversation_id = $1 and no = $2) as again
), messages as (
    update inbox
       set state = case when t.state = 'failed' and not answered.again then 'dead' when answered.yes then 'done' else 'pending' end,
           reason = case when t.state = 'failed' and not answered.again and inbox.reason <> 'redriven' then $4 else inbox.reason end,
           turn_no = case when t.state = 'failed' and not answered.again or answered.yes then turn_no end
      from t, answered
     where conversation_id = $1 and turn_no = $2 and inbox.state = 'taken'
    returning inbox.state
), waiting as (
    update conversation
       set debounce_until = greatest(coalesce(debounce_until, now()), now() + $7::interval),
           debounce_cap = greatest(coalesce(debounce_cap, now()), now() + $7::interval)
     where id = $1 and exists (select 1 from messages where state = 'pending')
), letter as (
    insert into dead_letter (tenant, conversation_id, turn_no, epoch, gen, reason, detail)
    select tenant, $1, $2, epoch, gen, $4, $5 from t, answered where state = 'failed' and kind = 'ai' and not again
)
select epoch, state, kind, again from t, answered
