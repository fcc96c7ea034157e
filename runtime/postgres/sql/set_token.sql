-- $1 conversation, $2 no, $3 sha256 of the token
update turn set token_hash = $3 where conversation_id = $1 and no = $2
