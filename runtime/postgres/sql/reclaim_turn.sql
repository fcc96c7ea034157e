-- $1 instance, $2 boot, $3 lease. gen + 1 shuts the old holder out. A superseded holder is not waited for. What people and the
-- router itself say goes out in the order it was said: each waits for the one before, unless that one's fate is unknown.
with lost as (
    select t.conversation_id, t.no
      from turn t left join router_process p on p.instance_name = t.holder_instance
     where t.state in ('running', 'replied') and (t.lease_until < now() or p.boot_id <> t.holder_boot)
       and (t.kind = 'ai' or not exists (select 1 from turn before
                                          where before.conversation_id = t.conversation_id and before.no < t.no
                                            and before.kind <> 'ai' and before.state in ('replied', 'sending')))
     order by t.lease_until
     limit 1
       for update of t skip locked
), t as (
    update turn
       set gen = gen + 1, holder_instance = $1, holder_boot = $2::uuid, lease_until = now() + $3::interval
      from lost
     where turn.conversation_id = lost.conversation_id and turn.no = lost.no
    returning turn.*
)
select t.tenant, t.conversation_id, t.no, t.epoch, t.gen, t.deadline, t.state, c.channel, t.agent, c.chat_jid,
       c.contact_name, extract(epoch from t.deadline - clock_timestamp())::float8,
       case t.kind when 'ai' then c.epoch <> t.epoch or c.owner_kind <> 'ai' when 'system' then c.epoch <> t.epoch else false end as stale,
       t.cluster, t.kind
  from t join conversation c on c.id = t.conversation_id
