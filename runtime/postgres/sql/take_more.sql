-- $1 conversation, $2 no, $3 epoch, $4 gen, $5 sha256 of the token. The conversation and the turn are locked.
with t as (
    select no from turn
     where conversation_id = $1 and no = $2 and epoch = $3 and gen = $4 and token_hash = $5 and kind = 'ai'
       and state = 'running' and deadline > now()
), took as (
    update inbox set state = 'taken', turn_no = t.no
      from t
     where inbox.conversation_id = $1 and inbox.state = 'pending'
    returning 1
), waiting as (
    update conversation set debounce_until = null, debounce_cap = null, updated_at = now()
     where id = $1 and exists (select 1 from t)
)
select (select count(*) from t), (select count(*) from took)
