-- $1 conversations after this one. Those with parts Chatwoot does not show as they are become due, a piece at a time: what comes back is
-- how far this one went, null at the end. One probe of the index for each such conversation, not one for each part. A row that is locked
-- is somebody's who makes it due, or the next look's.
with recursive o as (
    (select conversation_id, 1 as n from outbox
      where mirror = 'wanted' and state in ('sent', 'failed', 'ambiguous', 'dropped') and conversation_id > $1
      order by conversation_id limit 1)
    union all
    select (select conversation_id from outbox
             where mirror = 'wanted' and state in ('sent', 'failed', 'ambiguous', 'dropped')
               and conversation_id > o.conversation_id
             order by conversation_id limit 1), n + 1
      from o
     where o.conversation_id is not null and n < 200
), due as (
    select c.id
      from o join conversation c on c.id = o.conversation_id
     -- Lateral, because "exists" is planned as a scan of every such part.
     cross join lateral (select from outbox x
                          where x.conversation_id = c.id and x.mirror = 'wanted'
                            and x.state in ('sent', 'failed', 'ambiguous', 'dropped')
                            and (x.state <> 'ambiguous'
                                 or x.shown <> 'ambiguous'
                                    and (select kind from turn t where t.conversation_id = x.conversation_id and t.no = x.no) = 'human')
                          limit 1) found
     where c.mirror_due is null and c.mirror
       and not exists (select 1 from chatwoot_conversation m
                        where m.conversation_id = c.id and (m.retry_at > now() or m.lease_until > now()))
       for update of c skip locked
), mark as (
    update conversation c set mirror_due = now() from due where c.id = due.id
)
select max(conversation_id) from o having max(n) >= 200 and bool_and(conversation_id is not null)
