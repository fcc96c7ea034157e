-- $1 tenant, $2 ai:FLOW or e-mail addresses in small letters, $3 capacities. Not now(): see put_agent.sql.
with wanted as (
    select name, capacity from unnest($2::text[], $3::integer[]) x (name, capacity)
), humans as (
    update agent a set capacity = w.capacity, capacity_since = clock_timestamp(), updated_at = now()
      from wanted w
     where a.tenant = $1 and a.kind = 'human' and a.email <> '' and lower(a.email) = w.name and a.capacity is distinct from w.capacity
)
insert into agent (tenant, kind, id, capacity)
select $1, 'ai', substr(name, length('ai:') + 1), capacity from wanted where name like 'ai:%'
on conflict (tenant, kind, id) do update
   set capacity = excluded.capacity, capacity_since = clock_timestamp(), updated_at = now()
 where agent.capacity is distinct from excluded.capacity
