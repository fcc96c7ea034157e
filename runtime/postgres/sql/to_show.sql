-- $1 conversation, $2 handovers after this audit entry, $3 up to this one, $4 how many, $5 how long an attachment's content is waited
-- for, $6 how long a message on the channel's own side may be an echo. In the order it happened. Not ready: what follows waits.
select x.*
  from (
    select 'plantao:in:' || i.id as source, i.received_at as at, i.kind, i.from_me, i.type, i.text, i.wa_ts, i.media,
           case when i.media_state = 'ready' then i.media_id end as media_id, false as part, false as unsent, '' as part_kind,
           null::text as verb, null::text as actor, null::text as owner, null::text as reason, null::jsonb as context,
           i.media_state = 'wanted' and i.received_at > now() - $5::interval as waits, i.id as n,
           i.from_me and i.reason = 'from_me' and i.received_at > now() - $6::interval as undecided
      from inbox i
     where i.conversation_id = $1 and i.mirror = 'wanted'
    union all
    select 'plantao:out:' || o.conversation_id || '/' || o.no || '/' || o.part, coalesce(o.sent_at, o.intent_at, o.created_at), 'message', true,
           '', o.body ->> 'text', null, null, (o.body #>> '{media,id}')::bigint, true, o.state <> 'sent', coalesce(o.body #>> '{media,kind}', ''),
           null, null, null, null, null, false, o.no::bigint * 1000 + o.part, false
      from outbox o join turn t on t.conversation_id = o.conversation_id and t.no = o.no
     where o.conversation_id = $1 and o.mirror = 'wanted' and o.state in ('sent', 'failed') and o.chatwoot_id is null
       and coalesce(t.source, '') not like 'chatwoot:%'
    union all
    select 'plantao:note:' || a.conversation_id || '/' || a.seq, a.at, '', false, '', '', null, null, null, false, false, '',
           a.verb, a.actor, case a.verb when 'offer' then a.detail ->> 'to' else a.detail ->> 'owner' end, a.reason,
           case a.verb when 'offer' then jsonb_build_object('name', coalesce(g.name, ''),
                                                            'seconds', extract(epoch from (a.detail ->> 'until')::timestamptz - a.at)::integer)
                       else h.context end,
           false, a.seq, false
      from audit a left join handover h on h.conversation_id = a.conversation_id and h.seq = a.seq
      left join agent g on a.verb = 'offer' and g.tenant = a.tenant and g.kind = 'human' and 'human:' || g.id = a.detail ->> 'to'
     where a.conversation_id = $1 and a.seq > $2 and a.seq <= $3
       and (a.epoch_to > a.epoch_from or a.verb = 'offer' and (a.detail ->> 'until')::timestamptz > now())
       and a.verb not in ('claim', 'inbound', 'reopen', 'close') and a.reason not like '%\_in\_chatwoot'
    union all
    -- A promise that was broken: of which kind, of which SLA, and when it was due.
    select 'plantao:sla:' || p.conversation_id || '/' || p.kind || '/' || p.seq, p.ended_at, 'promise', false, p.kind, p.name, p.due, null, null,
           false, false, '', null, null, null, null, null, false, p.id, false
      from promise p
     where p.conversation_id = $1 and p.mirror = 'wanted'
  ) x
 where not undecided
 order by x.at, x.source like 'plantao:note:%', x.n
 limit $4
