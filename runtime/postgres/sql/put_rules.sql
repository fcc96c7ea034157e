-- $1 tenant, $2 version, $3 text, $4 by whom. A row if it was not in force before.
with stored as (
    insert into rule_set (tenant, version, body, stored_by) values ($1, $2, $3, $4) on conflict do nothing
)
insert into rules_in_force (tenant, version, put_by) values ($1, $2, $4)
on conflict (tenant) do update
   set version = excluded.version, put_by = excluded.put_by, since = now()
 where rules_in_force.version <> excluded.version
returning true
