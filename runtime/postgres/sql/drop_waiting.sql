-- $1 conversation. Closed with messages nobody answered.
update inbox set state = 'ignored', reason = 'closed' where conversation_id = $1 and state = 'pending'
