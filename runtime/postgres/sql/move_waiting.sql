-- $1 the conversation that goes, $2 the one that stays, both locked. What waits in the first is numbered anew behind what the second
-- has, in the order in which it was written. Numbers of the first are not used again. The window is that of both: as late as either
-- wants, as early as either must.
with moving as (
    select i.id, s.last_seq + row_number() over (order by coalesce(i.wa_ts, date_trunc('second', i.received_at)), i.id) as seq
      from inbox i, conversation s
     where i.conversation_id = $1 and i.state = 'pending' and s.id = $2
), moved as (
    update inbox i set conversation_id = $2, seq = moving.seq from moving where i.id = moving.id
    returning i.id, i.media_id
), attached as (
    update media set conversation_id = $2 where id in (select media_id from moved)
), left_behind as (
    update conversation set debounce_until = null, debounce_cap = null where id = $1
), arrived as (
    update conversation s
       set last_seq = s.last_seq + n.messages,
           debounce_cap = least(s.debounce_cap, g.debounce_cap),
           debounce_until = least(greatest(s.debounce_until, g.debounce_until), s.debounce_cap, g.debounce_cap)
      from conversation g, (select count(*) as messages from moved) n
     where s.id = $2 and g.id = $1 and n.messages > 0
)
select count(*) from moved
