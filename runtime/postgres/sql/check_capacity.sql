-- $1 tenant, $2 kind, $3 agent, $4 what it is offered counts, too
select check_capacity($1, $2, $3, $4)::text
