-- $1 conversation, $2 turn no, $3 how many. What was said before the turn, newest first: what was received (index inbox_history) and
-- what was sent (the outbox's primary key, from its end). Both by the database's clock: WhatsApp's has whole seconds.
-- "offset 0": see due_conversation.sql.
select x.ts, x.speaker, x.agent, x.type, x.text, x.media, x.media_state, x.media_id
  from (
    (select i.received_at as at, i.id as place, coalesce(i.wa_ts, i.received_at) as ts,
            case when i.from_me then 'human' else 'contact' end as speaker, '' as agent, i.type, i.text,
            i.media, i.media_state, i.media_id
       from inbox i
      where i.conversation_id = $1
        and (i.state in ('done', 'human', 'dead') or i.state = 'ignored' and i.reason in ('human_on_phone', 'closed'))
        and i.turn_no is distinct from $2
      order by i.id desc
      limit $3)
    union all
    (select coalesce(o.sent_at, o.intent_at, o.created_at), o.no * 1000::bigint + o.part, coalesce(o.sent_at, o.intent_at, o.created_at),
            t.kind, t.agent, coalesce(o.body -> 'media' ->> 'kind', 'text'), coalesce(o.body ->> 'text', ''),
            case when m.id is not null then jsonb_build_object('mimetype', m.mimetype, 'file_name', m.file_name) end,
            case when m.id is not null then 'ready' else 'none' end, m.id
       from outbox o
      cross join lateral (select kind, agent from turn where conversation_id = o.conversation_id and no = o.no offset 0) t
       left join media m on m.id = (o.body -> 'media' ->> 'id')::bigint
      where o.conversation_id = $1 and o.state = 'sent'
      order by o.no desc, o.part desc
      limit $3)
  ) x
 order by x.at desc, x.place desc
 limit $3
