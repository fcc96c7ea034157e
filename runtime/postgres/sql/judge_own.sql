-- $1 row, $2 reason. Once: who was faster has decided. An echo is shown and kept as the part it is of, not by itself.
with i as (
    update inbox
       set reason = $2,
           mirror = case when $2 = 'own_echo' and mirror = 'wanted' then 'no' else mirror end,
           media_state = case when $2 = 'own_echo' and media_state = 'wanted' then 'none' else media_state end
     where id = $1 and state = 'ignored' and reason = 'from_me'
    returning tenant, channel, wa_id
), confirmed as (
    update outbox o set confirmed_at = coalesce(o.confirmed_at, now())
      from i
     where $2 = 'own_echo' and o.tenant = i.tenant and o.channel = i.channel and o.wa_msg_id = i.wa_id
)
select count(*) from i
