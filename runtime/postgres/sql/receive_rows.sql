), counted as materialized (
    -- How many messages there are from here to the end, in its conversation: what was counted up to is known afterwards.
    select j.*, count(*) filter (where j.state = 'pending' and not j.applied)
                    over (partition by j.id order by j.n desc rows unbounded preceding) as from_end
      from judged j
), talk as (
    -- All that begin a conversation have the same name of the chat; the newest says how the contact is called.
    insert into conversation (id, tenant, channel, chat_jid, contact_name, last_seq, debounce_until, debounce_cap, mirror, mirror_due, session_at)
    select id, tenant, channel, min(jid), coalesce((array_agg(name) filter (where name <> ''))[1], ''), max(from_end),
           case when max(from_end) > 0 then now() + least($20::interval, $21::interval) end,
           case when max(from_end) > 0 then now() + $21::interval end, bool_or(mirror), case when bool_or(mirror) then now() end,
           min(coalesce(wa_ts, now())) filter (where state = 'pending' and not applied)
      from (select id, tenant, channel, jid, name, from_end, mirror, wa_ts, state, applied from counted where begins order by id, n desc) c
     group by id, tenant, channel
     order by id
    on conflict (id) do update
       set last_seq = conversation.last_seq + excluded.last_seq,
           contact_name = coalesce(nullif(excluded.contact_name, ''), conversation.contact_name),
           debounce_cap = coalesce(conversation.debounce_cap, excluded.debounce_cap),
           debounce_until = case when excluded.last_seq > 0
                                 then least(now() + $20::interval, coalesce(conversation.debounce_cap, excluded.debounce_cap))
                                 else conversation.debounce_until end,
           session_at = case when conversation.session_at is null
                               or excluded.last_seq > 0 and conversation.state = 'CLOSED' and conversation.debounce_until is null
                             then excluded.session_at else conversation.session_at end,
           mirror = excluded.mirror,
           mirror_due = coalesce(conversation.mirror_due, excluded.mirror_due),
           updated_at = now()
    returning id, last_seq
), arrived as (
    select array_agg(id) as ids, array_agg(last_seq) as seqs from talk
), wrote as (
    insert into inbox (id, tenant, channel, kind, wa_id, conversation_id, seq, type, text, wa_ts, state, reason, body, from_me, ref,
                       media, media_state, media_until, media_after, mirror)
    select c.inbox_id, c.tenant, c.channel, c.kind, c.wa_id, coalesce(c.id, c.part_of),
           case when c.state = 'pending' and not c.applied then a.seqs[array_position(a.ids, c.id)] + 1 - c.from_end end,
           c.type, c.text, c.wa_ts, case when c.applied then 'ignored' else c.state end,
           case when c.part_of is not null and c.kind <> 'status' then 'own_echo' when c.applied then 'applied' else c.reason end,
           c.body::jsonb, c.from_me, c.ref, nullif(c.media, '')::jsonb,
           case when c.media <> '' and c.part_of is null then 'wanted' else 'none' end,
           case when c.media <> '' and c.state = 'pending' then now() + $22::interval end, case when c.media <> '' then now() end,
           case when c.mirror and c.id is not null and c.part_of is null and (c.begins or c.kind = 'revoke') then 'wanted' else 'no' end
      from counted c cross join arrived a
     order by c.inbox_id
)
select n::integer, case when applied then 'ignored' else state end,
       case when part_of is not null and kind <> 'status' then 'own_echo' when applied then 'applied' else reason end,
       coalesce(id, part_of, 0)
  from counted
