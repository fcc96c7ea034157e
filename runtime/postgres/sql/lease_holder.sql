-- $1 tenant, $2 conversation
select fence, extract(epoch from until - now())::float8 from lock_lease where tenant = $1 and conversation_id = $2
