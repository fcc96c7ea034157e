-- $1 conversation, $2 no, $3 gen, $4 part, $5 message id, $6 answered jid. The sender holds the proof, so it may also
-- settle a part that lost its lease meanwhile. An echo, or a status, that came before this answer is
-- recognised now.
with o as (
    update outbox
       set state = 'sent', reason = '', wa_msg_id = $5, wa_jid = $6, sent_at = now(),
           confirmed_at = (select now() from inbox_key k
                            where k.tenant = outbox.tenant and k.channel = outbox.channel and k.wa_id = $5 limit 1),
           status = coalesce((select s from unnest(array['ERROR', 'PENDING', 'SERVER_ACK', 'DELIVERY_ACK', 'READ', 'PLAYED']) s
                               where exists (select 1 from inbox_key k
                                              where k.tenant = outbox.tenant and k.channel = outbox.channel
                                                and k.wa_id = $5 || '/' || s and k.kind = 'status')
                               order by delivery_rank(s) desc limit 1), '')
     where conversation_id = $1 and no = $2 and gen = $3 and part = $4 and state in ('sending', 'ambiguous')
    returning tenant, channel
), t as (
    update turn
       set state = case when rest.waiting then 'replied' else 'done' end,
           ended_at = case when rest.waiting then null else now() end,
           reason = ''
      from (select exists (select 1 from outbox
                            where conversation_id = $1 and no = $2 and part > $4 and state = 'queued') as waiting) rest
     where conversation_id = $1 and no = $2 and gen = $3 and state in ('sending', 'ambiguous') and exists (select 1 from o)
    returning state
), messages as (
    update inbox set state = 'done'
     where conversation_id = $1 and turn_no = $2 and state = 'taken' and exists (select 1 from t where state = 'done')
), echo as (
    update inbox i
       set reason = 'own_echo', conversation_id = $1,
           mirror = case when i.mirror = 'wanted' then 'no' else i.mirror end,
           media_state = case when i.media_state = 'wanted' then 'none' else i.media_state end
      from o join inbox_key k on k.tenant = o.tenant and k.channel = o.channel and k.wa_id = $5
     where i.id = k.inbox_id and i.state = 'ignored'
)
select count(*) from o
