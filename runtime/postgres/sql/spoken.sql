-- $1 conversation. What an AI or the router said is a message for each part; what a human wrote in Chatwoot is one message however
-- many parts it became, and what was said again at their wish (:r1, :r2, …) is that same message.
select t.no, '', o.part, o.chatwoot_id, o.shown,
       case when o.state <> 'sent' then '' when o.status in ('READ', 'PLAYED') then 'read' when o.status = 'DELIVERY_ACK' then 'delivered'
            when o.status = 'ERROR' then 'failed' else 'sent' end,
       case when o.status = 'ERROR' then 'whatsapp_error' else '' end, '[]'::jsonb, t.agent,
       array[o.part], array[o.state], array[o.status]
  from outbox o join turn t on t.conversation_id = o.conversation_id and t.no = o.no
 where o.conversation_id = $1 and o.mirror = 'wanted' and o.chatwoot_id is not null and coalesce(t.source, '') not like 'chatwoot:%'
union all
select t.no, t.source, 0, split_part(t.source, ':', 3)::bigint, max(o.shown),
       case when bool_or(o.state in ('queued', 'sending') and t.state in ('running', 'replied', 'sending')) then ''
            when bool_or(o.state = 'ambiguous') then 'ambiguous'
            when bool_or(o.state <> 'sent' or o.status = 'ERROR') then 'failed'
            when bool_and(o.status in ('READ', 'PLAYED')) then 'read'
            when bool_and(o.status in ('DELIVERY_ACK', 'READ', 'PLAYED')) then 'delivered'
            else 'sent' end,
       coalesce(max(case when o.state = 'sent' and o.status = 'ERROR' then 'whatsapp_error' when o.state <> 'sent' then nullif(o.reason, '') end), ''),
       coalesce(jsonb_agg(o.body order by o.part) filter (where o.state in ('failed', 'dropped') or o.state = 'sent' and o.status = 'ERROR'), '[]'),
       t.agent, array_agg(o.part), array_agg(o.state), array_agg(o.status)
  from turn t join outbox o on o.conversation_id = t.conversation_id and o.no = t.no
 where t.conversation_id = $1 and t.kind = 'human' and t.source like 'chatwoot:%'
   and t.no in (select no from outbox
                 where conversation_id = $1 and (mirror = 'wanted' or shown = 'failed'))
 group by t.conversation_id, t.no
 order by 1, 3
 limit 100
