-- $1 conversation, $2 no. How large an attachment is stands beside it, so that nobody has to read one to learn that.
select o.part, o.body, o.delay, coalesce(octet_length(m.content), 0)
  from outbox o
  left join media m on m.id = (o.body #>> '{media,id}')::bigint
 where o.conversation_id = $1 and o.no = $2 and o.state = 'queued'
 order by o.part
