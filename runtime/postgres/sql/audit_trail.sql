-- $1 conversation
select tenant, conversation_id, seq, at, actor, verb, state_from, state_to, epoch_from, epoch_to, reason, rule_version,
       detail, prev, hash
  from audit where conversation_id = $1 order by seq
