-- $1 limit. A sender that is alive and has not spoken may still write, so its part is not looked at: what the read-back
-- shows would prove nothing. Planning the next check here keeps two replicas from asking the same question.
with due as (
    select o.conversation_id, o.no, o.part
      from outbox o left join router_process p on p.instance_name = o.sender_instance
     where o.state = 'ambiguous' and o.check_after <= now() and (o.sender_done or p.boot_id <> o.sender_boot)
     order by o.check_after
     limit $1
       for update of o skip locked
)
update outbox o
   set checks = o.checks + 1,
       check_after = now() + least(interval '1 second' * power(2, least(o.checks, 9)), interval '5 minutes')
  from due join conversation c on c.id = due.conversation_id
 where o.conversation_id = due.conversation_id and o.no = due.no and o.part = due.part
returning o.tenant, o.conversation_id, o.no, o.part, o.channel, c.chat_jid, o.body ->> 'text', o.body -> 'media', o.intent_at,
          extract(epoch from now() - o.intent_at)::float8
