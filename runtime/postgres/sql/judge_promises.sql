-- $1 how many. Promises that are due, each judged once: who locks it first does it. What was done by then is seen a second later by
-- whoever looks, unless somebody has yet to find out by whom a message on the channel's own side was written: that is waited for.
-- An answer is of a turn of an AI's or a human's, in the time until the conversation was closed: what was said before that may be sent
-- after it. Or it was written on the phone; WhatsApp's clock has whole seconds. What the router says by rule (system) is none.
-- "offset 0": see due_conversation.sql.
with due as materialized (
    select p.id, p.conversation_id, p.seq, p.kind, p.turns, p.since, p.due
      from promise p
     where p.state = 'open' and p.due < now() - interval '1 second'
       and (p.kind = 'resolution'
            or not exists (select 1 from inbox i
                            where i.conversation_id = p.conversation_id and i.state = 'ignored' and i.reason = 'from_me'
                              and coalesce(i.wa_ts, i.received_at) <= p.due))
     order by p.due
     limit $1
       for update of p skip locked
), verdict as materialized (
    select due.id, due.conversation_id, due.due, answer.at as answered, ended.at as ended,
           case when answer.at <= due.due then 'met'
                when ended.at <= due.due then case when due.kind = 'resolution' and ended.verb = 'close' then 'met' else 'void' end
                else 'broken' end as state
      from due
      left join lateral (
            select a.at, a.verb
              from audit a
             where a.conversation_id = due.conversation_id and a.seq > due.seq and a.verb in ('close', 'merge') and a.state_to = 'CLOSED'
             order by a.seq
             limit 1) ended on true
      left join lateral (
            select min(x.at) as at
              from (select (select min(o.sent_at) from outbox o
                             where o.conversation_id = t.conversation_id and o.no = t.no and o.state = 'sent' offset 0) as at
                      from turn t
                     where t.conversation_id = due.conversation_id and t.no > due.turns and t.kind in ('ai', 'human')
                       and (ended.at is null or t.created_at <= ended.at)
                    union all
                    select coalesce(i.wa_ts, i.received_at)
                      from inbox i
                     where i.conversation_id = due.conversation_id and i.state = 'ignored' and i.reason = 'human_on_phone'
                       and coalesce(i.wa_ts, i.received_at) >= date_trunc('second', due.since)
                       and (ended.at is null or coalesce(i.wa_ts, i.received_at) <= ended.at)) x
             where due.kind = 'first_response'
            offset 0) answer on true
), shown as (
    update conversation c set mirror_due = now()
      from verdict v
     where c.id = v.conversation_id and c.mirror and v.state = 'broken'
)
update promise p
   set state = v.state,
       ended_at = case when v.answered <= v.due then v.answered when v.ended <= v.due then v.ended else v.due end,
       mirror = case when v.state = 'broken' and (select mirror from conversation where id = v.conversation_id) then 'wanted' else 'no' end
  from verdict v
 where p.id = v.id
returning p.id, p.tenant, p.conversation_id, p.seq, p.kind, p.name, p.rule_version, p.since, p.due, p.state, p.ended_at
