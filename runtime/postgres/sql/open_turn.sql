-- $1 conversation. The open turn, and the part that keeps it ambiguous if one does.
select t.no, t.epoch, t.gen, t.state, t.agent, t.reason, t.deadline,
       coalesce(o.part, 0), coalesce(o.intent_at, now()), coalesce(o.reason, ''), coalesce(o.sender_instance, ''),
       coalesce(o.sender_done or p.boot_id <> o.sender_boot, false)
  from turn t
  left join outbox o on o.conversation_id = t.conversation_id and o.no = t.no and o.state = 'ambiguous'
  left join router_process p on p.instance_name = o.sender_instance
 where t.conversation_id = $1 and t.kind = 'ai' and t.state in ('running', 'replied', 'sending', 'ambiguous')
