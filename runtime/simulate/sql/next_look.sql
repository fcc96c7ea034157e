-- $1 conversation, $2 no, $3 part. The next look at an ambiguous part is due when hours have passed, and not when a machine was slow.
update outbox set check_after = now() + interval '90 minutes' where conversation_id = $1 and no = $2 and part = $3 and state = 'ambiguous'
