-- A dead letter as conversation.DeadLetter; letter_by_id.sql and letter_by_filter.sql say which.
select d.id, d.tenant, d.conversation_id, c.channel, d.turn_no, t.agent, d.reason, d.detail, d.at, d.state,
       coalesce(d.decided_by, ''), d.decided_at, d.decision,
       (select count(*) from inbox i where i.conversation_id = d.conversation_id and i.turn_no = d.turn_no and i.state = 'dead')
  from dead_letter d
  join conversation c on c.id = d.conversation_id
  join turn t on t.conversation_id = d.conversation_id and t.no = d.turn_no
