-- $1 conversation. As lock_turn.sql, for whichever turn is open.
select no from turn
 where conversation_id = $1 and state in ('running', 'replied', 'sending', 'ambiguous')
   for no key update
