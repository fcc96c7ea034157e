-- $1 conversation. As lock_turn.sql, for what is open and ends with its epoch. What a human wrote does not.
select no from turn
 where conversation_id = $1 and kind <> 'human' and state in ('running', 'replied', 'sending', 'ambiguous')
   for no key update
