-- $1 conversation, $2 ids. Those of them that are the conversation's.
select id, mimetype from media where id = any ($2::bigint[]) and conversation_id = $1
