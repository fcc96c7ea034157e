-- $1 tenant, $2 conversation, $3 token, $4 ttl
update lock_lease set until = now() + $4::interval
 where tenant = $1 and conversation_id = $2 and token = $3 and until > now() returning 1
