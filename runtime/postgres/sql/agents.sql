-- $1 tenant
select a.kind, a.id, a.name, a.capacity,
       case when a.presence_until > now() then a.presence else 'unknown' end,
       coalesce(c.given, 0), coalesce(c.active, 0),
       case a.kind when 'ai' then a.mid_turn else '' end, a.holding, a.email,
       (select array_agg(team order by team) from team_member where tenant = a.tenant and human = a.id and a.kind = 'human')
  from agent a
  left join lateral (select count(*) filter (where given) as given, count(*) as active
                       from conversation where owner_kind = a.kind and owner_id = a.id and tenant = a.tenant) c on true
 where a.tenant = $1
 order by a.kind, a.id
