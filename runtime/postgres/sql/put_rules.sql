-- $1 tenant, $2 version, $3 text, $4 by whom, $5 whose capacities it names, $6 and which. A row if it was not in force before.
with stored as (
    insert into rule_set (tenant, version, body, stored_by, capacities)
    values ($1, $2, $3, $4, coalesce((select jsonb_object_agg(name, capacity) from unnest($5::text[], $6::integer[]) x (name, capacity)), '{}'))
    on conflict do nothing
)
insert into rules_in_force (tenant, version, put_by) values ($1, $2, $4)
on conflict (tenant) do update
   set version = excluded.version, put_by = excluded.put_by, since = now()
 where rules_in_force.version <> excluded.version
returning true
