-- $1 conversation. Whoever changes a message's row and its conversation's takes the conversation first, as a claim does.
select id from conversation where id = $1 for no key update
