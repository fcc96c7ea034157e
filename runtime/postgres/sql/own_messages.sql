-- $1 after row, $2 limit. What was written on the channels' own side and by whom is not known yet, with the evidence. A part of ours may be
-- it if it was let out before this came, and its id is not known: it is on the wire, or of unknown fate. An echo can be filed under
-- another id of the contact's than the part was sent to, so that one that says the same counts wherever it was sent. A part of which only
-- a human said that it was sent has no id, and is known by what it says.
select i.id, i.tenant, i.channel, i.kind, i.type, i.text, coalesce(c.id, 0), coalesce(i.wa_ts, i.received_at), i.received_at,
       extract(epoch from clock_timestamp() - i.received_at)::float8,
       exists (select 1 from outbox o where o.tenant = i.tenant and o.channel = i.channel and o.wa_msg_id = i.wa_id)
       or exists (select 1 from outbox o
                   where o.conversation_id = c.id and o.no > c.last_turn - 20 and o.state = 'sent' and o.wa_msg_id is null
                     and o.intent_at <= i.received_at and o.body ->> 'text' = i.text),
       coalesce(f.flying, false), coalesce(f.resembles, false),
       c.id is not null and c.owner_kind = 'none' and (c.session_at is null or c.state = 'CLOSED' and c.debounce_until is null),
       extract(epoch from coalesce(i.wa_ts, i.received_at) - c.session_at)::float8
  from inbox i
  left join conversation c on c.id = merged_target(i.conversation_id)
  left join lateral (
       select bool_or(o.state = 'sending' or not coalesce(o.sender_done or p.boot_id <> o.sender_boot, false)) as flying,
              bool_or(o.state = 'ambiguous' and o.body ->> 'text' = i.text) as resembles
         from outbox o left join router_process p on p.instance_name = o.sender_instance
        where o.state in ('sending', 'ambiguous') and o.tenant = i.tenant and o.channel = i.channel and o.intent_at <= i.received_at
          and (o.conversation_id in (c.id, i.conversation_id) or o.body ->> 'text' = i.text)) f on true
 where i.state = 'ignored' and i.reason = 'from_me' and i.id > $1
 order by i.id
 limit $2
