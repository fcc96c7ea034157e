-- $1 tenant, $2 kind, $3 id, $4 name, $5 capacity. Not now(): this may have waited for one who gave a conversation under the old
-- bound, and the new one began after that.
insert into agent (tenant, kind, id, name, capacity) values ($1, $2, $3, $4, $5)
on conflict (tenant, kind, id) do update
   set name = excluded.name,
       capacity_since = case when agent.capacity is distinct from excluded.capacity then clock_timestamp() else agent.capacity_since end,
       capacity = excluded.capacity,
       updated_at = now()
