-- $1 tenant, $2 state, $3 conversation ('' and 0 do not narrow), $4 after id, $5 limit
select id, tenant, conversation_id, seq, kind, name, rule_version, since, due, state, ended_at
  from promise
 where tenant = $1 and id > $4 and ($2 = '' or state = $2) and ($3::bigint = 0 or conversation_id = $3)
 order by id
 limit $5
