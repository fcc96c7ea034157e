-- $1 tenant, $2 key. Read after the conversation is locked: of two with one key the second sees what the first did.
select request_sha256, response, seq from verb_idem where tenant = $1 and key = $2
