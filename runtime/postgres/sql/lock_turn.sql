-- $1 conversation, $2 no. A statement of its own before one that looks at the turn's parts, which then sees what the last one who
-- had the turn left behind, and not what was there when it began to wait.
select no from turn where conversation_id = $1 and no = $2 for no key update
