-- Read after the row is locked: now() is the start of the transaction, which may have waited for the lock meanwhile, and
-- then a take would be stamped before an intent that was committed before it.
select clock_timestamp()
