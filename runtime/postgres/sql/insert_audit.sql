insert into audit (conversation_id, seq, tenant, at, actor, verb, state_from, state_to, epoch_from, epoch_to, reason,
                   rule_version, detail, prev, hash)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
