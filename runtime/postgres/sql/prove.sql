-- $1 conversation, $2 no, $3 part, $4 message id, $5 answered jid. A message proves one part only: one whose id another
-- part has is refused. The turn goes on with its next part in whoever reclaims it.
with o as (
    update outbox
       set state = 'sent', reason = 'proved_by_read_back', wa_msg_id = $4, wa_jid = $5, sent_at = now(), confirmed_at = now()
     where conversation_id = $1 and no = $2 and part = $3 and state = 'ambiguous'
       and not exists (select 1 from outbox other
                        where other.tenant = outbox.tenant and other.channel = outbox.channel and other.wa_msg_id = $4)
    returning tenant, channel
), t as (
    update turn
       set state = case when rest.waiting then 'replied' else 'done' end,
           ended_at = case when rest.waiting then null else now() end,
           reason = '',
           lease_until = now()
      from (select exists (select 1 from outbox
                            where conversation_id = $1 and no = $2 and part > $3 and state = 'queued') as waiting) rest
     where conversation_id = $1 and no = $2 and state = 'ambiguous' and exists (select 1 from o)
    returning state
), messages as (
    update inbox set state = 'done'
     where conversation_id = $1 and turn_no = $2 and state = 'taken' and exists (select 1 from t where state = 'done')
), echo as (
    update inbox i
       set reason = 'own_echo', conversation_id = $1,
           mirror = case when i.mirror = 'wanted' then 'no' else i.mirror end,
           media_state = case when i.media_state = 'wanted' then 'none' else i.media_state end
      from o join inbox_key k on k.tenant = o.tenant and k.channel = o.channel and k.wa_id = $4
     where i.id = k.inbox_id and i.state = 'ignored'
)
select count(*) from o
