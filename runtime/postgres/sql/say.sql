-- $1 conversation, $2 tenant, $3 kind, $4 who says it, $5 source (null: none), $6 epoch, $7 what the parts say as JSON, $8 delays,
-- $9 how long it is tried, $10 cluster. A turn nobody holds: the next look of any replica takes it over and sends it. What a human wrote
-- is of whatever epoch it is. No row: the conversation is not there or was merged, the epoch has passed, or it was said before.
with c as (
    update conversation set last_turn = last_turn + 1, updated_at = now()
     where id = $1 and tenant = $2 and merged_into is null and ($3 = 'human' or epoch = $6)
       and not exists (select 1 from turn where tenant = $2 and source = $5)
    returning id, tenant, channel, epoch, last_turn, mirror
), t as (
    insert into turn (conversation_id, no, tenant, epoch, agent, state, holder_instance, holder_boot, lease_until, deadline, cluster, kind, source)
    select id, last_turn, tenant, epoch, $4, 'replied', '', '00000000-0000-0000-0000-000000000000', now(), now() + $9::interval, $10, $3, $5
      from c
    returning no
), parts as (
    insert into outbox (conversation_id, no, part, tenant, channel, state, gen, body, delay, mirror)
    select c.id, t.no, p.part, c.tenant, c.channel, 'queued', 1, p.body::jsonb, p.delay, case when c.mirror then 'wanted' else 'no' end
      from c, t, unnest($7::text[], $8::interval[]) with ordinality as p (body, delay, part)
)
select no from t
