-- $1 id. The conversation is locked.
select state from dead_letter where id = $1 for update
