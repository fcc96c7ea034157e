-- $1 id, $2 tenant
 where d.id = $1 and d.tenant = $2
