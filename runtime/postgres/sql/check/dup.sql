-- I-DUP.
, bad as (
    select o.conversation_id as conversation,
           format('part %s of turn %s has the message id of another part', o.part, o.no) as what
      from scope c join outbox o on o.conversation_id = c.id
     where o.wa_msg_id <> ''
       and exists (select 1 from outbox other
                    where other.tenant = o.tenant and other.channel = o.channel and other.wa_msg_id = o.wa_msg_id
                      and (other.conversation_id, other.no, other.part) <> (o.conversation_id, o.no, o.part))
    union all
    select o.conversation_id, format('part %s of turn %s waits to be sent although %s', o.part, o.no,
                                     case when o.sender_done then 'its sender gave it up as unknown' else 'it was sent before' end)
      from scope c join outbox o on o.conversation_id = c.id
     where o.state = 'queued' and (o.sender_done or o.sent_at is not null or o.wa_msg_id is not null)
    union all
    select o.conversation_id, format('part %s of turn %s counts as sent without a message id and without a human''s word', o.part, o.no)
      from scope c join outbox o on o.conversation_id = c.id
     where o.state = 'sent' and coalesce(o.wa_msg_id, '') = '' and o.decided_by is null
)
