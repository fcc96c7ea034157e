-- $1 conversation, $2 no. The conversation is locked: no answer can be accepted from here on. One that was accepted before shows
-- now, and leaves no row.
select no from turn
 where conversation_id = $1 and no = $2 and kind = 'ai' and state = 'running'
   for update
