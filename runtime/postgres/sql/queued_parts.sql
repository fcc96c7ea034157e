-- $1 conversation, $2 no
select part, body ->> 'text', delay from outbox where conversation_id = $1 and no = $2 and state = 'queued' order by part
