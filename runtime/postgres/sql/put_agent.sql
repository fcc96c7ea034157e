-- $1 tenant, $2 kind, $3 id, $4 name, $5 capacity, $6 what becomes of messages in mid-turn, $7 what the customer
-- is told when it did not answer. Not now(): this may have waited for one who gave a conversation under the old
-- bound, and the new one began after that.
insert into agent (tenant, kind, id, name, capacity, mid_turn, holding) values ($1, $2, $3, $4, $5, $6, $7)
on conflict (tenant, kind, id) do update
   set name = excluded.name,
       capacity_since = case when agent.capacity is distinct from excluded.capacity then clock_timestamp() else agent.capacity_since end,
       capacity = excluded.capacity,
       mid_turn = excluded.mid_turn,
       holding = excluded.holding,
       updated_at = now()
