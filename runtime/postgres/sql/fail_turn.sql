-- $1 conversation, $2 no, $3 gen, $4 reason, $5 detail. The conversation is locked. ambiguous is here for a
-- sender whose part was refused after its lease had run out: it knows the outcome, and nobody else may conclude it.
with t as (
    update turn set state = 'failed', reason = $4, ended_at = now()
     where conversation_id = $1 and no = $2 and gen = $3 and state in ('running', 'replied', 'sending', 'ambiguous')
    returning tenant, epoch, gen
), parts as (
    update outbox
       set state = case when state = 'queued' then 'dropped' else 'failed' end, reason = $4
     where conversation_id = $1 and no = $2 and state in ('queued', 'sending', 'ambiguous') and exists (select 1 from t)
), messages as (
    update inbox set state = 'dead', reason = $4
     where conversation_id = $1 and turn_no = $2 and state = 'taken' and exists (select 1 from t)
), letter as (
    insert into dead_letter (tenant, conversation_id, turn_no, epoch, gen, reason, detail)
    select tenant, $1, $2, epoch, gen, $4, $5 from t
)
select epoch from t
