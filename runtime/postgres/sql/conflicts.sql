-- $1 limit. Pairs to be merged that are not waited for, and merged conversations in which a message was filed late: whoever found the
-- alias before the merge and had its turn at the row after it.
(select tenant, conversation_a, conversation_b from alias_conflict where look_at <= now() order by look_at limit $1)
union all
(select tenant, merged_into, id
   from conversation
  where merged_into is not null and debounce_until is not null
  order by debounce_until
  limit $1)
