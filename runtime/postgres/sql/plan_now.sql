-- $1 conversation. An offer was declined: the next one is to be made now.
update plan set due_at = clock_timestamp() where conversation_id = $1 and due_at is not null
