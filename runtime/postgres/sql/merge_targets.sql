-- $1 tenant, $2 and $3 conversations. Where each went in the end. No row: one of them is not there.
select merged_target(a.id), merged_target(b.id)
  from conversation a, conversation b
 where a.tenant = $1 and a.id = $2 and b.tenant = $1 and b.id = $3
