), looked as materialized (
    select t.*,
           case when t.kind in ('edit', 'revoke') and not t.from_me then
               (select i.id from inbox_key k, inbox i
                 where k.tenant = t.tenant and k.channel = t.channel and k.wa_id = t.ref and k.kind = 'message'
                   and i.id = k.inbox_id and i.conversation_id is not distinct from t.id) end as about,
           case when t.kind = 'status' or t.from_me and t.kind in ('message', 'sent') then
               (select o.conversation_id from outbox o
                 where o.tenant = t.tenant and o.channel = t.channel
                   and o.wa_msg_id = case t.kind when 'status' then nullif(t.ref, '') else t.wa_id end
                 limit 1) end as part_of
      from target t
), edited as (
    -- What the customer corrects, or takes back, before anybody took it up, is as if it had been written so.
    update inbox i
       set text = case when f.kind = 'edit' then f.text else i.text end,
           state = case when f.kind = 'edit' then i.state else 'ignored' end,
           reason = case when f.kind = 'edit' then 'edited' else 'revoked' end
      from (select distinct on (about) about, kind, text from looked where about is not null order by about, kind = 'revoke' desc, n desc) f
     where i.id = f.about and i.state = 'pending' and not i.from_me
    returning i.id
), echo as (
    -- Evolution repeats what we sent, as both kinds: that confirms the part. It never wakes an agent.
    update outbox o set confirmed_at = now()
      from looked f
     where f.part_of is not null and f.kind <> 'status' and o.tenant = f.tenant and o.channel = f.channel and o.wa_msg_id = f.wa_id
), progress as (
    update outbox o
       set status = f.text, mirror = case when o.mirror = 'done' then 'wanted' else o.mirror end
      -- The furthest of several that came together: an update takes one of the rows that fit, and not the best.
      from (select distinct on (tenant, channel, ref) tenant, channel, ref, text
              from looked where kind = 'status' and part_of is not null order by tenant, channel, ref, delivery_rank(text) desc) f
     where o.tenant = f.tenant and o.channel = f.channel and o.wa_msg_id = f.ref and delivery_rank(f.text) > delivery_rank(o.status)
), judged as materialized (
    select l.*, (l.about is not null and l.about in (select edited.id from edited)) is true as applied from looked l
