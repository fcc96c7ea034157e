-- $1 conversation. A statement of its own before reply.sql: messages the turn was given by one who held the row are seen by a statement
-- that begins after that, and by none that began before.
select id from conversation where id = $1 for share
