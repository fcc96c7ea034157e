-- $1 tenant, $2 team, $3 human: those of the team, or without one this human.
select a.id, a.email, case when a.presence_until > now() then a.presence else 'unknown' end, a.capacity,
       h.given, h.active, o.offers, a.offered_at, greatest(h.since, s.at)
  from agent a
  cross join lateral (select count(*) filter (where given) as given, count(*) as active, max(owner_since) as since
                        from conversation where owner_kind = 'human' and owner_id = a.id and tenant = a.tenant) h
  cross join lateral (select count(*) as offers
                        from conversation where offer_kind = 'human' and offer_agent = a.id and tenant = a.tenant and offer_until > now()) o
  left join lateral (select ended_at as at from human_stretch
                      where tenant = a.tenant and agent = 'human:' || a.id order by ended_at desc limit 1) s on true
 where a.tenant = $1 and a.kind = 'human'
   and case when $2::text = '' then a.id = $3 else exists (select 1 from team_member where tenant = $1 and team = $2 and human = a.id) end
 order by a.id
