-- $1 conversation, $2 epoch. The conversation is locked. Its plan, and the last turn in which an AI answered.
select body, coalesce((select t.no from turn t
                        where t.conversation_id = $1 and t.kind = 'ai' and t.state = 'done' order by t.no desc limit 1), 0)
  from plan where conversation_id = $1 and epoch = $2
