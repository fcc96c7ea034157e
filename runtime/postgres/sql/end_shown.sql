-- $1 conversation, $2 gen, $3 failed, $4 after, $5 reason, $6 it does not count. One that failed is looked at again after a while, whatever happens.
with m as (
    update chatwoot_conversation
       set lease_until = null, look = look or $3, retry_at = case when $3 then now() + $4::interval end,
           attempts = case when $3 and $6 then attempts when $3 then attempts + 1 else 0 end, problem = $5
     where conversation_id = $1 and gen = $2
    returning 1
)
update conversation
   set mirror_due = least(coalesce(mirror_due, now() + $4::interval), now() + $4::interval)
 where id = $1 and not $3 and $4::interval > interval '0' and exists (select 1 from m)
