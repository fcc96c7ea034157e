-- $1 conversation. The row lock is what makes a change of owner and everything that depends on the owner take turns.
-- now() is the start of the transaction: two transitions in one transaction carry the same time.
select tenant, state, owner_kind, owner_id, epoch, audit_seq, last_hash, now()
  from conversation where id = $1
   for update
