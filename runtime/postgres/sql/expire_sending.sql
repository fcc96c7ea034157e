-- Parts in the hands of a sender that is gone, or that lost its lease: what happened to them is unknown.
with t as (
    update turn set state = 'ambiguous', reason = 'sender_lost'
     where state = 'sending' and (conversation_id, no) in (
        select t.conversation_id, t.no
          from turn t left join router_process p on p.instance_name = t.holder_instance
         where t.state = 'sending' and (t.lease_until < now() or p.boot_id <> t.holder_boot)
           for update of t skip locked)
    returning conversation_id, no
)
update outbox o set state = 'ambiguous', reason = 'sender_lost', check_after = now()
  from t
 where o.conversation_id = t.conversation_id and o.no = t.no and o.state = 'sending'
