-- $1 limit. Channels in turn: one in which many wait does not hold up the others. A plan of another epoch is void.
with void as (
    delete from plan p using conversation c where p.due_at <= now() and c.id = p.conversation_id and c.epoch <> p.epoch
), due as (
    select p.conversation_id as id, p.body, p.due_at, c.tenant, c.channel, c.state, c.owner_kind, c.owner_id, c.epoch,
           row_number() over (partition by c.tenant, c.channel order by p.due_at, p.conversation_id) as place
      from plan p join conversation c on c.id = p.conversation_id and c.epoch = p.epoch
     where p.due_at <= now()
)
select d.id, d.body, d.tenant, d.channel, d.state, d.owner_kind, d.owner_id, d.epoch, now(),
       coalesce(substr(h.agent, length('human:') + 1), ''), coalesce(h.ended_at, now()), coalesce(r.version, '')
  from due d
  left join rules_in_force r on r.tenant = d.tenant
  left join lateral (select s.agent, s.ended_at from human_stretch s
                      where s.conversation_id = d.id and s.agent like 'human:%' order by s.no desc limit 1) h on true
 order by d.place, d.due_at, d.id
 limit $1
