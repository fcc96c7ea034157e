-- $1 conversation
select coalesce(array_agg(jid order by created_at, jid), '{}') from alias where conversation_id = $1
