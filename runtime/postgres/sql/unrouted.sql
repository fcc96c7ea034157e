-- $1 limit, $2 how many of the messages that wait are read. What only rules ask about is read where there are some.
-- "offset 0": see due_conversation.sql.
select c.id, c.tenant, c.channel, ch.flow, c.state, c.epoch, coalesce(r.version, ''),
       now(), c.contact_name, c.chat_jid, c.last_owner_kind, c.last_owner_id, c.owner_since,
       coalesce(w.texts, '{}'), coalesce(w.kinds, '{}'), coalesce(n.waiting, 0), n.since, c.last_seq, b.at, coalesce(h.no, 0)
  from conversation c
  join channel ch on ch.name = c.channel
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
 where c.owner_kind = 'none' and c.debounce_until is not null and c.state <> 'SUSPENDED' and c.merged_into is null
 order by c.debounce_until
 limit $1
