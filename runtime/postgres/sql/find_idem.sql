-- $1 tenant, $2 key, $3 kind, $4 id of who the conversation is to go to. The clock, what the key was used for, and whether that
-- agent has a bound. A statement of its own after the one that locks the conversation: now() is the start of the transaction,
-- which may have waited for the lock meanwhile, so that a take would be stamped before an intent that was committed before
-- it; and of two verbs with one key the second sees what the first did.
select clock_timestamp(), i.request_sha256, i.response, i.seq,
       exists (select 1 from agent where tenant = $1 and kind = $3 and id = $4 and capacity is not null)
  from (select) one left join verb_idem i on i.tenant = $1 and i.key = $2
