-- I-ACK. A message's number is counted in the commit that stores it, so a missing row shows as a number without one. What a merge
-- took along was counted again where it went, and the entries of the conversation it left say how much it was. The marks
-- and the counts are compared only when everything is: neither has an index to narrow them by.
, bad as (
    select coalesce(i.conversation_id, 0) as conversation, format('inbox row %s, %s %s, has no dedupe mark', i.id, i.kind, i.wa_id) as what
      from inbox i
      left join inbox_key k on k.tenant = i.tenant and k.channel = i.channel and k.wa_id = i.wa_id and k.kind = i.kind
     where i.id >= $2 and i.received_at >= $1 and k.inbox_id is distinct from i.id
    union all
    select coalesce(i.conversation_id, 0), format('the dedupe mark of %s %s names inbox row %s, which %s', k.kind, k.wa_id, k.inbox_id,
                                                  case when i.id is null then 'is not there' else 'is another''s' end)
      from inbox_key k
      left join inbox i on i.id = k.inbox_id
     where $2 = 0 and (i.id is null or (i.tenant, i.channel, i.kind, i.wa_id) <> (k.tenant, k.channel, k.kind, k.wa_id))
    union all
    select c.id, format('%s messages were counted, %s are there, %s went to another conversation', c.last_seq, coalesce(i.n, 0), coalesce(m.n, 0))
      from scope c
      left join (select conversation_id, count(*) as n from inbox where seq is not null group by conversation_id) i
        on i.conversation_id = c.id
      left join lateral (select sum((detail ->> 'moved')::bigint) as n
                           from audit where conversation_id = c.id and verb in ('merge', 'follow') and detail ? 'into') m
        on c.merged_into is not null
     where $2 = 0 and c.last_seq <> coalesce(i.n, 0) + coalesce(m.n, 0)
)
