-- $1 tenant, $2 conversation, $3 token
delete from lock_lease where tenant = $1 and conversation_id = $2 and token = $3 and until > now() returning 1
