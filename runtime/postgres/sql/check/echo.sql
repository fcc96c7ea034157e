-- I-ECHO.
, bad as (
    select o.conversation_id as conversation, format('event %s, %s, is an echo of part %s of turn %s', i.id, i.state, o.part, o.no) as what
      from scope c
      join outbox o on o.conversation_id = c.id
      join inbox_key k on k.tenant = o.tenant and k.channel = o.channel and k.wa_id = o.wa_msg_id
      join inbox i on i.id = k.inbox_id
     where i.kind in ('message', 'sent') and (i.state <> 'ignored' or i.turn_no is not null)
)
