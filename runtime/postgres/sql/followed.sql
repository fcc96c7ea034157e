-- $1 conversation, $2 no
update turn set follow = null where conversation_id = $1 and no = $2 and state = 'done'
