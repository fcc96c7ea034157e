-- $1 conversation, $2 reason, $3 no, $4 gen (null: whichever is open). The conversation is locked. A turn whose part is on the wire,
-- or whose part's fate is unknown, stays open until the fate is known, but has nothing left to send. If nothing of the
-- answer went out, the messages wait again for whoever is on duty now; if something did, they were answered.
with open as (
    select no, gen, state from turn
     where conversation_id = $1 and kind <> 'human' and state in ('running', 'replied', 'sending', 'ambiguous')
       and ($3::integer is null or no = $3) and ($4::integer is null or gen = $4)
       for update
), t as (
    update turn set state = 'cancelled', reason = $2, ended_at = now(), follow = null
      from open
     where turn.conversation_id = $1 and turn.no = open.no and open.state in ('running', 'replied')
    returning turn.no
), parts as (
    update outbox set state = 'dropped', reason = $2
      from open
     where outbox.conversation_id = $1 and outbox.no = open.no and outbox.state = 'queued'
), messages as (
    update inbox
       set state = case when answered.yes then 'done' else 'pending' end,
           turn_no = case when answered.yes then turn_no end
      from t cross join lateral (
          select exists (select 1 from outbox o where o.conversation_id = $1 and o.no = t.no and o.state = 'sent') as yes
      ) answered
     where inbox.conversation_id = $1 and inbox.turn_no = t.no and inbox.state = 'taken'
    returning inbox.state
), waiting as (
    update conversation
       set debounce_until = coalesce(debounce_until, now()), debounce_cap = coalesce(debounce_cap, now())
     where id = $1 and exists (select 1 from messages where state = 'pending')
)
-- One that was cancelled before, with the owner, counts too.
select (select count(*) from t)
     + (select count(*) from turn where conversation_id = $1 and no = $3 and gen = $4 and state = 'cancelled')
