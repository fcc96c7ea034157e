-- $1 inbox row, $2 try, $3 media. The content's id and the state that says it is there are one commit with the content. The webhook need
-- not hold it a second time. What shows the conversation elsewhere may have waited for it. No row: the lease is lost.
with i as (
    update inbox
       set media_state = 'ready', media_id = $3, media_after = null, body = body #- '{data,message,base64}'
     where id = $1 and media_state = 'wanted' and media_tries = $2
    returning conversation_id
), c as (
    update conversation c set mirror_due = coalesce(c.mirror_due, now()) from i where c.id = i.conversation_id and c.mirror
)
select 1 from i
