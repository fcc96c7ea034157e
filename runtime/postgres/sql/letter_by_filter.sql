-- $1 tenant, $2 state, $3 reason, $4 channel ('' does not narrow), $5 given up before (null does not narrow), $6 after id, $7 limit
 where d.tenant = $1 and d.id > $6
   and ($2 = '' or d.state = $2) and ($3 = '' or d.reason = $3) and ($4 = '' or c.channel = $4)
   and ($5::timestamptz is null or d.at < $5)
 order by d.id
 limit $7
