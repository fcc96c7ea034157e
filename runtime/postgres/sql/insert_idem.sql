insert into verb_idem (tenant, key, request_sha256, conversation_id, seq, response) values ($1, $2, $3, $4, $5, $6)
