insert into handover (conversation_id, seq, tenant, context) values ($1, $2, $3, $4)
