-- $1 conversation, $2 tenant, $3 after, $4 limit
select seq, at, actor, verb, state_from, state_to, epoch_from, epoch_to, reason, rule_version, detail
  from audit where conversation_id = $1 and tenant = $2 and seq > $3 order by seq limit $4
