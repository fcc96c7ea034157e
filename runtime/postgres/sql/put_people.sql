-- $1 tenant, $2 ids, $3 names, $4 e-mail addresses, $5 presences, $6 how long those are believed. Capacity is the rules' where they name
-- one and somebody is new, and otherwise stays. Rows are written in the order of their keys, so that two who write do not wait for each other.
insert into agent as a (tenant, kind, id, name, email, presence, presence_until, capacity)
select $1, 'human', p.id, p.name, p.email, p.presence, now() + $6::interval,
       (select (s.capacities ->> lower(p.email))::integer
          from rules_in_force f join rule_set s on s.tenant = f.tenant and s.version = f.version where f.tenant = $1)
  from unnest($2::text[], $3::text[], $4::text[], $5::text[]) p (id, name, email, presence)
 order by p.id
on conflict (tenant, kind, id) do update
   set name = excluded.name, email = excluded.email, presence = excluded.presence, presence_until = excluded.presence_until,
       capacity = case when a.email = '' then coalesce(excluded.capacity, a.capacity) else a.capacity end,
       capacity_since = case when a.email = '' and excluded.capacity is distinct from a.capacity then clock_timestamp() else a.capacity_since end,
       updated_at = case when (a.name, a.email) <> (excluded.name, excluded.email) then now() else a.updated_at end
