-- $1 system, $2 timeline
insert into cluster (system_id, timeline) values ($1, $2) on conflict do nothing
