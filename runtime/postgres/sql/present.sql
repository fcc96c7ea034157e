-- $1 tenant, $2 kind, $3 id, $4 presence, $5 for how long
insert into agent (tenant, kind, id, presence, presence_until) values ($1, $2, $3, $4, now() + $5::interval)
on conflict (tenant, kind, id) do update set presence = excluded.presence, presence_until = excluded.presence_until
