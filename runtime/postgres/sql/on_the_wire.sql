-- $1 and $2 conversations, both locked: no part passes the gate until this transaction is over. The clock, and of each whether something
-- of it is on its way out, or keeps the AI silent because its fate is unknown, or is a human's word that is still to be sent.
with busy as (
    select conversation_id
      from turn
     where conversation_id in ($1, $2)
       and (state = 'sending' or kind = 'ai' and state = 'ambiguous' or kind = 'human' and state in ('running', 'replied'))
)
select clock_timestamp(), exists (select 1 from busy where conversation_id = $1), exists (select 1 from busy where conversation_id = $2)
