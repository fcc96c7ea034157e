-- $1 and $2 conversations
delete from alias_conflict where conversation_a = least($1::bigint, $2::bigint) and conversation_b = greatest($1::bigint, $2::bigint)
