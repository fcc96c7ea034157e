-- $1 inbox row, $2 try, $3 wait until the next one; null: there is none.
with i as (
    update inbox
       set media_state = case when $3::interval is null then 'failed' else 'wanted' end, media_after = now() + $3::interval
     where id = $1 and media_state = 'wanted' and media_tries = $2
    returning conversation_id, media_state
)
update conversation c
   set mirror_due = coalesce(c.mirror_due, now())
  from i
 where c.id = i.conversation_id and c.mirror and i.media_state = 'failed'
