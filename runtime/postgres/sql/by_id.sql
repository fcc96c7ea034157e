-- $1 conversation, $2 tenant
 where c.id = $1 and c.tenant = $2
