-- $1 tenant, $2 state, $3 owner kind, $4 owner id, $5 channel ('' does not narrow), $6 after id, $7 limit
 where c.tenant = $1 and c.id > $6
   and ($2 = '' or c.state = $2) and ($3 = '' or c.owner_kind = $3) and ($4 = '' or c.owner_id = $4)
   and ($5 = '' or c.channel = $5)
 order by c.id
 limit $7
