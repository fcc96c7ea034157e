-- $1 tenant, $2 queue, $3 conversation: its place there, or if it is not there, the one it would have. Who joins at the same moment
-- is not seen.
select 1 + count(*)
  from conversation o
 where o.owner_kind = 'queue' and o.owner_id = $2 and o.tenant = $1 and o.id <> $3
   and o.owner_since <= coalesce((select c.owner_since from conversation c where c.id = $3 and c.owner_kind = 'queue' and c.owner_id = $2), 'infinity')
