-- $1 conversation, $2 no, $3 gen, $4 sha256 of the token, $5 wait, $6 most. Only ever later.
update turn set deadline = greatest(deadline, least(now() + $5::interval, created_at + $6::interval))
 where conversation_id = $1 and no = $2 and gen = $3 and token_hash = $4 and state = 'running' and deadline > now()
returning 1
