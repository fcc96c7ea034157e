-- $1 limit. Channels in turn: one in which many wait does not hold up the others. A plan of another epoch is void. "offset 0": see
-- due_conversation.sql.
with void as (
    delete from plan p
     where p.due_at <= now() and p.epoch <> (select c.epoch from conversation c where c.id = p.conversation_id)
), due as (
    select p.conversation_id as id, p.body, p.due_at, c.*, row_number() over (partition by c.tenant, c.channel order by p.due_at, p.conversation_id) as place
      from plan p
     cross join lateral (
        select o.tenant, o.channel, o.state, o.owner_kind, o.owner_id, o.epoch
          from conversation o where o.id = p.conversation_id and o.epoch = p.epoch offset 0) c
     where p.due_at <= now()
)
select d.id, d.body, d.tenant, d.channel, d.state, d.owner_kind, d.owner_id, d.epoch, now(),
       coalesce(substr(h.agent, length('human:') + 1), ''), coalesce(h.ended_at, now()),
       coalesce((select version from rules_in_force where tenant = d.tenant), '')
  from due d
  left join lateral (select s.agent, s.ended_at from human_stretch s
                      where s.conversation_id = d.id and s.agent like 'human:%' order by s.no desc limit 1) h on true
 order by d.place, d.due_at, d.id
 limit $1
