-- $1 conversation, $2 epoch, $3 plan, $4 how soon to look at it again (null: not before something happens). A row if it is the plan still.
update plan p set body = $3::text::jsonb, due_at = clock_timestamp() + $4::interval
  from conversation c
 where p.conversation_id = $1 and p.epoch = $2 and c.id = $1 and c.epoch = $2
returning 1
