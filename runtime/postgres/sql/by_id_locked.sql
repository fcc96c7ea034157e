-- $1 conversation, $2 tenant. The row lock is what makes a change of owner and everything that depends on the owner take
-- turns.
 where c.id = $1 and c.tenant = $2
   for update of c
