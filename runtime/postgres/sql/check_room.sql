-- $1 tenant, $2 kind, $3 agent
select check_room($1, $2, $3)::text
