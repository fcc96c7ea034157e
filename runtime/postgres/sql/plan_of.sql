-- $1 conversation, $2 epoch. The conversation is locked.
select body from plan where conversation_id = $1 and epoch = $2
