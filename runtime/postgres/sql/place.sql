-- $1 tenant, $2 queue, $3 conversation that joins it: its place there. Who joins at the same moment is not seen.
select 1 + count(*) from conversation where owner_kind = 'queue' and owner_id = $2 and tenant = $1 and id <> $3
