-- $1 conversation, $2 no, $3 part. The conversation is locked.
select o.sender_instance, coalesce(o.sender_done or p.boot_id <> o.sender_boot, false)
  from outbox o left join router_process p on p.instance_name = o.sender_instance
 where o.conversation_id = $1 and o.no = $2 and o.part = $3 and o.state = 'ambiguous'
   for update of o
