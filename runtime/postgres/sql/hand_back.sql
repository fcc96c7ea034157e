-- $1 conversation, $2 no, $3 gen
update turn set lease_until = now()
 where conversation_id = $1 and no = $2 and gen = $3 and state in ('running', 'replied')
