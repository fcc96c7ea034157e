-- $1 limit, $2 how many of the messages that wait are read. What only rules ask about is read where there are some.
-- "offset 0": see due_conversation.sql. Channels in turn: a flood in one does not hold up another.
with c as materialized (
    select c.*, ch.flow
      from channel ch
     cross join lateral (
        select o.id, o.tenant, o.channel, o.state, o.epoch, o.contact_name, o.chat_jid, o.last_owner_kind, o.last_owner_id, o.owner_since, o.last_seq,
               o.debounce_until, row_number() over (order by o.debounce_until) as place
          from conversation o
         where o.channel = ch.name and o.owner_kind = 'none' and o.debounce_until is not null and o.state <> 'SUSPENDED' and o.merged_into is null
         order by o.debounce_until
         limit $1) c
     order by c.place, c.debounce_until
     limit $1
)
select c.id, c.tenant, c.channel, c.flow, c.state, c.epoch, coalesce(r.version, ''),
       now(), c.contact_name, c.chat_jid, c.last_owner_kind, c.last_owner_id, c.owner_since,
       coalesce(w.texts, '{}'), coalesce(w.kinds, '{}'), coalesce(n.waiting, 0), n.since, c.last_seq, b.at, coalesce(h.no, 0), coalesce(f.no, 0), coalesce(l.labels, '{}')
  from c
  left join rules_in_force r on r.tenant = c.tenant
  left join lateral (
        select array_agg(m.text order by m.at, m.seq) as texts, array_agg(m.type order by m.at, m.seq) as kinds
          from (select i.text, i.type, i.seq, coalesce(i.wa_ts, date_trunc('second', i.received_at)) as at
                  from inbox i
                 where i.conversation_id = c.id and i.state = 'pending'
                 order by i.seq
                 limit $2) m) w on r.version is not null
  left join lateral (
        select count(*) as waiting, min(i.received_at) as since from inbox i where i.conversation_id = c.id and i.state = 'pending' offset 0) n on r.version is not null
  left join lateral (
        select i.received_at as at
          from inbox i
         where i.conversation_id = c.id
           and (i.state in ('done', 'human', 'dead') or i.state = 'ignored' and i.reason in ('human_on_phone', 'closed'))
         order by i.id desc
         limit 1) b on r.version is not null
  left join lateral (
        select s.no from human_stretch s where s.conversation_id = c.id order by s.no desc limit 1) h on r.version is not null
  left join lateral (
        select count(*) as no
          from turn t
         where t.conversation_id = c.id and t.kind = 'ai' and t.state = 'failed'
           and t.no > coalesce((select d.no from turn d where d.conversation_id = c.id and d.kind = 'ai' and d.state = 'done' order by d.no desc limit 1), 0)
        offset 0) f on r.version is not null
  left join lateral (
        select m.labels from chatwoot_conversation m where m.conversation_id = c.id offset 0) l on r.version is not null
 order by c.place, c.debounce_until
