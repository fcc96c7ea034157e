-- $1 and $2 conversations, $3 for how long
update alias_conflict set look_at = now() + $3::interval
 where conversation_a = least($1::bigint, $2::bigint) and conversation_b = greatest($1::bigint, $2::bigint)
