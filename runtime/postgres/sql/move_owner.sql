-- $1 conversation, $2 state, $3 owner kind, $4 owner id, $5 epoch, $6 audit seq, $7 last hash, $8 number of audit rows
update conversation
   set state = $2, owner_kind = $3, owner_id = $4, epoch = $5, audit_seq = $6, last_hash = $7,
       version = version + $8, updated_at = now()
 where id = $1
